//! `orchestr8 why`: the same of a server and of the data directory.

use serde_json::{Value, json};

use crate::support::{assert_steady, orchestr8, running_server::RunningServer, say};

/// The third step depends on one that a limit of its own keeps from completing.
fn workflow() -> Value {
    let agent = |name: &str, config: Value| json!({ "id": format!("@orchestr8/{name}"), "config": config });
    json!({
        "version": "1.0.0",
        "metadata": { "id": "review", "name": "Review" },
        "policies": { "onFailure": "continue" },
        "steps": [
            { "id": "each", "map": { "items": ["a.md"], "as": "file", "key": "${file}", "steps": [
                { "id": "score", "agent": agent("echo", json!({})), "input": { "of": "${file}" } }
            ] } },
            { "id": "publish", "agent": agent("fail", json!({})), "input": { "code": "NETWORK" }, "dependencies": ["each"],
              "onError": "continue", "policies": { "retry": { "maxAttempts": 2, "baseDelayMs": 100, "jitter": false } } },
            { "id": "notify", "agent": agent("noop", json!({})), "dependencies": ["publish"] },
            { "id": "guarded", "agent": agent("noop", json!({})), "condition": { "if": "length(inputs) > `7`" } },
        ]
    })
}

#[test]
fn a_server_and_the_data_directory_explain_a_step_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (folder.path().join("review.json"), folder.path().join("data"));
    std::fs::write(&file, workflow().to_string()).expect("written");
    let program = |args: &[&str], port: &str| {
        say(orchestr8().arg("--data-dir").arg(&data).env("ORCHESTR8_SERVER_PORT", port).args(args))
    };
    // Nobody listens on the first port.
    let nobody = "1";
    assert_eq!(program(&["run", file.to_str().expect("UTF-8")], nobody).code, Some(0));
    let asked: [&[&str]; 7] = [
        &["why", "@last", "notify"],
        &["why", "@last", "publish"],
        &["why", "@last", "guarded"],
        &["why", "@last", "each[\"a.md\"].score"],
        &["why", "@last", "each[\"b.md\"].score"],
        &["why", "@last", "notify", "--json"],
        &["why", "@last", "nobody"],
    ];
    let server = RunningServer::start(orchestr8().arg("--data-dir").arg(&data));
    let mut text = String::new();
    for args in asked {
        let (stored, served) = (program(args, nobody), program(args, server.port()));
        assert_eq!((&stored.stdout, stored.code), (&served.stdout, served.code), "{args:?}: {}", served.stderr);
        let shown = if stored.stdout.is_empty() { &served.stderr } else { &stored.stdout };
        text.push_str(&format!("$ orchestr8 {} ({})\n{shown}", args.join(" "), stored.code.unwrap_or(-1)));
    }
    assert_steady("why", &text);
}
