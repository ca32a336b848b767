//! What the engine adds to a step of a graph, as a ratio to a floor: the same graph written by hand on tokio, in the same run.
//!
//! `cargo bench -p benches --bench engine`

use std::{sync::Arc, time::Duration};

use benches::{
    Floor, Shape,
    measured::{check, engine, execute, runtime, workflow},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One execution of one graph; the floor has no limit of what is in progress.
fn graph(criterion: &mut Criterion, name: &str, shape: &Shape, concurrency: &[u32]) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(shape.dependencies.len() as u64));
    let floor = Floor::new(shape);
    group.bench_function("floor", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            let floor = Arc::clone(&floor);
            async move { tokio::spawn(async move { floor.run().await }).await }
        });
    });
    let workflow = workflow(&shape.document());
    for &slots in concurrency {
        let engine = engine().max_concurrent_steps(slots).build().expect("an engine");
        let name = if slots == UNLIMITED { "engine".to_owned() } else { format!("engine, {slots} at once") };
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(|| execute(&engine, &workflow, json!({})));
        });
        runtime.block_on(check(&engine, &workflow, json!({})));
    }
    group.finish();
}

/// Many executions at once.
fn many(criterion: &mut Criterion, executions: usize, steps: usize) {
    let shape = Shape::chain(steps);
    let runtime = runtime();
    let mut group = criterion.benchmark_group(format!("{executions}-executions-of-{steps}"));
    group.throughput(Throughput::Elements((executions * steps) as u64));
    let floor = Floor::new(&shape);
    group.bench_function("floor", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let run = || {
                let floor = Arc::clone(&floor);
                tokio::spawn(async move { floor.run().await })
            };
            for task in (0..executions).map(|_| run()).collect::<Vec<_>>() {
                task.await.expect("it ends");
            }
        });
    });
    let (engine, workflow) = (engine().build().expect("an engine"), workflow(&shape.document()));
    group.bench_function("engine", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let mut handles = Vec::with_capacity(executions);
            for _ in 0..executions {
                handles.push(engine.start(&workflow, json!({})).await.expect("it starts"));
            }
            for handle in handles {
                assert!(handle.outcome().await.expect("it ends").is_completed());
            }
        });
    });
    runtime.block_on(check(&engine, &workflow, json!({})));
    group.finish();
}

const UNLIMITED: u32 = u32::MAX / 2;

fn benches(criterion: &mut Criterion) {
    for steps in [1_000, 10_000] {
        graph(criterion, &format!("chain-{steps}"), &Shape::chain(steps), &[UNLIMITED]);
    }
    for steps in [10, 1_000, 10_000] {
        graph(criterion, &format!("fan-out-{steps}"), &Shape::fan_out(steps), &[UNLIMITED, 10]);
    }
    graph(criterion, "layered-10000", &Shape::layered(10_000), &[UNLIMITED]);
    many(criterion, 100, 10);
    many(criterion, 10_000, 5);
}

criterion_group! {
    name = engine_benches;
    config = Criterion::default().measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1)).sample_size(40);
    targets = benches
}
criterion_main!(engine_benches);
