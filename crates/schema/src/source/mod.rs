//! From text to a [`ValidWorkflow`]: JSON or YAML in, every problem at its place out.
//!
//! [`load`] takes text, [`load_value`] takes JSON that somebody else has read, such as the body of a request. Both report all
//! problems at once, as [`Diagnostic`]s. Reading is lenient in nothing: duplicate keys, deep nesting and huge documents are
//! refused, and YAML means YAML 1.2, in which `on` and `yes` are text.
//!
//! ```
//! use orchestr8_schema::source::{Options, load};
//!
//! let text = r#"{
//!     "version": "1.0.0",
//!     "metadata": { "id": "w", "name": "W" },
//!     "steps": [{ "id": "a", "agent": { "id": "hello" } }]
//! }"#;
//! let invalid = load(text, &Options::new().file_name("w.json")).unwrap_err();
//! assert_eq!(invalid.diagnostics()[0].code.as_str(), "O8103");
//! assert_eq!(invalid.diagnostics()[0].path, "/steps/0/agent/id");
//! ```
//!
//! Positions in the text need the feature `yaml`, whose parser reads JSON too; without it diagnostics have a path only.

mod bundle;
mod json;
mod loaded;
mod position;
mod read;
#[cfg(feature = "yaml")]
mod yaml;

use std::borrow::Cow;

use serde_json::Value;

pub use self::loaded::{Loaded, Places};
use self::position::{LineIndex, Tree};
pub(crate) use self::{
    loaded::{config_of, read_config, read_mock_file, read_prompt, read_test_file},
    position::without_text,
    read::Broken,
};
use crate::{
    Code, Diagnostic, InvalidWorkflow, ValidWorkflow, Workflow,
    problem::{Problems, quote},
    validate::{self, AgentCatalog, Family, Inferred, WorkflowLoader},
};

/// What is expected of a document, and how strictly.
#[derive(Clone, Copy, Default)]
#[must_use]
pub struct Options<'a> {
    pub(crate) format: Option<Format>,
    pub(crate) strict: bool,
    pub(crate) stored: bool,
    pub(crate) limits: Limits,
    pub(crate) agents: Option<&'a dyn AgentCatalog>,
    pub(crate) workflows: Option<&'a dyn WorkflowLoader>,
    /// The name of the file, to which references are relative.
    pub(crate) origin: Option<&'a str>,
}

/// The two ways to write a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 8259.
    Json,
    /// YAML 1.2; needs the feature `yaml`.
    Yaml,
}

/// How large a document may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of text; default 10 000 000.
    pub text: usize,
    /// Nested arrays and objects; default and at most 64.
    pub depth: usize,
    /// Values and keys' values, YAML aliases expanded; default 1 000 000.
    pub nodes: usize,
    /// Steps; default 10 000.
    pub steps: usize,
}

impl Limits {
    const MAX_DEPTH: usize = 64;
}

impl Default for Limits {
    fn default() -> Self {
        Self { text: 10_000_000, depth: Self::MAX_DEPTH, nodes: 1_000_000, steps: 10_000 }
    }
}

impl<'a> Options<'a> {
    /// The defaults: the format is found out, unknown keys are warnings, agents are not looked up.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says which format the text has; by default it is found out.
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Names the file. Its extension says the format: `json`, `yaml` or `yml`, any other says nothing; paths of
    /// sub-workflows are relative to it.
    pub fn file_name(mut self, name: &'a str) -> Self {
        self.origin = Some(name);
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        if extension.eq_ignore_ascii_case("json") {
            self.format = Some(Format::Json);
        } else if extension.eq_ignore_ascii_case("yaml") || extension.eq_ignore_ascii_case("yml") {
            self.format = Some(Format::Yaml);
        }
        self
    }

    /// Makes unknown keys errors, and compares `schemaHash`; default false.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Says that the workflow was validated before, maybe by an older version or with other limits, and is read back: what would be an
    /// error today is a warning as long as it can be compiled, and any number of steps will do. For stores; default false.
    pub fn stored(mut self, stored: bool) -> Self {
        self.stored = stored;
        self
    }

    /// Sets other limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Loads sub-workflows; by default a workflow that has some cannot be loaded.
    pub fn workflows(mut self, workflows: &'a dyn WorkflowLoader) -> Self {
        self.workflows = Some(workflows);
        self
    }

