//! Models of the settings, asked by workflow files over real HTTP.

use std::{fs, path::Path};

use serde_json::{Value, json};

#[cfg(feature = "server")]
use crate::support::running_server::RunningServer;
use crate::support::{Said, orchestr8, provider::Provider, say};

/// Keys that must be seen by nobody but the provider.
const ANTHROPIC: &str = "canary-of-anthropic-7c1f";
const OPENAI: &str = "canary-of-openai-93bd";

/// A folder with settings for a provider of each kind, whose keys stand in the two places where keys may stand.
struct Place {
    folder: tempfile::TempDir,
    provider: Provider,
}

impl Place {
    fn new(change: impl FnOnce(&mut Value)) -> Self {
        // It says what no provider should say.
        let provider = Provider::start(|question| match question.body.to_string().contains("Sums") {
            true => json!({ "summary": "short" }).to_string(),
            false => format!("your key is {}", question.key.as_deref().unwrap_or("none")),
        });
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = json!({
            "providers": {
                "default": "claude",
                "claude": { "kind": "anthropic", "apiBase": provider.url, "apiKey": "secret://claude/key" },
                "local": {
                    "kind": "openai", "apiBase": format!("{}/v1", provider.url), "apiKey": "env:CANARY_KEY",
                    "models": { "small": "llama-8b" }, "prices": { "llama-8b": { "input": 1, "output": 2 } }
                }
            },
            "models": { "default": "worker" },
            "policy": { "http": { "allow": ["127.0.0.1"] } }
        });
        change(&mut config);
        fs::write(folder.path().join("settings.json"), config.to_string()).expect("written");
        let secrets = folder.path().join("secrets.json");
        fs::write(&secrets, json!({ "claude/key": ANTHROPIC }).to_string()).expect("written");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).expect("changed");
        }
        Self { folder, provider }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self) -> std::process::Command {
        let mut command = orchestr8();
        command.current_dir(self.path()).env("CANARY_KEY", OPENAI).env("ORCHESTR8_HOME", self.path());
        command.arg("--config").arg(self.path().join("settings.json"));
        command
    }

    fn run(&self, workflow: &Value, arguments: &[&str]) -> Said {
        fs::write(self.path().join("ask.json"), workflow.to_string()).expect("written");
        say(self.command().args(["run", "ask.json", "--json"]).args(arguments))
    }
}

fn ask(id: &str, config: Value) -> Value {
    let mut config = config;
    config["prompt"] = json!({ "role": "You answer.", "task": "Who is {{ input.name }}?" });
    json!({ "id": id, "agent": { "id": "@orchestr8/llm", "config": config }, "input": { "name": "Ada" } })
}

fn workflow(steps: Value) -> Value {
    let mut document = json!({ "version": "1.0.0", "metadata": { "id": "ask", "name": "Ask" } });
    document["steps"] = steps;
    document
}

fn body(said: &Said) -> Value {
    let body = serde_json::from_str(&said.stdout);
    assert!(body.is_ok(), "no JSON: {} {}", said.stdout, said.stderr);
    body.expect("it was just looked at")
}

