//! Many seeds, and the smallest example of what they break.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use orchestr8_core::plan::Plan;
use orchestr8_schema::{StepIndex, event::EventBody, validate::ValidKind};

use super::{
    Chance, Checkpoint, Counterexample, Coverage, Fault, Invariant, MockMistake, NotSimulable, Place, Report,
    Simulation, Stand, Trial, TrialEnd, Violation,
};

/// How often a fault is tried at an earlier place when an example is made smaller.
const TRIES: u64 = 12;

impl Simulation {
    /// Runs an execution for each seed, some of them twice, and makes an example of each promise that is broken.
    ///
    /// The first seeds have a crash after and before every write of an execution without faults; the others have none to three
    /// faults of any kind.
    ///
    /// # Panics
    ///
    /// None: a thread that cannot prepare the workflow, as [`Simulation::new`] could, leaves its seeds to the others.
    #[must_use]
    pub fn explore(&self, seeds: Range<u64>) -> Report {
        self.explore_with(seeds, None)
    }

    /// The same with these faults for all seeds.
    #[must_use]
    pub fn explore_with(&self, seeds: Range<u64>, faults: Option<&[Fault]>) -> Report {
        let next = AtomicU64::new(seeds.start);
        let found = Mutex::new(Findings::default());
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    let Ok(stand) = self.stand() else { return };
                    let Ok(calm) = stand.run(seeds.start, 0, &[]) else { return };
                    let mut own = Findings::default();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds.end {
                            break;
                        }
                        let faults = faults.map_or_else(|| faults_of(seed, seed - seeds.start, &calm), <[_]>::to_vec);
                        // The seeds can be prepared if the first could.
                        let _ = stand.try_seed(seed, &faults, &mut own);
                    }
                    found.lock().unwrap_or_else(PoisonError::into_inner).add(own);
                });
            }
        });
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.report(found)
    }

    /// Looks for a promise that is broken, with the faults that [`explore`](Self::explore) has for these seeds if it begins with 0, and
    /// stops at the first one. It need not be that of the lowest seed, nor the smallest example.
    #[must_use]
    pub fn first_violation(&self, seeds: Range<u64>) -> Option<Violation> {
        let next = AtomicU64::new(seeds.start);
        let found = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    let Ok(stand) = self.stand() else { return };
                    let calm = stand.run(seeds.start, 0, &[]);
                    let Ok(calm) = calm else { return };
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds.end || found.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                            return;
                        }
                        let faults = faults_of(seed, seed, &calm);
                        let violations =
                            stand.judge(seed, &faults).map(|(_, violations)| violations).unwrap_or_default();
                        if let Some(first) = violations.into_iter().next() {
                            *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(first);
                        }
                    }
                });
            }
        });
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, found: Findings) -> Report {
        let mut report = found.report;
        let Ok(stand) = self.stand() else { return report };
        report.mistakes = found.mistakes.into_values().collect();
        report.coverage = coverage(&stand.plan, &found.steps, &found.cases);
        for (invariant, broken) in found.broken {
            let (seed, faults) = broken.first;
            report.violations.extend(stand.example(invariant, seed, faults, broken.seen));
        }
        report
    }
}

/// What a thread has found.
#[derive(Default)]
struct Findings {
    report: Report,
    steps: BTreeSet<StepIndex>,
    cases: BTreeSet<(StepIndex, u32)>,
    broken: BTreeMap<Invariant, Broken>,
    /// By mock and the way down in it; of each the one with the lowest seed.
    mistakes: BTreeMap<(String, Vec<String>), MockMistake>,
}

struct Broken {
    /// The lowest seed, so that the example does not depend on threads.
    first: (u64, Vec<Fault>),
    seen: u64,
}

impl Findings {
    fn add(&mut self, other: Self) {
        let (report, more) = (&mut self.report, other.report);
        report.seeds += more.seeds;
        report.executions += more.executions;
        report.events += more.events;
        report.elapsed += more.elapsed;
        report.completed += more.completed;
        report.failed += more.failed;
        report.cancelled += more.cancelled;
        report.waiting += more.waiting;
        report.stuck += more.stuck;
        self.steps.extend(other.steps);
        self.cases.extend(other.cases);
        for (invariant, broken) in other.broken {
            self.blame(invariant, broken.first, broken.seen);
        }
        other.mistakes.into_values().for_each(|mistake| self.note(mistake));
    }

