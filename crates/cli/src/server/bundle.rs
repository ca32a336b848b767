//! What the workflow of a request refers to: documents that the request brings along, and workflows of the catalogue by their ids. No path
//! that a request names is ever read here.

use std::{collections::BTreeMap, path::Path};

use orchestr8_schema::validate::{LoadError, WorkflowLoader};
use serde_json::value::RawValue;

use super::problem::Rejection;
use crate::{
    catalogue::Catalogue,
    workflow_folder::{WorkflowFolder, normalize},
};

/// Documents by the names under which a workflow refers to them; beside them, the catalogue.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    documents: BTreeMap<String, Box<RawValue>>,
    catalogue: Catalogue,
    /// Where workflows of the catalogue have their own sub-workflows.
    folder: WorkflowFolder,
}

impl Bundle {
    const MAX: usize = 100;
    /// What the names of files of the catalogue begin with.
    const FILE: &str = "catalogue:";

    pub(super) fn new(documents: BTreeMap<String, Box<RawValue>>, catalogue: &Catalogue) -> Result<Self, Rejection> {
        if documents.len() > Self::MAX {
            let message = format!("`bundle` has {} documents, and {} are allowed", documents.len(), Self::MAX);
            return Err(Rejection::bad_request(message));
        }
        let documents = documents.into_iter().map(|(name, document)| (one_name(Path::new(&name)), document));
        Ok(Self { documents: documents.collect(), catalogue: catalogue.clone(), ..Self::default() })
    }

    /// The file that a name means, unless the request has brought something under that name along.
    fn file<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_prefix(Self::FILE).filter(|_| !self.documents.contains_key(name))
    }
}

impl WorkflowLoader for Bundle {
    fn resolve(&self, reference: &str, from: Option<&str>) -> Result<String, LoadError> {
        let is_path = reference.starts_with("./") || reference.starts_with("../");
        if let Some(file) = from.and_then(|from| self.file(from)).filter(|_| is_path) {
            return Ok(format!("{}{}", Self::FILE, self.folder.resolve(reference, Some(file))?));
        }
        let folder = from.and_then(|from| Path::new(from).parent()).unwrap_or(Path::new(""));
        let near = one_name(&folder.join(reference));
        let names = [near, one_name(Path::new(reference))];
        if let Some(name) = names.into_iter().find(|name| self.documents.contains_key(name)) {
            return Ok(name);
        }
        if is_path {
            return Err(LoadError::new("it is not in `bundle`"));
        }
        let listing = self.catalogue.look();
        let catalogued = listing.get(reference).map(|found| format!("{}{}", Self::FILE, found.file.display()));
        catalogued.ok_or_else(|| LoadError::new("it is neither in `bundle` nor in the catalogue"))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, LoadError> {
        if let Some(file) = self.file(name) {
            return self.folder.read(file);
        }
        let document = self.documents.get(name).ok_or_else(|| LoadError::new("it is not in `bundle`"))?;
        Ok(document.get().as_bytes().to_vec())
    }
}

fn one_name(path: &Path) -> String {
    normalize(path).display().to_string()
}