#[test]
fn a_workflow_file_asks_the_models_of_the_settings_and_no_key_is_seen() {
    let place = Place::new(|_| {});
    let workflow = workflow(json!([
        ask("claude", json!({})),
        ask("local", json!({ "model": "local/small" })),
        { "id": "sum", "agent": { "id": "@orchestr8/summarizer" }, "input": { "text": "Sums up" } },
    ]));
    let said = place.run(&workflow, &["-vv"]);
    let body = body(&said);
    assert_eq!(said.code, Some(0), "{body:#} {}", said.stderr);
    assert_eq!(body["outputs"]["claude"]["text"], "your key is [REDACTED]");
    assert_eq!(body["outputs"]["local"]["text"], "your key is Bearer [REDACTED]");
    assert_eq!(body["outputs"]["sum"], json!({ "summary": "short" }));
    let asked = place.provider.asked();
    let of = |path: &str| asked.iter().find(|question| question.path == path).expect("asked");
    assert_eq!(of("/v1/messages").key.as_deref(), Some(ANTHROPIC));
    assert_eq!(of("/v1/messages").body["model"], "claude-sonnet-4-5");
    assert_eq!(of("/v1/chat/completions").key.as_deref(), Some(&*format!("Bearer {OPENAI}")));
    assert_eq!(of("/v1/chat/completions").body["model"], "llama-8b");
    // 30 tokens of input and 12 of output each time: twice at 3 and 15 dollars a million, once at 1 and 2.
    let cost = body["usage"]["costUsd"].as_f64().expect("a number");
    assert!((cost - (2.0 * 270e-6 + 54e-6)).abs() < 1e-9, "{cost}");

    let journal = say(place.command().args(["inspect", "@last", "--json"]));
    assert!(journal.stdout.contains("`providers.default` is `claude`"), "{}", journal.stdout);
    let export = place.path().join("journal.json");
    say(place.command().args(["inspect", "@last", "--export"]).arg(&export));
    let export = fs::read_to_string(export).expect("written");
    let database = fs::read(place.path().join("orchestr8.db")).expect("the store");
    for canary in [ANTHROPIC, OPENAI] {
        for text in [&said.stdout, &said.stderr, &journal.stdout, &journal.stderr, &export] {
            assert!(!text.contains(canary), "{text}");
        }
        assert!(!database.windows(canary.len()).any(|bytes| bytes == canary.as_bytes()), "the store holds {canary}");
    }
}

#[cfg(feature = "server")]
#[test]
fn a_server_asks_them_too_and_shows_no_key() {
    let place = Place::new(|_| {});
    let server = RunningServer::start(&mut place.command());
    let document = workflow(json!([ask("claude", json!({})), ask("local", json!({ "model": "local/small" }))]));
    let answer = server.post("/v1/workflows/execute").header("prefer", "wait=20").json(&document).send();
    let whole: Value = answer.expect("it answers").json().expect("JSON");
    assert_eq!(whole["status"], "completed", "{whole:#}");
    assert_eq!(place.provider.asked().len(), 2);
    let id = whole["executionId"].as_str().expect("an id");
    let get = |path: &str| server.get(path).send().expect("it answers").text().expect("text");
    let bodies = [
        whole.to_string(),
        get(&format!("/v1/executions/{id}")),
        get(&format!("/v1/executions/{id}/journal")),
        get(&format!("/v1/executions/{id}/steps/claude")),
        get("/metrics"),
    ];
    for sample in [
        r#"orchestr8_model_calls_total{provider="claude",model="claude-sonnet-4-5",outcome="success"} 1"#,
        r#"orchestr8_model_tokens_total{provider="local",model="llama-8b",kind="output"} 12"#,
        r#"orchestr8_model_cost_usd_total{provider="local",model="llama-8b"} 0.000054"#,
    ] {
        assert!(bodies[4].contains(sample), "{}", bodies[4]);
    }
    for body in bodies {
        assert!(!body.contains(ANTHROPIC) && !body.contains(OPENAI), "{body}");
    }

    // Nobody has configured this one, and a posted file says so before it is taken.
    let refused = server
        .post("/v1/workflows/execute")
        .json(&workflow(json!([ask("x", json!({ "provider": "nobody" }))])))
        .send()
        .expect("it answers");
    assert_eq!(refused.status(), 400);
    let problem = refused.text().expect("text");
    assert!(problem.contains("O8408") && problem.contains("there is no provider `nobody`"), "{problem}");
}