    fn note(&mut self, mistake: MockMistake) {
        let place = (mistake.target.clone(), mistake.way.clone());
        let known = self.mistakes.entry(place).or_insert_with(|| mistake.clone());
        if mistake.seed < known.seed {
            *known = mistake;
        }
    }

    fn blame(&mut self, invariant: Invariant, first: (u64, Vec<Fault>), seen: u64) {
        let known = self.broken.entry(invariant).or_insert_with(|| Broken { first: first.clone(), seen: 0 });
        known.seen += seen;
        if first.0 < known.first.0 {
            known.first = first;
        }
    }

    fn count(&mut self, trial: &Trial, plan: &Plan) {
        let report = &mut self.report;
        report.executions += 1;
        report.events += trial.journal.len() as u64;
        report.elapsed += trial.elapsed;
        *match trial.end {
            TrialEnd::Completed => &mut report.completed,
            TrialEnd::Failed => &mut report.failed,
            TrialEnd::Cancelled => &mut report.cancelled,
            TrialEnd::Waiting => &mut report.waiting,
            TrialEnd::Stuck => &mut report.stuck,
        } += 1;
        let mut state = orchestr8_core::machine::State::new(plan);
        for event in &trial.journal {
            if matches!(event.body, EventBody::ExecutionQueued(_)) {
                state = orchestr8_core::machine::State::new(plan);
            }
            orchestr8_core::machine::fold(plan, &mut state, event);
            let Some(step) = event.body.activation().and_then(|activation| state.activation(activation)) else {
                continue;
            };
            match event.body {
                EventBody::StepStarted { .. } | EventBody::StepWaiting { .. } => {
                    self.steps.insert(step.step);
                }
                EventBody::BranchDecided { case, .. } => {
                    self.cases.insert((step.step, case));
                }
                _ => {}
            }
        }
    }
}

impl Stand<'_> {
    /// Runs a seed and writes down what came of it.
    fn try_seed(&self, seed: u64, faults: &[Fault], findings: &mut Findings) -> Result<(), NotSimulable> {
        findings.report.seeds += 1;
        let trials = self.judge(seed, faults)?;
        for trial in &trials.0 {
            findings.count(trial, &self.plan);
            trial.mistakes.iter().cloned().for_each(|mistake| findings.note(mistake));
        }
        let broken: BTreeSet<_> = trials.1.iter().map(|violation| violation.invariant).collect();
        for invariant in broken {
            findings.blame(invariant, (seed, faults.to_vec()), 1);
        }
        Ok(())
    }

    /// Runs a seed, and, where the result must be the same, a second time otherwise.
    fn judge(&self, seed: u64, faults: &[Fault]) -> Result<(Vec<Trial>, Vec<Violation>), NotSimulable> {
        let trial = self.run(seed, 0, faults)?;
        let mut violations = trial.violations.clone();
        let mut trials = vec![trial];
        if self.is_orderly() && faults.iter().all(Fault::is_interruption) {
            // Without faults, the order in which things end is varied; with a crash, the crash is left out.
            let (order, invariant) = match faults.is_empty() {
                true => (1, Invariant::OrderDoesNotMatter),
                false => (0, Invariant::SameAfterCrash),
            };
            let other = self.run(seed, order, &[])?;
            violations.extend(other.violations.iter().cloned());
            let comparable = |trial: &Trial| trial.end == TrialEnd::Completed && !trial.was_limited;
            if comparable(&other) && !trials[0].was_limited {
                violations.extend(difference(&trials[0], &other, invariant));
            }
            trials.push(other);
        }
        Ok((trials, violations))
    }

    /// Whether nothing in the workflow races on purpose.
    fn is_orderly(&self) -> bool {
        let races =
            |step| matches!(&self.plan.valid_step(step).kind, ValidKind::Parallel(group) if group.needed.is_some());
        !(0..self.plan.steps().len() as u32).map(StepIndex).any(races)
    }

    /// Makes an example smaller as long as it breaks the same promise.
    fn example(&self, invariant: Invariant, seed: u64, faults: Vec<Fault>, seen: u64) -> Option<Counterexample> {
        let breaks = |seed: u64, faults: &[Fault]| {
            let (trials, violations) = self.judge(seed, faults).ok()?;
            let violation = violations.into_iter().find(|violation| violation.invariant == invariant)?;
            trials.into_iter().next().map(|trial| (trial, violation))
        };
        let (mut seed, mut faults) = (seed, faults);
        let mut found = breaks(seed, &faults)?;
        // Fewer faults.
        let mut place = 0;
        while place < faults.len() {
            let mut fewer = faults.clone();
            fewer.remove(place);
            match breaks(seed, &fewer) {
                Some(smaller) => (faults, found, place) = (fewer, smaller, 0),
                None => place += 1,
            }
        }
        // Earlier faults.
        for place in 0..faults.len() {
            for earlier in earlier(&faults[place]) {
                let mut changed = faults.clone();
                changed[place] = earlier;
                if let Some(smaller) = breaks(seed, &changed) {
                    (faults, found) = (changed, smaller);
                    break;
                }
            }
        }
        // A lower seed.
        for lower in 0..TRIES.min(seed) {
            if let Some(smaller) = breaks(lower, &faults) {
                (seed, found) = (lower, smaller);
                break;
            }
        }
        let (trial, violation) = found;
        let journal = trial.journal_lines(&self.plan);
        Some(Counterexample {
            invariant,
            message: violation.message,
            seed,
            faults,
            sequence: violation.sequence,
            journal,
            seen,
        })
    }
}

