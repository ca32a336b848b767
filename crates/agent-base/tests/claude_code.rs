//! The program `claude`, played by scripts that are real processes.
#![cfg(all(feature = "claude-code", unix))]

#[path = "support/lifeline.rs"]
mod lifeline;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use orchestr8_agent_base::{
    AgentError, CancellationToken, SecretString,
    model::{ApiKey, ChatRequest, ChatResponse, ClaudeCode, Message, Provider as _, StopReason},
};
use orchestr8_schema::{ErrorKind, config::ProcessPolicy, usage::Usage};
use serde_json::{Value, json};

use crate::lifeline::{Lifeline, all_gone};

/// A script in the part of `claude`. Beside itself it notes how it was called.
struct Actor {
    folder: tempfile::TempDir,
}

impl Actor {
    fn plays(body: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("claude");
        let notes = "here=$(dirname \"$0\")\nfor argument; do printf '%s\\0' \"$argument\"; done > \"$here/args\"\n\
                     cat > \"$here/stdin\"\npwd -P > \"$here/cwd\"\nls -A > \"$here/files\"\nenv > \"$here/env\"\n";
        fs::write(&path, format!("#!/bin/sh\n{notes}{body}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("changed");
        Self { folder }
    }

    /// One that writes this answer and nothing else.
    fn answers(answer: &Value) -> Self {
        Self::plays(&format!("cat <<'END'\n{answer}\nEND"))
    }

    fn provider(&self, policy: &ProcessPolicy) -> ClaudeCode {
        ClaudeCode::program(self.folder.path().join("claude").display().to_string(), policy)
    }

    async fn ask(&self, request: ChatRequest) -> Result<ChatResponse, AgentError> {
        self.provider(&ProcessPolicy::default())
            .model("code", "sonnet")
            .chat(request, None, CancellationToken::new())
            .await
    }

    fn note(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).expect("it was called")
    }

    fn args(&self) -> Vec<String> {
        self.note("args").split_terminator('\0').map(str::to_owned).collect()
    }

    fn was_called(&self) -> bool {
        self.folder.path().join("args").exists()
    }
}

fn question() -> ChatRequest {
    ChatRequest::new(Message::user("what is secret-of-the-prompt?")).system("You answer.").system("In one word.")
}

#[tokio::test]
async fn it_is_asked_by_its_flags_and_answers_by_its_last_object() {
    let result = json!({
        "type": "result", "subtype": "success", "is_error": false, "result": "Paris", "session_id": "s-1",
        "usage": {
            "input_tokens": 10, "output_tokens": 4, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 2
        },
        "total_cost_usd": 0.25
    });
    let actor = Actor::plays(&format!(
        "echo 'warming up'\necho '{{\"type\":\"system\"}}'\necho noise >&2\ncat <<'END'\n{result}\nEND\necho 'not {{json'"
    ));
    let key = ApiKey::given(SecretString::new("sk-of-mine"));
    let model = actor.provider(&ProcessPolicy::default()).key(key).model("code", "sonnet");
    assert_eq!(model.key().map(|key| key.expose().to_owned()).as_deref(), Some("sk-of-mine"));
    let answer = model.chat(question(), None, CancellationToken::new()).await.expect("it answers");
    assert_eq!((answer.message.text().as_str(), answer.stop_reason), ("Paris", StopReason::EndTurn));
    let usage = Usage { cache_read_tokens: 7, cache_creation_tokens: 2, ..Usage::new(10, 4, 0.0) };
    assert_eq!((answer.usage, answer.cost_usd, answer.request_id.as_deref()), (usage, Some(0.25), Some("s-1")));

    let system = "You answer.\n\nIn one word.";
    let flags = ["-p", "--output-format", "json", "--model", "sonnet", "--system-prompt", system, "--tools", ""];
    assert_eq!(actor.args(), flags);
    assert_eq!(actor.note("stdin"), "what is secret-of-the-prompt?");
    assert_eq!(actor.note("files"), "", "its folder is empty");
    assert!(!Path::new(actor.note("cwd").trim()).exists(), "and gone when the call is over");
    let environment = actor.note("env");
    let names: Vec<_> = environment.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert!(environment.contains("ANTHROPIC_API_KEY=sk-of-mine"));
    let known = ["PATH", "LANG", "HOME", "USER", "XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "ANTHROPIC_API_KEY"];
    let of_the_shell = ["PWD", "OLDPWD", "SHLVL", "_"];
    assert!(names.iter().all(|name| known.contains(name) || of_the_shell.contains(name)), "{names:?}");
}

#[tokio::test]
async fn a_schema_goes_by_its_flag_and_a_talk_as_one_text() {
    let actor = Actor::answers(&json!({ "result": "ignored", "structured_output": { "city": "Paris" } }));
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    let mut request = question().output_schema(schema.clone());
    request.messages.extend([Message::assistant("Say again?"), Message::user("France.")]);
    let answer = actor.ask(request).await.expect("it answers");
    assert_eq!(answer.message.text(), json!({ "city": "Paris" }).to_string());
    let args = actor.args();
    let place = args.iter().position(|argument| argument == "--json-schema").expect("the flag");
    assert_eq!(serde_json::from_str::<Value>(&args[place + 1]).expect("JSON"), schema);
    let talk = "User:\nwhat is secret-of-the-prompt?\n\nAssistant:\nSay again?\n\nUser:\nFrance.";
    assert_eq!(actor.note("stdin"), talk);
}

#[tokio::test]
async fn its_own_tools_and_folders_are_those_that_the_policy_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().canonicalize().expect("it is there");
    let actor = Actor::answers(&json!({ "result": "done" }));
    let mut policy = ProcessPolicy::default();
    policy.claude_tools = vec!["Read".to_owned()];
    policy.roots = vec![root.display().to_string()];
    let ask = |key: &str, value: Value, policy: &ProcessPolicy| {
        let mut request = question();
        request.metadata.insert(key.to_owned(), value);
        let model = actor.provider(policy).model("code", "sonnet");
        async move { model.chat(request, None, CancellationToken::new()).await.map_err(|error| error.kind()) }
    };
    let none = ProcessPolicy::default();
    for (key, value, policy) in [
        ("allowedTools", json!(["Read", "Bash"]), &policy),
        ("allowedTools", json!(["Read"]), &none),
        ("cwd", json!("/"), &policy),
        ("cwd", json!(root), &none),
    ] {
        let denied = ask(key, value.clone(), policy).await;
        assert_eq!(denied.err(), Some(ErrorKind::Denied), "{key} {value}");
        assert!(!actor.was_called(), "{key} {value}");
    }
    ask("allowedTools", json!(["Read"]), &policy).await.expect("it answers");
    assert_eq!(actor.args()[7..], ["--tools", "Read", "--allowedTools", "Read"]);
    ask("cwd", json!(root), &policy).await.expect("it answers");
    assert_eq!(PathBuf::from(actor.note("cwd").trim()), root);
    assert!(root.exists(), "a folder of somebody's stays");
}

#[tokio::test]
async fn whatever_else_it_does_is_a_failure_without_a_word_of_the_prompt() {
    let failure = json!({ "is_error": true, "subtype": "error_max_turns", "result": "it said secret-of-the-prompt" });
    let strange = json!({ "is_error": true, "subtype": "Secret-of-the-prompt", "result": "x" });
    let cases = [
        ("exit 3".to_owned(), json!({ "exitCode": 3, "signal": null, "truncated": false })),
        ("kill -9 $$".to_owned(), json!({ "exitCode": null, "signal": 9, "truncated": false })),
        ("cat \"$here/stdin\"".to_owned(), json!({ "exitCode": 0, "signal": null, "truncated": false })),
        ("echo '{\"result\": \"half'".to_owned(), json!({ "exitCode": 0, "signal": null, "truncated": false })),
        ("echo '[1]'".to_owned(), json!({ "exitCode": 0, "signal": null, "truncated": false })),
        (
            "head -c 3000000 /dev/zero | tr '\\0' a; echo '{\"result\": \"late\"}'".to_owned(),
            json!({ "exitCode": 0, "signal": null, "truncated": true }),
        ),
        (format!("echo '{failure}'"), json!({ "error": "error_max_turns" })),
        (format!("echo '{strange}'"), json!({ "error": null })),
    ];
    for (body, context) in cases {
        let error = Actor::plays(&body).ask(question()).await.expect_err("no answer");
        assert_eq!((error.kind(), error.context()), (ErrorKind::Retryable, Some(&context)), "{body}");
        assert!(!format!("{error:?}").to_lowercase().contains("secret-of-the-prompt"), "{error:?}");
    }
    let refusal = Actor::answers(&json!({ "result": "no", "stop_reason": "refusal" })).ask(question()).await;
    assert_eq!(refusal.expect("an answer").stop_reason, StopReason::Refusal);
    let nobody = ClaudeCode::program("/nowhere/claude", &ProcessPolicy::default()).model("code", "sonnet");
    let error = nobody.chat(question(), None, CancellationToken::new()).await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

/// One that never answers, and has children who hold the pipe.
fn hanging(lifeline: &Lifeline) -> Actor {
    Actor::plays(&lifeline.command("", "wait"))
}

#[tokio::test]
async fn nobody_is_left_of_one_that_takes_too_long() {
    let mut lifeline = Lifeline::new();
    let actor = hanging(&lifeline);
    let limit = Duration::from_secs(3600);
    let model = actor.provider(&ProcessPolicy::default()).timeout(Some(limit)).model("code", "sonnet");
    let asked = tokio::spawn(async move { model.chat(question(), None, CancellationToken::new()).await });
    let reader = lifeline.started().await;
    tokio::time::pause();
    tokio::time::advance(limit).await;
    tokio::time::resume();
    let error = asked.await.expect("no panic").expect_err("it takes too long");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    all_gone(reader).await;
    assert!(!Path::new(actor.note("cwd").trim()).exists());
}

#[tokio::test]
async fn nobody_is_left_of_one_that_is_cancelled_or_dropped() {
    for is_dropped in [false, true] {
        let mut lifeline = Lifeline::new();
        let actor = hanging(&lifeline);
        let model = actor.provider(&ProcessPolicy::default()).model("code", "sonnet");
        let cancel = CancellationToken::new();
        let asked = tokio::spawn({
            let cancel = cancel.clone();
            async move { model.chat(question(), None, cancel).await }
        });
        let reader = lifeline.started().await;
        if is_dropped {
            asked.abort();
        } else {
            cancel.cancel();
            let error = asked.await.expect("no panic").expect_err("it is cancelled");
            assert_eq!(error.kind(), ErrorKind::Cancelled);
        }
        all_gone(reader).await;
    }
}
