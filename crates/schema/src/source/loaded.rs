//! Documents other than workflows, with the places of everything in them.

use std::{ops::Range, sync::OnceLock};

use serde_json::Value;

use super::{
    Document, Options, open,
    position::{self, LineIndex, Tree},
    read,
};
use crate::{
    Diagnostic, InvalidDocument, Span,
    config::{Config, ConfigLayer},
    problem::Problems,
    prompt::AgentPrompt,
    test_file::{MockFile, TestFile},
};

/// A document that has been read, and where everything in it stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded<T> {
    /// What it says.
    pub value: T,
    /// What is probably not meant so.
    pub warnings: Vec<Diagnostic>,
    /// Where everything stands.
    pub places: Places,
}

/// Where everything in a document stands; without the feature `yaml`, nothing is known.
#[derive(Clone, Debug)]
pub struct Places {
    index: LineIndex<'static>,
    tree: OnceLock<Option<Tree>>,
}

impl Places {
    fn new(document: Document<'_>) -> Self {
        let tree = document.tree.map(Some).map_or_else(OnceLock::new, OnceLock::from);
        Self { index: LineIndex::new(document.text.to_owned()), tree }
    }

    /// Returns the text of the document, without a byte order mark.
    #[must_use]
    pub fn text(&self) -> &str {
        self.index.text()
    }

    /// Returns where a value stands: a scalar itself, of an object or list its key. `None` if it is not there.
    #[must_use]
    pub fn span(&self, pointer: &str) -> Option<Span> {
        let (key, tree) = self.tree()?.get(pointer)?;
        self.index.span(tree.pointed_at(key))
    }

    /// Returns the bytes of the text that a value takes up, to write another one in their place. `None` if it is not there.
    #[must_use]
    pub fn range(&self, pointer: &str) -> Option<Range<usize>> {
        let (_, tree) = self.tree()?.get(pointer)?;
        Some(tree.extent(self.text()))
    }

    fn tree(&self) -> Option<&Tree> {
        self.tree.get_or_init(|| super::locate(self.text())).as_ref()
    }
}

/// Reads a test file.
pub(crate) fn read_test_file(text: &[u8], options: &Options<'_>) -> Result<Loaded<TestFile>, InvalidDocument> {
    // A key that nobody reads is a check that nobody makes.
    load(text, &Options { strict: true, ..*options }, "test files must", read::test_file)
}

/// Reads a file of mocks.
pub(crate) fn read_mock_file(text: &[u8], options: &Options<'_>) -> Result<Loaded<MockFile>, InvalidDocument> {
    load(text, &Options { strict: true, ..*options }, "files of mocks must", read::mock_file)
}

/// Reads a configuration file.
pub(crate) fn read_config(text: &[u8], options: &Options<'_>) -> Result<Loaded<ConfigLayer>, InvalidDocument> {
    load(text, options, "configuration must", read::config_layer)
}

/// Returns what settings that have been read say, defaults filled in.
pub(crate) fn config_of(settings: &Value, problems: &mut Problems) -> Config {
    read::config(settings, problems)
}

/// Reads a prompt.
pub(crate) fn read_prompt(text: &[u8], options: &Options<'_>) -> Result<Loaded<AgentPrompt>, InvalidDocument> {
    load(text, options, "prompts must", |document, problems| read::prompt(document, options.strict, problems))
}

fn load<T>(
    text: &[u8],
    options: &Options<'_>,
    subject: &str,
    read: impl FnOnce(&Value, &mut Problems) -> Option<T>,
) -> Result<Loaded<T>, InvalidDocument> {
    let document = open(text, options.limits.text).and_then(|text| Document::parse(text, options, subject));
    let document = document.and_then(|document| document.expect_object(subject));
    let document = document.map_err(|diagnostic| InvalidDocument::new(vec![diagnostic]))?;
    let mut problems = Problems::new(options.strict);
    document.duplicate_keys(&mut problems);
    let value = read(&document.value, &mut problems);
    let failed = problems.has_errors();
    let found = position::to_diagnostics(problems.into_found(), &[], &document);
    match value {
        Some(value) if !failed => Ok(Loaded { value, warnings: found, places: Places::new(document) }),
        _ => Err(InvalidDocument::new(found)),
    }
}