#[cfg(feature = "server")]
#[test]
fn a_secret_reaches_the_tools_of_a_file_that_a_person_runs_and_of_none_that_is_posted() {
    let place = Place::new(|config| {
        config["providers"]["scripted"] = json!({ "kind": "fake", "script": "script.json" });
    });
    let url = format!("{}/<SECRET:claude/key>", place.provider.url);
    let (asks, ends) =
        (json!({ "tools": [{ "name": "http.get", "arguments": { "url": url } }] }), json!({ "text": "done" }));
    let script = json!([asks, ends, asks, ends]);
    fs::write(place.path().join("script.json"), script.to_string()).expect("written");
    let mut curious = workflow(json!([ask("curious", json!({ "model": "scripted/any", "tools": ["http.get"] }))]));
    curious["context"] = json!({ "secretRefs": ["secret://claude/key"] });
    let server = RunningServer::start(&mut place.command());
    let answer = server.post("/v1/workflows/execute").header("prefer", "wait=20").json(&curious).send();
    let whole: Value = answer.expect("it answers").json().expect("JSON");
    assert_eq!(whole["outputs"]["curious"]["text"], "done", "{whole:#}");
    assert!(place.provider.asked().is_empty(), "the server gives no secret away");
    drop(server);

    // A file of the catalogue is as good as one that a person runs, unless the settings name what may be asked for.
    let flows = tempfile::tempdir().expect("a folder");
    fs::write(flows.path().join("ask.json"), curious.to_string()).expect("written");
    let catalogued = |settings: &[&str]| {
        let mut command = place.command();
        command.args(settings).args(["server", "--port", "0", "--workflows"]).arg(flows.path());
        let server = RunningServer::of(&mut command);
        let mut other = curious.clone();
        other["metadata"]["name"] = json!("Somebody's");
        for body in [json!({ "workflow": other }), json!({ "workflowId": "ask" })] {
            let answer = server.post("/v1/workflows/execute").header("prefer", "wait=20").json(&body).send();
            let whole: Value = answer.expect("it answers").json().expect("JSON");
            assert_eq!(whole["outputs"]["curious"]["text"], "done", "{whole:#}");
        }
        place.provider.asked().len()
    };
    assert_eq!(catalogued(&[]), 1, "only that of the catalogue is given the secret");
    let settings = fs::read_to_string(place.path().join("settings.json")).expect("read");
    let mut narrow: Value = serde_json::from_str(&settings).expect("JSON");
    narrow["policy"]["secrets"] = json!({ "allow": ["other/*"] });
    fs::write(place.path().join("settings.json"), narrow.to_string()).expect("written");
    assert_eq!(catalogued(&[]), 1, "the settings name another one");
    fs::write(place.path().join("settings.json"), settings).expect("written");

    let said = place.run(&curious, &["--local"]);
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    let asked = place.provider.asked();
    assert_eq!(asked.first().map(|question| question.path.clone()), Some(format!("/{ANTHROPIC}")));
    assert!(!format!("{}{}", said.stdout, said.stderr).contains(ANTHROPIC));
}

/// What the provider was told about its work, the last time that it was asked.
fn system(place: &Place) -> String {
    let asked = place.provider.asked();
    asked.last().expect("asked").body["system"][0]["text"].as_str().expect("a text").to_owned()
}

