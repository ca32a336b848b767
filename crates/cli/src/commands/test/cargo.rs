//! Crates with agents, whose tests cargo runs.

use std::{
    io,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use orchestr8_agent_base::Clock as _;
use orchestr8_core::clock::SystemClock;
use serde::{Serialize, Serializer};

use crate::{Error, ui::Ui};

/// What came of a crate's tests.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CrateReport {
    /// Its folder.
    #[serde(rename = "crate")]
    pub(super) folder: String,
    /// Whether all of them passed.
    pub(super) passed: bool,
    /// How long they took.
    #[serde(rename = "durationMs", serialize_with = "millis")]
    pub(super) duration: Duration,
}

/// Whether a path is a folder with a manifest of cargo.
pub(super) fn is_crate(path: &Path) -> bool {
    path.is_dir() && path.join("Cargo.toml").is_file()
}

/// Has cargo run the tests of a crate, with what it prints shown as it comes: on standard error where standard output is for data.
pub(super) fn test(ui: Ui, folder: &Path, filter: Option<&str>, coverage: bool) -> Result<CrateReport, Error> {
    let name = folder.display().to_string();
    let clock = SystemClock::new();
    let began = clock.now();
    // Whoever is inside of cargo already, as a test of a test is, knows which one is meant.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    if coverage {
        command.arg("llvm-cov");
    }
    command.arg("test").arg("--manifest-path").arg(folder.join("Cargo.toml"));
    if let Some(filter) = filter {
        command.args(["--", filter]);
    }
    if ui.is_json() {
        command.stdout(Stdio::from(io::stderr()));
    }
    let failed = |error: io::Error| Error::usage(format!("cannot test the crate in `{name}`")).with_source(error);
    if coverage && !has_coverage() {
        return Err(Error::usage("the coverage of crates is told by cargo-llvm-cov, which is not installed")
            .with_hint("cargo install cargo-llvm-cov, or leave out --coverage"));
    }
    let status = command.stdin(Stdio::null()).status().map_err(failed)?;
    Ok(CrateReport { folder: name, passed: status.success(), duration: clock.now().since(began) })
}

fn has_coverage() -> bool {
    let mut asked = Command::new("cargo-llvm-cov");
    asked.args(["llvm-cov", "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
