//! Another orchestr8 program, measured beside this one

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Report, baseline::Workloads, percentiles::Percentiles};
use crate::Error;

/// Another program and what it has measured of itself so far.
#[derive(Debug)]
pub(super) struct Peer {
    program: PathBuf,
    workflows: Vec<PathBuf>,
    report: Report,
}

impl Peer {
    pub(super) fn new(program: &Path, workflows: &[PathBuf]) -> Self {
        Self { program: program.to_owned(), workflows: workflows.to_vec(), report: Report::default() }
    }

    /// Has it measure itself so many times more.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or does not tell what it has measured.
    pub(super) fn measure(&mut self, warmup: u32, samples: u32) -> Result<(), Error> {
        let mut command = Command::new(&self.program);
        command.args(["bench", "--json", "--warmup", &warmup.to_string(), "--samples", &samples.to_string()]);
        command.args(self.workflows.iter().flat_map(|path| [OsString::from("--workflow"), path.into()]));
        let output = command.output().map_err(|error| {
            Error::unreachable(format!("cannot start `{}`", self.program.display())).with_source(error)
        })?;
        let Ok(report) = serde_json::from_slice::<Report>(&output.stdout) else {
            let said = String::from_utf8_lossy(&output.stderr);
            let message = format!("`{}` cannot be measured: {}", self.program.display(), said.trim());
            return Err(Error::usage(message).with_hint("name an orchestr8 program that has `bench`"));
        };
        self.report.version = report.version;
        for (name, measured) in report.workloads {
            self.report.workloads.entry(name).or_default().durations_us.extend(measured.durations_us);
        }
        Ok(())
    }

    /// Returns which version it is.
    pub(super) fn version(&self) -> String {
        self.report.version.clone()
    }

    pub(super) fn percentiles(&self) -> Workloads {
        let of =
            |(name, measured): (&String, &super::Measured)| (name.clone(), Percentiles::of(&measured.durations_us));
        self.report.workloads.iter().map(of).collect()
    }
}