#[cfg(feature = "server")]
#[test]
fn prompts_beside_a_workflow_file_go_with_it_wherever_it_is_executed() {
    let (place, flows) = (
        Place::new(|config| config["prompts"] = json!({ "paths": ["shared"] })),
        tempfile::tempdir().expect("a folder"),
    );
    let write = |path: std::path::PathBuf, text: &str| {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    };
    let beside = |name: &str| flows.path().join(name);
    let asking = |prompt: Value| {
        let mut step = ask("ask", json!({}));
        step["agent"]["config"] = json!({ "prompt": prompt });
        workflow(json!([step])).to_string()
    };
    write(
        beside("ask.json"),
        &asking(json!({ "role": "editor", "persona": "strict", "task": "Who is {{ input.name }}?" })),
    );
    write(beside("prompts/roles/editor.yaml"), "role: { name: editor, system: Beside }");
    write(place.path().join("shared/prompts/roles/editor.yaml"), "role: { name: editor, system: Of the settings }");
    write(place.path().join("shared/prompts/personas/strict.yaml"), "content: You are strict.");
    write(beside("parts/ask.json"), &asking(json!({ "role": "editor", "task": "Who?" })));
    write(beside("parts/prompts/roles/editor.yaml"), "content: Of the part");
    let part = json!([{ "id": "part", "workflow": { "ref": "./parts/ask.json" } }]);
    write(beside("whole.json"), &workflow(part).to_string().replace("\"ask\"", "\"whole\""));

    // First hit wins, file by file. One word is text like any other once it is written out.
    let run = |file: &str, more: &[&str]| say(place.command().arg("run").arg(beside(file)).args(more));
    let said = run("ask.json", &["--local"]);
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    assert_eq!(system(&place), "Beside\n\nYou are strict.");
    let said = run("whole.json", &["--local"]);
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    assert_eq!(system(&place), "Of the part");

    // A server that has none of these files is told what is in them, and its catalogue has its own.
    let elsewhere = Place::new(|_| {});
    let server = RunningServer::start(&mut elsewhere.command());
    for (file, expected) in [("ask.json", "Beside\n\nYou are strict."), ("whole.json", "Of the part")] {
        let said = run(file, &[&format!("--server={}", server.url)]);
        assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
        assert_eq!(system(&elsewhere), expected);
    }
    drop(server);
    let mut command = place.command();
    let server =
        RunningServer::of(command.args(["server", "--port", "0", "--workflows"]).arg(flows.path().join("ask.json")));
    let execute = || {
        let asked =
            server.post("/v1/workflows/execute").header("prefer", "wait=20").json(&json!({ "workflowId": "ask" }));
        let whole: Value = asked.send().expect("it answers").json().expect("JSON");
        assert_eq!(whole["status"], "completed", "{whole:#}");
        system(&place)
    };
    assert_eq!(execute(), "Beside\n\nYou are strict.");
    write(beside("prompts/roles/editor.yaml"), "role: { name: editor, system: Edited meanwhile }");
    assert_eq!(execute(), "Edited meanwhile\n\nYou are strict.");

    // What is nowhere is told with all places, before anything runs, and nothing else of the disk is read.
    write(beside("ask.json"), &asking(json!({ "role": "poet" })));
    for command in ["validate", "run"] {
        let missing = say(place.command().arg(command).arg(beside("ask.json")));
        assert_eq!(missing.code, Some(2), "{}", missing.stderr);
        let told = format!("{}{}", missing.stdout, missing.stderr);
        for folder in [flows.path(), &place.path().join("shared"), place.path()] {
            let tried = folder.join("prompts/roles/poet.yaml").display().to_string();
            assert!(told.contains(&tried), "{tried}: {told}");
        }
    }
    write(beside("ask.json"), &asking(json!({ "role": "../secrets.json" })));
    let outside = run("ask.json", &["--local"]);
    assert!(outside.stderr.contains("is not in a folder `prompts`"), "{}", outside.stderr);
}

#[test]
fn a_budget_is_kept_without_asking_anybody() {
    let place = Place::new(|_| {});
    let mut limited = workflow(json!([ask("local", json!({ "model": "local/small", "maxTotalTokens": 300 }))]));
    limited["policies"] = json!({ "budget": { "maxTokens": 300 } });
    let said = place.run(&limited, &[]);
    assert_eq!(said.code, Some(1), "{}", said.stdout);
    assert!(said.stdout.contains("BUDGET_EXCEEDED"), "{}", said.stdout);
    assert!(place.provider.asked().is_empty());
    // With room for the answer it is asked.
    limited["steps"][0]["agent"]["config"]["maxTokens"] = json!(100);
    let said = place.run(&limited, &[]);
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    assert_eq!(place.provider.asked().len(), 1);
}

#[test]
fn who_runs_a_file_tightens_its_budget_and_never_loosens_it() {
    let place = Place::new(|_| {});
    let mut document = workflow(json!([ask("claude", json!({ "maxTokens": 100 }))]));
    let run = |document: &Value, arguments: &[&str]| {
        let said = place.run(document, arguments);
        let whole = body(&said);
        (said.code, whole["errors"][0]["code"].clone(), whole["budget"].clone())
    };
    let (code, error, _) = run(&document, &["--max-tokens", "10"]);
    assert_eq!((code, error), (Some(1), json!("BUDGET_EXCEEDED")));
    let (code, error, _) = run(&document, &["--max-cost", "0.000001"]);
    assert_eq!((code, error), (Some(1), json!("BUDGET_EXCEEDED")));
    assert!(place.provider.asked().is_empty());
    let (code, _, budget) = run(&document, &["--max-tokens", "5000", "--max-cost", "0.5"]);
    assert_eq!(
        (code, &budget["maxTokens"]["limit"], &budget["maxCostUsd"]["limit"]),
        (Some(0), &json!(5000.0), &json!(0.5))
    );
    // What the file says is kept, however much is offered.
    document["policies"] = json!({ "budget": { "maxTokens": 10 } });
    let (code, error, budget) = run(&document, &["--max-tokens", "5000", "--max-cost", "0.5"]);
    assert_eq!((code, error), (Some(1), json!("BUDGET_EXCEEDED")), "{budget}");
    assert_eq!(budget["maxTokens"]["limit"], json!(10.0));
    assert_eq!(place.run(&document, &["--max-cost", "0"]).code, Some(2));
}

