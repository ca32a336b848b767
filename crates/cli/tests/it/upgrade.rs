//! `orchestr8 upgrade-check`: unfinished executions under an edited workflow file.

use std::{fs, path::Path, process::Command};

use orchestr8_core::machine::Status;
use serde_json::{Value, json};

use crate::{
    crash::run_and_kill,
    support::{assert_steady, orchestr8, own_program::stored, say},
};

/// Two steps that complete, a wait that nobody ends, and a step behind it.
fn workflow() -> Value {
    let echo = |id: &str, input: Value, dependencies: &[&str]| json!({ "id": id, "agent": { "id": "@orchestr8/echo" }, "input": input, "dependencies": dependencies });
    json!({
        "version": "1.0.0",
        "metadata": { "id": "review", "name": "Review" },
        "steps": [
            echo("fetch", json!({ "of": "${inputs.n}" }), &[]),
            echo("summarize", json!({ "of": 1 }), &["fetch"]),
            { "id": "released", "wait": { "signal": "go" }, "dependencies": ["summarize"] },
            echo("publish", json!({ "of": 2 }), &["released"]),
        ]
    })
}

fn program(data: &Path) -> Command {
    let mut command = orchestr8();
    command.arg("--data-dir").arg(data);
    command
}

#[test]
fn unfinished_executions_are_judged_and_those_that_can_go_on_are_forked() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (folder.path().join("review.json"), folder.path().join("data"));
    let path = file.to_str().expect("UTF-8");
    fs::write(&file, workflow().to_string()).expect("written");
    // Two events begin it, four are of each of the first steps, two of the wait.
    let killed = run_and_kill(program(&data).args(["run", path, "-i", "n=7", "--local", "--events"]), 14);
    assert_eq!(killed, None, "it waits for a signal");
    let id = stored(&data)[0].state().queued().expect("it has begun").execution_id;
    let (id, short) = (id.to_string(), id.short());
    let mut text = String::new();
    let mut check = |change: &dyn Fn(&mut Value), flags: &[&str]| {
        let mut edited = workflow();
        change(&mut edited);
        fs::write(&file, edited.to_string()).expect("written");
        let said = say(program(&data).args(["upgrade-check", path]).args(flags));
        text.push_str(&format!(
            "({})\n{}{}",
            said.code.unwrap_or(-1),
            said.stdout.replace(&id, "[id]").replace(&short, "[short]"),
            said.stderr
        ));
    };
    check(&|_| {}, &[]);
    check(&|edited| edited["steps"][1]["dependencies"] = json!([]), &[]);
    check(&|edited| edited["steps"][1]["dependencies"] = json!([]), &["--json"]);
    check(&|edited| edited["metadata"]["id"] = json!("another"), &[]);
    check(&|edited| edited["steps"][3]["policies"] = json!({ "timeout": "5s" }), &[]);
    let store = data.join("orchestr8.db");
    let store = ["--store", store.to_str().expect("UTF-8")];
    check(&|edited| edited["steps"][3]["policies"] = json!({ "timeout": "5s" }), &store);
    check(&|edited| edited["steps"][3]["input"] = json!({ "of": 3 }), &["--apply", "--json"]);
    assert_steady("upgrade_check", &text);
    let snapshots = stored(&data);
    let [forked, original] = &snapshots[..] else { unreachable!("one was forked: {}", snapshots.len()) };
    let queued = forked.state().queued().expect("it has begun");
    let from = queued.forked_from.expect("it is a fork");
    assert_eq!(Some(from.execution_id), original.state().queued().map(|queued| queued.execution_id));
    assert_eq!(queued.retained.as_ref().map(|retained| retained.len()), Some(2));
    assert_eq!(original.state().status(), Status::Cancelled, "only one of them goes on");
    let superseded = original.state().cancelling().and_then(|request| request.superseded_by);
    assert_eq!(superseded, Some(queued.execution_id));
    assert!(!forked.state().status().is_terminal());
}
