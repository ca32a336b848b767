//! The program is killed, as often as one likes, and what it had stored is not run again.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
};

use orchestr8_core::{
    Store,
    store::{Durability, Query, SqliteStore},
};
use orchestr8_schema::event::{CallId, Event, EventBody};
use serde_json::{Value, json};

use crate::support::{orchestr8, say};

/// A chain of greetings that take a while, and a map of them.
fn workflow(delay_ms: u32) -> Value {
    let greet = |id: &str, input: Value, dependencies: &[&str]| {
        let agent = json!({ "id": "@orchestr8/hello-world", "config": { "delayMs": delay_ms } });
        json!({ "id": id, "agent": agent, "input": input, "dependencies": dependencies })
    };
    json!({
        "version": "1.0.0",
        "metadata": { "id": "crash", "name": "Crash" },
        "steps": [
            greet("a", json!({ "name": "Ada" }), &[]),
            greet("b", json!({ "message": "${steps.a.output.result}" }), &["a"]),
            { "id": "each", "dependencies": ["b"], "map": {
                "items": "${inputs.names}", "as": "name", "concurrency": 2, "steps": [greet("one", json!({ "name": "${name}" }), &[])]
            } },
            greet("c", json!({ "message": "${steps.b.output.result}" }), &["b", "each"]),
        ]
    })
}

/// Runs a command, and kills it once it has told of this many events. The exit code, unless it was killed.
fn run_and_kill(data: &Path, args: &[&str], events: usize) -> Option<i32> {
    let mut child = orchestr8()
        .arg("--data-dir")
        .arg(data)
        .args(args)
        .arg("--events")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the built program starts");
    let lines = BufReader::new(child.stdout.take().expect("standard output is a pipe")).lines();
    if lines.take(events).count() == events {
        child.kill().expect("it is our child");
    }
    child.wait().expect("it is our child").code()
}

fn journal(data: &Path) -> Vec<Event> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = SqliteStore::open(data.join("orchestr8.db"), Durability::Process).expect("opened");
        let page = store.list(&Query::newest(2)).await.expect("listed");
        assert_eq!(page.executions.len(), 1, "one execution, however often it was taken up");
        store.load(page.executions[0].execution_id, 0).await.expect("read")
    })
}

/// How often each step has come to its end.
fn ends(journal: &[Event]) -> BTreeMap<u32, usize> {
    let mut ends = BTreeMap::new();
    for event in journal {
        if let EventBody::StepCompleted { activation, .. } = &event.body {
            *ends.entry(activation.0).or_default() += 1;
        }
    }
    ends
}

#[test]
fn a_program_that_is_killed_goes_on_from_what_it_had_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("crash.json");
    std::fs::write(&file, workflow(4).to_string()).expect("written");
    let run = ["run", file.to_str().expect("UTF-8"), "-i", "names=[\"x\",\"y\",\"z\",\"w\"]"];
    let undisturbed = folder.path().join("undisturbed");
    assert_eq!(run_and_kill(&undisturbed, &run, usize::MAX), Some(0));
    let expected = journal(&undisturbed);
    let outputs = |journal: &[Event]| {
        let finished = journal.iter().filter_map(|event| match &event.body {
            EventBody::AttemptFinished { call: CallId::Step(step), result: Ok(output), .. } => {
                Some((step.0, output["result"].clone()))
            }
            _ => None,
        });
        finished.collect::<BTreeMap<_, _>>()
    };

    // From the first event to the last, and the one that goes on is killed, too.
    for seed in 0..14_usize {
        let data = folder.path().join(format!("{seed}"));
        run_and_kill(&data, &run, 1 + seed * 3);
        let mut lives = 1;
        loop {
            let before = journal(&data);
            if before.last().is_some_and(|last| last.body.is_terminal()) {
                break;
            }
            let kill_after = if lives < 3 { before.len() + 1 + (seed * 7 + lives * 5) % 11 } else { usize::MAX };
            run_and_kill(&data, &["resume", "@last"], kill_after);
            let after = journal(&data);
            assert_eq!(after[..before.len()], before, "nothing that was stored has changed");
            lives += 1;
            assert!(lives < 8, "seed {seed} does not come to its end");
        }
        let survived = journal(&data);
        assert!(ends(&survived).values().all(|count| *count == 1), "seed {seed}: a step was committed twice");
        assert_eq!(outputs(&survived), outputs(&expected), "seed {seed}, {lives} lives");
    }
}