#[cfg(feature = "server")]
#[test]
fn a_request_tightens_the_budget_too_and_a_fork_keeps_that() {
    let place = Place::new(|_| {});
    let server = RunningServer::start(&mut place.command());
    let document = workflow(json!([ask("claude", json!({ "maxTokens": 100 }))]));
    let execute = |budget: Value| {
        let request = json!({ "workflow": document, "budget": budget });
        let answer = server.post("/v1/workflows/execute").header("prefer", "wait=20").json(&request).send();
        answer.expect("it answers").json::<Value>().expect("JSON")
    };
    let spent = execute(json!({ "maxTokens": 10 }));
    assert_eq!(spent["errors"][0]["code"], "BUDGET_EXCEEDED", "{spent:#}");
    let whole = execute(json!({ "maxTokens": 5000 }));
    assert_eq!(whole["status"], "completed", "{whole:#}");
    let id = whole["executionId"].as_str().expect("an id");
    let fork = server.post(&format!("/v1/executions/{id}/fork")).json(&json!({ "fromStep": "claude" })).send();
    let fork: Value = fork.expect("it answers").json().expect("JSON");
    let fork = fork["executionId"].as_str().expect("an id");
    let read = server.get(&format!("/v1/executions/{fork}")).send().expect("it answers");
    assert_eq!(read.json::<Value>().expect("JSON")["budget"]["maxTokens"]["limit"], 5000.0);
}

#[test]
fn a_model_that_nobody_has_is_told_of_before_anything_runs() {
    let told = |change: fn(&mut Value), config: Value| {
        let place = Place::new(change);
        let echo = json!({ "id": "first", "agent": { "id": "@orchestr8/echo" }, "input": {} });
        let said = place.run(&workflow(json!([echo, ask("second", config)])), &[]);
        assert_eq!(said.code, Some(2), "{}", said.stdout);
        assert!(place.provider.asked().is_empty());
        let problem = format!("{}{}", said.stdout, said.stderr);
        assert!(problem.contains("O8408") && problem.contains("/steps/1/agent"), "{problem}");
        problem
    };
    let nothing = told(|config| *config = json!({}), json!({}));
    assert!(nothing.contains("set `models.default` in the settings"), "{nothing}");
    let nobody = told(|config| *config = json!({}), json!({ "model": "smart" }));
    assert!(nobody.contains("set `providers.default` in the settings, or write `<provider>/smart`"), "{nobody}");
    let alias = told(|_| {}, json!({ "model": "small" }));
    assert!(alias.contains("write `local/small`"), "{alias}");
    let price = told(|_| {}, json!({ "model": "local/unpriced", "maxCostUsd": 1 }));
    assert!(price.contains("set `providers.local.prices` in the settings"), "{price}");
    // What is wrong with a provider concerns those who need it.
    let plain = |config: &mut Value| config["providers"]["claude"]["apiBase"] = json!("http://example.org");
    let unusable = told(plain, json!({}));
    assert!(unusable.contains("mend `providers.claude`") && unusable.contains("must be https"), "{unusable}");
    let literal = |config: &mut Value| config["providers"]["claude"]["apiKey"] = json!("sk-canary-literal");
    let literal = told(literal, json!({}));
    assert!(!literal.contains("sk-canary-literal"), "{literal}");
    let other = Place::new(plain);
    assert_eq!(other.run(&workflow(json!([ask("a", json!({ "model": "local/small" }))])), &[]).code, Some(0));
    // The program `claude` takes no tools of others.
    let claude = |config: &mut Value| config["providers"]["claude"] = json!({ "kind": "claude-code" });
    let tools = told(claude, json!({ "tools": ["http.get"] }));
    assert!(tools.contains("takes no tools"), "{tools}");
}

