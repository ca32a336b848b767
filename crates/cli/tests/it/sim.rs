//! `orchestr8 sim`: what it finds, what it prints, and what it refuses.

use std::fs;

use serde_json::Value;

use crate::support::{example, orchestr8, say};

#[test]
fn an_example_holds_under_faults_and_gives_the_same_twice() {
    let file = example("release-approval.yaml");
    let simulate = |form: &str| say(orchestr8().arg("sim").arg(&file).args(["--seeds", "60", form]));
    let said = simulate("--json");
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    let report: Value = serde_json::from_str(&said.stdout).expect("one document");
    assert_eq!((&report["seeds"], &report["violations"]), (&60.into(), &Value::Array(Vec::new())));
    assert_eq!(simulate("--json").stdout, said.stdout, "a seed gives the same in every process");
    let said = simulate("--color=never");
    assert!(said.stdout.starts_with("✓ 60 seeds · "), "{}", said.stdout);
    assert!(said.stdout.contains("nothing violated"), "{}", said.stdout);
}

#[test]
fn agents_that_nobody_knows_are_made_of_what_is_read_of_them() {
    let folder = tempfile::tempdir().expect("a folder for the file");
    let file = folder.path().join("order.yaml");
    let text = "version: 1.0.0\nmetadata: { id: order, name: Order }\nsteps:\n  - { id: reserve, agent: { id: '@acme/reserve' } }\n  \
                - id: ship\n    agent: { id: '@acme/ship' }\n    dependencies: [reserve]\n    \
                input: { reservation: '${steps.reserve.output.reservation.id}' }\n";
    fs::write(&file, text).expect("the folder is ours");
    let said = say(orchestr8().arg("sim").arg(&file).args(["--seeds", "5", "--faults", ""]));
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    assert!(
        said.stderr.contains("made of what the workflow reads of them: @acme/reserve, @acme/ship"),
        "{}",
        said.stderr
    );
    assert!(said.stdout.contains("\n  10 completed, 0 failed, "), "{}", said.stdout);
}

#[test]
fn what_is_no_fault_and_no_workflow_is_refused() {
    let file = example("release-approval.yaml");
    let said = say(orchestr8().arg("sim").arg(&file).args(["--faults", "crash@0"]));
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("`crash@<n>` needs the number of an append, from 1"), "{}", said.stderr);
    let said = say(orchestr8().args(["sim", "/nowhere/at/all.yaml"]));
    assert_eq!(said.code, Some(2), "{}", said.stderr);
}