#[test]
fn resume_says_what_is_reused_and_what_runs_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("crash.json");
    std::fs::write(&file, workflow(1500).to_string()).expect("written");
    let data = folder.path().join("data");
    // The second step has begun: queued, started, and four events of the first and three of the second.
    let killed = run_and_kill(&data, &["run", file.to_str().expect("UTF-8"), "-i", "names=[]"], 10);
    assert_eq!(killed, None);
    let said = say(orchestr8().arg("--data-dir").arg(&data).args(["resume", "@last"]));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("= a"), "{}", said.stderr);
    let again = say(orchestr8().arg("--data-dir").arg(&data).args(["resume", "@last"]));
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("has ended (completed)"), "{}", again.stderr);
}

#[test]
fn resume_reopens_what_has_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("failing.json");
    let agent = |id: &str, agent: &str, dependencies: &[&str]| json!({ "id": id, "agent": { "id": format!("@orchestr8/{agent}") }, "dependencies": dependencies });
    let mut steps = json!([agent("a", "noop", &[]), agent("b", "fail", &["a"]), agent("c", "noop", &["b"])]);
    steps[1]["input"] = json!({ "code": "DENIED" });
    let workflow = json!({ "version": "1.0.0", "metadata": { "id": "w", "name": "W" }, "steps": steps });
    std::fs::write(&file, workflow.to_string()).expect("written");
    let data = folder.path().join("data");
    let program = |arguments: &[&str]| say(orchestr8().arg("--data-dir").arg(&data).args(arguments));
    let failed = program(&["run", file.to_str().expect("UTF-8")]);
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    for _ in 0..2 {
        let resumed = program(&["resume", "@last"]);
        assert_eq!(resumed.code, Some(1), "{}", resumed.stderr);
        assert!(resumed.stderr.contains("= a reused\n~ b runs again: failed with DENIED\n"), "{}", resumed.stderr);
        assert!(resumed.stderr.contains("~ c runs again: its turn had not come"), "{}", resumed.stderr);
    }
    let journal = journal(&data);
    assert_eq!(ends(&journal).values().copied().collect::<Vec<_>>(), [1], "`a` has run once");
    let lowered = program(&["resume", "@last", "--max-tokens", "0"]);
    assert_eq!(lowered.code, Some(2));
    assert!(lowered.stderr.contains("maxTokens"), "{}", lowered.stderr);
}

#[test]
fn fork_goes_on_with_a_repaired_file_and_says_what_is_reused_and_why_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("broken.json");
    let step = |id: &str, agent: &str, input: Value, dependencies: &[&str]| json!({ "id": id, "agent": { "id": format!("@orchestr8/{agent}") }, "input": input, "dependencies": dependencies });
    let document = |last: &str| {
        let steps = json!([
            step("a", "echo", json!({ "x": "${inputs.x}" }), &[]),
            step("b", "echo", json!({ "of": 1 }), &["a"]),
            step("c", last, json!({ "code": "DENIED" }), &["b"]),
        ]);
        json!({ "version": "1.0.0", "metadata": { "id": "w", "name": "W" }, "steps": steps }).to_string()
    };
    std::fs::write(&file, document("fail")).expect("written");
    let data = folder.path().join("data");
    let program = |arguments: &[&str]| say(orchestr8().arg("--data-dir").arg(&data).args(arguments));
    let path = file.to_str().expect("UTF-8");
    assert_eq!(program(&["run", path, "-i", "x=1"]).code, Some(1));
    std::fs::write(&file, document("echo")).expect("written");
    let forked = program(&["fork", "@last", "--with", path, "-i", "x=2"]);
    assert_eq!(forked.code, Some(0), "{}", forked.stderr);
    for line in ["· 2 steps retained", "~ a runs again: it has another input", "= b reused", "Completed in"] {
        assert!(forked.stderr.contains(line), "{line}: {}", forked.stderr);
    }
    let refused = program(&["fork", "@last", "--from", "nobody"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("`nobody` was never scheduled"), "{}", refused.stderr);
}

#[test]
fn a_store_that_cannot_be_opened_says_why_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("orchestr8.db"), "something else altogether").expect("written");
    let said = say(orchestr8().arg("--data-dir").arg(folder.path()).args(["resume", "@last"]));
    assert_eq!(said.code, Some(3));
    assert!(
        said.stderr.contains("is no database of orchestr8") && said.stderr.contains("--data-dir"),
        "{}",
        said.stderr
    );
}
