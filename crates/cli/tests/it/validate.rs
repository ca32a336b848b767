//! `orchestr8 validate` in its forms; what it says of wrong files is in `bad_input` and `mistakes`.

use std::{fs, process::Stdio};

use serde_json::Value;

use crate::support::{Said, assert_steady, example, orchestr8, say};

/// Valid, with a warning and an agent that nobody has.
const FOREIGN: &str = "version: 1.0.0\nmetadata: { id: w, name: W }\nsteps:\n  - { id: a, agent: { id: \"@acme/fetch\" }, dependsOn: [] }\n";
const WRONG: &str = "version: 1.0.0\nmetadata: { id: w, name: W }\nsteps:\n  - { id: a, dependencies: [x, y, z], agent: { id: \"@orchestr8/hello-world\" } }\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder for the files");
    let greet = fs::read_to_string(example("flaky.yaml")).expect("the example is there");
    for (name, text) in [("b.yaml", FOREIGN), ("a.yaml", WRONG), ("c.yaml", &greet)] {
        fs::write(folder.path().join(name), text).expect("the folder is ours");
    }
    folder
}

fn validate(folder: &tempfile::TempDir, args: &[&str]) -> Said {
    say(orchestr8().current_dir(folder).arg("validate").args(args))
}

#[test]
fn several_files_are_told_apart_and_sorted() {
    let folder = folder();
    let said = validate(&folder, &["c.yaml", "b.yaml", "a.yaml", "c.yaml", "--no-agents"]);
    assert_eq!(said.code, Some(2));
    assert_steady("validate_several", &format!("{}---\n{}", said.stdout, said.stderr));

    let said = validate(&folder, &["c.yaml", "b.yaml", "a.yaml", "--no-agents", "--json"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(2), ""));
    let verdict: Value = serde_json::from_str(&said.stdout).expect("one document");
    let files = verdict["files"].as_array().expect("a list");
    let told: Vec<_> = files.iter().map(|file| (file["file"].as_str(), file["valid"].as_bool())).collect();
    assert_eq!(told, [(Some("a.yaml"), Some(false)), (Some("b.yaml"), Some(true)), (Some("c.yaml"), Some(true))]);
    assert_eq!(verdict["valid"], false);
}

#[test]
fn agents_are_looked_up_unless_told_otherwise() {
    let folder = folder();
    let said = validate(&folder, &["b.yaml"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("O8405"), "{}", said.stderr);
    assert_eq!(validate(&folder, &["b.yaml", "--no-agents"]).code, Some(0));
}

#[test]
fn no_more_problems_are_shown_than_asked_for_and_json_has_them_all() {
    let folder = folder();
    let said = validate(&folder, &["a.yaml", "--max-errors", "1"]);
    assert_eq!(said.stderr.matches("error[O8201]").count(), 1, "{}", said.stderr);
    assert!(said.stderr.contains("and 2 more"), "{}", said.stderr);
    let said = validate(&folder, &["a.yaml", "--max-errors", "1", "--format=json"]);
    let verdict: Value = serde_json::from_str(&said.stdout).expect("one document");
    assert_eq!(verdict["files"][0]["diagnostics"].as_array().map(Vec::len), Some(3));
}

#[test]
fn standard_input_is_a_file_too_and_quiet_says_nothing_of_warnings() {
    let folder = folder();
    let input = || Stdio::from(fs::File::open(folder.path().join("b.yaml")).expect("the file is there"));
    let said = say(orchestr8().args(["validate", "-", "--no-agents"]).stdin(input()));
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), "<stdin>: valid · 1 step · depth 1\n"));
    assert!(said.stderr.contains("warning[O8601]"), "{}", said.stderr);
    let said = say(orchestr8().args(["-q", "validate", "-", "--no-agents"]).stdin(input()));
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_missing_file_does_not_hide_the_others() {
    let folder = folder();
    let said = validate(&folder, &["missing.yaml", "c.yaml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stdout.starts_with("c.yaml: valid"), "{}", said.stdout);
    assert!(said.stderr.starts_with("error: cannot read `missing.yaml`"), "{}", said.stderr);
}
