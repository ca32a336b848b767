//! What an execution costs in memory that waits for a person: everything that is allocated while it waits, its journal included.
//!
//! `cargo bench -p benches --bench waiting`

use std::alloc::System;

use benches::measured::{engine, runtime, workflow};
use orchestr8_schema::event::{ApprovalAnswer, ApprovalDecision};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn in_use(stats: &Stats) -> isize {
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}

fn document() -> Value {
    json!({
        "version": "1.0.0",
        "metadata": { "id": "bench", "name": "Bench" },
        "steps": [
            { "id": "before", "agent": { "id": "@bench/noop" } },
            { "id": "ask", "dependencies": ["before"], "approval": { "prompt": "Shall it go on?" } },
            { "id": "after", "dependencies": ["ask"], "agent": { "id": "@bench/noop" } }
        ]
    })
}

async fn measure(executions: usize) {
    let engine = engine().build().expect("an engine");
    let workflow = workflow(&document());
    // What the first one brings along belongs to the engine.
    let first = engine.start(&workflow, json!({})).await.expect("it starts");
    let mut handles = Vec::with_capacity(executions);

    let region = Region::new(ALLOCATOR);
    for _ in 0..executions {
        handles.push(engine.start(&workflow, json!({})).await.expect("it starts"));
    }
    for handle in handles.iter().chain([&first]) {
        while handle.snapshot().await.expect("it is stored").to_body().waiting_for.is_empty() {
            tokio::task::yield_now().await;
        }
    }
    let change = region.change();
    println!(
        "{executions} executions wait, with {} bytes in {} allocations each",
        in_use(&change) / executions as isize,
        (change.allocations - change.deallocations) / executions
    );

    for handle in &handles {
        let answer =
            ApprovalAnswer { decision: ApprovalDecision::Approve, answer: Value::Null, comment: None, by: None };
        handle.answer("ask", answer).await.expect("it waits");
    }
    for handle in &handles {
        let outcome = handle.outcome().await.expect("it ends");
        assert!(outcome.is_completed(), "{:?}", outcome.error());
    }
    let last = handles.last().expect("there are some");
    let folded = engine.snapshot(last.id()).await.expect("it is stored");
    assert!(folded.state() == last.outcome().await.expect("it has ended").state(), "the journal leads elsewhere");
}

fn main() {
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    for executions in if is_measured { [1_000, 10_000, 100_000] } else { [1, 2, 3] } {
        runtime().block_on(measure(executions));
    }
}
