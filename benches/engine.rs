//! What the engine adds to a step, as a ratio to a floor: the same graph written by hand on tokio, in the same run.
//!
//! `cargo bench -p benches --bench engine`

use std::{sync::Arc, time::Duration};

use benches::{Floor, Shape};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use orchestr8_agent_base::{Agent, AgentContext, AgentError, AgentManifest};
use orchestr8_core::Engine;
use orchestr8_schema::ValidWorkflow;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Noop;

#[async_trait::async_trait]
impl Agent for Noop {
    fn manifest(&self) -> AgentManifest {
        AgentManifest::new("@bench/noop", "1.0.0", "Does nothing").expect("well formed")
    }

    async fn execute(
        &self,
        input: &Value,
        _: &AgentContext,
        _: orchestr8_agent_base::CancellationToken,
    ) -> Result<Value, AgentError> {
        std::hint::black_box(input);
        Ok(json!({ "result": "ok" }))
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime")
}

fn engine() -> Engine {
    Engine::builder().agent(Noop).max_concurrent_steps(100_000).build().expect("an engine")
}

fn workflow(shape: &Shape) -> ValidWorkflow {
    ValidWorkflow::from_value(&shape.document()).expect("a valid workflow")
}

async fn execute(engine: &Engine, workflow: &ValidWorkflow) {
    let execution = engine.start(workflow, json!({})).await.expect("it starts");
    let outcome = execution.outcome().await.expect("it ends");
    assert!(outcome.is_completed(), "{:?}", outcome.error());
}

/// One execution of one graph.
fn graph(criterion: &mut Criterion, name: &str, shape: &Shape) {
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
    let (engine, workflow) = (engine(), workflow(shape));
    group.bench_function("engine", |bencher| {
        bencher.to_async(&runtime).iter(|| execute(&engine, &workflow));
    });
    group.finish();
}

/// Many executions at once.
fn many(criterion: &mut Criterion) {
    const EXECUTIONS: usize = 100;
    let shape = Shape::chain(10);
    let runtime = runtime();
    let mut group = criterion.benchmark_group("100-executions-of-10");
    group.throughput(Throughput::Elements((EXECUTIONS * shape.dependencies.len()) as u64));
    let floor = Floor::new(&shape);
    group.bench_function("floor", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let tasks: Vec<_> = (0..EXECUTIONS)
                .map(|_| {
                    let floor = Arc::clone(&floor);
                    tokio::spawn(async move { floor.run().await })
                })
                .collect();
            for task in tasks {
                task.await.expect("it ends");
            }
        });
    });
    let (engine, workflow) = (engine(), workflow(&shape));
    group.bench_function("engine", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let mut handles = Vec::with_capacity(EXECUTIONS);
            for _ in 0..EXECUTIONS {
                handles.push(engine.start(&workflow, json!({})).await.expect("it starts"));
            }
            for handle in handles {
                assert!(handle.outcome().await.expect("it ends").is_completed());
            }
        });
    });
    group.finish();
}

fn benches(criterion: &mut Criterion) {
    graph(criterion, "chain-1000", &Shape::chain(1000));
    graph(criterion, "fan-out-1000", &Shape::fan_out(1000));
    many(criterion);
}

criterion_group! {
    name = engine_benches;
    config = Criterion::default().measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1)).sample_size(40);
    targets = benches
}
criterion_main!(engine_benches);
