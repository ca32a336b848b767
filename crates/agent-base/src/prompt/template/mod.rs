//! Templates in XML, the form of prompt that the research agent is told by, and nobody else.
//!
//! A template is front matter and six parts. Placeholders may stand in one of them alone, `output_template`, which becomes the user message; the
//! others are system text, to the byte.
//!
//! ```
//! use orchestr8_agent_base::prompt::Template;
//! use serde_json::{Map, json};
//!
//! let template = Template::read(r#"---
//! id: short
//! version: 1.0.0
//! name: Short
//! description: Answers in a sentence
//! category: research
//! ---
//! <process_flow>
//!   <step number="1">
//!     <inputs>the question</inputs><outputs>the answer</outputs>
//!     <validation>It is a sentence.</validation><instructions>Answer the question.</instructions>
//!   </step>
//! </process_flow>
//! <constraints><constraint>Say nothing twice.</constraint></constraints>
//! <error_protocols><protocol on="no_answer">Say so.</protocol></error_protocols>
//! <output_template><question>{{research_query|capitalize}}</question><answer/></output_template>
//! <variable_definitions><variable name="research_query"/></variable_definitions>
//! <quality_metrics><metric name="length">One sentence.</metric></quality_metrics>
//! "#)?;
//! let composed = template.compose(&Map::from_iter([("research_query".to_owned(), json!("is 2 < 3, and why?"))]))?;
//! assert!(composed.user.contains("<question>Is 2 &lt; 3, and why?</question>"));
//! assert!(!composed.system_text().contains("Is 2"));
//! # Ok::<(), orchestr8_agent_base::AgentError>(())
//! ```

mod placeholder;
mod variable;

use std::{collections::BTreeSet, ops::Range};

use orchestr8_schema::{
    canonical,
    source::{Format, Options, parse},
};
use roxmltree::{Document, Node};
use semver::Version;
use serde_json::{Map, Value};

use self::{
    placeholder::{Piece, pieces},
    variable::Variable,
};
use super::{Composed, front_matter::split};
use crate::{AgentError, model::SystemBlock};

/// The most bytes of a user message.
const MAX_OUTPUT: usize = 64 * 1024;

/// What an element has to be around the parts, so that the text is one document.
const ROOT: &str = "<template>";

/// A template in XML.
///
/// ```text
/// ---
/// id, version, name, description, category
/// ---
/// <process_flow>          <step number="1"> with <inputs>, <outputs>, <validation>, <instructions>
/// <constraints>           <constraint>
/// <error_protocols>       <protocol on="…">
/// <output_template>       the user message, with placeholders
/// <variable_definitions>  <variable name="…" required="…" default="…" minimum="…" maximum="…" min_length="…" max_length="…"/>
/// <quality_metrics>       <metric name="…">
/// ```
///
/// `{{name}}` stands for a variable, escaped as XML; `{{name|filter}}` for what filters make of it: `upper`, `lower`, `capitalize`, `escape`,
/// and `json` and `raw`, behind which nothing is escaped. A variable with a `minimum` or `maximum` is a number, any other a text. Four variables
/// have bounds where a template declares none:
///
/// | variable | |
/// |---|---|
/// | `research_query` | 10–500 characters, required |
/// | `scope_parameters` | |
/// | `max_sources` | a whole number from 5 to 50, default 20 |
/// | `credibility_threshold` | 0.5–1.0, default 0.7 |
///
/// There is no document type, and there are no entities but the five that XML itself has.
#[derive(Clone, Debug)]
pub struct Template {
    id: String,
    version: Version,
    name: String,
    description: String,
    category: String,
    system: String,
    user: Vec<Piece>,
    variables: Vec<Variable>,
}

/// The parts of a template, and what stands in each.
const PARTS: [(&str, &str); 6] = [
    ("process_flow", "step"),
    ("constraints", "constraint"),
    ("error_protocols", "protocol"),
    ("output_template", ""),
    ("variable_definitions", "variable"),
    ("quality_metrics", "metric"),
];

