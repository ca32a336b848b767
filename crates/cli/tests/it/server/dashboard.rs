//! What the dashboard is served with: the page, its assets, and what it reads beside executions.

use serde_json::{Value, json};

use crate::support::{orchestr8, running_server::RunningServer};

/// The addresses that a page refers to.
fn assets(page: &str) -> Vec<String> {
    page.split('"').filter(|part| part.starts_with("assets/")).map(|asset| format!("/{asset}")).collect()
}

#[test]
fn the_page_is_asked_for_anew_and_its_assets_are_kept_for_ever() {
    let server = RunningServer::start(&mut orchestr8());
    let page = server.get("/").send().expect("the server answers");
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(page.headers()["cache-control"], "no-cache");
    let tag = page.headers()["etag"].clone();
    let known = server.get("/").header("if-none-match", &tag).send().expect("the server answers");
    assert_eq!(known.status(), 304);
    let text = page.text().expect("text");
    assert!(!text.contains("<script>") && !text.contains("<style") && !text.contains("style="), "{text}");

    let assets = assets(&text);
    assert!(assets.iter().any(|asset| asset.ends_with(".js")), "{assets:?}");
    for path in &assets {
        let asset = server.get(path).send().expect("the server answers");
        assert_eq!(asset.status(), 200, "{path}");
        assert_eq!(asset.headers()["cache-control"], "public, max-age=31536000, immutable");
        assert!(
            asset.headers()["content-type"].to_str().expect("ASCII").starts_with("text/") || path.ends_with(".svg")
        );
    }
    for gone in ["/assets/0000000000000000/app.js", "/assets/..%2Fmod.rs/x", "/assets/x"] {
        assert_eq!(server.get(gone).send().expect("the server answers").status(), 404, "{gone}");
    }
}

#[test]
fn the_page_is_shown_without_a_token_and_nothing_else_is() {
    let token = "0123456789abcdef0123456789abcdef";
    let server = RunningServer::start(orchestr8().env("ORCHESTR8_TOKEN", token));
    let status = |path: &str| server.get(path).send().expect("the server answers").status().as_u16();
    assert_eq!((status("/"), status("/v1/stats"), status("/v1/executions")), (200, 401, 401));
    let page = server.get("/").send().and_then(reqwest::blocking::Response::text).expect("text");
    assert!(assets(&page).iter().all(|asset| status(asset) == 200));
}

#[test]
fn statistics_tell_of_what_was_done_and_what_failed() {
    let server = RunningServer::start(&mut orchestr8());
    let workflow = json!({
        "version": "1.0.0", "metadata": { "id": "mixed", "name": "Mixed" },
        "steps": [
            { "id": "greet", "agent": { "id": "@orchestr8/hello-world" } },
            { "id": "fails", "agent": { "id": "@orchestr8/fail" }, "input": { "code": "NETWORK", "message": "it is broken" },
              "policies": { "retry": { "maxAttempts": 1 } } }
        ]
    });
    let answer = server.post("/execute?mode=sync").json(&workflow).send().expect("the server answers");
    let id = answer.json::<Value>().expect("JSON")["executionId"].as_str().expect("an id").to_owned();

    let stats: Value = server.get("/v1/stats").send().and_then(|answer| answer.json()).expect("JSON");
    let executions = &stats["executions"];
    assert_eq!((&executions["total"], &executions["byStatus"]), (&json!(1), &json!({ "failed": 1 })));
    assert_eq!((&executions["active"], &executions["successRate"]), (&json!(0), &json!(0.0)));
    let agents = stats["agents"].as_array().expect("a list").iter();
    let calls: Vec<_> = agents.map(|agent| (agent["id"].as_str(), agent["calls"].as_u64())).collect();
    assert_eq!(calls, [(Some("@orchestr8/fail"), Some(1)), (Some("@orchestr8/hello-world"), Some(1))]);
    let recent = &stats["errors"]["recent"][0];
    assert_eq!((&recent["executionId"], &recent["stepPath"]), (&json!(id), &json!("fails")));
    assert!(recent["message"].as_str().is_some_and(|message| message.contains("it is broken")), "{recent}");
    let system = &stats["system"];
    assert!(system["cpuCount"].as_u64() > Some(0) && system["platform"].is_string(), "{system}");

    let definition: Value =
        server.get(&format!("/v1/executions/{id}/workflow")).send().and_then(|answer| answer.json()).expect("JSON");
    assert_eq!(definition["steps"][1]["id"], "fails");
    assert_eq!(
        server.get("/v1/executions/01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10/workflow").send().expect("answers").status(),
        404
    );
}

#[test]
fn the_graph_of_a_large_execution_counts_all_of_its_steps() {
    let server = RunningServer::start(&mut orchestr8());
    let workflow = json!({
        "version": "1.0.0", "metadata": { "id": "large", "name": "Large" },
        "steps": [
            { "id": "each", "map": {
                "items": vec![0; 1200], "concurrency": 100,
                "steps": [{ "id": "inner", "agent": { "id": "@orchestr8/noop" } }]
            } },
            { "id": "last", "agent": { "id": "@orchestr8/noop" }, "dependencies": ["each"] }
        ]
    });
    let answer = server.post("/execute?mode=sync").json(&workflow).send().expect("the server answers");
    let answer: Value = answer.json().expect("JSON");
    assert_eq!(answer["status"], "completed", "{answer}");
    let path = format!("/v1/executions/{}/graph?collapse=true", answer["executionId"].as_str().expect("an id"));
    let graph: Value = server.get(&path).send().and_then(|answer| answer.json()).expect("JSON");
    let nodes = graph["nodes"].as_array().expect("a list").iter();
    let statuses: Vec<_> = nodes.map(|node| (node["id"].as_str(), node["status"].as_str())).collect();
    assert!(statuses.contains(&(Some("last"), Some("completed"))), "{graph}");
}
