//! The examples of the language reference are valid, without a warning.
#![cfg(feature = "yaml")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

use orchestr8_schema::{
    source::{Options, load},
    validate::{LoadError, WorkflowLoader},
};

/// Every file that is referred to, the same.
struct Greeting;

impl WorkflowLoader for Greeting {
    fn resolve(&self, reference: &str, _: Option<&str>) -> Result<String, LoadError> {
        Ok(reference.to_owned())
    }

    fn read(&self, _: &str) -> Result<Vec<u8>, LoadError> {
        Ok(file("- { id: leaf, agent: { id: \"@orchestr8/hello-world\" } }").into_bytes())
    }
}

/// Puts steps into a file.
fn file(steps: &str) -> String {
    let indented: String = steps.lines().map(|line| format!("  {line}\n")).collect();
    format!("version: 1.0.0\nmetadata: {{ id: w, name: W }}\nsteps:\n{indented}")
}

#[test]
fn every_example_is_valid() {
    let page = include_str!("../../../docs/src/workflow-language.md");
    let examples: Vec<&str> =
        page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert!(examples.len() >= 12, "the page has examples");
    for example in examples {
        let text = if example.starts_with("- ") { file(example) } else { example.to_owned() };
        match load(&text, &Options::new().strict(true).workflows(&Greeting).file_name("example.yaml")) {
            Ok(valid) => assert_eq!(valid.warnings(), [], "{text}"),
            Err(invalid) => panic!("{:#?}\n{text}", invalid.diagnostics()),
        }
    }
}
