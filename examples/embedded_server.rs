//! The REST interface of an engine inside of a program's own server, beside its own routes.
//!
//! `cargo run --example embedded_server` asks it two questions without opening a port; a real program would hand the router to
//! `axum::serve`.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header},
    routing::get,
};
use orchestr8_cli::server;
use orchestr8_core::{Engine, agent_base::HelloWorld};
use serde_json::{Value, json};
use tower::ServiceExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::builder().agent(HelloWorld).build()?;
    let app = Router::new().route("/about", get(|| async { "greets people" })).merge(server::router(engine));

    let workflow = json!({
        "version": "1.0.0",
        "metadata": { "id": "greet", "name": "Greet" },
        "steps": [{ "id": "hello", "agent": { "id": "@orchestr8/hello-world" }, "input": { "name": "Ada" } }]
    });
    let request = Request::post("/v1/workflows/execute?mode=sync")
        // Only programs of the same machine are answered: that is what `Host` says of them.
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(workflow.to_string()))?;
    let answer = app.clone().oneshot(request).await?;
    let answer: Value = serde_json::from_slice(&to_bytes(answer.into_body(), 1_000_000).await?)?;
    println!("{}", answer["outputs"]["hello"]["result"]);
    assert_eq!(answer["outputs"]["hello"]["result"], "Hello, Ada! Welcome to @orchestr8.");

    let about = app.oneshot(Request::get("/about").body(Body::empty())?).await?;
    println!("{}", String::from_utf8(to_bytes(about.into_body(), 1000).await?.to_vec())?);
    Ok(())
}
