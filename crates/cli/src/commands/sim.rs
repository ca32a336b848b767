//! `orchestr8 sim`

use std::{path::PathBuf, time::Duration};

use clap::Args;
use orchestr8_schema::{Millis, source::Options};
use orchestr8_testing::simulate::{Counterexample, Fault, Report, Simulation};

use crate::{
    Error, Exit,
    agents::Agents,
    ui::Ui,
    wording::{count, duration, shell_word, visible},
    workflow_file::WorkflowFile,
};

/// How many lines of a journal are shown of each violation.
const LINES: usize = 20;

/// Runs a workflow file under chance and faults, thousands of times, in virtual time.
///
/// The engine is the real one; agents are stand-ins that answer what their schemas allow, so nothing is called. The process crashes,
/// the disk is full, agents fail and hang, people answer late or twice, the clock jumps. What breaks a promise of the engine, or acts
/// twice where it must not, is shown with the fewest faults that it takes. The same seed always gives the same. Exits with
/// 1 on a violation.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  orchestr8 sim review.yaml\n  orchestr8 sim review.yaml --seeds 10000 --horizon 168h\n  \
                             orchestr8 sim review.yaml --seed 7319 --faults crash@12,timeout@charge"
)]
pub struct SimArgs {
    /// A workflow file in JSON or YAML; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How many seeds to try, from 0
    #[arg(long, value_name = "N", default_value_t = 1000, conflicts_with = "seed")]
    seeds: u64,
    /// Try this seed only
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// What goes wrong, instead of what the seeds choose: `crash@12,timeout@charge:2,slow-human`; empty for nothing
    #[arg(long, value_name = "FAULTS", value_delimiter = ',', num_args = 0..)]
    faults: Option<Vec<String>>,
    /// How long each execution is followed, in its own time
    #[arg(long, value_name = "DURATION", default_value = "720h")]
    horizon: String,
    /// How many threads; one for each core unless given
    #[arg(long, value_name = "N")]
    parallel: Option<usize>,
}

pub(crate) fn sim(ui: Ui, args: &SimArgs, agents: &Agents) -> Result<Exit, Error> {
    let faults = args.faults.as_ref().map(|texts| read_faults(texts)).transpose()?;
    let horizon = read_horizon(&args.horizon)?;
    let file = WorkflowFile::read(&args.file)?;
    // No agent is called, so none has to be known; what is known lends its schemas.
    let workflow = file.check(Options::new()).map_err(Error::invalid_file)?;
    let simulation = Simulation::new(workflow, &agents.registry()?)
        .map_err(|error| Error::usage(format!("`{}` cannot be simulated", visible(file.name()))).with_source(error))?;
    let mut simulation = simulation.horizon(horizon);
    if let Some(threads) = args.parallel {
        simulation = simulation.threads(threads);
    }
    if !simulation.unknown_agents().is_empty() {
        ui.say(&format!(
            "not known here, so made of what the workflow reads of them: {}",
            visible(&simulation.unknown_agents().join(", "))
        ));
    }
    let seeds = args.seed.map_or(0..args.seeds, |seed| seed..seed.saturating_add(1));
    let report = simulation.explore_with(seeds, faults.as_deref());
    if ui.is_json() {
        ui.print_json(&report)?;
    } else {
        tell(ui, file.name(), &report)?;
    }
    Ok(if report.violations.is_empty() { Exit::Success } else { Exit::Failed })
}

fn read_faults(texts: &[String]) -> Result<Vec<Fault>, Error> {
    let texts = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    texts
        .map(|text| {
            text.parse().map_err(|error: orchestr8_testing::simulate::InvalidFault| Error::usage(error.to_string()))
        })
        .collect()
}

fn read_horizon(text: &str) -> Result<Duration, Error> {
    let millis: Millis = text.parse().map_err(|_| {
        Error::usage(format!("`{}` is no duration", visible(text))).with_hint("write 500ms, 30s, 5m or 2h")
    })?;
    Ok(millis.as_duration())
}

fn tell(ui: Ui, file: &str, report: &Report) -> Result<(), Error> {
    for found in &report.violations {
        ui.print(&format!("✗ seed {}: {} violated: {}", found.seed, found.invariant, visible(&found.message)))?;
        ui.print(&format!("  minimal: {}", in_words(&found.faults)))?;
        ui.print(&format!("  again: {}", again(file, found)))?;
        let end = (found.sequence as usize).min(found.journal.len());
        let begin = end.saturating_sub(LINES);
        for line in &found.journal[begin..end] {
            ui.print(&format!("  {}", visible(line)))?;
        }
    }
    let elapsed = u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX);
    ui.print(&format!(
        "{} {} · {} · {} · {} simulated · {}",
        if report.violations.is_empty() { "✓" } else { "✗" },
        count(report.seeds as usize, "seed"),
        count(report.executions as usize, "execution"),
        count(report.events as usize, "event"),
        duration(elapsed),
        if report.violations.is_empty() {
            "nothing violated".to_owned()
        } else {
            format!("{} violated", count(report.violations.len(), "invariant"))
        }
    ))?;
    ui.print(&format!(
        "  {} completed, {} failed, {} cancelled, {} waiting",
        report.completed, report.failed, report.cancelled, report.waiting
    ))?;
    let coverage = &report.coverage;
    if !coverage.steps_never_reached.is_empty() {
        ui.print(&format!("  never reached: {}", visible(&coverage.steps_never_reached.join(", "))))?;
    }
    if !coverage.cases_never_taken.is_empty() {
        ui.print(&format!("  cases never taken: {}", visible(&coverage.cases_never_taken.join(", "))))?;
    }
    Ok(())
}

/// Puts faults into words, in the order in which they are written.
fn in_words(faults: &[Fault]) -> String {
    let place = |place: &orchestr8_testing::simulate::Place| match place.attempt {
        1 => visible(&place.path).into_owned(),
        attempt => format!("{}, attempt {attempt}", visible(&place.path)),
    };
    let words = faults.iter().map(|fault| match fault {
        Fault::Crash(write) => format!("crash after write {write}"),
        Fault::CrashBefore(write) => format!("crash before write {write}"),
        Fault::Torn(write) => format!("crash within write {write}"),
        Fault::Conflict(write) => format!("another process at write {write}"),
        Fault::DiskFull(write) => format!("disk full at write {write}"),
        Fault::Timeout(at) => format!("timeout of {}", place(at)),
        Fault::Fail(at) => format!("failure of {}", place(at)),
        Fault::Hang(at) => format!("hang of {}", place(at)),
        Fault::RateLimit(at) => format!("429 for {}", place(at)),
        Fault::Cancel(event) => format!("cancel after event {event}"),
        Fault::Pause(event) => format!("pause after event {event}"),
        Fault::ClockJump(event) => format!("jump of the clock after event {event}"),
        other => other.to_string(),
    });
    let words: Vec<_> = words.collect();
    if words.is_empty() { "no fault at all".to_owned() } else { words.join(", then ") }
}

/// The command that shows an example again.
fn again(file: &str, found: &Counterexample) -> String {
    let faults: Vec<_> = found.faults.iter().map(ToString::to_string).collect();
    let faults = shell_word(&faults.join(",")).into_owned();
    format!("orchestr8 sim {} --seed {} --faults {faults}", shell_word(file), found.seed)
}
