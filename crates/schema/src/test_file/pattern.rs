//! Names of step instances with wildcards: `reviews[*].score`.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{StepId, StepPath};

/// A step path in which `*` stands for any index, key or iteration: `fetch`, `reviews[*].score`, `refine#2.critic`.
///
/// ```
/// use orchestr8_schema::{StepPath, test_file::StepPattern};
///
/// let pattern: StepPattern = "reviews[*].score".parse()?;
/// let reviews = StepPath::from(&"reviews".parse()?);
/// let score = "score".parse()?;
/// assert!(pattern.matches(&reviews.in_item(3, &score)));
/// assert!(pattern.matches(&reviews.in_keyed_item("a.md", &score)));
/// assert!(!pattern.matches(&reviews));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StepPattern {
    text: Box<str>,
    parts: Vec<Part>,
}

/// The error of a text that is no step path, with or without `*`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no step path")]
pub struct InvalidStepPattern(String);

/// A step, and which of its instances.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Part {
    step: Box<str>,
    instance: Instance,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Instance {
    /// The only one.
    Only,
    AnyItem,
    Item(u32),
    Key(Box<str>),
    AnyIteration,
    Iteration(u32),
}

impl StepPattern {
    /// Returns the pattern as its author wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a step instance is meant.
    #[must_use]
    pub fn matches(&self, path: &StepPath) -> bool {
        let Some(parts) = parse(path.as_str()) else { return false };
        self.parts.len() == parts.len() && self.parts.iter().zip(&parts).all(|(pattern, part)| pattern.matches(part))
    }

    /// How many `*` it has; of two patterns that match, the one with fewer is more specific.
    #[must_use]
    pub fn wildcards(&self) -> usize {
        let is_wildcard = |part: &&Part| matches!(part.instance, Instance::AnyItem | Instance::AnyIteration);
        self.parts.iter().filter(is_wildcard).count()
    }

    /// Returns the ids of the steps on the way, the outermost first.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| &*part.step)
    }
}

impl Part {
    fn matches(&self, other: &Self) -> bool {
        let same_instance = match (&self.instance, &other.instance) {
            (Instance::AnyItem, Instance::Item(_) | Instance::Key(_)) => true,
            (Instance::AnyIteration, Instance::Iteration(_)) => true,
            (one, other) => one == other,
        };
        same_instance && self.step == other.step
    }
}

impl FromStr for StepPattern {
    type Err = InvalidStepPattern;

    fn from_str(text: &str) -> Result<Self, InvalidStepPattern> {
        match parse(text) {
            Some(parts) => Ok(Self { text: text.into(), parts }),
            None => Err(InvalidStepPattern(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for StepPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl JsonSchema for StepPattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StepPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A step path; `*` stands for any index, key or iteration.",
            "type": "string",
            "pattern": r#"^[A-Za-z0-9_-]+(\[(\*|[0-9]+|".*")\]|#(\*|[0-9]+))?(\.[A-Za-z0-9_-]+(\[(\*|[0-9]+|".*")\]|#(\*|[0-9]+))?)*$"#
        })
    }
}

fn parse(text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find(['.', '[', '#']).unwrap_or(rest.len());
        let step: StepId = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let instance;
        (instance, rest) = if let Some(inner) = rest.strip_prefix('[') {
            item(inner)?
        } else if let Some(inner) = rest.strip_prefix('#') {
            iteration(inner)?
        } else {
            (Instance::Only, rest)
        };
        parts.push(Part { step: step.as_str().into(), instance });
        if rest.is_empty() {
            return Some(parts);
        }
        rest = rest.strip_prefix('.')?;
    }
}

/// Parses what stands behind `[`.
fn item(text: &str) -> Option<(Instance, &str)> {
    if text.starts_with('"') {
        let mut keys = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let key = keys.next()?.ok()?;
        let rest = text[keys.byte_offset()..].strip_prefix(']')?;
        return Some((Instance::Key(key.into()), rest));
    }
    let (index, rest) = text.split_once(']')?;
    let instance = if index == "*" { Instance::AnyItem } else { Instance::Item(number(index)?) };
    Some((instance, rest))
}

/// Parses what stands behind `#`.
fn iteration(text: &str) -> Option<(Instance, &str)> {
    let (index, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let instance = if index == "*" { Instance::AnyIteration } else { Instance::Iteration(number(index)?) };
    Some((instance, rest))
}

fn number(text: &str) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::{StepPath, StepPattern};

    #[test]
    fn what_matches() {
        let path = |text: &str| -> StepPath { serde_json::from_value(text.into()).unwrap() };
        let table = [
            ("fetch", "fetch", true),
            ("fetch", "fetch-all", false),
            ("reviews", "reviews[3]", false),
            ("reviews[3].score", "reviews[3].score", true),
            ("reviews[*].score", "reviews[30].score", true),
            ("reviews[*].score", r#"reviews["a].b\"."].score"#, true),
            (r#"reviews["a].b\"."].score"#, r#"reviews["a].b\"."].score"#, true),
            (r#"reviews["*"].score"#, "reviews[3].score", false),
            ("refine#*.critic", "refine#0.critic", true),
            ("refine#1.critic", "refine#10.critic", false),
            ("refine#*.critic", "refine[0].critic", false),
            ("a[*].b#*.c", "a[1].b#2.c", true),
            ("a[*].b#*.c", "a[1].b#2", false),
        ];
        for (pattern, instance, expected) in table {
            let parsed: StepPattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(&path(instance)), expected, "{pattern} {instance}");
        }
        for wrong in ["", ".", "a.", "a b", "a[", "a[]", "a[01].b", "a[-1].b", "a[\"x].b", "a#.b", "a#x", "a[*]b", "*"]
        {
            assert!(wrong.parse::<StepPattern>().is_err(), "{wrong}");
        }
    }
}
