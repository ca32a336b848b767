//! Reading and validating workflow files, and evaluating what was compiled.
//!
//! `cargo bench -p benches --bench language`
//!
//! Compare the time per step of the sizes with each other: it should be the same.

use std::{borrow::Cow, hint::black_box};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use orchestr8_schema::{
    ValidWorkflow,
    expression::{Root, Scope, StepField},
    source::{Format, Options, load},
};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

fn document(steps: &[Value]) -> Value {
    json!({ "version": "1.0.0", "metadata": { "id": "bench", "name": "Bench" }, "steps": steps })
}

/// One step after another, each with a condition; it reads the step before, and one far away.
fn chain(steps: usize) -> Value {
    let step = |index: usize| match index {
        0 => json!({ "id": "s0", "agent": { "id": "@bench/noop" }, "input": { "value": "ok" } }),
        _ => json!({
            "id": format!("s{index}"),
            "agent": { "id": "@bench/noop" },
            "dependencies": [format!("s{}", index - 1)],
            "condition": { "if": format!("steps.s{}.status == 'completed'", index - 1) },
            "input": {
                "before": format!("${{steps.s{}.output.result}}", index - 1),
                "far": format!("${{steps.s{}.output.result ?? 'nothing'}}", index / 2)
            }
        }),
    };
    document(&(0..steps).map(step).collect::<Vec<_>>())
}

/// One step, then all others, and one that waits for all of them.
fn wide(steps: usize) -> Value {
    let step = |index: usize| match index {
        0 => json!({ "id": "s0", "agent": { "id": "@bench/noop" } }),
        last if last + 1 == steps => json!({
            "id": format!("s{last}"),
            "agent": { "id": "@bench/noop" },
            "dependencies": (0..last).map(|other| format!("s{other}")).collect::<Vec<_>>(),
            "input": { "all": (0..last).map(|other| format!("${{steps.s{other}.output}}")).collect::<Vec<_>>() }
        }),
        _ => json!({
            "id": format!("s{index}"),
            "agent": { "id": "@bench/noop" },
            "dependencies": ["s0"],
            "input": { "value": "${steps.s0.output.result}" },
            "policies": { "retry": { "maxAttempts": 2 } }
        }),
    };
    document(&(0..steps).map(step).collect::<Vec<_>>())
}

/// Maps of loops of parallel groups, ten steps to each map.
fn nested(steps: usize) -> Value {
    let map = |index: usize| {
        let leaf = |name: &str| {
            json!({
                "id": format!("{name}{index}"),
                "agent": { "id": "@bench/noop" },
                "input": { "item": "${item}", "value": "${loop.value.x ?? inputs.x}" }
            })
        };
        let leaves = ["a", "b", "c", "d", "e", "f", "g"].map(leaf);
        let dependencies: Vec<_> = index.checked_sub(1).map(|before| format!("m{before}")).into_iter().collect();
        json!({
            "id": format!("m{index}"),
            "dependencies": dependencies,
            "map": {
                "items": index.checked_sub(1).map_or(json!("${inputs.list}"), |before| json!(format!("${{steps.m{before}.output}}"))),
                "steps": [{
                    "id": format!("l{index}"),
                    "loop": {
                        "until": format!("steps.p{index}.status == 'completed'"),
                        "maxIterations": 3,
                        "steps": [{
                            "id": format!("p{index}"),
                            "parallel": { "steps": leaves }
                        }]
                    }
                }]
            }
        })
    };
    document(&(0..steps / 10).map(map).collect::<Vec<_>>())
}

fn read(criterion: &mut Criterion) {
    for (name, shape) in [("chain", chain as fn(usize) -> Value), ("wide", wide), ("nested", nested)] {
        let mut group = criterion.benchmark_group(format!("read/{name}"));
        group.sample_size(10);
        for size in SIZES {
            let text = shape(size).to_string();
            group.throughput(Throughput::Elements(size as u64));
            group.bench_with_input(BenchmarkId::new("json", size), &text, |bencher, text| {
                let options = Options::new().format(Format::Json);
                bencher.iter(|| load(black_box(text), &options).expect("valid"));
            });
        }
        for size in SIZES {
            let mut text = String::new();
            write_yaml(&shape(size), 0, &mut text);
            group.throughput(Throughput::Elements(size as u64));
            group.bench_with_input(BenchmarkId::new("yaml", size), &text, |bencher, text| {
                let options = Options::new().format(Format::Yaml);
                bencher.iter(|| load(black_box(text), &options).expect("valid"));
            });
        }
        group.finish();
    }
}

/// Writes block style, as people do: a line to each key, and quotes only where they are needed.
fn write_yaml(value: &Value, indent: usize, text: &mut String) {
    let is_block = |value: &Value| match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (position, (key, value)) in map.iter().enumerate() {
                let before = if position == 0 { 0 } else { indent };
                text.push_str(&format!("{}{key}:", " ".repeat(before)));
                text.push_str(&if is_block(value) { format!("\n{}", " ".repeat(indent + 2)) } else { " ".to_owned() });
                write_yaml(value, indent + 2, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (position, item) in items.iter().enumerate() {
                let before = if position == 0 { 0 } else { indent };
                text.push_str(&format!("{}- ", " ".repeat(before)));
                write_yaml(item, indent + 2, text);
            }
        }
        Value::String(plain) if plain.starts_with(|first: char| first.is_ascii_alphabetic() || first == '$') => {
            text.push_str(plain);
            text.push('\n');
        }
        other => text.push_str(&format!("{other}\n")),
    }
}

/// Shows the output of one step.
struct Shown {
    output: Value,
    status: Value,
}

impl Scope for Shown {
    fn root(&self, root: Root) -> Option<Cow<'_, Value>> {
        match root {
            Root::Step { field: StepField::Output, .. } => Some(Cow::Borrowed(&self.output)),
            Root::Step { field: StepField::Status, .. } => Some(Cow::Borrowed(&self.status)),
            _ => None,
        }
    }
}

fn evaluate(criterion: &mut Criterion) {
    let workflow = ValidWorkflow::from_value(&document(&[
        json!({ "id": "a", "agent": { "id": "@bench/noop" } }),
        json!({
            "id": "b", "agent": { "id": "@bench/noop" }, "dependencies": ["a"],
            "condition": { "if": "steps.a.status == 'completed' && steps.a.output.n > `5`" },
            "input": { "y": "${steps.a.output.x.y}" }
        }),
    ]))
    .expect("valid");
    let scope =
        Shown { output: json!({ "x": { "y": "some text", "z": [1, 2, 3] }, "n": 7 }), status: json!("completed") };
    let reader = &workflow.steps()[1];
    let orchestr8_schema::expression::Template::Object(entries) = reader.input.template() else {
        unreachable!("there is an expression in it")
    };
    let orchestr8_schema::expression::Template::Expression(expression) = &entries[0].1 else {
        unreachable!("it is one expression")
    };
    let condition = reader.condition.as_ref().expect("it has one");
    let mut group = criterion.benchmark_group("evaluate");
    group.bench_function("expression", |bencher| bencher.iter(|| black_box(expression).evaluate(&scope).is_some()));
    group.bench_function("input", |bencher| {
        bencher.iter(|| black_box(reader).input.resolve(&scope).expect("it has a value"));
    });
    group.bench_function("condition", |bencher| bencher.iter(|| black_box(condition).holds(&scope).expect("it holds")));
    group.finish();
}

criterion_group!(benches, read, evaluate);
criterion_main!(benches);
