//! Two servers share a database under load, and one or the other is killed: nothing that was committed runs again, and nobody drives
//! what another drives.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use orchestr8_core::machine::Status;
use orchestr8_schema::event::{CallId, EventBody};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{
    own_program::{effects, own_program, stored},
    running_server::RunningServer,
};

/// Rounds of load, each of which ends with the death of a server; `CRASHES` asks for more.
const ROUNDS: usize = 3;
/// Executions that each round asks each server for.
const LOAD: usize = 6;

/// A chain, and a map beside it.
fn workflow(delay_ms: u32) -> Value {
    let call = |id: &str, of: Value, dependencies: &[&str]| json!({ "id": id, "agent": { "id": "@test/ledger" }, "dependencies": dependencies, "input": { "of": of, "delayMs": delay_ms } });
    json!({
        "version": "1.0.0",
        "metadata": { "id": "shared", "name": "Shared" },
        "steps": [
            call("a", json!("${inputs.n}"), &[]),
            call("b", json!("${steps.a.output.of}"), &["a"]),
            call("c", json!("${steps.b.output.of}"), &["b"]),
            { "id": "each", "map": {
                "items": [1, 2, 3], "as": "item", "concurrency": 2, "steps": [call("one", json!("${item}"), &[])]
            } },
        ]
    })
}

fn server(data: &Path, ledger: &Path) -> RunningServer {
    let data = data.to_str().expect("UTF-8");
    RunningServer::of(&mut own_program(ledger, &["--data-dir", data, "server", "--port", "0"]))
}

/// Asks a server for an execution, and gives its id.
fn start(server: &RunningServer, delay_ms: u32, n: usize) -> String {
    let body = json!({ "workflow": workflow(delay_ms), "input": { "n": n } });
    let answer = server.post("/v1/workflows/execute").json(&body).send().expect("the server answers");
    answer.json::<Value>().expect("JSON")["executionId"].as_str().expect("an id").to_owned()
}

/// Waits until an execution has ended, whoever drives it: of what another process does a server hears nothing, and looks again.
fn ended(server: &RunningServer, id: &str) {
    let mut tag = String::new();
    loop {
        let request = server.get(&format!("/v1/executions/{id}?wait=1")).header("if-none-match", &tag);
        let answer = request.send().expect("the server answers");
        tag = answer.headers()["etag"].to_str().expect("ASCII").to_owned();
        if answer.status() == 200 && answer.json::<Value>().expect("JSON")["completedAt"].is_string() {
            return;
        }
    }
}

#[test]
fn two_servers_on_one_database_run_nothing_twice_whichever_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, ledger) = (folder.path().join("data"), folder.path().join("ledger"));
    let rounds = std::env::var("CRASHES").ok().and_then(|count| count.parse().ok()).unwrap_or(ROUNDS);
    let (mut one, mut other) = (server(&data, &ledger), server(&data, &ledger));
    let mut ids = Vec::new();
    for round in 0..rounds {
        let first = round * 2 * LOAD;
        ids.extend((0..LOAD).map(|n| start(&other, 80, first + LOAD + n)));
        ids.extend((0..LOAD).map(|n| start(&one, 80, first + n)));
        // Somewhere in the middle of the calls that it was asked for.
        one.tells(2 + 7 * round % 29);
        one.kill();
        // What it drove is free at once, since its process is gone; whoever starts looks for that.
        one = other;
        other = server(&data, &ledger);
    }
    for id in &ids {
        ended(&other, id);
    }
    drop((one, other));
    check(&data, &ledger, &ids);
}

#[cfg(unix)]
#[test]
fn a_server_that_was_taken_for_dead_and_is_not_stops_at_its_next_append() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, ledger) = (folder.path().join("data"), folder.path().join("ledger"));
    let mut slow = server(&data, &ledger);
    let id = start(&slow, 300, 0);
    // One step of the chain and two items of the map are in progress, and nothing is being stored.
    slow.tells(3);
    slow.signal("STOP");
    let store = Connection::open(data.join("orchestr8.db")).expect("opened");
    // As if it had not renewed its leases for half a minute.
    assert_eq!(store.execute("UPDATE holders SET until = 0", []).expect("changed"), 1);
    let heir = server(&data, &ledger);
    ended(&heir, &id);
    let (journal, calls) = (stored(&data)[0].events().to_vec(), effects(&ledger));
    slow.signal("CONT");
    // The stream ends when nobody drives the execution there any more.
    let told = slow.get(&format!("/v1/executions/{id}/events")).send().expect("it answers").text().expect("it ends");
    assert!(told.contains("execution.completed"), "{told}");
    assert_eq!(stored(&data)[0].events(), journal);
    assert_eq!(effects(&ledger), calls, "it has called nobody any more");
    let processes: BTreeSet<_> = calls.iter().map(|call| call.process).collect();
    assert_eq!(processes.len(), 2);
    drop((slow, heir));
    check(&data, &ledger, &[id]);
}

fn check(data: &Path, ledger: &Path, ids: &[String]) {
    let snapshots = stored(data);
    assert_eq!(snapshots.len(), ids.len(), "every execution that was acknowledged is there, and no other");
    let mut calls: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for effect in effects(ledger) {
        calls.entry((effect.execution, effect.path)).or_default().push(effect.key);
    }
    let mut taken_over = 0;
    for snapshot in snapshots {
        assert_eq!(snapshot.state().status(), Status::Completed);
        let id = snapshot.state().queued().expect("it has begun").execution_id.to_string();
        let (mut announced, mut ends) = (BTreeMap::<_, usize>::new(), BTreeMap::<_, usize>::new());
        let mut epochs = Vec::new();
        for event in snapshot.events() {
            match &event.body {
                EventBody::ExecutionStarted { epoch } | EventBody::ExecutionRecovered { epoch } => epochs.push(*epoch),
                EventBody::AttemptStarted { call: CallId::Step(step), .. } => *announced.entry(*step).or_default() += 1,
                EventBody::StepCompleted { activation, .. } => *ends.entry(*activation).or_default() += 1,
                _ => {}
            }
        }
        assert!(epochs.is_sorted_by(|one, other| one < other), "{id}: epochs rise: {epochs:?}");
        taken_over += epochs.len() - 1;
        assert!(ends.values().all(|count| *count == 1), "{id}: a step was committed twice");
        for (step, announced) in announced {
            let path = snapshot.state().step_path(snapshot.plan(), step).expect("there is one").to_string();
            let keys = calls.remove(&(id.clone(), path.clone())).unwrap_or_default();
            // A call that nobody has announced in the journal would be that of a driver who had lost the execution.
            assert!(
                (1..=announced).contains(&keys.len()),
                "{id}: {path} was called {} times of {announced}",
                keys.len()
            );
            assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 1, "{id}: {path} has one key");
        }
    }
    assert!(calls.is_empty(), "every call belongs to a step: {calls:?}");
    assert!(taken_over > 0, "a death leaves something to take over");
}
