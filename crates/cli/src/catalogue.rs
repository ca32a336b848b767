//! The catalogue: the workflow files of some folders, by the ids of their workflows.
//!
//! Whoever [looks](Catalogue::look) sees the files as they are at that moment. Only their times and lengths are compared each time; when one
//! has changed, come or gone, a file of a sub-workflow included, all are read again. A file that cannot be used is listed with what is
//! wrong with it, and said so in the log once; the others are not touched by it.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use orchestr8_agent_base::AgentRegistry;
use orchestr8_schema::{
    Diagnostic, ValidWorkflow,
    source::{Options, load, load_value, parse},
    validate::WorkflowLoader as _,
};
use serde_json::Value;

use crate::{
    commands::test::is_test_file,
    files_below::files_below,
    inline_prompts::{InlinePrompts, Inlined},
    workflow_folder::{WorkflowFolder, is_workflow_name},
};

/// The workflow files of some folders. Clones are the same catalogue.
#[derive(Clone, Debug, Default)]
pub struct Catalogue(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    places: Vec<PathBuf>,
    agents: AgentRegistry,
    prompts: InlinePrompts,
    known: Mutex<Known>,
}

/// What was seen the last time.
#[derive(Debug, Default)]
struct Known {
    /// The files that everything depends on.
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
    /// The files that were looked for, those of sub-workflows included.
    wanted: BTreeSet<PathBuf>,
    missing: Vec<UnusableFile>,
    listing: Arc<Listing>,
}

/// What tells whether a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
}

/// What the catalogue holds at one moment.
#[derive(Debug, Default)]
pub struct Listing {
    workflows: BTreeMap<String, CataloguedWorkflow>,
    unusable: Vec<UnusableFile>,
}

/// A workflow and the file that it stands in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CataloguedWorkflow {
    /// The workflow, its sub-workflows included.
    pub workflow: ValidWorkflow,
    /// Its file.
    pub file: PathBuf,
}

/// A file that offers no workflow, and why.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct UnusableFile {
    /// The file, or the folder that cannot be read.
    pub file: PathBuf,
    /// The id that the workflow would have, if that much can be read.
    pub id: Option<String>,
    /// Why, for people.
    pub reason: String,
    /// Everything that is wrong with the workflow; empty if it was not looked at.
    pub diagnostics: Vec<Diagnostic>,
}

impl Catalogue {
    /// The most files that are read; further ones are told as unusable.
    pub const MAX_FILES: usize = 1000;
    /// The most bytes of text that are read; files behind them are told as unusable.
    pub const MAX_TEXT: usize = 100_000_000;

    /// Makes a catalogue of files, and of the workflow files below folders. They are checked against these agents.
    ///
    /// Below folders, test files, hidden folders and documents without `steps` are left out; a file that is named counts whatever it is.
    #[must_use]
    pub fn new(places: Vec<PathBuf>, agents: AgentRegistry) -> Self {
        Self::with_prompts(places, agents, Vec::new())
    }

    /// As [`new`](Self::new). Prompts that files name are looked for beside the file, then in these folders, and written into the workflows.
    #[must_use]
    pub fn with_prompts(places: Vec<PathBuf>, agents: AgentRegistry, folders: Vec<PathBuf>) -> Self {
        let prompts = InlinePrompts::new(folders);
        Self(Arc::new(Inner { places, agents, prompts, known: Mutex::default() }))
    }

    /// Whether a workflow is one of the catalogue as it is now, its sub-workflows included. This reads the disk.
    #[must_use]
    pub fn offers(&self, workflow: &ValidWorkflow) -> bool {
        self.look().get(workflow.id()).is_some_and(|known| known.workflow == *workflow)
    }

