//! What an author waits for: the language server's answers on files of 2 000 and 20 000 lines.

use std::{fmt::Write as _, hint::black_box};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use orchestr8_agent_base::{AgentRegistry, HelloWorld};
use orchestr8_cli::lsp::{Analysis, Text, protocol::Position};

const LINES_PER_STEP: usize = 10;

/// A file of steps of ten lines, each of which reads the one before.
fn document(lines: usize) -> String {
    let mut text = String::from("version: 1.0.0\nmetadata: { id: bench, name: Bench }\nsteps:\n");
    for step in 0..lines / LINES_PER_STEP {
        let before = step.saturating_sub(1);
        let dependencies = if step == 0 { String::new() } else { format!("step-{before}") };
        let read =
            if step == 0 { "inputs.name ?? 'x'".to_owned() } else { format!("steps.step-{before}.output.result") };
        write!(
            text,
            "  - id: step-{step}\n    name: Step {step}\n    agent:\n      id: \"@orchestr8/hello-world\"\n    \
             dependencies: [{dependencies}]\n    input:\n      message: \"${{{read}}}\"\n    policies:\n      \
             timeout: 30s\n      retry: {{ maxAttempts: 2 }}\n"
        )
        .expect("a string takes everything");
    }
    text
}

fn answers(criterion: &mut Criterion) {
    let mut agents = AgentRegistry::new();
    agents.register(HelloWorld).expect("there is one of it");
    for lines in [2_000, 20_000] {
        let text = Text::new(document(lines));
        let place = |word: &str, inside: usize| text.position(text.as_str().rfind(word).expect("it is there") + inside);
        let (expression, key) = (place("output.result", 9), place("retry", 0));
        let step = place("- id: ", 8);
        let analysis = Analysis::new("bench.yaml", &text, &agents);
        let mut group = criterion.benchmark_group("lsp");
        let mut measure = |name: &str, answer: &dyn Fn(Position) -> usize, at: Position| {
            group.bench_function(BenchmarkId::new(name, lines), |bencher| bencher.iter(|| black_box(answer(at))));
        };
        measure("diagnostics", &|_| analysis.diagnostics().len(), key);
        measure("completion of an expression", &|at| analysis.completion(at).len(), expression);
        measure("completion of a key", &|at| analysis.completion(at).len(), key);
        measure("hover", &|at| usize::from(analysis.hover(at).is_some()), expression);
        measure("definition", &|at| usize::from(analysis.definition(at).is_some()), step);
        measure("rename", &|at| analysis.rename(at, "renamed").map_or(0, |edits| edits.len()), step);
        group.finish();
    }
}

criterion_group!(benches, answers);
criterion_main!(benches);