#[test]
fn what_is_recorded_is_played_without_a_provider() {
    let place = Place::new(|config| config["providers"]["local"]["record"] = json!("cassettes/../asked.jsonl"));
    fs::create_dir(place.path().join("cassettes")).expect("a folder");
    let question = workflow(json!([ask("local", json!({ "model": "local/small" }))]));
    // From another folder: paths of settings are seen from the settings.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let said = {
        fs::write(place.path().join("ask.json"), question.to_string()).expect("written");
        let mut command = place.command();
        say(command.current_dir(elsewhere.path()).arg("run").arg(place.path().join("ask.json")))
    };
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let recorded = fs::read_to_string(place.path().join("asked.jsonl")).expect("recorded");
    assert_eq!(recorded.lines().count(), 1);
    assert!(recorded.contains("Bearer [REDACTED]") && !recorded.contains(OPENAI), "{recorded}");

    let mut settings: Value =
        serde_json::from_slice(&fs::read(place.path().join("settings.json")).expect("read")).expect("JSON");
    settings["providers"]["local"] = json!({ "kind": "replay", "cassette": "asked.jsonl", "models": { "small": "x" } });
    fs::write(place.path().join("settings.json"), settings.to_string()).expect("written");
    let said = place.run(&question, &[]);
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    assert_eq!(place.provider.asked().len(), 1, "nobody is asked again");
    let said = say(place.command().args(["run", "ask.json"]));
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    assert!(!said.stderr.contains("not asked for"), "{}", said.stderr);

    // What is left over is told of.
    fs::write(place.path().join("asked.jsonl"), recorded.repeat(2).replacen("\"ordinal\":0", "\"ordinal\":1", 1))
        .expect("written");
    let said = say(place.command().args(["run", "ask.json"]));
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    let told = "asked.jsonl has recorded were not asked for";
    assert!(
        said.stderr.contains("provider `local`: 1 of the 2 calls that ") && said.stderr.contains(told),
        "{}",
        said.stderr
    );
}

/// Runs the program with the settings of the examples that ask nobody.
fn with_fake(arguments: &[&str]) -> Said {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models");
    say(orchestr8().current_dir(&folder).args(["--config", "fake.json"]).args(arguments))
}

#[test]
fn the_examples_run_with_models_that_ask_nobody_and_pass_their_tests() {
    let said = with_fake(&["run", "research.yaml", "-i", "question=Why is the sky blue?", "--json"]);
    let research = body(&said);
    assert_eq!(research["outputs"]["report"], "Air scatters the short, blue waves of light.", "{research:#}");
    assert_eq!(research["usage"]["inputTokens"], 90 + 40 + 40 + 120);
    let said = with_fake(&["run", "budgeted.yaml", "-i", "text=A long story.", "--json"]);
    let budgeted = body(&said);
    assert_eq!(budgeted["outputs"], json!({ "title": "A Story", "summary": "A story." }), "{budgeted:#}");
    // 60 and 10 tokens at 3 and 15 dollars a million, 20 and 4 at 1 and 5.
    let spent = budgeted["budget"]["maxCostUsd"]["spent"].as_f64().expect("a number");
    assert!((spent - (330e-6 + 40e-6)).abs() < 1e-9, "{budgeted:#}");
    let said = with_fake(&["test", "."]);
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    assert!(said.stdout.contains("5 passed"), "{}", said.stdout);
    for workflow in ["research.yaml", "budgeted.yaml"] {
        let said = say(orchestr8()
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models"))
            .args(["--config", "real.json", "validate", workflow]));
        assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    }
}

