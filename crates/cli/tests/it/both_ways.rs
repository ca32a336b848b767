//! Commands about executions: with a server and without they print the same bytes, and change the same.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
};

use serde_json::{Value, json};

use crate::support::{Said, orchestr8, running_server::RunningServer, say, steady};

/// Something waits for a person, something for a signal; something has failed before.
fn workflow() -> Value {
    json!({
        "version": "1.0.0",
        "metadata": { "id": "both", "name": "Both" },
        "steps": [
            { "id": "flaky", "agent": { "id": "@orchestr8/fail" }, "input": { "code": "NETWORK" }, "onError": "continue",
              "policies": { "retry": { "maxAttempts": 1 } } },
            { "id": "gate", "wait": { "signal": "go" } },
            { "id": "sign", "approval": { "prompt": "Good?" } },
            { "id": "end", "agent": { "id": "@orchestr8/echo" }, "input": { "text": "done" }, "dependencies": ["gate", "sign"] },
        ],
        "policies": { "onFailure": "continue" }
    })
}

fn program(data: &Path, args: &[&str]) -> Said {
    say(orchestr8().arg("--data-dir").arg(data).env("USER", "ada").args(args))
}

/// Runs the workflow in a process of its own until everything waits, and kills it then.
fn abandoned(folder: &Path, data: &Path) -> String {
    let (mut child, id) = waiting(folder, data);
    child.kill().expect("it is our child");
    child.wait().expect("it is our child");
    id
}

fn waiting(folder: &Path, data: &Path) -> (Child, String) {
    let file = folder.join("both.json");
    fs::write(&file, workflow().to_string()).expect("written");
    let mut child = orchestr8()
        .arg("--data-dir")
        .arg(data)
        .args(["run", "--events", "--local"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the built program starts");
    let (mut id, mut open) = (String::new(), 3);
    for line in BufReader::new(child.stdout.as_mut().expect("a pipe")).lines() {
        let event: Value = serde_json::from_str(&line.expect("UTF-8")).expect("JSON lines");
        if let Some(execution) = event["data"]["executionId"].as_str().or(event["executionId"].as_str()) {
            id = execution.to_owned();
        }
        open -=
            usize::from(matches!(event["type"].as_str(), Some("step.waiting" | "approval.requested" | "step.failed")));
        if open == 0 {
            break;
        }
    }
    (child, id)
}

#[test]
fn who_looks_sees_the_same_bytes_of_a_server_and_of_the_data_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    abandoned(folder.path(), &data);
    let server =
        RunningServer::of(orchestr8().arg("--data-dir").arg(&data).args(["server", "--port", "0", "--no-recover"]));
    let asked: [&[&str]; 15] = [
        &["list", "--ids"],
        &["list", "--json"],
        &["list", "--status", "completed"],
        &["status", "@last"],
        &["status", "@last", "--json"],
        &["inspect", "@last"],
        &["inspect", "@last", "--json", "--level", "warn"],
        &["inspect", "@last", "--ndjson", "--step", "flaky"],
        &["logs", "@last"],
        &["logs", "@last", "--json", "--level", "error"],
        &["why", "@last", "flaky"],
        &["why", "@last", "nobody"],
        &["approve"],
        &["approve", "--json"],
        &["status", "123456"],
    ];
    for args in asked {
        let (alone, served) = (program(&data, &[&["--local"], args].concat()), program(&data, args));
        let alone = if args[0] == "--local" { alone } else { program(&data, &[args, &["--local"]].concat()) };
        assert_eq!((&alone.stdout, alone.code), (&served.stdout, served.code), "{args:?}: {}", served.stderr);
        assert_eq!(alone.stderr, served.stderr, "{args:?}");
    }
    let id = program(&data, &["list", "--ids"]).stdout;
    for to in ["mermaid", "dot", "svg"] {
        let graph = |how: &[&str]| program(&data, &[&["graph", id.trim(), "--to", to], how].concat());
        let (alone, served) = (graph(&["--local"]), graph(&[]));
        assert_eq!((alone.code, alone.stdout), (Some(0), served.stdout), "{to}");
    }
    drop(server);
}

#[test]
fn who_changes_something_changes_the_same_with_a_server_and_without() {
    // Each leads to the end of the execution, by what one way or the other has taken up.
    let ends: [&[&[&str]]; 3] = [
        &[
            &["signal", "@last", "go", "--payload", "1"],
            &["pause", "@last"],
            &["approve", "@last", "--comment", "fine"],
            &["status", "@last"],
            &["resume", "@last"],
        ],
        &[&["approve", "@last", "--reject"], &["cancel", "@last", "--reason", "no", "--wait"]],
        &[&["cancel", "@last", "--force", "--wait"], &["cancel", "@last"]],
    ];
    for commands in ends {
        let told: Vec<Vec<(String, Option<i32>)>> = [false, true]
            .map(|is_served| {
                let folder = tempfile::tempdir().expect("a folder");
                let data = folder.path().join("data");
                let id = abandoned(folder.path(), &data);
                let mut command = orchestr8();
                command.arg("--data-dir").arg(&data);
                let server = is_served.then(|| RunningServer::start(&mut command));
                let short = id[id.len() - 8..].to_owned();
                let of = |args: &&[&str]| {
                    let said = program(&data, args);
                    let id = program(&data, &["list", "--ids"]).stdout;
                    let text = said.stdout.replace(id.trim(), "[id]").replace(&short, "[short]");
                    (text, said.code)
                };
                let told = commands.iter().map(of).collect();
                drop(server);
                told
            })
            .into();
        assert_eq!(told[0], told[1], "{commands:?}");
    }
}

#[test]
fn what_another_process_drives_is_changed_there_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (mut child, id) = waiting(folder.path(), &data);
    for args in [&["cancel", &id][..], &["pause", &id], &["approve", &id], &["signal", &id, "go"], &["resume", &id]] {
        let refused = program(&data, args);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(3), ""), "{args:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(&format!("process {}", child.id())), "{args:?}: {}", refused.stderr);
    }
    child.kill().expect("it is our child");
    child.wait().expect("it is our child");

    // Whoever is told to ask nobody finds the server that holds it all the same.
    let server = RunningServer::start(orchestr8().arg("--data-dir").arg(&data));
    let delivered = program(&data, &["signal", &id, "go", "--local"]);
    assert_eq!((delivered.code, delivered.stderr.as_str()), (Some(0), ""), "{}", delivered.stdout);
    let cancelled = program(&data, &["cancel", &id, "--local", "--wait"]);
    assert_eq!(cancelled.stdout, format!("{} is cancelled\n", &id[id.len() - 8..]), "{}", cancelled.stderr);
    drop(server);
}

