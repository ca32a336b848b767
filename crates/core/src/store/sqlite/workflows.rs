//! Workflows, each written and read once: parsing and checking one takes longer than all else about a short execution.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    codec::RowError,
    pieces::{Hash, hash},
};
use orchestr8_schema::{ValidWorkflow, source::Options};

/// A workflow as it is written down.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) hash: Hash,
    pub(super) bytes: Arc<[u8]>,
}

/// The workflows used last, the newest first.
#[derive(Debug, Default)]
pub(super) struct Workflows {
    known: Mutex<VecDeque<(ValidWorkflow, Written)>>,
}

impl Workflows {
    /// How many are known at a time; others are written or read again.
    const MAX: usize = 64;

    /// Writes a workflow with its sub-workflows.
    pub(super) fn written(&self, workflow: &ValidWorkflow) -> Written {
        if let Some((_, written)) = self.find(|(known, _)| known.is_same(workflow)) {
            return written;
        }
        let bytes: Arc<[u8]> = workflow.to_bundle().to_string().into_bytes().into();
        let written = Written { hash: hash(&bytes), bytes };
        self.learn(workflow.clone(), written.clone());
        written
    }

    /// Reads a workflow; `bytes` gives what is kept under the hash, and is asked only if that is not known.
    pub(super) fn read(
        &self,
        hash: Hash,
        bytes: impl FnOnce() -> Result<Vec<u8>, RowError>,
    ) -> Result<ValidWorkflow, RowError> {
        if let Some((workflow, _)) = self.find(|(_, written)| written.hash == hash) {
            return Ok(workflow);
        }
        let bytes = bytes()?;
        let bundle = serde_json::from_slice(&bytes).map_err(|error| RowError::Workflow(error.to_string()))?;
        let workflow = ValidWorkflow::from_bundle(&bundle, &Options::new().stored(true))
            .map_err(|error| RowError::Workflow(error.to_string()))?;
        self.learn(workflow.clone(), Written { hash, bytes: bytes.into() });
        Ok(workflow)
    }

    fn find(&self, is_it: impl Fn(&(ValidWorkflow, Written)) -> bool) -> Option<(ValidWorkflow, Written)> {
        let mut known = self.known();
        match known.iter().position(is_it)? {
            0 => {}
            place => {
                let found = known.remove(place)?;
                known.push_front(found);
            }
        }
        known.front().cloned()
    }

    fn learn(&self, workflow: ValidWorkflow, written: Written) {
        let mut known = self.known();
        known.push_front((workflow, written));
        known.truncate(Self::MAX);
    }

    fn known(&self) -> MutexGuard<'_, VecDeque<(ValidWorkflow, Written)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
