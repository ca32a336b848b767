//! Configuration and prompts: what may be written, what it means, and where mistakes are named.
#![cfg(feature = "yaml")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

use std::fmt::Write as _;

use orchestr8_schema::{
    Diagnostic,
    config::{Config, ConfigLayer, ExternalAgent, McpServer, ProviderKind},
    json_schema::{JsonValidator, PublishedSchema},
    prompt::AgentPrompt,
    source::{Options, parse},
};
use serde_json::{Value, json};

/// Every key of the specification.
const CONFIG: &str = r#"{
    "$schema": "docs/schema/config.json", "x-note": 1,
    "server": { "port": 9000, "host": "::1", "allowRemote": true, "autoStart": false, "shutdownTimeout": "5s" },
    "dashboard": { "autoOpen": false, "browser": "firefox", "theme": "dark" },
    "execution": { "defaultTimeout": 1000, "maxConcurrent": 3, "logLevel": "debug" },
    "output": { "format": "json", "verbose": true, "colors": false },
    "workflows": { "paths": ["flows"] }, "prompts": { "paths": ["prompts"] }, "trustedProjects": ["/src/ours"],
    "journal": { "durability": "process", "retention": "30d", "maxFinished": 5 },
    "providers": {
        "default": "anthropic",
        "anthropic": {
            "kind": "anthropic", "apiBase": "https://api.anthropic.com", "apiKey": "env:KEY", "models": { "smart": "claude" },
            "maxTokens": 100, "timeout": "1m", "headers": { "x": "y" },
            "prices": { "claude": { "input": 3, "output": 15, "cacheWrite": 3.75, "cacheRead": 0.3 } },
            "nativeSchema": true, "maxTokensField": "max_tokens", "script": "answers.json", "cassette": "told.json", "record": "new.json"
        }
    },
    "models": { "default": "smart" },
    "policy": {
        "tools": { "allow": ["github:*"], "deny": ["shell.run"] },
        "process": { "allow": ["git"], "shell": true, "roots": ["/src"], "claudeTools": ["Read"], "confine": "require",
            "limits": { "cpuSeconds": 10, "memoryBytes": 1000000, "fileBytes": 1000, "openFiles": 64, "processes": 100 } },
        "http": { "allow": ["localhost"], "deny": ["example.org"] }, "secrets": { "allow": ["p/*"] }, "env": { "allow": [] }
    },
    "mcp": {
        "enabled": true, "exposeWorkflows": false,
        "servers": { "files": { "command": "mcp-files", "args": ["."], "env": { "A": "b" }, "cwd": "/" }, "web": { "url": "https://example.org", "headers": {} } }
    },
    "telemetry": { "mode": "minimal", "endpoint": "http://localhost:4318", "samplingRate": 0.5, "content": true },
    "agents": {
        "@acme/remote": { "url": "http://localhost:3001", "headers": { "a": "b" } },
        "@acme/program": { "command": "score", "args": ["-v"], "env": {}, "manifest": { "id": "@acme/program", "version": "1.0.0", "description": "d" } }
    },
    "tools": { "count": { "command": "wc {file}", "description": "Counts", "parameters": { "type": "object" }, "timeout": "10s", "writes": true } }
}"#;

const PROMPT: &str = r#"
schemaVersion: 1.0.0
version: 2.1.0
role: A careful summarizer
goals: [Keep what matters]
constraints: [Three sentences]
tools: [{ name: http.get, description: Reads a page, parameters: { type: object }, required: true }]
steps:
  - { number: 1, description: Read, action: Read it all, validation: Nothing is left, onError: retry }
  - { number: 3, description: Write, action: Write it down }
inputSchema: { type: object, required: [text] }
outputSchema: { type: string }
guardrails: [{ type: content, rule: No names }, { type: output, rule: No lists, enforcement: warn }]
examples: [{ input: { text: long }, output: short, description: the shortest }]
"#;

#[test]
fn every_setting_is_read_and_the_others_have_defaults() {
    let layer = ConfigLayer::read(CONFIG, &Options::new()).unwrap();
    assert_eq!(layer.warnings, []);
    let config = Config::from_layers([&layer.value]);
    // What is written is what the configuration shows, in the spelling of the specification.
    let mut written = parse(CONFIG, &Options::new()).unwrap();
    let shown = serde_json::to_value(&config).unwrap();
    for gone in ["$schema", "x-note"] {
        written.as_object_mut().unwrap().shift_remove(gone);
    }
    written["server"]["shutdownTimeout"] = json!(5000);
    written["providers"]["anthropic"]["timeout"] = json!(60_000);
    written["providers"]["anthropic"]["prices"]["claude"] =
        json!({ "input": 3.0, "output": 15.0, "cacheWrite": 3.75, "cacheRead": 0.3 });
    written["tools"]["count"]["timeout"] = json!(10_000);
    assert_eq!(shown, written);
    assert_eq!(config.providers.named["anthropic"].kind, ProviderKind::Anthropic);
    assert!(matches!(config.mcp.servers["web"], McpServer::Service { .. }));
    assert!(matches!(config.agents["@acme/program"], ExternalAgent::Program { .. }));

    let defaults = Config::from_layers([]);
    assert_eq!(defaults, Config::default());
    insta::assert_json_snapshot!(defaults);
}

