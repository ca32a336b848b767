//! Sources that are found, put together and checked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Example;
use crate::{AgentContext, AgentError, AgentRegistry, registry::RegisterError};

#[derive(Deserialize, JsonSchema)]
struct WebQuery {
    query: String,
    /// `comprehensive` finds more.
    depth: String,
}

#[derive(Serialize, JsonSchema)]
struct WebResults {
    query: String,
    results: Vec<WebResult>,
}

#[derive(Serialize, JsonSchema)]
struct WebResult {
    title: String,
    url: String,
    snippet: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AcademicQuery {
    topic: String,
    /// Two years, such as `2020-2024`.
    year_range: String,
}

#[derive(Serialize, JsonSchema)]
struct Papers {
    papers: Vec<Paper>,
}

#[derive(Deserialize, JsonSchema)]
struct ArxivQuery {
    query: String,
}

#[derive(Serialize, JsonSchema)]
struct ArxivPapers {
    source: String,
    papers: Vec<Paper>,
}

#[derive(Serialize, JsonSchema)]
struct Paper {
    title: String,
    year: u32,
    url: String,
}

#[derive(Deserialize, JsonSchema)]
struct NewsQuery {
    topic: String,
    recency: String,
}

#[derive(Serialize, JsonSchema)]
struct Articles {
    articles: Vec<Article>,
}

#[derive(Serialize, JsonSchema)]
struct Article {
    title: String,
    recency: String,
    url: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Findings {
    topic: String,
    web_results: Sources,
    academic_results: Sources,
    news_results: Sources,
}

/// A list of sources, or what one of the searching agents answers.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Sources {
    List(Vec<Source>),
    Web { results: Vec<Source> },
    Academic { papers: Vec<Source> },
    News { articles: Vec<Source> },
}

#[derive(Deserialize, JsonSchema)]
struct Source {
    title: String,
    url: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Synthesis {
    topic: String,
    source_count: usize,
    sections: Sections,
}

#[derive(Serialize, JsonSchema)]
struct Sections {
    summary: String,
    findings: Vec<String>,
    references: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
struct ToCheck {
    content: Content,
    criteria: Criteria,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Content {
    source_count: u64,
    sections: Map<String, Value>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Criteria {
    min_sources: u64,
    required_sections: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct Quality {
    passed: bool,
    issues: Vec<String>,
    /// 1 without issues, 0.25 less for each, at least 0.
    #[serde(serialize_with = "super::draft::shortest")]
    score: f64,
}

pub(super) fn register(registry: &mut AgentRegistry) -> Result<(), RegisterError> {
    registry.register(Example::new("web-search-agent", "Searches the web", search_web).idempotent().configured_by(
        json!({
            "provider": { "type": "string" },
            "maxResults": { "type": "integer", "minimum": 0, "default": 10 }
        }),
    ))?;
    registry.register(Example::new("academic-agent", "Searches academic papers", search_papers).idempotent())?;
    registry.register(
        Example::new("arxiv-agent", "Searches preprints", |ArxivQuery { query }, _| {
            let papers = (1..=2).map(|number| paper(&query, number, 2024)).collect();
            Ok(ArxivPapers { source: "arxiv".to_owned(), papers })
        })
        .idempotent(),
    )?;
    registry.register(
        Example::new("news-agent", "Searches the news", |NewsQuery { topic, recency }, _| {
            let article = |number| Article {
                title: format!("{topic} news {number}"),
                recency: recency.clone(),
                url: format!("https://example.org/news/{number}"),
            };
            Ok(Articles { articles: (1..=2).map(article).collect() })
        })
        .idempotent(),
    )?;
    registry.register(
        Example::new("synthesis-agent", "Puts sources together", synthesize).idempotent().configured_by(json!({
            "model": { "type": "string" },
            "temperature": { "type": "number", "minimum": 0, "maximum": 1 }
        })),
    )?;
    registry.register(Example::new("qa-agent", "Checks a synthesis against criteria", check).idempotent())
}

fn search_web(WebQuery { query, depth }: WebQuery, cx: &AgentContext) -> Result<WebResults, AgentError> {
    let most = cx.config().get("maxResults").and_then(Value::as_u64).unwrap_or(10);
    let found = if depth == "comprehensive" { 5 } else { 2 };
    let result = |number| WebResult {
        title: format!("{query} web {number}"),
        url: format!("https://example.org/web/{number}"),
        snippet: format!("What page {number} says about {query}"),
    };
    Ok(WebResults { results: (1..=most.min(found)).map(result).collect(), query })
}

fn search_papers(query: AcademicQuery, _: &AgentContext) -> Result<Papers, AgentError> {
    let AcademicQuery { topic, year_range } = query;
    let first = year_range.split('-').next().and_then(|year| year.trim().parse::<u16>().ok());
    let first = first.ok_or_else(|| {
        AgentError::validation("`yearRange` does not begin with a year")
            .with_context(json!({ "pointer": "/yearRange" }))
    })?;
    Ok(Papers { papers: (1..=3).map(|number| paper(&topic, number, u32::from(first) + number - 1)).collect() })
}

fn paper(topic: &str, number: u32, year: u32) -> Paper {
    Paper { title: format!("{topic} paper {number}"), year, url: format!("https://example.org/papers/{number}") }
}

fn synthesize(input: Findings, _: &AgentContext) -> Result<Synthesis, AgentError> {
    let Findings { topic, web_results, academic_results, news_results } = input;
    let sources: Vec<Source> =
        [web_results, academic_results, news_results].into_iter().flat_map(Sources::into_list).collect();
    let source_count = sources.len();
    let (findings, references) = sources.into_iter().map(|source| (source.title, source.url)).unzip();
    let summary = format!("{topic}: {source_count} sources");
    Ok(Synthesis { topic, source_count, sections: Sections { summary, findings, references } })
}

impl Sources {
    fn into_list(self) -> Vec<Source> {
        match self {
            Self::List(list)
            | Self::Web { results: list }
            | Self::Academic { papers: list }
            | Self::News { articles: list } => list,
        }
    }
}

fn check(ToCheck { content, criteria }: ToCheck, _: &AgentContext) -> Result<Quality, AgentError> {
    let too_few = (content.source_count < criteria.min_sources).then(|| "too few sources".to_owned());
    let missing = criteria
        .required_sections
        .iter()
        .filter(|name| !content.sections.contains_key(name.as_str()))
        .map(|name| format!("missing section {name}"));
    let issues: Vec<String> = too_few.into_iter().chain(missing).collect();
    let score = (1.0 - 0.25 * issues.len() as f64).max(0.0);
    Ok(Quality { passed: issues.is_empty(), issues, score })
}