    /// Looks at what there is. This reads the disk.
    #[must_use]
    pub fn look(&self) -> Arc<Listing> {
        if self.0.places.is_empty() {
            return Arc::default();
        }
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Found { files, missing } = Found::at(&self.0.places);
        // From before they are read, since a change meanwhile must be seen. Files of sub-workflows that are new have none yet, so
        // that the next look reads once more.
        let stamps: BTreeMap<_, _> =
            files.keys().chain(&known.wanted).map(|path| (path.clone(), Stamp::of(path))).collect();
        if stamps != known.stamps || missing != known.missing {
            let mut reading = Reading::new(&self.0.agents, &self.0.prompts, &missing);
            reading.read(files);
            reading.listing.log();
            *known = Known { stamps, wanted: reading.wanted, missing, listing: Arc::new(reading.listing) };
        }
        Arc::clone(&known.listing)
    }
}

impl Listing {
    /// Returns the workflows in the order of their ids.
    pub fn list(&self) -> impl Iterator<Item = &CataloguedWorkflow> {
        self.workflows.values()
    }

    /// Returns the workflow of an id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&CataloguedWorkflow> {
        self.workflows.get(id)
    }

    /// Returns the files that offer no workflow, in the order of their names.
    #[must_use]
    pub fn unusable(&self) -> &[UnusableFile] {
        &self.unusable
    }

    fn log(&self) {
        for UnusableFile { file, reason, diagnostics, .. } in &self.unusable {
            let first = diagnostics.iter().find(|diagnostic| diagnostic.is_error()).map(tracing::field::display);
            tracing::warn!(file = %file.display(), problem = first, "not in the catalogue: {reason}");
        }
        tracing::debug!(workflows = self.workflows.len(), "read the catalogue");
    }
}

impl UnusableFile {
    fn new(file: &Path, reason: impl Into<String>) -> Self {
        Self { file: file.to_owned(), id: None, reason: reason.into(), diagnostics: Vec::new() }
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self { modified: metadata.modified().ok(), length: metadata.len() })
    }
}

/// The files of the places.
struct Found {
    /// Whether each was named, rather than found below a folder.
    files: BTreeMap<PathBuf, bool>,
    missing: Vec<UnusableFile>,
}

impl Found {
    fn at(places: &[PathBuf]) -> Self {
        let mut found = Self { files: BTreeMap::new(), missing: Vec::new() };
        for place in places {
            if !place.is_dir() {
                found.add(place.clone(), true);
                continue;
            }
            match files_below(place, |path| is_workflow_name(path) && !is_test_file(path)) {
                Ok(files) => files.into_iter().for_each(|file| found.add(file, false)),
                Err((folder, error)) => found.missing.push(UnusableFile::new(&folder, unreadable(&error))),
            }
        }
        found
    }

    fn add(&mut self, file: PathBuf, is_named: bool) {
        let is_full = self.files.len() >= Catalogue::MAX_FILES;
        match self.files.get_mut(&file) {
            Some(was_named) => *was_named |= is_named,
            None if is_full => {
                let reason = format!("the catalogue has {} files already", Catalogue::MAX_FILES);
                self.missing.push(UnusableFile::new(&file, reason));
            }
            None => {
                self.files.insert(file, is_named);
            }
        }
    }
}

/// All files, as they are read.
struct Reading<'a> {
    agents: &'a AgentRegistry,
    prompts: &'a InlinePrompts,
    listing: Listing,
    /// Everything that was looked for, files of sub-workflows included.
    wanted: BTreeSet<PathBuf>,
    /// The bytes of text that may still be read.
    left: usize,
}

impl<'a> Reading<'a> {
    fn new(agents: &'a AgentRegistry, prompts: &'a InlinePrompts, missing: &[UnusableFile]) -> Self {
        let listing = Listing { workflows: BTreeMap::new(), unusable: missing.to_vec() };
        Self { agents, prompts, listing, wanted: BTreeSet::new(), left: Catalogue::MAX_TEXT }
    }