#[test]
fn layers_lie_over_each_other() {
    let layer = |settings: Value| ConfigLayer::read(settings.to_string(), &Options::new()).unwrap().value;
    let project =
        layer(json!({ "providers": { "a": { "models": { "smart": "x" } } }, "workflows": { "paths": ["p"] } }));
    let user = layer(json!({
        "providers": { "a": { "kind": "fake", "models": { "smart": "y", "cheap": "z" } } },
        "workflows": { "paths": ["u", "v"] }, "execution": { "maxConcurrent": 2 }
    }));
    let config = Config::from_layers([&project, &user]);
    assert_eq!(config.workflows.paths, ["p"]);
    assert_eq!(config.execution.max_concurrent, 2);
    let models: Vec<_> = config.providers.named["a"].models.iter().map(|(alias, id)| format!("{alias}={id}")).collect();
    assert_eq!(models, ["smart=x", "cheap=z"]);
}

#[test]
fn a_prompt_is_read_and_written_back() {
    let prompt = AgentPrompt::read(PROMPT, &Options::new().strict(true)).unwrap();
    assert_eq!(prompt.warnings, []);
    let written = serde_json::to_string(&prompt.value).unwrap();
    assert_eq!(AgentPrompt::read(&written, &Options::new()).unwrap().value, prompt.value);
    assert_eq!((prompt.value.steps[1].number, prompt.value.guardrails.len()), (3, 2));
}

#[test]
fn the_published_schemas_accept_them_and_refuse_unknown_keys() {
    for (published, text, places) in [
        (PublishedSchema::Config, CONFIG, &["", "/server", "/policy/http", "/telemetry", "/tools/count"][..]),
        (PublishedSchema::Prompt, PROMPT, &["", "/tools/0", "/steps/0", "/guardrails/0", "/examples/0"][..]),
    ] {
        let schema = JsonValidator::compile(&published.schema()).unwrap();
        let document = parse(text, &Options::new()).unwrap();
        assert_eq!(schema.validate(&document), Ok(()));
        for place in places {
            for (key, is_valid) in [("wrong", false), ("x-note", true)] {
                let mut document = document.clone();
                document.pointer_mut(place).unwrap()[key] = json!(1);
                assert_eq!(schema.validate(&document).is_ok(), is_valid, "{place}/{key}");
            }
        }
    }
}

#[test]
fn mistakes_are_named_at_their_lines() {
    let config = |text: &str| match ConfigLayer::read(text, &Options::new().file_name("config.json")) {
        Ok(layer) => layer.warnings,
        Err(invalid) => invalid.into_diagnostics(),
    };
    let prompt = |change: (&str, &str)| {
        assert!(PROMPT.contains(change.0), "{}", change.0);
        match AgentPrompt::read(PROMPT.replacen(change.0, change.1, 1), &Options::new()) {
            Ok(prompt) => prompt.warnings,
            Err(invalid) => invalid.into_diagnostics(),
        }
    };
    let mut report = String::new();
    let mut tell = |what: &str, found: Vec<Diagnostic>| {
        writeln!(report, "{what}").unwrap();
        for found in found {
            let help = found.help.as_ref().map(|help| format!("\n    help: {help}")).unwrap_or_default();
            writeln!(report, "  {found}{help}").unwrap();
        }
    };
    for text in [
        "[]",
        r#"{ "sever": {} }"#,
        r#"{ "server": { "port": "8088" } }"#,
        r#"{ "server": { "port": 70000 } }"#,
        r#"{ "dashboard": { "theme": "drak" } }"#,
        r#"{ "execution": { "maxConcurrent": 0 } }"#,
        r#"{ "journal": { "retention": "a week" } }"#,
        r#"{ "telemetry": { "samplingRate": 2 } }"#,
        r#"{ "agents": { "score": { "url": "http://localhost" } } }"#,
        r#"{ "agents": { "@acme/score": { "args": [] } } }"#,
        r#"{ "mcp": { "servers": { "a": { "command": "x", "url": "y" } } } }"#,
        r#"{ "providers": { "a": { "kind": "antropic" } } }"#,
        r#"{ "tools": { "a b": { "command": "x", "description": "y" } } }"#,
    ] {
        tell(text, config(text));
    }
    for change in [
        ("role: A careful summarizer", "rule: x"),
        ("goals: [Keep what matters]", "goals: []"),
        ("schemaVersion: 1.0.0", "schemaVersion: 2.0.0"),
        ("version: 2.1.0", "version: two"),
        ("version: 2.1.0", "version: 2.1.0\nschemaHash: abc"),
        ("number: 3", "number: 1"),
        ("onError: retry", "onError: retyr"),
        ("text: long", "texts: long"),
        ("type: string", "type: strin"),
        ("enforcement: warn", "enforcement: warning"),
    ] {
        tell(change.1, prompt(change));
    }
    insta::assert_snapshot!(report);
}