#[test]
fn a_workflow_of_two_files_runs_and_is_forked_the_same_by_a_server_that_sees_neither() {
    let file = |steps: &str| format!("version: 1.0.0\nmetadata: {{ id: two, name: Two }}\nsteps:\n{steps}");
    let part = file("  - { id: inner, agent: { id: '@orchestr8/echo' }, input: { text: '${inputs.text}' } }\n");
    let whole = |last: &str| {
        file(&format!(
            "  - {{ id: part, workflow: {{ ref: ./part.yaml, input: {{ text: hi }} }} }}\n  - {{ id: end, dependencies: [part], {last} }}\n"
        ))
    };
    let broken = whole("agent: { id: '@orchestr8/fail' }, input: { code: INTERNAL }");
    let mended = whole("agent: { id: '@orchestr8/echo' }, input: { said: '${steps.part.output.inner.text}' }");
    let told: Vec<_> = [false, true]
        .map(|is_served| {
            let folder = tempfile::tempdir().expect("a folder");
            let data = folder.path().join("data");
            let server = is_served.then(|| RunningServer::start(orchestr8().arg("--data-dir").arg(&data)));
            let file = |name: &str, text: &str| {
                let path = folder.path().join(name);
                fs::write(&path, text).expect("written");
                path.display().to_string()
            };
            file("part.yaml", &part);
            let (broken, mended) = (file("broken.yaml", &broken), file("mended.yaml", &mended));
            let ran = program(&data, &["run", &broken]);
            let forked = program(&data, &["fork", "@last", "--from", "end", "--with", &mended]);
            drop(server);
            assert!(forked.stdout.contains(r#""end":{"said":"hi"}"#), "{forked:?}");
            let said = |said: Said| (said.code, steady(&said.stdout), steady(&said.stderr));
            (said(ran), said(forked))
        })
        .into();
    assert_eq!((told[0].0.0, told[0].1.0), (Some(1), Some(0)));
    assert_eq!(told[0], told[1]);
}
