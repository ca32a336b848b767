//! The files that sub-workflows are read from.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use orchestr8_schema::{
    Diagnostic,
    validate::{LoadError, WorkflowLoader},
};

use crate::{
    inline_prompts::{InlinePrompts, Inlined},
    workflow_file::MAX_SIZE,
};

/// Finds sub-workflows by paths relative to the file in which they are referred to, and keeps their texts for drawing problems.
///
/// Only files whose names end in `.json`, `.yaml` or `.yml` are read, so that a workflow cannot make the program open anything
/// else.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkflowFolder {
    /// Files by the ids of their workflows.
    known: Arc<BTreeMap<String, String>>,
    /// Those that were looked for, also where there are none.
    wanted: RefCell<BTreeSet<String>>,
    texts: RefCell<BTreeMap<String, Vec<u8>>>,
    /// Has prompts written into what is read.
    prompts: Option<InlinePrompts>,
    /// What there is to say of the prompts.
    warnings: RefCell<Vec<Diagnostic>>,
}

impl WorkflowFolder {
    /// Finds some sub-workflows by their ids, too.
    pub(crate) fn knowing(known: Arc<BTreeMap<String, String>>) -> Self {
        Self { known, ..Self::default() }
    }

    /// Writes prompts into the workflows that are read.
    pub(crate) fn with_prompts(mut self, prompts: InlinePrompts) -> Self {
        self.prompts = Some(prompts);
        self
    }

    /// Returns the names of all files that were looked for, also where there are none.
    pub(crate) fn wanted(&self) -> BTreeSet<String> {
        self.wanted.borrow().clone()
    }

    /// Returns what there is to say of the prompts of what has been read.
    pub(crate) fn prompt_warnings(&self) -> Vec<Diagnostic> {
        self.warnings.borrow().clone()
    }

    /// Returns the texts that have been read, by the files' names.
    pub(crate) fn texts(&self) -> BTreeMap<String, String> {
        let texts = self.texts.borrow();
        texts.iter().map(|(name, text)| (name.clone(), String::from_utf8_lossy(text).into_owned())).collect()
    }
}

impl WorkflowLoader for WorkflowFolder {
    fn resolve(&self, reference: &str, from: Option<&str>) -> Result<String, LoadError> {
        if !(reference.starts_with("./") || reference.starts_with("../")) {
            let file = self.known.get(reference).cloned();
            return file.ok_or_else(|| LoadError::new("no workflow with this id is known here"));
        }
        let folder = from.and_then(|from| Path::new(from).parent()).unwrap_or(Path::new(""));
        let path = normalize(&folder.join(reference));
        if !is_workflow_name(&path) {
            return Err(LoadError::new("a workflow file ends in .json, .yaml or .yml"));
        }
        Ok(path.display().to_string())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, LoadError> {
        self.wanted.borrow_mut().insert(name.to_owned());
        let failed = |error: io::Error| LoadError::new(error.to_string());
        let file = File::open(name).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(LoadError::new("it is not a file"));
        }
        let mut text = Vec::new();
        file.take(MAX_SIZE + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_SIZE {
            return Err(LoadError::new("the file has more than 10 MB"));
        }
        if let Some(prompts) = &self.prompts {
            let Inlined { document, wanted, problems, warnings } = prompts.inline(&text, name);
            self.warnings.borrow_mut().extend(warnings);
            self.wanted.borrow_mut().extend(wanted.iter().map(|path| path.display().to_string()));
            if let Some(problem) = problems.first() {
                return Err(LoadError::new(told(problem)));
            }
            // JSON is YAML.
            text = document.map_or(text, |document| document.to_string().into_bytes());
        }
        self.texts.borrow_mut().insert(name.to_owned(), text.clone());
        Ok(text)
    }
}

/// A problem in one line, with the place in the file that it is about.
fn told(problem: &Diagnostic) -> String {
    let Some(file) = &problem.file else { return problem.message.clone() };
    let place = problem.span.map_or_else(String::new, |span| format!(":{}:{}", span.line, span.column));
    format!("{file}{place}: {}", problem.message)
}

/// Whether a file may hold a workflow by its name.
pub(crate) fn is_workflow_name(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|extension| ["json", "yaml", "yml"].iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// Takes `.` and `..` out of a path as far as its text allows, so that one file has one name.
pub(crate) fn normalize(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(normal.components().next_back(), Some(Component::Normal(_))) => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use orchestr8_schema::validate::WorkflowLoader;

    use super::WorkflowFolder;

    #[test]
    fn references_are_relative_to_the_file_that_holds_them() {
        let resolve =
            |reference, from| WorkflowFolder::default().resolve(reference, from).map_err(|error| error.to_string());
        assert_eq!(resolve("./b.yaml", Some("flows/a.yaml")), Ok("flows/b.yaml".to_owned()));
        assert_eq!(resolve("../c/./b.json", Some("flows/a.yaml")), Ok("c/b.json".to_owned()));
        assert_eq!(resolve("../../b.yml", Some("flows/a.yaml")), Ok("../b.yml".to_owned()));
        assert_eq!(resolve("./b.yaml", None), Ok("b.yaml".to_owned()));
        assert!(resolve("./passwd", Some("/etc/a.yaml")).is_err());
        assert!(resolve("onboarding", Some("a.yaml")).is_err());
    }
}
