//! `orchestr8 sim`: what it finds, what it prints, and what it refuses.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::{Said, example, orchestr8, say};

#[test]
fn an_example_holds_under_faults_and_gives_the_same_twice() {
    let file = example("release-approval.yaml");
    let simulate = |form: &str| say(orchestr8().arg("sim").arg(&file).args(["--seeds", "60", form]));
    let report = || -> Value {
        let said = simulate("--json");
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
        let mut report: Value = serde_json::from_str(&said.stdout).expect("one document");
        assert!(report["wallMs"].is_u64(), "{report}");
        report["wallMs"] = Value::Null;
        report
    };
    let once = report();
    assert_eq!((&once["seeds"], &once["violations"]), (&60.into(), &Value::Array(Vec::new())));
    assert_eq!(report(), once, "a seed gives the same in every process");
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

fn simulating(name: &str) -> PathBuf {
    PathBuf::from("examples/simulating").join(name)
}

/// The program, at the root of the repository, so that what it prints names no folder of this machine.
fn sim(file: &Path, options: &[&str]) -> Said {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    say(orchestr8().current_dir(root).arg("sim").arg(file).args(options))
}

#[test]
fn a_charge_that_can_happen_twice_is_found_with_what_it_takes_and_the_fix_is_clean() {
    let mocks = ["--mocks", "examples/simulating/checkout.mocks.yaml", "--seeds", "60"];
    let said = sim(&simulating("checkout.yaml"), &mocks);
    assert_eq!((said.code, said.stderr.as_str()), (Some(1), ""));
    insta::assert_snapshot!("charged_twice", said.stdout);

    // What it prints is a command that shows the same.
    let again = said.stdout.lines().find_map(|line| line.trim().strip_prefix("again: orchestr8 ")).expect("a command");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let repeated = say(orchestr8().current_dir(root).args(again.split(' ')));
    assert_eq!(repeated.code, Some(1));
    let journal = |text: &str| text.lines().filter(|line| line.contains(" +")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(journal(&repeated.stdout), journal(&said.stdout));

    let said = sim(&simulating("checkout-once.yaml"), &mocks);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!("charged_once", said.stdout);
}

#[test]
fn the_defaults_of_a_test_file_answer_in_simulations_too() {
    let said =
        sim(&simulating("checkout.yaml"), &["--mocks", "examples/simulating/checkout.test.yaml", "--seeds", "10"]);
    // Nothing says there that the charge is irreversible.
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    assert!(said.stderr.contains("@acme/charge-card"), "{}", said.stderr);
}

#[test]
fn mocks_that_mean_nothing_or_call_somebody_are_refused_with_their_line() {
    let folder = tempfile::tempdir().expect("a folder for the file");
    let refused = |text: &str| {
        let mocks = folder.path().join("checkout.mocks.yaml");
        fs::write(&mocks, text).expect("the folder is ours");
        let mocks = mocks.display().to_string();
        let said = sim(&simulating("checkout.yaml"), &["--mocks", &mocks, "--seeds", "5"]);
        assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{}", said.stderr);
        said.stderr.replace(&folder.path().display().to_string(), "<folder>")
    };
    insta::assert_snapshot!(refused("input: { orderId: a, amount: 1 }\nmocks:\n  charge: { real: true }\n"), @r#"
    error: <folder>/checkout.mocks.yaml:3 cannot be used to simulate `examples/simulating/checkout.yaml`: `charge` would call @acme/charge-card for real, and a simulation calls nobody
    hint: write `charge: { returns: … }`, or leave the mock out: then the output schema decides what is answered
    "#);
    insta::assert_snapshot!(refused("mocks:\n  chrage: { returns: 1 }\n"), @r#"
    error: <folder>/checkout.mocks.yaml:2 cannot be used to simulate `examples/simulating/checkout.yaml`: the mock of `chrage` cannot be used: the workflow has no such step
    "#);
    insta::assert_snapshot!(refused("agents:\n  '@acme/ship': { outputSchema: { type: object, required: [trackingId] } }\nmocks:\n  ship:\n    sequence:\n      - { fail: { code: NETWORK } }\n      - { returns: { id: 1 } }\n"), @r#"
    not known here, so made of what the workflow reads of them: @acme/charge-card, @acme/reserve
    error: <folder>/checkout.mocks.yaml:7: the mock of `ship` cannot answer `ship` (seed 0): the answer breaks the output schema of @acme/ship: "trackingId" is a required property
    "#);
    insta::assert_snapshot!(refused("agents:\n  '@acme/ship': { ireversible: true }\nalways: [\"steps.(\"]\n"), @r#"
    error[O8104]: unknown key `ireversible`
     --> <folder>/checkout.mocks.yaml:2:19
      |
    2 |   '@acme/ship': { ireversible: true }
      |                   ^^^^^^^^^^^
      = help: did you mean `irreversible`?

    error[O8307]: not valid JMESPath: expected identifier, '*', '{', '[', '&', or '[?' -- found Lparen
     --> <folder>/checkout.mocks.yaml:3:17
      |
    3 | always: ["steps.("]
      |                 ^
    error: <folder>/checkout.mocks.yaml has 2 errors
    "#);
    insta::assert_snapshot!(refused("agents:\n  '@acme/ship': { outputSchema: { type: string, minLength: 3, maxLength: 2 } }\n"), @r#"
    error: `examples/simulating/checkout.yaml` cannot be simulated: no output of @acme/ship was found that its schema allows, so nothing can stand in for it
    hint: give a mock: `agent:@acme/ship: { returns: … }`
    "#);
}

#[test]
fn what_its_author_says_always_holds_is_looked_at_after_every_event() {
    let folder = tempfile::tempdir().expect("a folder for the file");
    let mocks = folder.path().join("checkout.mocks.yaml");
    let text = "input: { orderId: a, amount: 1 }\nalways:\n  - steps.reserve.attempts <= `1`\n  - events > `0`\n";
    fs::write(&mocks, text).expect("the folder is ours");
    let said =
        sim(&simulating("checkout.yaml"), &["--mocks", &mocks.display().to_string(), "--seeds", "100", "--json"]);
    let report: Value = serde_json::from_str(&said.stdout).expect("one document");
    let found = report["violations"].as_array().expect("a list");
    assert_eq!((said.code, found.len()), (Some(1), 1), "{}", said.stdout);
    assert_eq!(found[0]["invariant"], "always[0]");
    // An attempt that is begun again is the same attempt, so it takes one that fails.
    assert_eq!(found[0]["faults"].as_array().map(Vec::len), Some(1), "{}", found[0]);
    assert_eq!(found[0]["message"], "`steps.reserve.attempts <= `1`` does not hold after attempt.started");
}