    /// Checks agents and tools against a catalogue; by default they are not looked up.
    pub fn agents(mut self, agents: &'a dyn AgentCatalog) -> Self {
        self.agents = Some(agents);
        self
    }
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("format", &self.format)
            .field("strict", &self.strict)
            .field("stored", &self.stored)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

const WORKFLOWS: &str = "workflows must";

/// Reads and validates the text of a workflow.
///
/// # Errors
///
/// When there is at least one error; warnings come along.
pub fn load(text: impl AsRef<[u8]>, options: &Options<'_>) -> Result<ValidWorkflow, InvalidWorkflow> {
    let mut family = Family::new(options);
    let (valid, mut found) = read_text(text.as_ref(), options, &mut family);
    found.extend(family.into_diagnostics());
    finish(valid, found)
}

/// Tells the types of the values in a workflow that may be wrong, as far as they can be seen; `None` if no agents are given, or
/// the text is so wrong that the verifier does not come to types: it cannot be read, or steps wait for each other.
#[must_use]
pub fn infer(text: impl AsRef<[u8]>, options: &Options<'_>) -> Option<Inferred> {
    let mut family = Family::new(options);
    family.infer = true;
    read_text(text.as_ref(), options, &mut family);
    family.inferred
}

/// Reads a sub-workflow.
pub(crate) fn load_child(text: &[u8], name: &str, family: &mut Family<'_>) -> (Option<ValidWorkflow>, Vec<Diagnostic>) {
    let options = Options { format: None, ..family.options }.file_name(name);
    let (valid, mut found) = read_text(text, &options, family);
    for diagnostic in &mut found {
        diagnostic.file = Some(name.to_owned());
    }
    (valid, found)
}

fn read_text(text: &[u8], options: &Options<'_>, family: &mut Family<'_>) -> (Option<ValidWorkflow>, Vec<Diagnostic>) {
    let mut problems = Problems::new(options.strict);
    let document = open(text, options.limits.text).and_then(|text| Document::parse(text, options, WORKFLOWS));
    let document = match document.and_then(|document| document.expect_object(WORKFLOWS)) {
        Ok(document) => document,
        Err(diagnostic) => return (None, vec![diagnostic]),
    };
    document.duplicate_keys(&mut problems);
    let (valid, found, renames) = check(&document.value, family, problems);
    (valid, position::to_diagnostics(found, &renames, &document))
}

/// Reads any document, such as an execution's input, under the same rules: JSON or YAML, no duplicate keys, the same limits.
///
/// # Errors
///
/// When the text cannot be read.
pub fn parse(text: impl AsRef<[u8]>, options: &Options<'_>) -> Result<Value, InvalidWorkflow> {
    let document =
        open(text.as_ref(), options.limits.text).and_then(|text| Document::parse(text, options, "documents must"));
    let document = document.map_err(|diagnostic| InvalidWorkflow::new(vec![diagnostic]))?;
    let mut problems = Problems::default();
    document.duplicate_keys(&mut problems);
    if problems.has_errors() {
        return Err(InvalidWorkflow::new(position::to_diagnostics(problems.into_found(), &[], &document)));
    }
    Ok(document.value)
}

/// Reads and validates a workflow that is already JSON; diagnostics have no position in a text.
///
/// # Errors
///
/// When there is at least one error; warnings come along.
pub fn load_value(value: &Value, options: &Options<'_>) -> Result<ValidWorkflow, InvalidWorkflow> {
    let mut family = Family::new(options);
    let (valid, found, renames) = check(value, &mut family, Problems::new(options.strict));
    let mut found = position::without_text(found, &renames, value);
    found.extend(family.into_diagnostics());
    finish(valid, found)
}

impl ValidWorkflow {
    /// Reads and validates a workflow written in JSON, with the default [`Options`].
    ///
    /// # Errors
    ///
    /// When there is at least one error.
    pub fn from_json(text: &str) -> Result<Self, InvalidWorkflow> {
        load(text, &Options::new().format(Format::Json))
    }

    /// Reads and validates a workflow written in YAML, with the default [`Options`].
    ///
    /// # Errors
    ///
    /// When there is at least one error.
    #[cfg(feature = "yaml")]
    pub fn from_yaml(text: &str) -> Result<Self, InvalidWorkflow> {
        load(text, &Options::new().format(Format::Yaml))
    }

    /// Validates a workflow that is already JSON, with the default [`Options`].
    ///
    /// # Errors
    ///
    /// When there is at least one error.
    pub fn from_value(value: &Value) -> Result<Self, InvalidWorkflow> {
        load_value(value, &Options::new())
    }
}

impl Workflow {
    /// Reads a workflow without validating it: shape and types only. What [`Workflow`] serialises to reads back as the same.
    ///
    /// # Errors
    ///
    /// When the shape or a type is wrong.
    pub fn from_value(value: &Value) -> Result<Self, InvalidWorkflow> {
        let mut problems = Problems::default();
        let read = read::workflow(value, &mut problems);
        let failed = problems.has_errors();
        match read {
            Some(read) if !failed => Ok(read.workflow),
            read => {
                let renames = read.map(|read| read.renames).unwrap_or_default();
                Err(InvalidWorkflow::new(position::without_text(problems.into_found(), &renames, value)))
            }
        }
    }
}

type Checked = (Option<ValidWorkflow>, Vec<crate::problem::Problem>, Vec<(String, String)>);

fn check(value: &Value, family: &mut Family<'_>, mut problems: Problems) -> Checked {
    match read::workflow(value, &mut problems) {
        None => (None, problems.into_found(), Vec::new()),
        Some(read) => {
            let valid = validate::check(read.workflow, &read.broken, family, &mut problems);
            (valid, problems.into_found(), read.renames)
        }
    }
}

fn finish(valid: Option<ValidWorkflow>, found: Vec<Diagnostic>) -> Result<ValidWorkflow, InvalidWorkflow> {
    match valid {
        Some(valid) => Ok(valid.with_warnings(found)),
        None => Err(InvalidWorkflow::new(found)),
    }
}

/// How many duplicate keys are reported: each names its place, which can be as long as the document.
const MAX_DUPLICATES: usize = 64;

/// A document that has been parsed.
pub(crate) struct Document<'t> {
    text: &'t str,
    value: Value,
    /// The JSON pointers of keys that were given before.
    duplicates: Vec<String>,
    /// Where everything stands, if that is already known.
    tree: Option<Tree>,
}

