//! What a request brings along: the documents that its workflow refers to. No path that a request names is ever read here.

use std::{collections::BTreeMap, path::Path};

use orchestr8_schema::validate::{LoadError, WorkflowLoader};
use serde_json::value::RawValue;

use super::problem::Rejection;
use crate::workflow_folder::normalize;

/// Documents by the names under which a workflow refers to them.
#[derive(Debug, Default)]
pub(super) struct Bundle(BTreeMap<String, Box<RawValue>>);

impl Bundle {
    const MAX: usize = 100;

    pub(super) fn new(documents: BTreeMap<String, Box<RawValue>>) -> Result<Self, Rejection> {
        if documents.len() > Self::MAX {
            let message = format!("`bundle` has {} documents, and {} are allowed", documents.len(), Self::MAX);
            return Err(Rejection::bad_request(message));
        }
        Ok(Self(documents.into_iter().map(|(name, document)| (one_name(Path::new(&name)), document)).collect()))
    }
}

impl WorkflowLoader for Bundle {
    fn resolve(&self, reference: &str, from: Option<&str>) -> Result<String, LoadError> {
        let folder = from.and_then(|from| Path::new(from).parent()).unwrap_or(Path::new(""));
        let near = one_name(&folder.join(reference));
        let names = [near, one_name(Path::new(reference))];
        let known = names.into_iter().find(|name| self.0.contains_key(name));
        known.ok_or_else(|| LoadError::new("it is not in `bundle`"))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, LoadError> {
        let document = self.0.get(name).ok_or_else(|| LoadError::new("it is not in `bundle`"))?;
        Ok(document.get().as_bytes().to_vec())
    }
}

fn one_name(path: &Path) -> String {
    normalize(path).display().to_string()
}
