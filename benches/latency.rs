//! How long a small execution takes from its start to its answer: one step, ten at once, one that waits for all of them.
//!
//! `cargo bench -p benches --bench latency`

use std::{sync::Arc, time::Duration};

use benches::{
    Floor, Shape,
    measured::{check, engine, execute, runtime, workflow},
};
use serde_json::json;
use tokio::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn print(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_micros();
    println!("{name}: p50 {} µs, p95 {} µs, p99 {} µs", at(50), at(95), at(99));
}

fn main() {
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let count = if is_measured { 20_000 } else { 10 };
    let (runtime, shape) = (runtime(), Shape::diamond());
    let (engine, workflow) = (engine().build().expect("an engine"), workflow(&shape.document()));
    let floor = Floor::new(&shape);
    runtime.block_on(async {
        let (mut by_hand, mut by_engine) = (Vec::with_capacity(count), Vec::with_capacity(count));
        // In turns, so that what else the machine does meets both.
        for _ in 0..count {
            let start = Instant::now();
            let floor = Arc::clone(&floor);
            tokio::spawn(async move { floor.run().await }).await.expect("it ends");
            by_hand.push(start.elapsed());
            let start = Instant::now();
            execute(&engine, &workflow, json!({})).await;
            by_engine.push(start.elapsed());
        }
        print("floor", by_hand);
        print("engine", by_engine);
        check(&engine, &workflow, json!({})).await;
    });
}
