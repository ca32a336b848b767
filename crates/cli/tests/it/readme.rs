//! What the README shows happens.

use std::{fs, path::Path};

use crate::support::{orchestr8, say, steady};

/// Returns the first block of a language that stands behind `after`.
fn block<'a>(text: &'a str, after: &str, language: &str) -> &'a str {
    let behind = text.split_once(after).expect("the README says so").1;
    let begun = behind.split_once(&format!("```{language}\n")).expect("a block follows").1;
    begun.split_once("```").expect("it ends").0
}

#[test]
fn its_workflow_runs_as_it_is_shown() {
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).expect("it is there");
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("greet.yaml"), block(&readme, "`greet.yaml`:", "yaml")).expect("written");
    let shown = block(&readme, "The outputs go to stdout", "console");
    let (command, shown) = shown.split_once('\n').expect("a command, and what it says");
    let words = command.strip_prefix("$ orchestr8 ").expect("a command of ours").split(' ');
    let said = say(orchestr8().current_dir(folder.path()).args(words));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(steady(&format!("{}{}", said.stderr, said.stdout)), steady(shown));
}