const USER: &str = "output_template";
const VARIABLES: &str = "variable_definitions";

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// VALIDATION, with the line, if it has another form, or does not use a variable that it defines, or uses one that it does not.
    pub fn read(text: &str) -> Result<Self, AgentError> {
        let text = text.trim_start_matches('\u{feff}');
        let (front, body) = front_matter(text)?;
        let start = text.len() - body.len();
        let at = |place: usize| 1 + text[..place.min(text.len())].matches('\n').count();
        if let Some(place) = ["<!DOCTYPE", "<!ENTITY"].iter().find_map(|word| body.find(word)) {
            return Err(wrong(at(start + place), "a template has neither a document type nor entities"));
        }
        let whole = format!("{ROOT}{body}</template>");
        let document = Document::parse(&whole).map_err(|error| {
            let line = at(start) + usize::try_from(error.pos().row).unwrap_or(1) - 1;
            wrong(line, "this is no XML").with_source(error)
        })?;
        let place_of = |node: Node<'_, '_>| (node.range().start + start).saturating_sub(ROOT.len());
        let line_of = |node: Node<'_, '_>| at(place_of(node));
        let parts = Parts::read(&document, &line_of)?;
        check_steps(parts.get("process_flow"), &line_of)?;
        let source = |node: Node<'_, '_>| -> Range<usize> {
            let Range { start: from, end } = node.range();
            place_of(node)..place_of(node) + (end - from)
        };
        let user = source(parts.get(USER));
        for (outside, from) in [(&text[..user.start], 0), (&text[user.end..], user.end)] {
            if let Some(place) = outside.find("{{") {
                let message = format!("placeholders may stand in `{USER}` alone, which is the user message");
                return Err(wrong(at(from + place), message));
            }
        }
        let variables = variable::definitions(parts.get(VARIABLES), &line_of)?;
        let user = pieces(&text[user.clone()], |offset| at(user.start + offset))?;
        check_use(&variables, &user, line_of(parts.get(VARIABLES)))?;
        let system = parts.0.iter().filter(|part| !part.has_tag_name(USER) && !part.has_tag_name(VARIABLES));
        let system: Vec<_> = system.map(|part| &text[source(*part)]).collect();
        let system = format!("{}.\n\n{}", front.description.trim_end_matches('.'), system.join("\n"));
        let FrontMatter { id, version, name, description, category } = front;
        Ok(Self { id, version, name, description, category, system, user, variables })
    }

    /// Reads a template that came along with a program.
    ///
    /// # Errors
    ///
    /// INTERNAL if its SHA-256 is another one, and what [`read`](Self::read) fails with.
    pub fn shipped(text: &str, sha256: &str) -> Result<Self, AgentError> {
        let found = canonical::sha256_hex(text.as_bytes());
        if found != sha256 {
            let message = format!("the shipped template has the checksum {found}, not {sha256}");
            return Err(AgentError::internal(message));
        }
        Self::read(text)
    }

    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns its version.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Returns its name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what it is for; the system text begins with it.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Returns what sort of template it is.
    #[must_use]
    pub fn category(&self) -> &str {
        &self.category
    }

    /// Whether a variable of this name is declared.
    #[must_use]
    pub fn has_variable(&self, name: &str) -> bool {
        self.variables.iter().any(|known| known.name == name)
    }

    /// Makes system text and user message, with these values of variables.
    ///
    /// # Errors
    ///
    /// VALIDATION if a variable is missing, unknown, of another type or out of bounds, or the message has more than 64 KB.
    pub fn compose(&self, values: &Map<String, Value>) -> Result<Composed, AgentError> {
        if let Some(name) = values.keys().find(|name| !self.has_variable(name)) {
            return Err(AgentError::validation(format!("template `{}` has no variable `{name}`", self.id)));
        }
        let values = self.variables.iter().map(|variable| {
            let value = variable.value(values.get(&variable.name))?;
            Ok((variable.name.as_str(), value))
        });
        let values = values.collect::<Result<std::collections::BTreeMap<_, _>, AgentError>>()?;
        let mut user = String::new();
        for piece in &self.user {
            match piece {
                Piece::Text(text) => user.push_str(text),
                Piece::Placeholder(placeholder) => {
                    let value = values.get(placeholder.name.as_str()).unwrap_or(&Value::Null);
                    user.push_str(&placeholder.render(value)?);
                }
            }
            if user.len() > MAX_OUTPUT {
                return Err(AgentError::validation("the user message has more than 64 KB"));
            }
        }
        Ok(Composed { system: vec![SystemBlock::new(self.system.clone(), true)], user })
    }
}

struct FrontMatter {
    id: String,
    version: Version,
    name: String,
    description: String,
    category: String,
}

fn front_matter(text: &str) -> Result<(FrontMatter, &str), AgentError> {
    const KEYS: [&str; 5] = ["id", "version", "name", "description", "category"];

    let Some((front, body)) = split(text) else {
        let message = format!("a template begins with front matter, {} between lines of `---`", KEYS.join(", "));
        return Err(wrong(1, message));
    };
    let document = parse(front, &Options::new().format(Format::Yaml))
        .map_err(|error| AgentError::validation("the front matter of the template").with_source(error))?;
    let keys = document.as_object().into_iter().flat_map(Map::keys);
    if let Some(unknown) = keys.into_iter().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(wrong(1, format!("front matter has {}, and no `{unknown}`", KEYS.join(", "))));
    }
    let text_of = |key: &str| match document.get(key).and_then(Value::as_str).map(str::trim) {
        Some(text) if !text.is_empty() && !text.contains("{{") => Ok(text.to_owned()),
        Some(text) if !text.is_empty() => Err(wrong(1, format!("placeholders may not stand in `{key}`"))),
        _ => Err(wrong(1, format!("the front matter has no text `{key}`"))),
    };
    let version = text_of("version")?;
    let version = Version::parse(&version)
        .map_err(|error| wrong(1, format!("`{version}` is no version of the form x.y.z")).with_source(error))?;
    let (id, name, description) = (text_of("id")?, text_of("name")?, text_of("description")?);
    Ok((FrontMatter { id, version, name, description, category: text_of("category")? }, body))
}

