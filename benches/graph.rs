//! What it costs to lay out and draw a graph.

use std::hint::black_box;

use benches::Shape;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use orchestr8_cli::graph::{Graph, layout, svg};
use orchestr8_schema::ValidWorkflow;

fn drawing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("graph");
    for steps in [100, 1_000, 10_000] {
        let size = layout::Size { width: 120, height: 46 };
        let shapes: [(&str, Vec<(usize, usize)>); 3] = [
            ("layout of a chain", (1..steps).map(|step| (step - 1, step)).collect()),
            ("layout of a fan", (1..steps).map(|step| (0, step)).collect()),
            // Layers of fifty; each step waits for three of the layer before.
            (
                "layout of layers",
                (50..steps)
                    .flat_map(|step| (0..3).map(move |by| (step / 50 * 50 - 50 + (step * 7 + by * 13) % 50, step)))
                    .collect(),
            ),
        ];
        group.throughput(Throughput::Elements(steps as u64));
        for (name, edges) in shapes {
            let sizes = vec![size; steps];
            let links: Vec<_> = edges.into_iter().map(|(from, to)| layout::Link::new(from, to)).collect();
            group.bench_function(BenchmarkId::new(name, steps), |bencher| {
                bencher.iter(|| black_box(layout::arrange(&sizes, &links)));
            });
        }
        let workflow = ValidWorkflow::from_value(&Shape::chain(steps).document()).expect("the shape is valid");
        group.bench_function(BenchmarkId::new("svg of a chain", steps), |bencher| {
            bencher.iter(|| black_box(svg::draw(&Graph::new(&workflow), svg::Style::Embedded)));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = drawing
}
criterion_main!(benches);
