//! Programs under a policy, through real processes.
#![cfg(all(feature = "process", unix))]

#[path = "support/lifeline.rs"]
mod lifeline;
mod support;

use std::{path::Path, sync::Arc};

use orchestr8_agent_base::{
    Agent as _, AgentError, AgentManifest, AgentRegistry, AgentService, CancellationToken, Tool as _,
    process::{self, ProgramAgent, ProgramCall, Programs, ShellTool},
    service::AgentRequest,
};
use orchestr8_schema::{
    ErrorKind,
    config::{Config, ConfigLayer, Confine, ProcessPolicy},
    source::Options,
};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use crate::lifeline::{Lifeline, all_gone};

fn policy(allow: &[&str], shell: bool, roots: &[&Path]) -> ProcessPolicy {
    let mut policy = ProcessPolicy::default();
    policy.allow = allow.iter().map(|&name| name.to_owned()).collect();
    policy.shell = shell;
    policy.roots = roots.iter().map(|root| root.to_str().expect("a path of text").to_owned()).collect();
    policy
}

fn registry(policy: ProcessPolicy) -> AgentRegistry {
    let mut registry = AgentRegistry::new();
    process::register(&mut registry, &Programs::new(policy)).expect("registered");
    registry
}

/// Calls an agent (`@…`) or a tool as an engine does.
async fn call(policy: ProcessPolicy, name: &str, input: Value) -> Result<Value, AgentError> {
    call_cancellable(policy, name, input, CancellationToken::new()).await
}

async fn call_cancellable(
    policy: ProcessPolicy,
    name: &str,
    input: Value,
    cancel: CancellationToken,
) -> Result<Value, AgentError> {
    let registry = registry(policy);
    let callee = if name.starts_with('@') {
        Arc::clone(registry.latest(&name.parse().expect("an id")).expect("it is registered").callee())
    } else {
        Arc::clone(registry.tools().get(&name.parse().expect("a name")).expect("it is registered").callee())
    };
    let cx = support::context(&input, Map::new());
    AgentService::new(callee).oneshot(AgentRequest::new(Arc::new(input), cx, cancel)).await
}

