//! A workflow file: read, then checked, with its text kept for drawing problems.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use orchestr8_schema::{
    Code, Diagnostic, InvalidWorkflow, ValidWorkflow,
    source::{Options, load, load_value, parse},
};
use serde_json::{Map, Value};

use crate::{
    Error,
    inline_prompts::{InlinePrompts, Inlined},
    render::Report,
    workflow_folder::{WorkflowFolder, normalize},
};

/// The most bytes of text that a workflow may have.
pub(crate) const MAX_SIZE: u64 = 10_000_000;

/// The text of a workflow and the name under which people know it.
#[derive(Clone, Debug)]
pub struct WorkflowFile {
    name: String,
    bytes: Vec<u8>,
    /// Where its sub-workflows are.
    folder: WorkflowFolder,
    prompts: Option<InlinePrompts>,
}

impl WorkflowFile {
    /// Reads a file; `-` is standard input.
    ///
    /// # Errors
    ///
    /// When there is no such file, it cannot be read, or it is larger than a workflow may be.
    pub fn read(path: &Path) -> Result<Self, Error> {
        if path == Path::new("-") {
            return Self::read_from(io::stdin().lock(), "<stdin>".to_owned(), None);
        }
        let name = path.display().to_string();
        let failed = |error: io::Error| {
            let hint = match error.kind() {
                io::ErrorKind::NotFound => neighbour(path),
                _ => None,
            };
            let error = Error::usage(format!("cannot read `{name}`")).with_source(error);
            match hint {
                Some(near) => error.with_hint(format!("did you mean `{}`?", near.display())),
                None => error.with_hint(format!("ls {}", folder(path).display())),
            }
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(Error::usage(format!("cannot read `{name}`: it is a directory"))
                .with_hint(format!("orchestr8 validate {}", path.join("*.yaml").display())));
        }
        Self::read_from(file, name, Some(metadata.len()))
    }

