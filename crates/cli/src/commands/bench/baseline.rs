//! What was measured before: `baselines.json` in the data directory

use std::{fs, io, path::Path};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Report, percentiles::Percentiles};
use crate::{Error, data::DataDir, private_file};

const FILE: &str = "baselines.json";

/// A baseline for each version, the one that was saved last at the end.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Baselines(IndexMap<String, Workloads>);

/// What was measured, by the name of the workflow.
pub(super) type Workloads = IndexMap<String, Percentiles>;

impl Baselines {
    /// Reads them; there are none where there is no file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is none of ours.
    pub(super) fn read(data: &DataDir) -> Result<Self, Error> {
        let path = data.file(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unusable(&path, error)),
        };
        serde_json::from_slice(&text).map_err(|error| unusable(&path, error.into()))
    }

    /// Returns the one that was saved last, and of which version it is.
    ///
    /// # Errors
    ///
    /// When nothing was saved yet.
    pub(super) fn latest(&self) -> Result<(String, Workloads), Error> {
        let latest = self.0.last().map(|(version, workloads)| (version.clone(), workloads.clone()));
        latest.ok_or_else(|| Error::usage("there is nothing to compare with yet").with_hint("orchestr8 bench --save"))
    }

    /// Keeps what was measured as the baseline of its version. Workflows that were not measured this time keep theirs.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(super) fn keep(&mut self, data: &DataDir, report: &Report) -> Result<(), Error> {
        let mut workloads = self.0.shift_remove(&report.version).unwrap_or_default();
        workloads.extend(report.workloads.iter().map(|(name, measured)| (name.clone(), measured.percentiles)));
        self.0.insert(report.version.clone(), workloads);
        let path = data.file(FILE);
        let text = serde_json::to_vec_pretty(self);
        let text = text.map_err(|error| Error::internal("writing JSON").with_source(error))?;
        private_file::replace(&path, &text)
            .map_err(|error| Error::unreachable(format!("cannot write `{}`", path.display())).with_source(error))
    }
}

fn unusable(path: &Path, error: io::Error) -> Error {
    Error::usage(format!("`{}` holds no baselines", path.display()))
        .with_source(error)
        .with_hint("move the file away, and save anew with orchestr8 bench --save")
}
