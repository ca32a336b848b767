//! `orchestr8 sim`

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use orchestr8_agent_base::Clock as _;
use orchestr8_core::clock::SystemClock;
use orchestr8_schema::{
    Millis,
    source::{Options, Places},
    test_file::{MockFile, MockTarget, TestFile},
};
use orchestr8_testing::simulate::{Checkpoint, Counterexample, Fault, MockMistake, NotSimulable, Report, Simulation};
use serde::Serialize;

use crate::{
    Error, Exit,
    agents::Agents,
    render,
    ui::Ui,
    wording::{count, duration, shell_word, visible},
    workflow_file::WorkflowFile,
};

/// How long executions are followed unless told otherwise.
const HORIZON: &str = "30d";
/// How many lines of a journal are shown of each violation.
const LINES: usize = 20;

/// Runs a workflow file under chance and faults, thousands of times, in virtual time.
///
/// The engine is the real one; agents are stand-ins that answer what mocks say, or else what their schemas allow, so nothing is
/// called. The process crashes, the disk is full, agents fail and hang, people answer late or twice, the clock jumps. What breaks a promise of the engine, or acts
/// twice where it must not, is shown with the fewest faults that it takes. The same seed always gives the same. Exits with
/// 1 on a violation.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  orchestr8 sim review.yaml\n  orchestr8 sim review.yaml --mocks review.mocks.yaml --seeds 10000 --horizon 7d\n  \
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
    #[arg(long, value_name = "DURATION", default_value = HORIZON)]
    horizon: String,
    /// How calls are answered, what unknown agents are, and what always holds; or a test file, whose defaults count
    #[arg(long, value_name = "FILE")]
    mocks: Option<PathBuf>,
    /// How many threads; one for each core unless given
    #[arg(long, value_name = "N")]
    parallel: Option<usize>,
}

pub(crate) fn sim(ui: Ui, args: &SimArgs, agents: &Agents) -> Result<Exit, Error> {
    let faults = args.faults.as_ref().map(|texts| read_faults(texts)).transpose()?;
    let horizon = read_horizon(&args.horizon)?;
    let file = WorkflowFile::read(&args.file)?.with_prompts(agents.inline_prompts());
    // No agent is called, so none has to be known; what is known lends its schemas.
    let workflow = file.check(Options::new()).map_err(Error::invalid_file)?;
    let mocks = args.mocks.as_deref().map(Mocks::read).transpose()?;
    let told = mocks.as_ref().map(|mocks| mocks.file.clone()).unwrap_or_default();
    let simulation = Simulation::with_mocks(&workflow, &agents.without_models()?, &told)
        .map_err(|error| not_simulable(&file, mocks.as_ref(), error))?;
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
    let clock = SystemClock::new();
    let began = clock.now();
    let seeds = args.seed.map_or(0..args.seeds, |seed| seed..seed.saturating_add(1));
    let report = simulation.explore_with(seeds, faults.as_deref());
    if let (Some(mocks), Some(mistake)) = (&mocks, report.mistakes.first()) {
        return Err(mocks.mistaken(mistake));
    }
    if ui.is_json() {
        let wall_ms = u64::try_from(clock.now().since(began).as_millis()).unwrap_or(u64::MAX);
        ui.print_json(&Told { report: &report, wall_ms })?;
    } else {
        let again =
            Again { file: file.name(), mocks: mocks.as_ref().map(|mocks| &*mocks.name), horizon: &args.horizon };
        tell(ui, &again, &report)?;
    }
    Ok(if report.violations.is_empty() { Exit::Success } else { Exit::Failed })
}

/// What came of it, and how long it took in real time.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    #[serde(flatten)]
    report: &'a Report,
    wall_ms: u64,
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
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()?.checked_mul(86_400_000)).map(Millis);
    let millis = days.or_else(|| text.parse().ok()).ok_or_else(|| {
        Error::usage(format!("`{}` is no duration", visible(text))).with_hint("write 30s, 5m, 2h or 30d")
    })?;
    Ok(millis.as_duration())
}

/// A file of mocks, or what a test file says of all its tests.
struct Mocks {
    name: String,
    file: MockFile,
    places: Places,
    /// Where the mocks stand in it, as a JSON pointer.
    at: &'static str,
}