/// The parts, in the order of the text.
struct Parts<'d, 'i>(Vec<Node<'d, 'i>>);

impl<'d, 'i> Parts<'d, 'i> {
    fn read(document: &'d Document<'i>, line_of: &impl Fn(Node<'_, '_>) -> usize) -> Result<Self, AgentError> {
        let mut found: Vec<Node<'d, 'i>> = Vec::new();
        for node in document.root_element().children() {
            if node.is_text() && !node.text().unwrap_or_default().trim().is_empty() {
                return Err(wrong(line_of(node), "between the parts of a template there is no text"));
            }
            if !node.is_element() {
                continue;
            }
            let name = node.tag_name().name();
            let Some((_, inner)) = PARTS.iter().find(|(known, _)| *known == name) else {
                let known = PARTS.map(|(known, _)| known).join(", ");
                return Err(wrong(line_of(node), format!("`{name}` is no part of a template: {known}")));
            };
            if found.iter().any(|part| part.has_tag_name(name)) {
                return Err(wrong(line_of(node), format!("there is a `{name}` already")));
            }
            let mut elements = node.children().filter(Node::is_element).peekable();
            if !inner.is_empty() && elements.peek().is_none() {
                return Err(wrong(line_of(node), format!("`{name}` has no `{inner}`")));
            }
            if let Some(other) = elements.find(|element| !inner.is_empty() && !element.has_tag_name(*inner)) {
                let other_name = other.tag_name().name();
                return Err(wrong(
                    line_of(other),
                    format!("`{other_name}` does not belong into `{name}`, but `{inner}`"),
                ));
            }
            found.push(node);
        }
        match PARTS.iter().find(|(name, _)| !found.iter().any(|part| part.has_tag_name(*name))) {
            Some((name, _)) => Err(AgentError::validation(format!("the template has no `{name}`"))),
            None => Ok(Self(found)),
        }
    }

    /// One of the parts, all of which are there.
    fn get(&self, name: &str) -> Node<'d, 'i> {
        let found = self.0.iter().find(|part| part.has_tag_name(name));
        *found.expect("`read` has seen to it that each part is there")
    }
}

fn check_steps(flow: Node<'_, '_>, line_of: &impl Fn(Node<'_, '_>) -> usize) -> Result<(), AgentError> {
    const INNER: [&str; 4] = ["inputs", "outputs", "validation", "instructions"];

    let mut last = 0;
    for step in flow.children().filter(Node::is_element) {
        let number = step.attribute("number").and_then(|number| number.parse::<u32>().ok());
        match number {
            Some(number) if number > last => last = number,
            _ => return Err(wrong(line_of(step), "steps have an ascending `number`")),
        }
        let names: Vec<_> = step.children().filter(Node::is_element).map(|inner| inner.tag_name().name()).collect();
        let distinct: BTreeSet<_> = names.iter().collect();
        if names.len() != INNER.len() || distinct.len() != INNER.len() || !INNER.iter().all(|name| names.contains(name))
        {
            return Err(wrong(line_of(step), format!("a step has {}, each once", INNER.join(", "))));
        }
    }
    Ok(())
}

/// Holds what is defined against what is used.
fn check_use(variables: &[Variable], user: &[Piece], line: usize) -> Result<(), AgentError> {
    let placeholders = || {
        user.iter().filter_map(|piece| match piece {
            Piece::Placeholder(placeholder) => Some(placeholder),
            Piece::Text(_) => None,
        })
    };
    for placeholder in placeholders() {
        if !variables.iter().any(|variable| variable.name == placeholder.name) {
            return Err(wrong(placeholder.line, format!("`{}` is not defined in `{VARIABLES}`", placeholder.name)));
        }
    }
    match variables.iter().find(|variable| !placeholders().any(|placeholder| placeholder.name == variable.name)) {
        Some(unused) => Err(wrong(line, format!("`{}` is defined and not used", unused.name))),
        None => Ok(()),
    }
}

/// A mistake in a template, with its line.
fn wrong(line: usize, message: impl std::fmt::Display) -> AgentError {
    AgentError::validation(format!("line {line} of the template: {message}"))
}