    fn read_from(source: impl Read, name: String, size: Option<u64>) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        if size.is_none_or(|size| size <= MAX_SIZE) {
            source
                .take(MAX_SIZE + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| Error::usage(format!("cannot read `{name}`")).with_source(error))?;
        }
        if size.unwrap_or(bytes.len() as u64) > MAX_SIZE || bytes.len() as u64 > MAX_SIZE {
            let known = size.map(|size| format!(" ({:.1} MB)", size as f64 / 1e6)).unwrap_or_default();
            let message = format!("the file has more than 10 MB{known}");
            let diagnostic = Diagnostic::new(Code::TooLong, "", message).with_help("pass large data as input");
            return Err(Error::invalid_file(Report::new(name, "", vec![diagnostic])));
        }
        Ok(Self { name, bytes, folder: WorkflowFolder::default(), prompts: None })
    }

    /// Has prompts that stand in files written into the workflow and its sub-workflows when they are checked.
    pub(crate) fn with_prompts(mut self, prompts: InlinePrompts) -> Self {
        self.prompts = Some(prompts);
        self
    }

    /// Checks the workflow and its sub-workflows. The options' format is that of the file's name.
    ///
    /// # Errors
    ///
    /// The report of all problems, if one of them is an error.
    pub fn check(&self, options: Options<'_>) -> Result<ValidWorkflow, Report> {
        self.load(options).map_err(|problems| self.report(problems))
    }

    /// As [`check`](Self::check), with problems that are not yet put together with their text.
    pub(crate) fn load(&self, options: Options<'_>) -> Result<ValidWorkflow, Vec<Diagnostic>> {
        let told = InvalidWorkflow::into_diagnostics;
        let options = options.file_name(&self.name);
        // First as it is written, so that problems have their places.
        let workflow = load(&self.bytes, &options.workflows(&self.folder)).map_err(told)?;
        let Some(prompts) = &self.prompts else { return Ok(workflow) };
        let Inlined { document, problems, warnings: of_prompts, .. } = prompts.inline(&self.bytes, &self.name);
        if !problems.is_empty() {
            return Err(problems);
        }
        if document.is_none() && self.sub_workflows().next().is_none() {
            return Ok(workflow);
        }
        let folder = WorkflowFolder::default().with_prompts(prompts.clone());
        let options = options.workflows(&folder);
        let inlined = match document {
            Some(document) => load_value(&document, &options).map_err(told)?,
            None => load(&self.bytes, &options).map_err(told)?,
        };
        // What there is to say of the workflow was said of it as it is written, with its places.
        let warnings = workflow.warnings().iter().cloned().chain(of_prompts).chain(folder.prompt_warnings());
        Ok(inlined.with_warnings(warnings.collect()))
    }

    /// Puts problems together with the text that they are about.
    #[must_use]
    pub fn report(&self, diagnostics: Vec<Diagnostic>) -> Report {
        let mut texts = self.folder.texts();
        // What is not a workflow is a prompt, which was small enough to be read.
        for file in diagnostics.iter().filter_map(|diagnostic| diagnostic.file.as_ref()) {
            if !texts.contains_key(file)
                && let Ok(text) = fs::read_to_string(file)
            {
                texts.insert(file.clone(), text);
            }
        }
        Report::new(self.name.clone(), String::from_utf8_lossy(&self.bytes), diagnostics).with(texts)
    }

    /// Returns the names of the files of sub-workflows that checking has read.
    pub(crate) fn sub_workflows(&self) -> impl Iterator<Item = String> {
        self.folder.texts().into_keys()
    }

    /// Returns the documents of the sub-workflows that checking has read, by their places relative to the file, for a server that
    /// reads no files.
    pub(crate) fn bundle(&self, path: &Path) -> Map<String, Value> {
        let place = normalize(folder(path));
        let document = |(name, text): (String, String)| {
            let inlined = self.prompts.as_ref().and_then(|prompts| prompts.inline(text.as_bytes(), &name).document);
            let text = inlined.map_or(text, |document| document.to_string());
            let parsed = parse(text, &Options::new().file_name(&name)).ok()?;
            Some((relative(Path::new(&name), &place), serde_json::to_value(parsed).ok()?))
        };
        self.folder.texts().into_iter().filter_map(document).collect()
    }

    /// Returns the file's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Names a file as seen from a folder; both are without `.`, and with `..` at their beginning only.
fn relative(path: &Path, folder: &Path) -> String {
    let (mut path, mut folder) = (path.components().peekable(), folder.components().peekable());
    while path.peek().is_some() && path.peek() == folder.peek() {
        path.next();
        folder.next();
    }
    let up = folder.map(|_| Component::ParentDir);
    up.chain(path).collect::<PathBuf>().display().to_string()
}

/// Finds the file beside a missing one that was probably meant: the same name up to case or extension.
fn neighbour(path: &Path) -> Option<PathBuf> {
    let folder = folder(path);
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase());
    let wanted = stem(path)?;
    let mut near: Vec<_> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| stem(Path::new(name)).is_some_and(|stem| stem == wanted))
        .collect();
    near.sort();
    let near = near.into_iter().next()?;
    Some(if folder == Path::new(".") { PathBuf::from(near) } else { folder.join(near) })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::relative;

    #[test]
    fn files_are_named_as_seen_from_a_folder() {
        for (path, folder, name) in [
            ("b.yaml", "", "b.yaml"),
            ("flows/b.yaml", "flows", "b.yaml"),
            ("flows/parts/b.yaml", "flows", "parts/b.yaml"),
            ("shared/b.yaml", "flows/main", "../../shared/b.yaml"),
            ("../b.yaml", "", "../b.yaml"),
            ("/data/b.yaml", "/data/flows", "../b.yaml"),
        ] {
            assert_eq!(relative(Path::new(path), Path::new(folder)), name);
        }
    }
}
