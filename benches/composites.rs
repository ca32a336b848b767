//! What the engine adds to an item of a map and to an iteration of a loop. The floors are a fan-out and a chain of as many steps.
//!
//! `cargo bench -p benches --bench composites`

use std::{sync::Arc, time::Duration};

use benches::{
    Floor, Shape,
    measured::{check, engine, execute, runtime, workflow},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn document(step: &Value) -> Value {
    json!({ "version": "1.0.0", "metadata": { "id": "bench", "name": "Bench" }, "steps": [step] })
}

fn map(concurrency: u32) -> Value {
    document(&json!({
        "id": "all",
        "map": {
            "items": "${inputs.items}",
            "maxItems": 100_000,
            "concurrency": concurrency,
            "steps": [{ "id": "one", "agent": { "id": "@bench/noop" }, "input": { "value": "${item}" } }],
            "output": "${steps.one.output.result}"
        }
    }))
}

fn looped(iterations: usize) -> Value {
    document(&json!({
        "id": "rounds",
        "loop": {
            "until": format!("loop.index >= `{}`", iterations - 1),
            "maxIterations": iterations,
            "steps": [{ "id": "one", "agent": { "id": "@bench/noop" }, "input": { "value": "${loop.index}" } }],
            "value": "${steps.one.output.result}"
        }
    }))
}

/// Beside a floor, one execution of each of these documents.
fn composite(criterion: &mut Criterion, name: &str, floor: &Shape, documents: &[(String, Value)], input: &Value) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(floor.dependencies.len() as u64));
    let floor = Floor::new(floor);
    group.bench_function("floor", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            let floor = Arc::clone(&floor);
            async move { tokio::spawn(async move { floor.run().await }).await }
        });
    });
    let engine = engine().build().expect("an engine");
    for (name, document) in documents {
        let workflow = workflow(document);
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(|| execute(&engine, &workflow, input.clone()));
        });
        runtime.block_on(check(&engine, &workflow, input.clone()));
    }
    group.finish();
}

fn benches(criterion: &mut Criterion) {
    for items in [1_000, 100_000] {
        let documents = [10, 10_000].map(|concurrency| (format!("engine, {concurrency} at once"), map(concurrency)));
        let input = json!({ "items": (0..items).collect::<Vec<_>>() });
        composite(criterion, &format!("map-{items}"), &Shape::fan_out(items), &documents, &input);
    }
    for iterations in [1_000, 10_000] {
        let documents = [("engine".to_owned(), looped(iterations))];
        composite(criterion, &format!("loop-{iterations}"), &Shape::chain(iterations), &documents, &json!({}));
    }
}

criterion_group! {
    name = composite_benches;
    config = Criterion::default().measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1)).sample_size(10);
    targets = benches
}
criterion_main!(composite_benches);