    fn read(&mut self, files: BTreeMap<PathBuf, bool>) {
        let (mut ids, mut wanted) = (BTreeMap::<String, String>::new(), Vec::new());
        for (file, is_named) in files {
            match self.header(&file) {
                Ok(header) if header.has_steps || is_named => {
                    if let Some(id) = &header.id {
                        if let Some(first) = ids.get(id) {
                            let unusable = UnusableFile::new(&file, format!("{first} has the id `{id}` already"));
                            self.listing.unusable.push(UnusableFile { id: header.id, ..unusable });
                            continue;
                        }
                        ids.insert(id.clone(), file.display().to_string());
                    }
                    wanted.push((file, header.id));
                }
                Ok(_) => {}
                Err(unusable) => self.listing.unusable.push(unusable),
            }
        }
        let ids = Arc::new(ids);
        wanted.into_iter().for_each(|(file, id)| self.check(file, id, &ids));
        self.listing.unusable.sort_by(|one, other| one.file.cmp(&other.file));
    }

    /// Finds out which workflow a file holds.
    fn header(&mut self, file: &Path) -> Result<Header, UnusableFile> {
        let name = file.display().to_string();
        let text = WorkflowFolder::default().read(&name);
        let text = text.map_err(|error| UnusableFile::new(file, unreadable(&error)))?;
        self.left = self.left.checked_sub(text.len()).ok_or_else(|| {
            UnusableFile::new(file, format!("the files before it have {} MB already", Catalogue::MAX_TEXT / 1_000_000))
        })?;
        let document = parse(&text, &Options::new().file_name(&name)).map_err(|invalid| UnusableFile {
            diagnostics: invalid.into_diagnostics(),
            ..UnusableFile::new(file, "it is neither JSON nor YAML")
        })?;
        let id = document.pointer("/metadata/id").and_then(Value::as_str).map(str::to_owned);
        Ok(Header { id, has_steps: document.get("steps").is_some() })
    }

    fn check(&mut self, file: PathBuf, id: Option<String>, ids: &Arc<BTreeMap<String, String>>) {
        let (name, folder) = (file.display().to_string(), WorkflowFolder::knowing(Arc::clone(ids)));
        let options = Options::new().file_name(&name).agents(self.agents).workflows(&folder);
        let invalid = |diagnostics: Vec<Diagnostic>| UnusableFile {
            id: id.clone(),
            diagnostics,
            ..UnusableFile::new(&file, "the workflow is not valid")
        };
        let workflow = match folder.read(&name) {
            Ok(text) => {
                // First as it is written, so that problems have their places.
                let workflow = load(&text, &options).map_err(|found| invalid(found.into_diagnostics()));
                let inlining = folder.clone().with_prompts(self.prompts.clone());
                let options = options.workflows(&inlining);
                let whole = workflow.and_then(|workflow| {
                    let Inlined { document, wanted, problems, .. } = self.prompts.inline(&text, &name);
                    self.wanted.extend(wanted);
                    if !problems.is_empty() {
                        return Err(invalid(problems));
                    }
                    let has_sub_workflows = workflow.sub_workflows().next().is_some();
                    if document.is_none() && !has_sub_workflows {
                        return Ok(workflow);
                    }
                    let whole = match document {
                        Some(document) => load_value(&document, &options),
                        None => load(&text, &options),
                    };
                    whole.map_err(|found| invalid(found.into_diagnostics()))
                });
                self.wanted.extend(inlining.wanted().into_iter().map(PathBuf::from));
                whole
            }
            Err(error) => Err(UnusableFile { id, ..UnusableFile::new(&file, unreadable(&error)) }),
        };
        match workflow {
            Ok(workflow) => {
                let id = workflow.id().to_owned();
                self.listing.workflows.insert(id, CataloguedWorkflow { workflow, file });
            }
            Err(unusable) => self.listing.unusable.push(unusable),
        }
        self.wanted.extend(folder.wanted().into_iter().map(PathBuf::from));
    }
}

/// What must be known of a file before it is checked.
struct Header {
    id: Option<String>,
    has_steps: bool,
}

fn unreadable(error: &dyn Error) -> String {
    format!("it cannot be read: {error}")
}
