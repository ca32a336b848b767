//! Tools and agents that reach beyond the program, from workflow files and under the policies of the settings.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::support::{Said, orchestr8, say};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/tools").join(name)
}

/// Runs a workflow file under settings.
fn run(config: &Value, file: &Path, arguments: &[&str]) -> Said {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join("settings.json");
    fs::write(&settings, config.to_string()).expect("written");
    let mut command = orchestr8();
    command.current_dir(folder.path()).arg("--config").arg(settings);
    say(command.arg("run").arg(file).args(arguments).arg("--json"))
}

fn outcome(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).expect("the outcome is JSON")
}

#[cfg(unix)]
#[test]
fn a_workflow_runs_programs_and_tools_of_the_settings_as_far_as_the_policies_go() {
    let file = example("count-words.yaml");
    let config: Value =
        serde_json::from_str(&fs::read_to_string(example("config.json")).expect("readable")).expect("JSON");
    let said = run(&config, &file, &["-i", "text=pear $(id) apple"]);
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    let outputs = &outcome(&said)["outputs"];
    assert_eq!(outputs["words"].as_str().map(str::trim), Some("3"), "{outputs}");
    assert_eq!(outputs["sorted"], "$(id) apple pear ");

    // Without the settings the tool is unknown, and without the policy the program is denied.
    let unknown = run(&json!({}), &file, &["-i", "text=a"]);
    assert_eq!(unknown.code, Some(2), "{}", unknown.stdout);
    assert!(format!("{}{}", unknown.stdout, unknown.stderr).contains("text.sort"));
    let mut narrow = config;
    narrow["policy"]["process"] = json!({ "shell": true });
    let denied = run(&narrow, &file, &["-i", "text=a"]);
    assert_eq!(denied.code, Some(1), "{}", denied.stdout);
    assert!(denied.stdout.contains("policy.process.allow"), "{}", denied.stdout);
    assert!(denied.stdout.contains("DENIED"), "{}", denied.stdout);
}

/// A workflow of one step that calls an agent with a text.
fn calling(folder: &Path, agent: &str) -> PathBuf {
    let workflow = json!({
        "version": "1.0.0",
        "metadata": { "id": "calling", "name": "Calling" },
        "steps": [{ "id": "call", "agent": { "id": agent }, "input": { "text": "Grüße" } }],
        "outputs": { "said": "${steps.call.output}" }
    });
    let path = folder.join("calling.json");
    fs::write(&path, workflow.to_string()).expect("written");
    path
}

#[cfg(unix)]
#[test]
fn agents_of_the_settings_are_called_and_listed_with_where_they_come_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = json!({
        "command": "sh",
        "args": ["-c", "printf '{\"input\": %s, \"key\": \"%s\"}' \"$(cat)\" \"$MODE\""],
        "env": { "MODE": "fast" },
        "manifest": { "id": "@acme/script", "version": "1.2.3", "description": "Tells what it is given" }
    });
    let config = json!({
        "policy": { "process": { "allow": ["sh"] } },
        "agents": { "@acme/script": program, "@acme/away": { "url": "http://127.0.0.1:9" } }
    });
    let file = calling(folder.path(), "@acme/script");
    let said = run(&config, &file, &[]);
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    assert_eq!(outcome(&said)["outputs"]["said"], json!({ "input": { "text": "Grüße" }, "key": "fast" }));
    assert!(said.stderr.contains("@acme/away"), "a service that is away is told of: {}", said.stderr);
    // Who needs it hears of it, too.
    let away = run(&config, &calling(folder.path(), "@acme/away"), &[]);
    assert_eq!(away.code, Some(2), "{}", away.stdout);

    let settings = folder.path().join("settings.json");
    let list = |config: &Value, arguments: &[&str]| {
        fs::write(&settings, config.to_string()).expect("written");
        say(orchestr8().arg("--config").arg(&settings).args(["agents", "list"]).args(arguments))
    };
    let listed = list(&config, &[]);
    assert!(listed.stdout.contains("@acme/script"), "{}", listed.stdout);
    assert!(listed.stdout.contains("1.2.3  Tells what it is given (program sh)"), "{}", listed.stdout);
    let listed: Value = serde_json::from_str(&list(&config, &["--json"]).stdout).expect("JSON");
    let source = |id: &str| {
        let agents = listed["agents"].as_array().expect("a list");
        agents.iter().find(|agent| agent["id"] == id).map(|agent| agent["source"].clone())
    };
    assert_eq!(source("@acme/script"), Some(json!("program sh")));
    assert_eq!(source("@orchestr8/http"), Some(json!("built in")));
    assert_eq!(source("@acme/away"), None);

    // An id stands for one agent.
    let mut twice = program.clone();
    twice["manifest"]["id"] = json!("@orchestr8/echo");
    let refused = list(&json!({ "agents": { "@orchestr8/echo": twice } }), &[]);
    assert_eq!(refused.code, Some(2), "{}", refused.stdout);
    assert!(refused.stderr.contains("there are two agents @orchestr8/echo"), "{}", refused.stderr);
    let mut other = program;
    other["manifest"]["id"] = json!("@acme/other");
    let refused = list(&json!({ "agents": { "@acme/script": other } }), &[]);
    assert!(refused.stderr.contains("has the id @acme/other"), "{}", refused.stderr);
}

#[test]
fn a_project_that_is_not_trusted_adds_nothing_that_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join(".orchestr8")).expect("a folder");
    let config = json!({
        "policy": { "process": { "allow": ["touch"], "shell": true } },
        "tools": { "evil": { "command": "touch ran", "description": "Leaves a trace" } },
        "agents": { "@evil/agent": {
            "command": "touch", "args": ["ran"],
            "manifest": { "id": "@evil/agent", "version": "1.0.0", "description": "Leaves a trace" }
        } }
    });
    fs::write(folder.path().join(".orchestr8/config.json"), config.to_string()).expect("written");
    let file = calling(folder.path(), "@evil/agent");
    let said = say(orchestr8().current_dir(folder.path()).arg("run").arg(&file));
    assert_eq!(said.code, Some(2), "{}", said.stdout);
    assert!(said.stderr.contains("is not trusted"), "{}", said.stderr);
    assert!(!folder.path().join("ran").exists());
    say(orchestr8().current_dir(folder.path()).arg("--trust-project").arg("run").arg(&file));
    assert_eq!(folder.path().join("ran").exists(), cfg!(unix));
}