/// Decides what goes wrong with a seed: `number` counts them, and `calm` is an execution without faults.
fn faults_of(seed: u64, number: u64, calm: &Trial) -> Vec<Fault> {
    let writes = calm.writes.max(1);
    if number == 0 {
        return Vec::new();
    }
    if number <= 2 * writes {
        let write = number.div_ceil(2);
        return vec![if number.is_multiple_of(2) { Fault::CrashBefore(write) } else { Fault::Crash(write) }];
    }
    let mut chance = Chance::of(seed, "faults");
    let paths: Vec<_> = calm.results.iter().map(|(path, ..)| path).collect();
    let count = chance.below(4);
    let mut faults: Vec<_> = (0..count)
        .map(|_| {
            let write = 1 + chance.below(writes + 6);
            let event = 1 + chance.below(calm.journal.len() as u64 + 6);
            let path = chance.pick(&paths).map_or_else(String::new, |path| (*path).clone());
            let place = Place { path, attempt: 1 + chance.below(4).saturating_sub(1) as u32 };
            let checkpoint = match chance.one_in(3) {
                true if !place.path.is_empty() => Checkpoint::Before(place.path.clone()),
                _ => Checkpoint::Behind(event),
            };
            match chance.below(22) {
                0 | 1 => Fault::Crash(write),
                2 | 3 => Fault::CrashBefore(write),
                4 => Fault::Torn(write),
                5 => Fault::Conflict(write),
                6 => Fault::DiskFull(write),
                7 => Fault::Timeout(place),
                8 | 9 => Fault::Fail(place),
                10 => Fault::Hang(place),
                11 => Fault::RateLimit(place),
                12 => Fault::Cancel(event),
                13 => Fault::Pause(event),
                14 => Fault::ClockJump(event),
                15 => Fault::Shutdown(event),
                16 | 17 => Fault::Reopen(1 + chance.below(2)),
                18 | 19 => Fault::Fork(checkpoint),
                20 => Fault::ForkOther(checkpoint),
                _ => Fault::SlowHuman,
            }
        })
        .collect();
    // Only what has failed is reopened.
    if faults.iter().any(|fault| matches!(fault, Fault::Reopen(_))) {
        let path = chance.pick(&paths).map_or_else(String::new, |path| (*path).clone());
        let attempts = 1 + chance.below(3) as u32;
        faults.extend((1..=attempts).map(|attempt| Fault::Fail(Place { path: path.clone(), attempt })));
        if chance.one_in(2) {
            faults.push(Fault::Reopen(1));
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

/// The same fault at earlier places, the earliest first.
fn earlier(fault: &Fault) -> Vec<Fault> {
    let below = |at: u64| 1..at.min(TRIES + 1);
    match fault {
        Fault::Crash(at) => below(*at).map(Fault::Crash).collect(),
        Fault::CrashBefore(at) => below(*at).map(Fault::CrashBefore).collect(),
        // A store that keeps its promise has nothing of a torn write.
        Fault::Torn(at) => (1..=*at).map(Fault::CrashBefore).collect(),
        Fault::Conflict(at) => below(*at).map(Fault::Conflict).collect(),
        Fault::DiskFull(at) => below(*at).map(Fault::DiskFull).collect(),
        Fault::Cancel(at) => below(*at).map(Fault::Cancel).collect(),
        Fault::Pause(at) => below(*at).map(Fault::Pause).collect(),
        Fault::ClockJump(at) => below(*at).map(Fault::ClockJump).collect(),
        Fault::Shutdown(at) => below(*at).map(Fault::Shutdown).collect(),
        Fault::Reopen(at) => below(*at).map(Fault::Reopen).collect(),
        Fault::Fork(Checkpoint::Behind(at)) => {
            below(*at).map(|earlier| Fault::Fork(Checkpoint::Behind(earlier))).collect()
        }
        // The same input is the simpler one.
        Fault::ForkOther(at) => {
            let same = std::iter::once(Fault::Fork(at.clone()));
            let latest = if let Checkpoint::Behind(latest) = at { *latest } else { 0 };
            same.chain(below(latest).map(|earlier| Fault::ForkOther(Checkpoint::Behind(earlier)))).collect()
        }
        Fault::Fork(Checkpoint::Before(_)) => Vec::new(),
        Fault::Timeout(_) | Fault::Fail(_) | Fault::Hang(_) | Fault::RateLimit(_) | Fault::SlowHuman => Vec::new(),
    }
}

/// Says how two executions differ that should not.
fn difference(one: &Trial, other: &Trial, invariant: Invariant) -> Option<Violation> {
    let sequence = one.journal.len() as u64;
    let violation = |message| Some(Violation { invariant, message, sequence });
    if one.end != other.end {
        return violation(format!("it ends as {:?}, and otherwise as {:?}", one.end, other.end));
    }
    let differs = one.results.iter().zip(&other.results).find(|(one, other)| one != other);
    if let Some((one, other)) = differs {
        let told = |output: &Option<_>| {
            output
                .as_ref()
                .map_or_else(|| "nothing".to_owned(), |value: &std::sync::Arc<serde_json::Value>| value.to_string())
        };
        let message =
            format!("{} is {} with {}, and otherwise {} with {}", one.0, one.1, told(&one.2), other.1, told(&other.2));
        return violation(message);
    }
    (one.results.len() != other.results.len()).then(|| Violation {
        invariant,
        message: "other steps were reached".to_owned(),
        sequence,
    })
}

fn coverage(plan: &Plan, steps: &BTreeSet<StepIndex>, cases: &BTreeSet<(StepIndex, u32)>) -> Coverage {
    let all = (0..plan.steps().len() as u32).map(StepIndex);
    let never = all.clone().filter(|step| !steps.contains(step)).map(|step| plan.steps()[step.get()].id.to_string());
    let untaken = all.flat_map(|step| {
        let named: Vec<_> = match &plan.valid_step(step).kind {
            ValidKind::Branch(branch) => branch.cases.iter().map(|case| case.name.to_string()).collect(),
            _ => Vec::new(),
        };
        let id = &plan.steps()[step.get()].id;
        let untaken = named.into_iter().enumerate().filter(move |(index, _)| !cases.contains(&(step, *index as u32)));
        untaken.map(move |(_, name)| format!("{id}: {name}")).collect::<Vec<_>>()
    });
    Coverage { steps: plan.steps().len(), steps_never_reached: never.collect(), cases_never_taken: untaken.collect() }
}
