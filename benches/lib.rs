//! Graphs that the benchmarks run, and a floor to compare with: the same graph, written by hand on tokio. What is measured of the
//! engine is [checked](measured) afterwards.

pub mod measured;

use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::sync::Notify;

/// A graph of steps; the input of each reads the `result` of the first step that it depends on.
#[derive(Debug)]
pub struct Shape {
    /// By step, the steps that it depends on.
    pub dependencies: Vec<Vec<usize>>,
}

impl Shape {
    /// One step after another.
    #[must_use]
    pub fn chain(steps: usize) -> Self {
        Self { dependencies: (0..steps).map(|step| step.checked_sub(1).into_iter().collect()).collect() }
    }

    /// One step, then all others at once.
    #[must_use]
    pub fn fan_out(steps: usize) -> Self {
        Self { dependencies: (0..steps).map(|step| if step == 0 { vec![] } else { vec![0] }).collect() }
    }

    /// Layers of a hundred; each step waits for three of the layer before, made up but always the same.
    #[must_use]
    pub fn layered(steps: usize) -> Self {
        const LAYER: usize = 100;
        let mut seed = 42_u64;
        let mut random = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize
        };
        let dependencies_of = |step: usize| {
            let Some(before) = (step / LAYER).checked_sub(1) else { return Vec::new() };
            let mut chosen: Vec<usize> = Vec::with_capacity(3);
            while chosen.len() < 3 {
                let step = before * LAYER + random() % LAYER;
                if !chosen.contains(&step) {
                    chosen.push(step);
                }
            }
            chosen
        };
        Self { dependencies: (0..steps).map(dependencies_of).collect() }
    }

    /// One step, ten at once, and one that waits for all of them.
    #[must_use]
    pub fn diamond() -> Self {
        let mut dependencies = vec![vec![]];
        dependencies.extend(vec![vec![0]; 10]);
        dependencies.push((1..=10).collect());
        Self { dependencies }
    }

    /// The workflow document of the graph. As many steps run at once as can.
    #[must_use]
    pub fn document(&self) -> Value {
        let step = |(index, dependencies): (usize, &Vec<usize>)| {
            let names: Vec<_> = dependencies.iter().map(|step| format!("s{step}")).collect();
            let input = match names.first() {
                Some(name) => json!({ "value": format!("${{steps.{name}.output.result}}") }),
                None => json!({ "value": "ok" }),
            };
            json!({
                "id": format!("s{index}"),
                "agent": { "id": "@bench/noop" },
                "dependencies": names,
                "input": input
            })
        };
        json!({
            "version": "1.0.0",
            "metadata": { "id": "bench", "name": "Bench" },
            "steps": self.dependencies.iter().enumerate().map(step).collect::<Vec<_>>()
        })
    }
}

/// The graph written by hand: atomic counters, shared outputs, a task per step but for the first successor, which the task that
/// made it ready runs itself. No retry, no timeout, no journal, no cancellation.
#[derive(Debug)]
pub struct Floor {
    dependencies: Vec<Vec<usize>>,
    successors: Vec<Vec<usize>>,
}

struct Execution {
    floor: Arc<Floor>,
    waits_for: Vec<AtomicU32>,
    outputs: Vec<OnceLock<Arc<Value>>>,
    left: AtomicU32,
    done: Notify,
}

type Body = Pin<Box<dyn Future<Output = Value> + Send>>;

fn body(input: Value) -> Body {
    Box::pin(async move {
        std::hint::black_box(input);
        json!({ "result": "ok" })
    })
}

impl Floor {
    /// Prepares a graph.
    #[must_use]
    pub fn new(shape: &Shape) -> Arc<Self> {
        let mut successors = vec![Vec::new(); shape.dependencies.len()];
        for (step, dependencies) in shape.dependencies.iter().enumerate() {
            for &dependency in dependencies {
                successors[dependency].push(step);
            }
        }
        Arc::new(Self { dependencies: shape.dependencies.clone(), successors })
    }

    /// Runs the graph once.
    pub async fn run(self: &Arc<Self>) -> Arc<Value> {
        let count = self.dependencies.len();
        let execution = Arc::new(Execution {
            floor: Arc::clone(self),
            waits_for: self.dependencies.iter().map(|steps| AtomicU32::new(steps.len() as u32)).collect(),
            outputs: (0..count).map(|_| OnceLock::new()).collect(),
            left: AtomicU32::new(count as u32),
            done: Notify::new(),
        });
        let done = execution.done.notified();
        for (step, dependencies) in self.dependencies.iter().enumerate() {
            if dependencies.is_empty() {
                execution.spawn(step);
            }
        }
        done.await;
        let last = execution.outputs.last().and_then(OnceLock::get);
        Arc::clone(last.expect("every step has run"))
    }
}

impl Execution {
    fn spawn(self: &Arc<Self>, step: usize) {
        let execution = Arc::clone(self);
        tokio::spawn(async move { execution.run(step).await });
    }

    async fn run(self: Arc<Self>, first: usize) {
        let mut next = Some(first);
        while let Some(step) = next.take() {
            let input = match self.floor.dependencies[step].first() {
                Some(&dependency) => {
                    let output = self.outputs[dependency].get().expect("dependencies have run");
                    json!({ "value": output["result"].clone() })
                }
                None => json!({ "value": "ok" }),
            };
            let output = body(input).await;
            self.outputs[step].set(Arc::new(output)).expect("a step runs once");
            for &successor in &self.floor.successors[step] {
                if self.waits_for[successor].fetch_sub(1, Ordering::AcqRel) == 1 {
                    match next {
                        None => next = Some(successor),
                        Some(_) => self.spawn(successor),
                    }
                }
            }
            if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.done.notify_one();
            }
        }
    }
}