impl Mocks {
    fn read(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let text = fs::read(path).map_err(|error| Error::usage(format!("cannot read `{name}`")).with_source(error))?;
        let options = Options::new().file_name(&name);
        // Both forms begin alike; only a test file has tests.
        let is_test_file = [".test.yaml", ".test.yml", ".test.json"].iter().any(|end| name.ends_with(end));
        let read = if is_test_file {
            TestFile::read(&text, &options).map(|tests| {
                let mut file = MockFile::from(tests.value.defaults);
                // No model is asked: who would ask one has a stand-in.
                file.mocks.retain(|target, _| !matches!(target, MockTarget::Model(_)));
                Self { name: name.clone(), file, places: tests.places, at: "/defaults/mocks" }
            })
        } else {
            MockFile::read(&text, &options).map(|mocks| Self {
                name: name.clone(),
                file: mocks.value,
                places: mocks.places,
                at: "/mocks",
            })
        };
        read.map_err(|invalid| {
            let text = String::from_utf8_lossy(&text);
            Error::invalid_file(render::Report::new(name.clone(), text, invalid.into_diagnostics()))
        })
    }

    /// Names the line of a mock, or of a part of it.
    fn place(&self, target: &str, way: &[String]) -> String {
        let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
        let parts = std::iter::once(target).chain(way.iter().map(String::as_str)).map(escaped);
        let pointer = parts.fold(self.at.to_owned(), |pointer, part| format!("{pointer}/{part}"));
        let ends = pointer.match_indices('/').map(|(end, _)| end).chain([pointer.len()]);
        let ends: Vec<_> = ends.collect();
        let span = ends.iter().rev().find_map(|end| self.places.span(&pointer[..*end]));
        span.map_or_else(|| self.name.clone(), |span| format!("{}:{}", self.name, span.line))
    }

    fn mistaken(&self, mistake: &MockMistake) -> Error {
        let place = self.place(&mistake.target, &mistake.way);
        let MockMistake { target, message, step, seed, .. } = mistake;
        Error::usage(format!("{place}: the mock of `{target}` cannot answer `{step}` (seed {seed}): {message}"))
    }
}

fn not_simulable(file: &WorkflowFile, mocks: Option<&Mocks>, error: NotSimulable) -> Error {
    let message = match mocks.zip(error.target()) {
        Some((mocks, target)) => format!("{} cannot be used to simulate `{}`", mocks.place(target, &[]), file.name()),
        None => format!("`{}` cannot be simulated", file.name()),
    };
    let hint = match &error {
        NotSimulable::Real { target, .. } => Some(format!(
            "write `{target}: {{ returns: … }}`, or leave the mock out: then the output schema decides what is answered"
        )),
        NotSimulable::Output { agent } => Some(format!("give a mock: `agent:{agent}: {{ returns: … }}`")),
        NotSimulable::Input => Some("give `input` in a file of mocks, for `--mocks`".to_owned()),
        _ => None,
    };
    let told = Error::usage(visible(&message)).with_source(error);
    match hint {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}

/// What a command needs to show an example again, beside its seed and its faults.
struct Again<'a> {
    file: &'a str,
    mocks: Option<&'a str>,
    horizon: &'a str,
}

fn tell(ui: Ui, again: &Again<'_>, report: &Report) -> Result<(), Error> {
    for found in &report.violations {
        ui.print(&format!("✗ seed {}: {} violated: {}", found.seed, found.invariant, visible(&found.message)))?;
        ui.print(&format!("  minimal: {}", in_words(&found.faults)))?;
        ui.print(&format!("  again: {}", again.command(found)))?;
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
    let checkpoint = |at: &Checkpoint| match at {
        Checkpoint::Before(path) => format!("before {}", visible(path)),
        at => format!("behind event {at}"),
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
        Fault::Shutdown(event) => format!("shutdown after event {event}"),
        Fault::Reopen(failure) => format!("resumed after failure {failure}"),
        Fault::Fork(at) => format!("fork {}", checkpoint(at)),
        Fault::ForkOther(at) => format!("fork {} with another input", checkpoint(at)),
        other => other.to_string(),
    });
    let words: Vec<_> = words.collect();
    if words.is_empty() { "no fault at all".to_owned() } else { words.join(", then ") }
}

impl Again<'_> {
    /// The command that shows an example again.
    fn command(&self, found: &Counterexample) -> String {
        let mut command = format!("orchestr8 sim {}", shell_word(self.file));
        if let Some(mocks) = self.mocks {
            command = format!("{command} --mocks {}", shell_word(mocks));
        }
        if self.horizon != HORIZON {
            command = format!("{command} --horizon {}", shell_word(self.horizon));
        }
        let faults: Vec<_> = found.faults.iter().map(ToString::to_string).collect();
        format!("{command} --seed {} --faults {}", found.seed, shell_word(&faults.join(",")))
    }
}
