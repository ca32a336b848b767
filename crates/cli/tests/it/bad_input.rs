//! Files that are no workflows: each is refused with its place and what to do, and never with a panic.

use std::{fmt::Write as _, fs, path::Path};

use crate::support::{assert_steady, orchestr8, say};

const HEAD: &str = "version: 1.0.0\nmetadata: { id: w, name: W }\nsteps:\n";

/// Makes the files in a folder and returns their names, in the order of the report.
fn write_all(folder: &Path) -> Vec<&'static str> {
    let agent = r#"agent: { id: "@orchestr8/hello-world" }"#;
    let steps = |steps: &str| format!("{HEAD}{}", steps.replace("AGENT", agent));
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let files = [
        ("empty.yaml", String::new()),
        ("huge.yaml", format!("# {}", "x".repeat(11_000_000))),
        ("syntax.json", "{\n  \"version\": \"1.0.0\",\n  \"steps\": [ }\n".to_owned()),
        ("syntax.yaml", "version: 1.0.0\nsteps:\n  - id: [a\n".to_owned()),
        ("duplicate-key.yaml", steps("  - id: a\n    id: b\n    AGENT\n")),
        ("duplicate-id.yaml", steps("  - { id: a, AGENT }\n  - { id: a, AGENT }\n")),
        ("unknown-dependency.yaml", steps("  - { id: fetch, AGENT }\n  - { id: b, dependencies: [fetsh], AGENT }\n")),
        ("self-dependency.yaml", steps("  - { id: a, dependencies: [a], AGENT }\n")),
        (
            "cycle.yaml",
            steps(
                "  - { id: a, dependencies: [c], AGENT }\n  - { id: b, dependencies: [a], AGENT }\n  - { id: c, dependencies: [b], AGENT }\n",
            ),
        ),
        ("unknown-agent.yaml", steps("  - id: a\n    agent: { id: \"@orchestr8/hallo-world\" }\n")),
        ("bad-expression.yaml", steps("  - id: a\n    AGENT\n    input: { message: \"${inputs.}\" }\n")),
        (
            "no-dependency.yaml",
            steps(
                "  - { id: fetch, AGENT }\n  - id: report\n    AGENT\n    input:\n      message: ${steps.fetch.output.result}\n",
            ),
        ),
        ("nested.json", format!("{{\"version\": {}}}", nested(1000))),
        ("nested.yaml", format!("version: {}\n", nested(1000))),
        ("out-of-range.yaml", steps("  - id: a\n    AGENT\n    policies: { retry: { maxAttempts: 1000 } }\n")),
        ("near-key.yaml", steps("  - id: a\n    AGENT\n    dependancies: []\n")),
        ("several.yaml", steps("  - { id: a, dependencies: [x], AGENT }\n  - { id: a, AGENT, colour: red }\n")),
    ];
    fs::create_dir(folder.join("directory")).expect("the folder is ours");
    let mut names = vec!["missing.yaml", "directory"];
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("the folder is ours");
        names.push(name);
    }
    names
}

#[test]
fn every_bad_file_is_refused_with_its_place_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder for the files");
    let mut report = String::new();
    for name in write_all(folder.path()) {
        let validated = say(orchestr8().current_dir(&folder).args(["validate", name]));
        let is_valid = name == "near-key.yaml";
        assert_eq!(validated.code, Some(if is_valid { 0 } else { 2 }), "{name}: {}", validated.stderr);
        writeln!(report, "== {name}\n{}", validated.stderr).expect("a string takes everything");

        let run = say(orchestr8().current_dir(&folder).args(["run", name]));
        assert_eq!(run.code, validated.code, "{name}: {}", run.stderr);
        assert_eq!(run.stdout.is_empty(), !is_valid, "{name}: only a valid file has outputs");
    }
    assert_steady("bad_input", &report);
}

#[test]
fn strict_makes_an_unknown_key_an_error() {
    let folder = tempfile::tempdir().expect("a folder for the files");
    write_all(folder.path());
    let said = say(orchestr8().current_dir(&folder).args(["validate", "--strict", "near-key.yaml"]));
    assert_eq!(said.code, Some(2), "{}", said.stderr);
}

#[test]
fn json_has_every_file_and_its_problems() {
    let folder = tempfile::tempdir().expect("a folder for the files");
    write_all(folder.path());
    let said = say(orchestr8().current_dir(&folder).args(["validate", "--json", "near-key.yaml", "cycle.yaml"]));
    assert_eq!(said.code, Some(2));
    assert_eq!(said.stderr, "");
    let verdict: serde_json::Value = serde_json::from_str(&said.stdout).expect("one document");
    assert_steady("validate_json", &format!("{verdict:#}"));
}

#[test]
fn input_that_breaks_the_schema_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().expect("a folder for the files");
    let schema = "inputs: { type: object, required: [name], properties: { name: { type: string } } }\n";
    let text = format!("{schema}{HEAD}  - {{ id: a, agent: {{ id: \"@orchestr8/hello-world\" }} }}\n");
    fs::write(folder.path().join("strict.yaml"), text).expect("the folder is ours");
    let said = say(orchestr8().current_dir(&folder).args(["run", "strict.yaml", "-i", "name=5"]));
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""));
    assert_steady("invalid_input", &said.stderr);
}
