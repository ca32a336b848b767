//! `orchestr8 run`, from a file to its outputs.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::{assert_steady, example, orchestr8, say};

fn run(file: &str) -> Command {
    let mut command = orchestr8();
    command.arg("run").arg(example(file));
    command
}

#[test]
fn people_see_steps_and_summary_and_programs_get_outputs() {
    let said = say(&mut run("vertical-slice.json"));
    assert_eq!(said.code, Some(0));
    assert_steady("run_human", &said.stderr);
    let outputs: Value = serde_json::from_str(&said.stdout).expect("one line of JSON");
    assert_eq!(outputs["step2"]["result"], "Hello, Friend! Hello, Friend! Hello from step 1");
}

#[test]
fn json_is_the_execution_and_nothing_else() {
    let said = say(run("vertical-slice.json").args(["--format", "json"]));
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    let execution: Value = serde_json::from_str(&said.stdout).expect("one document");
    assert_eq!(execution["outputs"]["step2"]["result"], "Hello, Friend! Hello, Friend! Hello from step 1");
    assert_steady("run_json", &format!("{execution:#}"));
}

#[test]
fn steps_that_hold_steps_are_told_by_their_places() {
    let said = say(run("greet-team.yaml").args(["--input", r#"team=["Ada", "Grace"]"#, "--input", "formal=true"]));
    assert_eq!(said.code, Some(0));
    let outputs: Value = serde_json::from_str(&said.stdout).expect("one line of JSON");
    let greetings = json!(["Hello, Ada! This is formal.", "Hello, Grace! This is formal."]);
    assert_eq!(outputs, json!({ "greetings": greetings, "rounds": 3, "tone": "formal" }));
    for place in [r#"greetings["Grace"].greet"#, "rounds#2.knock", "tone.bow", "either.patient  cancelled"] {
        assert!(said.stderr.contains(place), "{place} in\n{}", said.stderr);
    }
}

#[test]
fn events_tell_of_attempts_retries_and_delays() {
    let said = say(run("flaky.yaml").args(["--events", "--quiet"]));
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    let lines: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    let (execution, events) = lines.split_last().expect("the execution comes last");
    assert_eq!((&execution["status"], &execution["steps"][0]["attempts"]), (&json!("completed"), &json!(3)));
    let story: Vec<String> = events
        .iter()
        .map(|event| {
            let attempt = event["attempt"].as_u64().map(|attempt| format!(" {attempt}")).unwrap_or_default();
            let code = event["data"]["error"]["code"].as_str().map(|code| format!(" {code}")).unwrap_or_default();
            format!("{} {}{attempt}{code}", event["sequence"], event["type"].as_str().expect("an event has a type"))
        })
        .collect();
    assert_steady("run_events", &story.join("\n"));
    let delays: Vec<_> = events.iter().filter_map(|event| event["data"]["delayMs"].as_u64()).collect();
    assert_eq!(delays.len(), 2);
    let gap = |index: usize| events[index + 1]["elapsedMs"].as_u64().zip(events[index]["elapsedMs"].as_u64());
    for (delay, index) in delays.iter().zip([6, 9]) {
        assert_eq!(events[index]["type"], "retry.scheduled");
        let waited = gap(index).map(|(after, before)| after - before).expect("entries have times");
        assert!(waited + 1 >= *delay, "waited {waited} of {delay} ms");
    }
}

#[test]
fn input_comes_from_flags_files_and_defaults() {
    let folder = tempfile::tempdir().expect("a folder for the files");
    let workflow = r#"{
        "version": "1.0.0", "metadata": { "id": "w", "name": "W" },
        "context": { "variables": { "greeting": "Hi" } }, "allowedEnvVars": ["WHO"],
        "steps": [{ "id": "a", "agent": { "id": "@orchestr8/hello-world" }, "input": { "name": "Ada" } }],
        "outputs": { "all": "${inputs}", "greeting": "${variables.greeting}", "who": "${env.WHO ?? 'nobody'}" }
    }"#;
    fs::write(folder.path().join("w.json"), workflow).expect("the folder is ours");
    fs::write(folder.path().join("input.json"), r#"{ "a": 1, "b": 2 }"#).expect("the folder is ours");
    fs::write(folder.path().join("text.txt"), "from a file").expect("the folder is ours");
    let mut command = orchestr8();
    command.current_dir(&folder).env("WHO", "Grace").env("SECRET", "not asked for");
    command.args([
        "run",
        "w.json",
        "--input-file",
        "input.json",
        "-i",
        "b=[3]",
        "-i",
        "c=plain text",
        "-i",
        "d=@text.txt",
    ]);
    let said = say(command.args(["--var", "greeting=Ahoy"]));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let outputs: Value = serde_json::from_str(&said.stdout).expect("one line of JSON");
    let all = json!({ "a": 1, "b": [3], "c": "plain text", "d": "from a file" });
    assert_eq!(outputs, json!({ "all": all, "greeting": "Ahoy", "who": "Grace" }));
}

#[test]
fn a_failure_says_why_and_is_exit_1() {
    let folder = tempfile::tempdir().expect("a folder for the files");
    let workflow = fs::read_to_string(example("flaky.yaml")).expect("the example is there");
    fs::write(folder.path().join("hopeless.yaml"), workflow.replace("failTimes: 2", "failTimes: 9"))
        .expect("the folder is ours");
    let said = say(orchestr8().current_dir(&folder).args(["run", "hopeless.yaml"]));
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""));
    assert_steady("run_failed", &said.stderr);

    let quiet = say(orchestr8().current_dir(&folder).args(["run", "hopeless.yaml", "--quiet"]));
    assert!(quiet.stderr.starts_with("✗ greet  NETWORK after 3 attempts: "), "{}", quiet.stderr);
}

#[test]
fn a_timeout_ends_the_execution() {
    let said = say(run("slow.yaml").args(["--timeout", "200ms", "--json"]));
    assert_eq!(said.code, Some(1));
    let execution: Value = serde_json::from_str(&said.stdout).expect("one document");
    assert_eq!((&execution["status"], &execution["errors"][0]["code"]), (&json!("failed"), &json!("TIMEOUT")));
}

#[test]
fn a_workflow_is_read_from_standard_input() {
    let mut child = orchestr8()
        .args(["run", "-", "--correlation-id", "order-4711", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the built program starts");
    let workflow = fs::read(example("vertical-slice.json")).expect("the example is there");
    child.stdin.take().expect("standard input is a pipe").write_all(&workflow).expect("the program reads");
    let output = child.wait_with_output().expect("the program ends");
    let execution: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!((&execution["status"], &execution["correlationId"]), (&json!("completed"), &json!("order-4711")));
}

#[cfg(unix)]
#[test]
fn a_broken_pipe_ends_the_program_quietly() {
    let mut child = run("vertical-slice.json")
        .arg("--events")
        .arg("--quiet")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the built program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}