#[tokio::test]
async fn a_program_gets_what_the_call_gives_it_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().canonicalize().expect("it is there");
    let policy = policy(&["env", "cat", "pwd"], true, &[&root]);

    let said =
        call(policy.clone(), "@orchestr8/process", json!({ "program": "env", "env": { "COLOR": "blue" } })).await;
    let said = said.expect("it runs");
    let mut names: Vec<_> =
        said["stdout"].as_str().expect("text").lines().filter_map(|line| line.split('=').next()).collect();
    names.retain(|name| !["LANG", "PWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["COLOR", "PATH"]);
    assert_eq!((&said["exitCode"], &said["signal"], &said["truncated"]), (&json!(0), &Value::Null, &json!(false)));

    let echoed =
        call(policy.clone(), "process.run", json!({ "program": "cat", "args": ["-"], "stdin": "Grüße" })).await;
    assert_eq!(echoed.expect("it runs")["stdout"], "Grüße");
    // Neither a word of it is the shell's, nor is the folder another.
    let quoted = call(policy.clone(), "@orchestr8/process", json!({ "program": "pwd", "args": ["-P"] })).await;
    assert_eq!(quoted.expect("it runs")["stdout"], format!("{}\n", root.display()));
    let shell = json!({ "command": "echo \"$1 and $2\" >&2; exit 3", "args": ["a b", "$HOME"], "allowExit": [3] });
    for name in ["@orchestr8/shell", "shell.run"] {
        let said = call(policy.clone(), name, shell.clone()).await.expect("3 is allowed");
        assert_eq!((&said["exitCode"], &said["stderr"]), (&json!(3), &json!("a b and $HOME\n")));
    }
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_denied_with_its_setting() {
    let (inside, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    std::os::unix::fs::symlink(outside.path(), inside.path().join("link")).expect("a link");
    let nothing = ProcessPolicy::default();
    let some = policy(&["true"], true, &[inside.path()]);
    let cases = [
        (&nothing, "@orchestr8/process", json!({ "program": "true" }), "policy.process.allow"),
        (&nothing, "process.run", json!({ "program": "true" }), "policy.process.allow"),
        (&nothing, "@orchestr8/shell", json!({ "command": "true" }), "policy.process.shell"),
        (&nothing, "shell.run", json!({ "command": "true" }), "policy.process.shell"),
        (&some, "process.run", json!({ "program": "/bin/true" }), "policy.process.allow"),
        (&some, "process.run", json!({ "program": "./true" }), "policy.process.allow"),
        (&some, "process.run", json!({ "program": "true", "cwd": outside.path() }), "policy.process.roots"),
        (&some, "process.run", json!({ "program": "true", "cwd": inside.path().join("link") }), "policy.process.roots"),
        (&some, "process.run", json!({ "program": "true", "cwd": inside.path().join("..") }), "policy.process.roots"),
        (&some, "shell.run", json!({ "command": "true", "cwd": "/" }), "policy.process.roots"),
        (&some, "process.run", json!({ "program": "true", "env": { "LD_PRELOAD": "x.so" } }), "policy.process.allow"),
    ];
    for (policy, name, input, setting) in cases {
        let error = call(policy.clone(), name, input.clone()).await.expect_err("it is denied");
        assert_eq!(error.kind(), ErrorKind::Denied, "{input}: {error}");
        assert_eq!(error.context().expect("facts")["setting"], setting, "{input}");
        assert!(error.to_string().contains(setting), "{error}");
    }
}

#[tokio::test]
async fn an_exit_code_decides_about_another_attempt() {
    let shell = || policy(&["no-such-program", "/"], true, &[]);
    let run = |command: &str| call(shell(), "@orchestr8/shell", json!({ "command": command }));

    let failed = run("echo partial; echo why >&2; exit 4").await.expect_err("it fails");
    assert_eq!((failed.kind(), failed.to_string().as_str()), (ErrorKind::Internal, "`sh` ended with exit code 4"));
    assert_eq!(failed.context(), Some(&json!({ "exitCode": 4, "signal": null, "stderr": "why\n" })));
    assert_eq!(run("exit 75").await.expect_err("it fails").kind(), ErrorKind::Retryable);
    let killed = run("kill -9 $$").await.expect_err("it is killed");
    assert_eq!((killed.kind(), &killed.context().expect("facts")["signal"]), (ErrorKind::Internal, &json!(9)));

    for (program, kind) in [("no-such-program", ErrorKind::NotFound), ("/", ErrorKind::Denied)] {
        let error = call(shell(), "process.run", json!({ "program": program })).await.expect_err("it cannot start");
        assert_eq!(error.kind(), kind, "{program}: {error}");
    }
}

#[tokio::test]
async fn of_a_flood_the_beginning_is_kept_and_nobody_is_held_up() {
    let flood = json!({ "command": "head -c 5000000 /dev/zero | tr '\\0' 'a'; head -c 3000000 /dev/zero | tr '\\0' 'b' >&2; echo never" });
    let said = call(policy(&[], true, &[]), "@orchestr8/shell", flood.clone()).await.expect("it runs");
    assert_eq!(said["truncated"], true);
    assert_eq!(said["stdout"], "a".repeat(Programs::MAX_STREAM));
    assert_eq!(said["stderr"], "b".repeat(Programs::MAX_STREAM));
    // A tool's result has 1 MB in all, however much its bytes grow in JSON.
    let escaped = json!({ "command": "head -c 900000 /dev/zero; head -c 300000 /dev/zero >&2" });
    for input in [flood, escaped] {
        let said = call(policy(&[], true, &[]), "shell.run", input).await.expect("it fits");
        assert_eq!(said["truncated"], true);
        assert!((500_000..=1024 * 1024).contains(&said.to_string().len()), "{}", said.to_string().len());
    }
}

fn tree(lifeline: &Lifeline, preparation: &str, body: &str) -> Value {
    json!({ "command": lifeline.command(preparation, body) })
}

#[tokio::test]
async fn nobody_survives_the_end_of_a_program() {
    let mut lifeline = Lifeline::new();
    let said = call(policy(&[], true, &[]), "@orchestr8/shell", tree(&lifeline, "", "echo done")).await;
    assert_eq!(said.expect("it ends by itself")["stdout"], "done\n");
    all_gone(lifeline.started().await).await;
}

#[tokio::test]
async fn nobody_survives_a_cancellation_and_who_can_ends_in_peace() {
    let mut lifeline = Lifeline::new();
    let folder = tempfile::tempdir().expect("a folder");
    let goodbye = folder.path().join("goodbye");
    let command = tree(&lifeline, &format!("trap 'echo bye > {}; exit' TERM;", goodbye.display()), "wait");
    let cancel = CancellationToken::new();
    let running = tokio::spawn(call_cancellable(policy(&[], true, &[]), "@orchestr8/shell", command, cancel.clone()));
    let reader = lifeline.started().await;
    cancel.cancel();
    let error = running.await.expect("no panic").expect_err("it is cancelled");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    all_gone(reader).await;
    assert_eq!(std::fs::read_to_string(goodbye).expect("it had the time"), "bye\n");
}

#[tokio::test]
async fn who_ignores_the_request_to_end_is_killed_after_the_grace() {
    let mut lifeline = Lifeline::new();
    let command = tree(&lifeline, "trap '' TERM;", "while :; do wait; done");
    let cancel = CancellationToken::new();
    let running = tokio::spawn(call_cancellable(policy(&[], true, &[]), "shell.run", command, cancel.clone()));
    let reader = lifeline.started().await;
    cancel.cancel();
    assert_eq!(running.await.expect("no panic").expect_err("it is cancelled").kind(), ErrorKind::Cancelled);
    all_gone(reader).await;
}

#[tokio::test]
async fn nobody_survives_when_the_call_is_dropped() {
    let mut lifeline = Lifeline::new();
    let command = tree(&lifeline, "", "wait");
    let running = tokio::spawn(call(policy(&[], true, &[]), "@orchestr8/shell", command));
    let reader = lifeline.started().await;
    running.abort();
    all_gone(reader).await;
}

/// Calls a tool made of a command with the parameters `a` and `b`.
async fn said_by(command: &str, arguments: Value) -> String {
    let document = json!({ "tools": { "acme:say": {
        "command": command,
        "description": "Says something",
        "parameters": { "type": "object", "properties": { "a": {}, "b": {} } }
    } } });
    let layer = ConfigLayer::read(document.to_string(), &Options::new()).expect("valid").value;
    let config = Config::from_layers([&layer]);
    let (name, tool) = config.tools.first().expect("a tool");
    let tool = ShellTool::new(Programs::new(policy(&[], true, &[])), name.clone(), tool);
    let cx = support::context(&arguments, Map::new());
    let said = tool.call(&arguments, &cx, CancellationToken::new()).await.expect("it runs");
    said["stdout"].as_str().expect("text").to_owned()
}

#[tokio::test]
async fn a_parameter_of_a_command_is_one_word_wherever_it_stands() {
    let hostile = "'\"; echo pwned; $(echo pwned) `echo pwned` \\ * \n{b}";
    for (command, expected) in [
        ("printf '<%s>' {a} {b}", format!("<{hostile}><7>")),
        ("printf '<%s>' \"{a} {b}\" x", format!("<{hostile} 7><x>")),
        ("printf '<%s>' 'a: {a}'", format!("<a: {hostile}>")),
        ("printf '<%s>' \\'{a}\\'", format!("<'{hostile}'>")),
        // None of these is a parameter.
        ("x=1; printf '<%s>' ${x} '{c}' | awk '{print}'", "<1><{c}>\n".to_owned()),
    ] {
        assert_eq!(said_by(command, json!({ "a": hostile, "b": 7 })).await, expected, "{command}");
    }
    assert_eq!(said_by("printf '<%s>' {a} {b}", json!({ "a": [1, "x"] })).await, "<[1,\"x\"]><>");
}

#[tokio::test]
async fn a_program_can_be_an_agent() {
    let script = r#"
        input=$(cat); echo "thinking" >&2
        case "$input" in
            *busy*) exit 75 ;;
            *words*) echo "no JSON" ;;
            *flood*) printf '"'; head -c 2000000 /dev/zero | tr '\0' a; printf '"' ;;
            *) printf '{"got": %s, "context": %s}' "$input" "$ORCHESTR8_CONTEXT" ;;
        esac"#;
    let mut call = ProgramCall::new("sh");
    call.args = vec!["-c".to_owned(), script.to_owned()];
    let manifest = AgentManifest::new("@acme/script", "1.0.0", "Tells what it is given").expect("well formed");
    let agent = ProgramAgent::new(Programs::new(policy(&["sh"], false, &[])), call.clone(), manifest.clone());
    let run = async |agent: &ProgramAgent, input: Value| {
        let config = json!({ "tone": "warm" }).as_object().expect("an object").clone();
        let cx = support::context(&input, config).for_attempt(2, None);
        agent.execute(&input, &cx, CancellationToken::new()).await
    };
    let output = run(&agent, json!({ "text": "Grüße" })).await.expect("it answers");
    assert_eq!(output["got"], json!({ "text": "Grüße" }));
    let told = &output["context"];
    assert_eq!(
        (&told["attempt"], &told["stepPath"], &told["config"]["tone"]),
        (&json!(2), &json!("step"), &json!("warm"))
    );
    for (input, kind) in
        [("busy", ErrorKind::Retryable), ("words", ErrorKind::Validation), ("flood", ErrorKind::Validation)]
    {
        assert_eq!(run(&agent, json!(input)).await.expect_err(input).kind(), kind, "{input}");
    }
    let forbidden = ProgramAgent::new(Programs::new(ProcessPolicy::default()), call, manifest);
    assert_eq!(run(&forbidden, Value::Null).await.expect_err("not allowed").kind(), ErrorKind::Denied);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_program_is_held_to_the_limits_of_the_policy_and_the_result_tells_which() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut policy = policy(&[], true, &[folder.path()]);
    let free = call(policy.clone(), "shell.run", json!({ "command": "true" })).await.expect("it runs");
    assert!(free.get("enforced").is_none(), "{free}");
    policy.limits.file_bytes = Some(4096);
    policy.limits.open_files = Some(32);
    policy.limits.cpu_seconds = Some(1);
    let told =
        call(policy.clone(), "shell.run", json!({ "command": "sleep 0.05; ulimit -n; sh -c 'ulimit -n'" })).await;
    let told = told.expect("it runs");
    assert_eq!(told["stdout"], "32\n32\n", "what it starts is held to them, too");
    assert_eq!(told["enforced"], json!({ "limits": ["cpuSeconds", "fileBytes", "openFiles"], "writes": "anywhere" }));
    let large =
        call(policy.clone(), "shell.run", json!({ "command": "sleep 0.05; exec head -c 100000 /dev/zero > large" }))
            .await;
    let large = large.expect_err("the file becomes too large");
    assert_eq!(large.kind(), ErrorKind::Internal, "{large}");
    assert!(folder.path().join("large").metadata().expect("it was begun").len() <= 4096);
    let busy = call(policy, "shell.run", json!({ "command": "while :; do :; done" })).await.expect_err("it is killed");
    assert_eq!(busy.kind(), ErrorKind::Internal, "{busy}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_confined_program_writes_below_its_roots_only_or_says_that_it_could_not_be_confined() {
    // Not below the folder for temporary files, where it may write.
    let (root, elsewhere) = (tempfile::tempdir(), tempfile::tempdir_in("/var/tmp"));
    let (root, elsewhere) = (root.expect("a folder"), elsewhere.expect("a folder"));
    let mut policy = policy(&[], true, &[root.path()]);
    policy.confine = Confine::Try;
    let outside = elsewhere.path().join("outside");
    let command =
        format!("echo in > inside; echo out > {} ; cat /etc/passwd > /dev/null && echo read", outside.display());
    let told = call(policy.clone(), "shell.run", json!({ "command": command })).await.expect("it runs");
    assert_eq!(told["stdout"], "read\n", "reading is not confined");
    assert!(root.path().join("inside").exists());
    let could = told["enforced"]["writes"].as_str().expect("it says so").to_owned();
    assert_eq!(outside.exists(), could == "anywhere", "{told}");
    // This process goes on as before.
    std::fs::write(&outside, "out").expect("we may write");

    policy.confine = Confine::Require;
    let required = call(policy, "shell.run", json!({ "command": "echo fine" })).await;
    match could.as_str() {
        "folders" => assert_eq!(required.expect("it runs")["stdout"], "fine\n"),
        _ => assert_eq!(required.expect_err("it cannot").kind(), ErrorKind::Denied),
    }
}
