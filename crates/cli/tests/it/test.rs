//! `orchestr8 test`: the tests of the examples, and what is printed of tests that fail.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Said, assert_steady, example, orchestr8, say};

#[test]
fn every_example_has_tests_that_pass_and_reach_all_of_it() {
    let folder = example("");
    let said = say(orchestr8().arg("test").arg(&folder).arg("--json"));
    let report: Value = serde_json::from_str(&said.stdout).expect("one document");
    assert_eq!((said.code, &report["failed"], &report["skipped"]), (Some(0), &0.into(), &0.into()), "{}", said.stdout);
    for file in report["files"].as_array().expect("files") {
        assert!(file["warnings"].is_null(), "{file}");
        let coverage = &file["coverage"];
        assert_eq!(coverage["stepsNeverReached"], Value::Array(Vec::new()), "{}", file["file"]);
        assert_eq!(coverage["casesNeverTaken"], Value::Array(Vec::new()), "{}", file["file"]);
    }
    for entry in fs::read_dir(&folder).expect("the folder of the examples") {
        let path = entry.expect("readable").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        if name != "README.md" && !name.contains(".test.") {
            assert!(path.with_extension("test.yaml").exists(), "{name} has no test file");
        }
    }
}

const WORKFLOW: &str = "\
version: 1.0.0
metadata: { id: review, name: Review }
steps:
  - { id: search, agent: { id: '@acme/search' }, policies: { retry: { maxAttempts: 2 } }, onError: fallback, fallbackStepId: cached }
  - { id: cached, agent: { id: '@orchestr8/echo' }, input: { hits: 0 } }
  - id: size
    dependencies: [search]
    branch:
      cases: [{ name: large, when: 'steps.search.output.hits > `9`', steps: [{ id: split, agent: { id: '@orchestr8/noop' } }] }]
      default: { steps: [] }
";

const TESTS: &str = "\
workflow: ./review.yaml
tests:
  - name: finds a little
    mocks: { search: { returns: { hits: 1 } } }
    then: { status: completed, steps: { size: { case: default } } }
  - name: falls back when search is down
    mocks:
      search: { fail: { code: NETWORK } }
      cached: { returns: { hits: 2 } }
    then:
      status: completed
      steps:
        search: { status: failed, attempts: 3 }
      outputs: { cached: { hits: 3 } } # snapshot
";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder for the files");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("the folder is ours");
    }
    folder
}

fn test_in(folder: &Path, arguments: &[&str]) -> Said {
    say(orchestr8().current_dir(folder).arg("test").args(arguments))
}

