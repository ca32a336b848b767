//! Approvals that are answered where a file is run, at a terminal.

use std::{fs, path::Path};

use crate::support::{Said, terminal::Terminal};

const GATE: &str = "\
version: 1.0.0
metadata: { id: gate, name: Gate }
steps:
  - id: publish
    approval: { prompt: \"May it be published?\", timeout: 300ms, onTimeout: reject }
  - id: after
    agent: { id: \"@orchestr8/echo\" }
    input: { said: yes }
    dependencies: [publish]
";

/// Runs the file as a person does, who types this.
fn run(folder: &Path, flags: &str, patient: bool, typed: &str) -> Said {
    let text = if patient { GATE.replace("300ms", "1h") } else { GATE.to_owned() };
    fs::write(folder.join("gate.yaml"), text).expect("written");
    Terminal::new(folder, 80).says(&format!("run gate.yaml --local {flags}"), typed)
}

#[test]
fn who_runs_a_file_at_a_terminal_is_asked_for_approvals() {
    let folder = tempfile::tempdir().expect("a folder");
    let approved = run(folder.path(), "", true, "perhaps\nyes\n");
    assert_eq!(approved.code, Some(0), "{}", approved.stdout);
    let question = "? publish: May it be published? Type y to approve, n to reject:";
    assert_eq!(approved.stdout.matches(question).count(), 2, "{}", approved.stdout);
    assert!(approved.stdout.contains("Completed in "), "{}", approved.stdout);

    let rejected = run(folder.path(), "", true, "n\n");
    assert_eq!(rejected.code, Some(1), "{}", rejected.stdout);
    assert!(rejected.stdout.contains("Failed after "), "{}", rejected.stdout);
}

#[test]
fn without_input_nobody_is_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let silent = run(folder.path(), "--no-input", false, "yes\n");
    assert_eq!(silent.code, Some(1), "{}", silent.stdout);
    assert!(!silent.stdout.contains("May it be published?"), "{}", silent.stdout);
}
