//! What people see of a running execution: a line per finished step, and on a terminal what runs now.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use orchestr8_schema::{
    Failure,
    api::{Entry, StepProgress},
};
use tokio::time::Instant;
use unicode_width::UnicodeWidthChar as _;

use crate::{
    ui::{BAD, DIM, GOOD, Ui},
    wording::{count, duration, visible},
};

const SPINNER: [char; 8] = ['⠋', '⠙', '⠹', '⠼', '⠴', '⠦', '⠧', '⠇'];
const BAR: usize = 30;
/// More running steps than these are only counted.
const MAX_LINES: usize = 10;
/// So many characters of what a model has written last are shown.
const TAIL: usize = 60;

/// Tells how an execution goes on.
#[derive(Debug)]
pub struct Progress {
    ui: Ui,
    live: bool,
    show_output: bool,
    /// The agents of the steps whose turn has come.
    agents: BTreeMap<String, String>,
    name_width: usize,
    /// The step paths that are known so far: more come with each item of a map and each iteration of a loop.
    known: BTreeSet<String>,
    /// Those of them that have come to an end.
    ended: BTreeSet<String>,
    running: Vec<Running>,
    frame: usize,
    /// How many lines of the terminal are to be redrawn.
    drawn: usize,
}

#[derive(Debug)]
struct Running {
    step_path: String,
    since: Instant,
    /// What the agent says of how far it has come, or what its model writes.
    note: String,
}

impl Progress {
    /// Begins to tell about an execution of a workflow that has these steps.
    #[must_use]
    pub fn new(ui: Ui, steps: &[String], show_output: bool) -> Self {
        let widest = steps.iter().map(String::len).max().unwrap_or(0);
        Self {
            ui,
            live: ui.is_live(),
            show_output,
            name_width: widest.clamp(7, 24),
            known: steps.iter().cloned().collect(),
            ended: BTreeSet::new(),
            agents: BTreeMap::new(),
            running: Vec::new(),
            frame: 0,
            drawn: 0,
        }
    }

    /// Whether [`tick`](Self::tick) draws anything.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Takes up what has happened, and tells it unless it is from before.
    pub fn observe(&mut self, entry: &Entry, is_new: bool) {
        if entry.kind == "execution.reopened" {
            let again = entry.data.get("rerun").and_then(|rerun| rerun.as_array());
            for path in again.into_iter().flatten().filter_map(|path| path.as_str()) {
                self.ended.remove(path);
            }
        }
        let Some(path) = entry.step_path.as_deref() else { return };
        match entry.kind.as_str() {
            "step.scheduled" => {
                self.known.insert(path.to_owned());
                if let Some(agent) = entry.data.get("agentId").and_then(|agent| agent.as_str()) {
                    self.agents.insert(path.to_owned(), agent.to_owned());
                }
                let changed = entry.data.get("reuse").and_then(|reuse| reuse.as_str()).and_then(changed);
                if let Some(changed) = changed.filter(|_| is_new) {
                    self.erase();
                    self.ui.say(&format!("~ {} runs again: {changed}", visible(path)));
                }
            }
            "step.started" => {
                self.running.push(Running { step_path: path.to_owned(), since: Instant::now(), note: String::new() });
            }
            "step.completed" | "step.failed" | "step.skipped" | "step.cancelled" => {
                self.running.retain(|running| running.step_path != path);
                self.known.insert(path.to_owned());
                self.ended.insert(path.to_owned());
                if is_new {
                    self.erase();
                    self.tell(entry, path);
                }
            }
            _ => {}
        }
    }

    /// Takes up how far a step has come, or what its model has written; it is shown where what runs is drawn.
    pub fn hear(&mut self, told: &StepProgress) {
        let running = self.running.iter_mut().find(|running| running.step_path == told.step_path);
        let Some(running) = running.filter(|_| self.live) else { return };
        let text = |key: &str| told.data.get(key).and_then(|value| value.as_str()).unwrap_or_default();
        if told.kind == StepProgress::OF_A_MODEL {
            running.note.push_str(text("text"));
            // Of the line that is being written, its end.
            let line = running.note.rsplit('\n').next().unwrap_or_default();
            let start = line.char_indices().rev().nth(TAIL - 1).map_or(0, |(at, _)| at);
            running.note = line[start..].to_owned();
        } else {
            let percent = told.data.get("fraction").and_then(serde_json::Value::as_f64);
            let percent = percent.map(|fraction| format!("{:.0}% ", fraction.clamp(0.0, 1.0) * 100.0));
            running.note = percent.unwrap_or_default() + text("message");
        }
    }

