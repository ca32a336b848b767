//! `orchestr8 run --replay`: what was recorded is played again, and nobody is called.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::support::{
    Said,
    own_program::{effects, own_program, stored},
    say,
};

fn workflow() -> Value {
    let call = |id: &str, of: &str, fails: u64, dependencies: &[&str]| {
        json!({
            "id": id, "agent": { "id": "@test/ledger" }, "dependencies": dependencies,
            "input": { "of": of, "delayMs": 20, "fails": fails }, "policies": { "retry": { "baseDelayMs": 100 } },
        })
    };
    json!({
        "version": "1.0.0", "metadata": { "id": "replay", "name": "Replay" },
        "steps": [
            call("shaky", "${inputs.n}", 2, &[]),
            { "id": "each", "map": { "items": [1, 2], "steps": [call("one", "${item}", 1, &[])] }, "dependencies": ["shaky"] },
            call("last", "${steps.each.output}", 0, &["each"]),
        ],
    })
}

/// What the program itself has printed, without what a test prints around it.
fn outputs(said: &Said) -> &str {
    said.stdout.lines().rfind(|line| line.contains("\"last\"")).expect("there are outputs")
}

#[test]
fn a_recorded_execution_is_played_again_and_nobody_is_called() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data, ledger) = (folder.path().join("w.json"), folder.path().join("data"), folder.path().join("ledger"));
    let path = file.to_str().expect("UTF-8");
    fs::write(&file, workflow().to_string()).expect("written");
    let program = |arguments: &[&str]| -> Command {
        own_program(&ledger, &[&["--data-dir", data.to_str().expect("UTF-8")], arguments].concat())
    };
    let cassette = folder.path().join("cassette.json");
    let cassette = cassette.to_str().expect("UTF-8");
    let recorded = say(&mut program(&["run", path, "-i", "n=7", "--record", cassette]));
    assert_eq!(recorded.code, Some(0), "{}", recorded.stderr);
    let calls = effects(&ledger);
    assert_eq!(calls.len(), 3 + 2 * 2 + 1);

    let export = folder.path().join("journal.json");
    let journal = stored(&data)[0].journal().export().expect("it has events");
    fs::write(&export, serde_json::to_string(&journal).expect("written")).expect("written");
    for recording in ["@last", export.to_str().expect("UTF-8"), cassette] {
        let replayed = say(&mut program(&["run", path, "--replay", recording]));
        assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
        assert_eq!(outputs(&replayed), outputs(&recorded));
        let told = say(&mut program(&["run", path, "--replay", recording, "--events"]));
        assert_eq!(told.stdout.matches("\"type\":\"attempt.finished\"").count(), calls.len(), "{}", told.stdout);
    }

    let mut edited = workflow();
    edited["steps"][2]["input"]["of"] = json!("something else");
    fs::write(&file, edited.to_string()).expect("written");
    let misfit = say(&mut program(&["run", path, "--replay", "@last"]));
    assert_ne!(misfit.code, Some(0));
    assert!(
        misfit.stderr.contains("the recording does not fit: step last: it was recorded with another input"),
        "{}",
        misfit.stderr
    );
    let unread = say(&mut program(&["run", path, "--replay", path]));
    assert!(unread.stderr.contains("is no exported journal"), "{}", unread.stderr);
    assert_eq!(effects(&ledger), calls, "nobody is called");
    assert_eq!(stored(&data).len(), 1, "nothing is stored");
}
