//! What a user of a code host does, gathered and reported.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Example;
use crate::{AgentContext, AgentError, AgentRegistry, registry::RegisterError};

#[derive(Deserialize, JsonSchema)]
struct User {
    username: String,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Repositories {
    username: String,
    repositories: Vec<Repository>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Repository {
    name: String,
    stars: u64,
    language: String,
}

#[derive(Deserialize, JsonSchema)]
struct UserAndRange {
    username: String,
    range: String,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Activity {
    username: String,
    range: String,
    commits: u64,
    pull_requests: u64,
    issues: u64,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Statistics {
    username: String,
    followers: u64,
    following: u64,
    public_repos: u64,
}

/// Null stands for a source that could not be read.
#[derive(Deserialize, JsonSchema)]
struct Sources {
    repositories: Option<Repositories>,
    activity: Option<Activity>,
    statistics: Option<Statistics>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Aggregate {
    summary: Summary,
    /// The sources that were null.
    missing: Vec<String>,
    complete: bool,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Summary {
    repository_count: u64,
    total_stars: u64,
    commits: u64,
    followers: u64,
}

#[derive(Deserialize, JsonSchema)]
struct ReportOf {
    data: Aggregate,
    format: Format,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Format {
    Markdown,
}

#[derive(Serialize, JsonSchema)]
struct Report {
    format: Format,
    report: String,
}

pub(super) fn register(registry: &mut AgentRegistry) -> Result<(), RegisterError> {
    registry.register(
        Example::new("github-repos-agent", "Lists the repositories of a user", |User { username }, _| {
            let repository = |(end, stars, language): (&str, u64, &str)| Repository {
                name: format!("{username}-{end}"),
                stars,
                language: language.to_owned(),
            };
            let known = [("alpha", 10, "Rust"), ("beta", 20, "TypeScript"), ("gamma", 30, "Rust")];
            Ok(Repositories { repositories: known.map(repository).into(), username })
        })
        .idempotent(),
    )?;
    registry.register(
        Example::new("github-activity-agent", "Counts what a user did", |UserAndRange { username, range }, _| {
            Ok(Activity { username, range, commits: 42, pull_requests: 7, issues: 3 })
        })
        .idempotent(),
    )?;
    registry.register(
        Example::new("github-stats-agent", "Counts who knows a user", |User { username }, _| {
            Ok(Statistics { username, followers: 100, following: 10, public_repos: 3 })
        })
        .idempotent(),
    )?;
    registry.register(Example::new("aggregation-agent", "Sums up what is known of a user", aggregate).idempotent())?;
    registry.register(Example::new("report-agent", "Writes a report", report).idempotent())
}

fn aggregate(sources: Sources, _: &AgentContext) -> Result<Aggregate, AgentError> {
    let Sources { repositories, activity, statistics } = sources;
    let missing: Vec<_> = [
        ("repositories", repositories.is_none()),
        ("activity", activity.is_none()),
        ("statistics", statistics.is_none()),
    ]
    .into_iter()
    .filter(|&(_, is_missing)| is_missing)
    .map(|(name, _)| name.to_owned())
    .collect();
    let repositories = repositories.map(|source| source.repositories).unwrap_or_default();
    let summary = Summary {
        repository_count: repositories.len() as u64,
        total_stars: repositories.iter().fold(0, |sum, repository| sum.saturating_add(repository.stars)),
        commits: activity.map_or(0, |source| source.commits),
        followers: statistics.map_or(0, |source| source.followers),
    };
    Ok(Aggregate { summary, complete: missing.is_empty(), missing })
}

fn report(of: ReportOf, _: &AgentContext) -> Result<Report, AgentError> {
    let ReportOf { data: Aggregate { summary, missing, .. }, format } = of;
    let Summary { repository_count, total_stars, commits, followers } = summary;
    let mut report = format!(
        "# Report\n\n- repositories: {repository_count}\n- stars: {total_stars}\n- commits: {commits}\n- followers: {followers}"
    );
    if !missing.is_empty() {
        report.push_str("\n- missing: ");
        report.push_str(&missing.join(", "));
    }
    Ok(Report { format, report })
}