    fn tell(&self, entry: &Entry, path: &str) {
        let name = visible(path);
        let text = |key: &str| entry.data.get(key).and_then(|value| value.as_str());
        match entry.kind.as_str() {
            "step.completed" if entry.data.contains_key("reused") => self.ui.say(&format!("= {name} reused")),
            "step.completed" => {
                let agent = self.agents.get(path).map(String::as_str).unwrap_or_default();
                let took =
                    entry.data.get("duration").and_then(serde_json::Value::as_u64).map(duration).unwrap_or_default();
                let width = self.name_width;
                self.ui.say(&format!("{GOOD}✓{GOOD:#} {name:width$}  {agent}  {DIM}{took}{DIM:#}"));
            }
            "step.failed" => {
                let failure = entry.data.get("error").and_then(|error| serde_json::from_value(error.clone()).ok());
                let reason = failure.as_ref().map(reason).unwrap_or_default();
                self.ui.complain(&format!("{BAD}✗{BAD:#} {name}  {}", visible(&reason)));
            }
            "step.skipped" => {
                let reason = text("skipReason").unwrap_or("no reason").replace('-', " ");
                self.ui.say(&format!("{DIM}- {name}  skipped: {reason}{DIM:#}"));
            }
            _ => self.ui.say(&format!("{DIM}- {name}  cancelled{DIM:#}")),
        }
        if let Some(output) = entry.data.get("output").filter(|_| self.show_output) {
            self.ui.say(&format!("  {}", visible(&output.to_string())));
        }
    }

    /// Draws what runs now; call it at most 15 times a second.
    pub fn tick(&mut self) {
        if !self.live {
            return;
        }
        self.erase();
        self.frame += 1;
        let spinner = SPINNER[self.frame % SPINNER.len()];
        let size = terminal_size::terminal_size();
        let (width, height) = size.map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)));
        // A line that wraps would take two rows, and erasing would miss one.
        let width = width.saturating_sub(1);
        // The same goes for lines that leave the terminal at its top, the bar and the cursor's own row included.
        let mut lines: Vec<String> = if self.running.len() > MAX_LINES.min(height.saturating_sub(2)) {
            vec![format!("{spinner} {} run", count(self.running.len(), "step"))]
        } else {
            let line = |running: &Running| {
                let elapsed = u64::try_from(running.since.elapsed().as_millis()).unwrap_or(u64::MAX);
                let line = format!("{spinner} {}  {}", visible(&running.step_path), duration(elapsed));
                if running.note.is_empty() { line } else { format!("{line}  {}", visible(&running.note)) }
            };
            self.running.iter().map(line).collect()
        };
        let (ended, known) = (self.ended.len(), self.known.len().max(1));
        let numbers = format!("{}% {ended}/{known}", ended * 100 / known);
        // The numbers say more than the bar.
        let cells = BAR.min(width.saturating_sub(numbers.len() + 1));
        let filled = ended * cells / known;
        let bar = format!("{}{}", "█".repeat(filled), "░".repeat(cells.saturating_sub(filled)));
        lines.push(if bar.is_empty() { numbers } else { format!("{bar} {numbers}") });
        let mut stderr = std::io::stderr().lock();
        for line in &lines {
            let _ = writeln!(stderr, "{}", fitting(line, width));
        }
        self.drawn = lines.len();
    }

    /// Takes away what was drawn, so that other lines can follow. It moves the cursor also where colours are not wanted.
    pub fn erase(&mut self) {
        if self.drawn > 0 {
            let _ = write!(std::io::stderr().lock(), "\u{1b}[{}A\u{1b}[J", self.drawn);
            self.drawn = 0;
        }
    }
}

/// Returns as much of a line as there are columns for it.
fn fitting(line: &str, columns: usize) -> &str {
    let mut taken = 0;
    for (at, character) in line.char_indices() {
        taken += character.width().unwrap_or(0);
        if taken > columns {
            return &line[..at];
        }
    }
    line
}

/// Says why a result was not taken over; absent if it was.
fn changed(verdict: &str) -> Option<&'static str> {
    match verdict {
        "input-changed" => Some("it has another input"),
        "callee-changed" => Some("another agent or tool answers it"),
        "version-changed" => Some("its agent has another version"),
        "config-changed" => Some("it is configured otherwise"),
        _ => None,
    }
}

/// Says why a step failed: `NETWORK after 3 attempts: connection refused`.
#[must_use]
pub fn reason(failure: &Failure) -> String {
    match failure.attempts {
        0 | 1 => format!("{}: {}", failure.code, failure.message),
        attempts => format!("{} after {attempts} attempts: {}", failure.code, failure.message),
    }
}