#[test]
fn a_prompt_is_shown_with_the_model_that_would_be_asked_and_nobody_is() {
    let input = r#"{"text": "A long story."}"#;
    let said = with_fake(&["agents", "inspect", "@orchestr8/summarizer", "--prompt", "--input", input]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stdout.starts_with("model\nnone: no model is named"), "{}", said.stdout);
    assert!(said.stdout.contains("\nsystem\nYou sum texts up"), "{}", said.stdout);
    assert!(said.stdout.contains("\nuser\n{\"text\":\"A long story.\"}\n"), "{}", said.stdout);

    let config = r#"{"model": "worker", "prompt": {"role": "You answer.", "task": "Who is {{ input.name }}?"}}"#;
    let arguments = ["agents", "inspect", "@orchestr8/llm", "--prompt", "--agent-config", config];
    let shown = body(&with_fake(&[&arguments[..], &["--input", r#"{"name": "Ada"}"#, "--json"]].concat()));
    let model = json!({
        "provider": "scripted", "id": "middling",
        "resolution": ["model `worker`", "`providers.default` is `scripted`", "`worker` stands for `middling`"]
    });
    assert_eq!(shown["model"], model, "{shown:#}");
    assert_eq!((&shown["system"], &shown["user"]), (&json!(["You answer."]), &json!("Who is Ada?")));
    // Prompts are those of the user; what else a workflow names is not read.
    let place = Place::new(|config| config["prompts"] = json!({ "paths": ["team"] }));
    fs::create_dir_all(place.path().join("team/prompts/roles")).expect("folders");
    fs::write(place.path().join("team/prompts/roles/editor.yaml"), "content: You edit.").expect("written");
    let inspect = |role: &str| {
        let config = json!({ "prompt": { "role": role } }).to_string();
        say(place.command().args(["agents", "inspect", "@orchestr8/llm", "--prompt", "--agent-config", &config]))
    };
    assert!(inspect("editor").stdout.contains("\nsystem\nYou edit."), "{}", inspect("editor").stderr);
    let denied = inspect(&place.path().join("secrets.json").display().to_string());
    assert!(denied.code == Some(2) && denied.stderr.contains("nothing else is read here"), "{}", denied.stderr);
    assert!(!denied.stderr.contains(ANTHROPIC), "{}", denied.stderr);
    // What cannot be composed is told, as is an agent without a prompt.
    let missing = with_fake(&arguments);
    assert_eq!(missing.code, Some(2), "{}", missing.stdout);
    assert!(missing.stderr.contains("it names something that is not there"), "{}", missing.stderr);
    let plain = with_fake(&["agents", "inspect", "@orchestr8/echo", "--prompt"]);
    assert!(plain.code == Some(2) && plain.stderr.contains("has no prompt"), "{}", plain.stderr);
}

/// Shows all that spans hold of what was asked and answered.
#[cfg(feature = "otel")]
fn content_of_spans(content: bool) -> (Vec<String>, String) {
    use crate::support::collector::{Collector, text};

    let collector = Collector::start();
    let place = Place::new(|config| {
        config["telemetry"] = json!({ "endpoint": collector.url, "content": content });
    });
    let said = place.run(&workflow(json!([ask("claude", json!({}))])), &[]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let spans = collector.spans();
    let model = spans.iter().find(|span| span.name == "orchestr8.model").expect("a model was asked");
    let keys = ["orchestr8.model.prompt", "orchestr8.model.answer"];
    let held = keys.iter().filter_map(|key| model.attributes.iter().find(|attribute| attribute.key == *key).map(text));
    let everything = spans.iter().flat_map(|span| &span.attributes).map(text).collect::<Vec<_>>().join("\n");
    (held.collect(), everything)
}

#[cfg(feature = "otel")]
#[test]
fn prompts_and_answers_leave_only_if_the_settings_say_so_and_without_secrets() {
    let (held, everything) = content_of_spans(false);
    assert_eq!(held, [""; 0]);
    assert!(!everything.contains("Who is") && !everything.contains("your key"), "{everything}");

    let (held, everything) = content_of_spans(true);
    assert_eq!(held.len(), 2, "{everything}");
    assert!(held[0].contains("Who is Ada?"), "{}", held[0]);
    assert!(held[1].contains("your key is [REDACTED]"), "{}", held[1]);
    assert!(!everything.contains(ANTHROPIC), "{everything}");
}
