//! Properties of all workflows: what is valid is accepted, written and read back; one mistake is found where it was made.
#![cfg(feature = "yaml")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

#[path = "common/generate.rs"]
mod generate;
#[path = "common/mutate.rs"]
mod mutate;

use std::sync::LazyLock;

use generate::{Document, any_workflow, options, to_yaml};
use orchestr8_schema::{
    Workflow,
    json_schema::{JsonValidator, workflow_schema},
    source::{load, load_value},
};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

/// More with `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 150 };
    ProptestConfig { failure_persistence: None, cases, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_valid_is_accepted_and_reads_back_as_the_same(Document(document) in any_workflow()) {
        static SCHEMA: LazyLock<JsonValidator> = LazyLock::new(|| JsonValidator::compile(&workflow_schema()).unwrap());
        let valid = load_value(&document, &options()).map_err(|error| TestCaseError::fail(format!("{error}\n{document:#}")))?;
        prop_assert_eq!(SCHEMA.validate(&document), Ok(()));

        let written = serde_json::to_value(valid.workflow()).unwrap();
        prop_assert_eq!(&Workflow::from_value(&written).unwrap(), valid.workflow());
        let by_json = load(written.to_string(), &options()).unwrap();
        let (yaml, _) = to_yaml(&document);
        let by_yaml = load(&yaml, &options()).map_err(|error| TestCaseError::fail(format!("{error}\n{yaml}")))?;
        for other in [&by_json, &by_yaml] {
            prop_assert_eq!(other.workflow(), valid.workflow());
            prop_assert_eq!(other.steps(), valid.steps());
            prop_assert_eq!(other.scopes(), valid.scopes());
            prop_assert_eq!(other.hooks(), valid.hooks());
        }
    }

    #[test]
    fn the_compiled_form_has_the_shape_of_the_written_one(Document(document) in any_workflow()) {
        let valid = load_value(&document, &options()).unwrap();
        let mut seen = 0;
        for (number, scope) in valid.scopes().iter().enumerate() {
            for (position, step) in scope.steps.iter().enumerate() {
                seen += 1;
                let compiled = valid.step(*step);
                prop_assert_eq!(compiled.scope.get(), number);
                prop_assert_eq!(valid.step_index(compiled.id.as_str()), Some(*step));
                prop_assert_eq!(&valid.declaration(*step).id, &compiled.id);
                let written: Vec<_> = valid.declaration(*step).dependencies.iter().map(|id| valid.step_index(id.as_str()).unwrap()).collect();
                prop_assert_eq!(&compiled.dependencies, &written);
                // What waits stands in one scope, and a scope's steps rise.
                for other in compiled.dependencies.iter().chain(&compiled.soft).chain(&compiled.fallback) {
                    prop_assert_eq!(valid.step(*other).scope.get(), number);
                }
                prop_assert!(position == 0 || scope.steps[position - 1] < *step);
                if let Some(parent) = scope.parent {
                    prop_assert!(parent < *step);
                }
            }
        }
        prop_assert_eq!(seen, valid.steps().len());
    }
}

#[test]
fn one_mistake_is_reported_with_its_code_at_its_line() {
    const EACH: usize = 20;
    // Always the same workflows, so that none of the classes goes without.
    let mut runner = TestRunner::deterministic();
    for (name, mutate) in mutate::CLASSES {
        let mut found = 0;
        for _ in 0..50 * EACH {
            let Document(mut document) = any_workflow().new_tree(&mut runner).unwrap().current();
            let place = any::<prop::sample::Index>().new_tree(&mut runner).unwrap().current();
            let Some(mistake) = mutate(&mut document, &|count| place.index(count)) else { continue };
            let (yaml, lines) = to_yaml(&document);
            let line = lines[&mistake.pointer];
            let diagnostics = match load(&yaml, &options()) {
                Ok(valid) => valid.warnings().to_vec(),
                Err(invalid) => invalid.into_diagnostics(),
            };
            let is_there = diagnostics.iter().any(|diagnostic| {
                diagnostic.code == mistake.code && diagnostic.span.is_some_and(|span| span.line == line)
            });
            let all: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
            let (code, pointer) = (mistake.code, &mistake.pointer);
            assert!(is_there, "{name}: no {code} on line {line} ({pointer}), but {all:#?} in\n{yaml}");
            found += 1;
            if found == EACH {
                break;
            }
        }
        assert_eq!(found, EACH, "{name} finds too few places");
    }
}