#[test]
fn a_failure_shows_what_was_expected_what_came_where_it_stands_and_the_journal() {
    let folder = folder(&[("review.yaml", WORKFLOW), ("review.test.yaml", TESTS)]);
    let said = test_in(folder.path(), &["review.test.yaml"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(1), ""));
    // Jitter comes from the seed, real time does not.
    assert_steady("test", &said.stdout);

    let said = test_in(folder.path(), &[".", "--json", "--filter", "falls back", "--junit", "report.xml"]);
    let report: Value = serde_json::from_str(&said.stdout).expect("one document");
    assert_eq!((said.code, &report["failed"], &report["skipped"]), (Some(1), &1.into(), &1.into()));
    let failure = &report["files"][0]["tests"][1]["failures"][1];
    assert_eq!(
        (&failure["path"], &failure["expected"], &failure["actual"]),
        (&"steps.search.attempts".into(), &3.into(), &2.into())
    );
    assert_eq!(failure["span"]["line"], 13, "{failure}");
    let junit = fs::read_to_string(folder.path().join("report.xml")).expect("it was written");
    assert!(junit.contains(r#"tests="2" failures="1" errors="0" skipped="1""#), "{junit}");
    assert!(junit.contains(r#"<failure message="outputs.cached.hits: expected 3, got 2">"#), "{junit}");
}

#[test]
fn values_that_are_marked_are_written_and_no_others() {
    let folder = folder(&[("review.yaml", WORKFLOW), ("review.test.yaml", TESTS)]);
    let said = test_in(folder.path(), &["review.test.yaml", "--update"]);
    assert_eq!(said.code, Some(1), "{}", said.stdout);
    assert!(said.stderr.contains("review.test.yaml: 1 value written"), "{}", said.stderr);
    assert!(
        said.stdout.contains("steps.search.attempts: expected 3, got 2") && !said.stdout.contains("outputs."),
        "{}",
        said.stdout
    );
    let text = fs::read_to_string(folder.path().join("review.test.yaml")).expect("readable");
    assert!(text.contains(r#""cached":{"hits":2}"#) && text.contains("# snapshot"), "{text}");
    assert!(text.contains("attempts: 3"), "{text}");
}

#[test]
fn what_cannot_be_used_is_exit_2_with_its_line() {
    let misspelt = "workflow: ./review.yaml\ntests:\n  - name: a\n    then: { staus: completed }\n";
    let elsewhere = "workflow: ./nowhere.yaml\ntests: [{ name: a }]\n";
    let folder = folder(&[("review.yaml", WORKFLOW), ("a.test.yaml", misspelt), ("b.test.yaml", elsewhere)]);
    let said = test_in(folder.path(), &["."]);
    assert_eq!(said.code, Some(2), "{}", said.stdout);
    assert!(said.stderr.contains("./a.test.yaml:4:13") && said.stderr.contains("staus"), "{}", said.stderr);
    assert!(said.stderr.contains("b.test.yaml:1 names a workflow that cannot be read"), "{}", said.stderr);
    let said = test_in(folder.path(), &["review.yaml"]);
    assert_eq!(said.code, Some(2), "a workflow is no test file: {}", said.stderr);
    let empty = tempfile::tempdir().expect("a folder");
    let said = test_in(empty.path(), &["."]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("there is no test file in ."), "{}", said.stderr);
}

#[test]
fn agents_that_ask_models_are_tested_with_the_prompts_beside_the_file() {
    let workflow = "\
version: 1.0.0
metadata: { id: ask, name: Ask }
steps:
  - { id: ask, agent: { id: '@orchestr8/llm', config: { prompt: { role: terse, task: 'What is {{ input.about }}?' }, model: smart } }, input: { about: rust } }
";
    let tests = "\
workflow: ./ask.yaml
tests:
  - name: asks with the prompt of the file
    mocks:
      'model:smart': { by: [{ when: \"contains(input.system, 'terse') && contains(input.last, 'rust')\", returns: A language. }] }
    then: { status: completed, steps: { ask: { output: { text: A language. } } }, calls: { 'model:smart': 1 } }
";
    let folder = folder(&[("ask.yaml", workflow), ("ask.test.yaml", tests)]);
    let prompt = folder.path().join("prompts/roles/terse.yaml");
    fs::create_dir_all(prompt.parent().expect("it has one")).expect("the folder is ours");
    fs::write(&prompt, "content: You are terse to all.\n").expect("the folder is ours");
    let said = test_in(folder.path(), &["ask.test.yaml"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{}", said.stdout);
    let simulated = say(orchestr8().current_dir(folder.path()).args([
        "sim",
        "ask.yaml",
        "--mocks",
        "ask.test.yaml",
        "--seeds",
        "50",
    ]));
    assert_eq!((simulated.code, simulated.stderr.as_str()), (Some(0), ""), "{}", simulated.stdout);
    fs::remove_file(&prompt).expect("it is ours");
    let said = test_in(folder.path(), &["ask.test.yaml"]);
    assert_eq!(said.code, Some(1), "{}", said.stdout);
    assert!(said.stdout.contains("prompts/roles/terse.yaml"), "{}", said.stdout);
}

#[test]
fn the_examples_of_the_program_are_tested_wherever_it_is() {
    let empty = tempfile::tempdir().expect("a folder");
    let said = test_in(empty.path(), &["--examples", "--filter", "a restart changes nothing"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{}", said.stdout);
    assert!(said.stdout.contains("examples/release-approval.test.yaml"), "{}", said.stdout);
    assert!(said.stdout.contains("\n1 passed, 0 failed, "), "{}", said.stdout);
}

#[test]
fn the_tests_of_a_crate_are_run_by_cargo_beside_its_test_files() {
    let manifest =
        "[package]\nname = \"words\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n";
    let library = |count| format!("#[test]\nfn counts() {{ assert_eq!(\"one two\".split(' ').count(), {count}); }}\n");
    let folder = folder(&[
        ("Cargo.toml", manifest),
        ("lib.rs", &library(2)),
        ("review.yaml", WORKFLOW),
        ("review.test.yaml", TESTS),
    ]);
    let said = test_in(folder.path(), &[".", "--filter", "counts"]);
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("test counts ... ok") && said.stdout.contains("✓ crate ."), "{}", said.stdout);
    assert!(said.stdout.ends_with("1 passed, 0 failed, 2 skipped\n"), "{}", said.stdout);
    fs::write(folder.path().join("lib.rs"), library(3)).expect("ours");
    let said = test_in(folder.path(), &[".", "--filter", "counts", "--json", "--junit", "report.xml"]);
    let report: Value = serde_json::from_str(&said.stdout).expect("cargo says nothing on standard output");
    assert_eq!((said.code, &report["failed"], &report["crates"][0]["passed"]), (Some(1), &1.into(), &false.into()));
    let junit = fs::read_to_string(folder.path().join("report.xml")).expect("it was written");
    assert!(junit.contains("cargo says that a test has failed"), "{junit}");
    let said = test_in(folder.path(), &["review.test.yaml", "--coverage"]);
    assert_eq!(said.code, Some(2), "{}", said.stdout);
    assert!(said.stderr.contains("there is no Cargo.toml"), "{}", said.stderr);
}

#[test]
fn a_file_that_changes_is_tested_again() {
    let folder = folder(&[("review.yaml", WORKFLOW), ("review.test.yaml", TESTS)]);
    let mut program = Watching(
        orchestr8()
            .current_dir(folder.path())
            .args(["test", "review.test.yaml", "--watch"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the built program starts"),
    );
    let mut lines = BufReader::new(program.0.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "1 passed, 1 failed"));
    let path: PathBuf = folder.path().join("review.test.yaml");
    fs::write(path, TESTS.replace("attempts: 3", "attempts: 2").replace("hits: 3", "hits: 2")).expect("ours");
    assert!(lines.any(|line| line == "2 passed, 0 failed"));
}

/// A program that goes on until it is stopped.
struct Watching(std::process::Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