impl<'t> Document<'t> {
    /// Parses a text; the subject begins a sentence about all documents of its kind.
    fn parse(text: &'t str, options: &Options<'_>, subject: &str) -> Result<Self, Diagnostic> {
        let limits = Limits { depth: options.limits.depth.min(Limits::MAX_DEPTH), ..options.limits };
        if text.trim_start().is_empty() {
            let message = "the document is empty".to_owned();
            return Err(Diagnostic::new(Code::Syntax, "", message).with_help("it has to hold an object"));
        }
        let looks_like_json = text.trim_start().starts_with(['{', '[']);
        let document = match options.format {
            Some(Format::Json) => json::parse(text, &limits),
            Some(Format::Yaml) => Self::parse_yaml(text, &limits),
            None if looks_like_json => json::parse(text, &limits).or_else(|error| {
                // Flow style is YAML too; a document that is neither was probably meant as JSON.
                if error.code == Code::Syntax { Self::parse_yaml(text, &limits).map_err(|_| error) } else { Err(error) }
            }),
            None => Self::parse_yaml(text, &limits),
        };
        document.map_err(|error| match foreign_format(text, subject) {
            Some(diagnostic) if error.code == Code::Syntax => diagnostic,
            _ => error,
        })
    }

    /// Refuses a document that is text as a whole, which to YAML everything is that is nothing else.
    fn expect_object(self, subject: &str) -> Result<Self, Diagnostic> {
        match foreign_format(self.text, subject) {
            Some(diagnostic) if self.value.is_string() => Err(diagnostic),
            _ => Ok(self),
        }
    }

    fn duplicate_keys(&self, problems: &mut Problems) {
        for duplicate in &self.duplicates {
            let key = duplicate.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
            let message = format!("`{}` is given twice", quote(&key));
            problems.report(Code::DuplicateKey, duplicate, message).on_key().help("remove one");
        }
    }

    #[cfg(feature = "yaml")]
    fn parse_yaml(text: &'t str, limits: &Limits) -> Result<Self, Diagnostic> {
        yaml::parse(text, limits)
    }

    #[cfg(not(feature = "yaml"))]
    fn parse_yaml(_: &'t str, _: &Limits) -> Result<Self, Diagnostic> {
        let message = "workflows must be JSON, since this program was built without YAML";
        Err(Diagnostic::new(Code::WrongFormat, "", message))
    }

    /// Where everything stands; a document that was read without positions is read again.
    fn locate(&self) -> Option<Cow<'_, Tree>> {
        self.tree.as_ref().map(Cow::Borrowed).or_else(|| locate(self.text).map(Cow::Owned))
    }
}

#[cfg(feature = "yaml")]
use yaml::locate;

#[cfg(not(feature = "yaml"))]
fn locate(_: &str) -> Option<Tree> {
    None
}

/// Checks length and encoding.
fn open(bytes: &[u8], limit: usize) -> Result<&str, Diagnostic> {
    if bytes.len() > limit {
        let size = match bytes.len() {
            large if large >= 1_000_000 => format!("{} MB", large / 1_000_000),
            small => format!("{small} bytes"),
        };
        let message = format!("the document has {size}, {limit} bytes are allowed");
        return Err(Diagnostic::new(Code::TooLong, "", message).with_help("pass data as input"));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Diagnostic::new(Code::Syntax, "", "the text is UTF-16").with_help("save it as UTF-8"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let end = error.valid_up_to();
            let valid = std::str::from_utf8(&bytes[..end]).unwrap_or_default();
            let mut diagnostic =
                Diagnostic::new(Code::Syntax, "", format!("byte {end} is no UTF-8")).with_help("save it as UTF-8");
            diagnostic.span = LineIndex::new(valid).span(end..end);
            Err(diagnostic)
        }
    }
}

/// Recognises what people take for a workflow format.
fn foreign_format(text: &str, subject: &str) -> Option<Diagnostic> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    let is_table = line.starts_with('[') && line.ends_with(']') && word(line.trim_matches(['[', ']']));
    let is_assignment = line.split_once('=').is_some_and(|(key, _)| word(key.trim()));
    // Templates in XML have front matter.
    let behind = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).map(|(_, body)| body);
    let name = match line {
        line if line.starts_with('<') || behind.is_some_and(|body| body.trim_start().starts_with('<')) => "XML",
        _ if is_table || is_assignment => "TOML",
        _ => return None,
    };
    let message = format!("{subject} be JSON or YAML, this looks like {name}");
    Some(Diagnostic::new(Code::WrongFormat, "", message).with_help("convert it"))
}
