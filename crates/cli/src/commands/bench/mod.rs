//! `orchestr8 bench`

mod baseline;
mod peer;
mod percentiles;
mod workload;

use std::path::PathBuf;

use clap::Args;
use indexmap::IndexMap;
use orchestr8_core::Engine;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{runtime::Runtime, time::Instant};

use self::{
    baseline::Baselines,
    peer::Peer,
    percentiles::{Percentiles, Ratio},
    workload::Workload,
};
use crate::{Error, Exit, context::Context, wording::visible};

/// From this ratio of the 95th percentiles on, it has become slower.
const TOO_SLOW: f64 = 1.2;
/// What is compared is measured in so many turns, so that both have the same share of a busy machine.
const TURNS: u32 = 5;

/// Measures how long workflows take.
///
/// Each sample is one execution in this process, whose journal stays in memory. Percentiles are told, and no means: a mean hides what people
/// wait for. Without files it measures a single agent, five in a row, ten at once, and a workflow with a map, a loop and a branch, all
/// with agents that do nothing.
///
/// With --compare the medians and the 95th percentiles are set against what was saved last, or against another program, which is then
/// measured in turns with this one. Exits with 1 if a 95th percentile is 1.2 times as long, or longer.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 bench --save\n  orchestr8 bench --compare\n  \
                             orchestr8 bench --workflow review.yaml --samples 20\n  orchestr8 bench --compare=./orchestr8-1.0")]
pub struct BenchArgs {
    /// A workflow file to measure; it may be given again
    #[arg(long = "workflow", value_name = "FILE")]
    workflows: Vec<PathBuf>,
    /// Executions of each workflow that are measured
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    samples: u32,
    /// Executions before those, which do not count
    #[arg(long, value_name = "N", default_value_t = 10)]
    warmup: u32,
    /// Compare with the baseline that was saved last, or with another orchestr8 program
    #[arg(long, value_name = "PROGRAM", num_args = 0..=1, require_equals = true, default_missing_value = "baseline")]
    compare: Option<Against>,
    /// Keep the result as the baseline of this version, in `baselines.json` of the data directory
    #[arg(long)]
    save: bool,
}

/// What is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Against {
    Baseline,
    Program(PathBuf),
}

impl From<&str> for Against {
    fn from(text: &str) -> Self {
        if text == "baseline" { Self::Baseline } else { Self::Program(text.into()) }
    }
}

/// What was measured, as it is printed.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    version: String,
    samples: u32,
    warmup: u32,
    workloads: IndexMap<String, Measured>,
    /// The version that it was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    baseline: Option<String>,
}

/// How long the executions of a workflow took.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    #[serde(flatten)]
    percentiles: Percentiles,
    /// All of them, in microseconds and in their order.
    durations_us: Vec<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ratio: Option<Ratio>,
}

pub(crate) fn bench(cx: &Context<'_>, args: &BenchArgs) -> Result<Exit, Error> {
    let registry = cx.agents.registry()?;
    let workloads = if args.workflows.is_empty() {
        workload::usual()?
    } else {
        args.workflows.iter().map(|path| Workload::of_file(cx.ui, path, &registry)).collect::<Result<_, _>>()?
    };
    // Before anything is measured, so that nobody waits for what cannot be.
    let mut baselines = match (&args.compare, args.save) {
        (Some(Against::Baseline), _) | (_, true) => Some(Baselines::read(&cx.data()?)?),
        _ => None,
    };
    let known = match (&args.compare, &baselines) {
        (Some(Against::Baseline), Some(baselines)) => Some(baselines.latest()?),
        _ => None,
    };
    let runtime = Runtime::new().map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let mut report = Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        samples: args.samples,
        warmup: args.warmup,
        ..Report::default()
    };
    let peer = match &args.compare {
        Some(Against::Program(program)) => {
            Some(measure_in_turns(&runtime, args, &registry_engine(&registry)?, &workloads, program, &mut report)?)
        }
        _ => {
            let engine = registry_engine(&registry)?;
            for workload in &workloads {
                let durations = runtime.block_on(measure(&engine, workload, args.warmup, args.samples))?;
                report.add(workload, durations);
            }
            None
        }
    };
    let against = peer.as_ref().map(|peer| (peer.version(), peer.percentiles())).or(known);
    if let Some((version, percentiles)) = against {
        for (name, measured) in &mut report.workloads {
            measured.ratio = percentiles.get(name).and_then(|base| measured.percentiles.ratio_to(base));
        }
        report.baseline = Some(version);
    }
    if let Some(baselines) = baselines.as_mut().filter(|_| args.save) {
        baselines.keep(&cx.data()?, &report)?;
    }
    show(cx, args, &report)
}

