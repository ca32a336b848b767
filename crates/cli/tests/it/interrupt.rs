//! Signals that come while an execution is followed.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::support::{example, orchestr8};

/// Runs the slow example until its step has started, sends a signal, and returns exit code, events and what was said.
fn interrupt(signal: &str) -> (Option<i32>, Vec<Value>, String) {
    let mut child = orchestr8()
        .arg("run")
        .arg(example("slow.yaml"))
        .arg("--events")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the built program starts");
    let stdout = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
    let mut events = Vec::new();
    for line in stdout.lines() {
        let event: Value = serde_json::from_str(&line.expect("the program writes UTF-8")).expect("JSON lines");
        if event["type"] == "step.started" {
            let kill = format!("kill -{signal} {}", child.id());
            Command::new("sh").args(["-c", &kill]).status().expect("a shell can send signals");
        }
        events.push(event);
    }
    let mut said = String::new();
    child.stderr.take().expect("standard error is a pipe").read_to_string(&mut said).expect("the program writes UTF-8");
    (child.wait().expect("the program is our child").code(), events, said)
}

#[test]
fn ctrl_c_cancels_within_the_grace_and_the_journal_says_so() {
    let (code, mut events, said) = interrupt("INT");
    assert_eq!(code, Some(130));
    assert!(said.contains("Cancelling ") && said.contains("Cancelled after "), "{said}");
    let execution = events.pop().expect("the execution comes last");
    assert_eq!(execution["status"], "cancelled");
    let find = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    let asked = find("execution.cancelling");
    assert_eq!(asked["data"]["reason"], "interrupted by a signal");
    assert_eq!(asked["data"]["gracePeriodMs"], 5000);
    let ended = find("execution.cancelled");
    assert_eq!(ended["data"]["graceful"], true);
    let took = ended["elapsedMs"].as_u64().zip(asked["elapsedMs"].as_u64()).map(|(end, start)| end - start);
    assert!(took.is_some_and(|took| Duration::from_millis(took) < Duration::from_secs(1)), "took {took:?} ms");
}

#[test]
fn sigterm_cancels_as_ctrl_c_does() {
    let (code, events, _) = interrupt("TERM");
    assert_eq!(code, Some(130));
    assert_eq!(events.last().expect("the execution comes last")["status"], "cancelled");
}
