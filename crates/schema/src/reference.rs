//! The places where a text names steps, for tools that show, follow and change them.
//!
//! What counts is what the verifier counts: an expression's operand that is a path from `steps`, and in a condition a chain of
//! names that begins at the root. A text that cannot be read names nothing.
//!
//! ```
//! use orchestr8_schema::reference;
//!
//! let text = "${steps.fetch.output.body ?? 'steps.none.output'}";
//! let names = reference::in_template(text);
//! assert_eq!(names.len(), 1);
//! assert_eq!((&*names[0].id, &text[names[0].range.clone()]), ("fetch", "fetch"));
//!
//! let names = reference::in_condition("steps.web-search.status == 'failed' && inputs.steps.other");
//! assert_eq!(names.len(), 1);
//! assert_eq!(names[0].id, "web-search");
//! ```

use std::ops::Range;

use crate::{
    expression::parse::{self, Form, Part},
    validate,
};

/// A step that a text names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepName {
    /// The step's id.
    pub id: String,
    /// Where the id stands in the text, in bytes, without quotes.
    pub range: Range<usize>,
}

/// Whether the text under a key is a condition: `if`, `unless`, `when`, `while`, `until` and `expression`.
#[must_use]
pub fn is_condition(key: &str) -> bool {
    matches!(key, "if" | "unless" | "when" | "while" | "until" | "expression")
}

/// Returns the steps that a text with expressions names, in the order of the text.
#[must_use]
pub fn in_template(text: &str) -> Vec<StepName> {
    if !text.contains("${") {
        return Vec::new();
    }
    let (parts, _) = parse::parse(text);
    let expressions = parts.into_iter().filter_map(|part| match part {
        Part::Expression(parsed) => Some(parsed),
        Part::Text(_) => None,
    });
    let paths = expressions.flat_map(|parsed| parsed.operands).filter(|operand| matches!(operand.form, Form::Path(_)));
    paths.filter_map(|operand| behind_steps(text, operand.range.start)).collect()
}

/// Returns the steps that a condition names, in the order of the text; also one that is an expression.
#[must_use]
pub fn in_condition(text: &str) -> Vec<StepName> {
    if text.contains("${") {
        return in_template(text);
    }
    let mut names: Vec<StepName> =
        validate::step_chains(text).into_iter().filter_map(|start| behind_steps(text, start)).collect();
    names.sort_by_key(|name| name.range.start);
    names
}

/// Reads the id behind a `steps` that begins at a place.
fn behind_steps(text: &str, start: usize) -> Option<StepName> {
    let rest = text.get(start..)?;
    let rest = rest.strip_prefix("\"steps\"").or_else(|| rest.strip_prefix("steps"))?.trim_start();
    // JMESPath allows spaces around dots; in brackets, expressions allow both kinds of quotes.
    let rest = match rest.strip_prefix('.') {
        Some(rest) => rest.trim_start(),
        None => rest.strip_prefix('[').filter(|rest| rest.starts_with(['\'', '"']))?,
    };
    let (start, length) = match rest.chars().next()? {
        quote @ ('\'' | '"') => (text.len() - rest.len() + 1, rest[1..].find(quote)?),
        _ => {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            (text.len() - rest.len(), rest.find(|c| !is_word(c)).unwrap_or(rest.len()))
        }
    };
    let range = start..start + length;
    let id = text[range.clone()].to_owned();
    // An escape would be part of no id.
    (!id.is_empty() && !id.contains('\\')).then_some(StepName { id, range })
}