/// Makes an engine that keeps nothing.
fn registry_engine(registry: &orchestr8_core::agent_base::AgentRegistry) -> Result<Engine, Error> {
    let engine = Engine::builder().registry(registry.clone()).build();
    engine.map_err(|error| Error::internal("making the engine").with_source(error))
}

/// Executes a workflow so many times, one after another, and returns how long each took, in microseconds.
async fn measure(engine: &Engine, workload: &Workload, warmup: u32, samples: u32) -> Result<Vec<u64>, Error> {
    let mut durations = Vec::new();
    for number in 0..warmup + samples {
        let began = Instant::now();
        let execution = engine.start(workload.workflow(), json!({})).await.map_err(super::run::refused)?;
        let outcome = execution.outcome().await;
        let took = began.elapsed();
        let outcome = outcome.map_err(|error| Error::internal("measuring").with_source(error))?;
        if let Some(error) = outcome.error() {
            let message = format!("`{}` does not complete: {}", workload.name(), visible(&error.message));
            return Err(Error::internal(message));
        }
        if number >= warmup {
            durations.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
    }
    Ok(durations)
}

/// Measures this program and another one in turns.
fn measure_in_turns(
    runtime: &Runtime,
    args: &BenchArgs,
    engine: &Engine,
    workloads: &[Workload],
    program: &std::path::Path,
    report: &mut Report,
) -> Result<Peer, Error> {
    let mut peer = Peer::new(program, &args.workflows);
    for turn in 0..TURNS {
        // What is left over falls to the last turns.
        let samples = (args.samples + turn) / TURNS;
        if samples == 0 {
            continue;
        }
        peer.measure(args.warmup, samples)?;
        for workload in workloads {
            let durations = runtime.block_on(measure(engine, workload, args.warmup, samples))?;
            report.add(workload, durations);
        }
    }
    Ok(peer)
}

impl Report {
    /// Adds what was measured of a workflow.
    fn add(&mut self, workload: &Workload, durations: Vec<u64>) {
        let measured = self.workloads.entry(workload.name().to_owned()).or_default();
        measured.durations_us.extend(durations);
        measured.percentiles = Percentiles::of(&measured.durations_us);
    }
}

fn show(cx: &Context<'_>, args: &BenchArgs, report: &Report) -> Result<Exit, Error> {
    if cx.ui.is_json() {
        cx.ui.print_json(report)?;
    } else {
        let width = report.workloads.keys().map(|name| name.chars().count()).max().unwrap_or(0).max(10);
        for (name, measured) in &report.workloads {
            let compared = match (&measured.ratio, &report.baseline) {
                (Some(ratio), Some(version)) => format!("  ({ratio} vs {version})"),
                (None, Some(version)) => format!("  (not in the baseline of {version})"),
                _ => String::new(),
            };
            cx.ui.print(&format!("{:width$}  {}{compared}", visible(name), measured.percentiles))?;
        }
    }
    if args.save {
        cx.ui.say(&format!("saved as the baseline of {}", report.version));
    }
    let slower: Vec<_> =
        report.workloads.iter().filter(|(_, measured)| measured.ratio.is_some_and(Ratio::is_too_slow)).collect();
    if slower.is_empty() {
        return Ok(Exit::Success);
    }
    for (name, measured) in slower {
        let ratio = measured.ratio.map(|ratio| ratio.p95).unwrap_or_default();
        cx.ui.complain(&format!("{}: the 95th percentile is {ratio:.2} times that of the baseline", visible(name)));
    }
    Ok(Exit::Failed)
}
