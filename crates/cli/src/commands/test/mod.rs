//! `orchestr8 test`

mod cargo;
mod examples;
mod find;
mod junit;
mod update;
mod watch;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use orchestr8_schema::{source::Options, test_file::TestFile};
use orchestr8_testing::workflow_test::{Failure, FileReport, TestReport, TestRunner, TestStatus};
use serde::Serialize;
use tempfile::TempDir;

use self::cargo::{CrateReport, is_crate};
pub(crate) use self::find::is_test_file;
use crate::{
    Error, ErrorKind, Exit,
    agents::Agents,
    render::Report,
    ui::{BAD, DIM, GOOD, Ui},
    wording::{duration, visible},
    workflow_file::WorkflowFile,
};

/// Executes workflow test files, `*.test.yaml` and `*.test.json`.
///
/// Each test is an execution by the real engine, in virtual time: mocks answer for agents, tools and any other step, people and
/// signals come when the test says so. What is neither mocked nor built in is never called; it fails the test. In a folder with a manifest
/// of cargo, the tests of the crate are run by cargo, too. Exits with 1 if a test fails, with 2 if a file cannot be used.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  orchestr8 test review.test.yaml\n  orchestr8 test workflows/ --filter 'search is down'\n  \
                             orchestr8 test . --junit report.xml\n  orchestr8 test review.test.yaml --update\n  \
                             orchestr8 test --examples\n  orchestr8 test summarizer --coverage"
)]
pub struct TestArgs {
    /// Test files, folders that hold some at any depth, or the folder of a crate
    #[arg(required_unless_present = "examples", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Execute the tests of the examples that come with the program
    #[arg(long)]
    examples: bool,
    /// Measure which lines of a crate its tests reach, by cargo-llvm-cov; which steps of a workflow are reached is always told
    #[arg(long)]
    coverage: bool,
    /// Execute only tests whose names contain this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write a report in the format of JUnit, too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write what came into the files, where a value of `then` is marked `# snapshot`
    #[arg(long)]
    update: bool,
    /// Go on, and execute the tests again whenever a file changes
    #[arg(long, conflicts_with = "junit")]
    watch: bool,
    /// How many tests are executed at the same time; one for each core unless given
    #[arg(long, value_name = "N")]
    parallel: Option<usize>,
}

/// What came of all files.
#[derive(Debug, Default, Serialize)]
struct Summary {
    passed: usize,
    failed: usize,
    skipped: usize,
    files: Vec<FileReport>,
    /// Crates, each of which counts as one test.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    crates: Vec<CrateReport>,
    /// How many files could not be used.
    #[serde(skip)]
    unusable: usize,
    /// All files that were read, as they were then.
    #[serde(skip)]
    read: BTreeMap<PathBuf, watch::Stamp>,
}

pub(crate) fn test(ui: Ui, args: &TestArgs, agents: &Agents) -> Result<Exit, Error> {
    // What stays in the process is called; models are answered by mocks, so those who ask them do, too. What others add may not.
    let mut runner = TestRunner::new(agents.without_models()?).unasked_only(&agents.within_process()?);
    if let Some(threads) = args.parallel {
        runner = runner.threads(threads);
    }
    if args.coverage && !args.paths.iter().any(|path| is_crate(path)) {
        let error = Error::usage("`--coverage` is about crates, and there is no Cargo.toml in any of these folders");
        return Err(error.with_hint("which steps and cases of a workflow its tests reach is told without it"));
    }
    let unpacked = args.examples.then(examples::unpacked).transpose()?;
    let paths: Vec<_> =
        args.paths.iter().cloned().chain(unpacked.as_ref().map(|folder| folder.path().to_owned())).collect();
    let testing = Testing { args, agents, runner, paths, unpacked };
    loop {
        let summary = testing.once(ui)?;
        if !args.watch {
            return Ok(match summary {
                Summary { unusable: 1.., .. } => Exit::Invalid,
                Summary { failed: 1.., .. } => Exit::Failed,
                _ => Exit::Success,
            });
        }
        ui.say(&format!("{DIM}waiting for a file to change; Ctrl-C ends{DIM:#}"));
        watch::until_changed(&testing.paths, &summary.read)?;
    }
}

/// What is tested, and how.
struct Testing<'a> {
    args: &'a TestArgs,
    agents: &'a Agents,
    runner: TestRunner,
    /// Those that are asked for, and the folder of the examples.
    paths: Vec<PathBuf>,
    unpacked: Option<TempDir>,
}

impl Testing<'_> {
    fn once(&self, ui: Ui) -> Result<Summary, Error> {
        let Self { args, .. } = self;
        let files = find::test_files(&self.paths)?;
        let mut summary = Summary::default();
        let has_many = files.len() > 1;
        for folder in self.paths.iter().filter(|path| is_crate(path)) {
            let report = cargo::test(ui, folder, args.filter.as_deref(), args.coverage)?;
            *if report.passed { &mut summary.passed } else { &mut summary.failed } += 1;
            if !ui.is_json() {
                tell_crate(ui, &report)?;
            }
            summary.crates.push(report);
        }
        for file in files {
            summary.read.insert(file.clone(), watch::stamp(&file));
            match self.file(ui, &file, args.update, &mut summary.read) {
                Ok(report) => {
                    if !ui.is_json() {
                        tell(ui, &report, has_many)?;
                    }
                    summary.passed += report.count(TestStatus::Passed);
                    summary.failed += report.count(TestStatus::Failed);
                    summary.skipped += report.count(TestStatus::Skipped);
                    summary.files.push(report);
                }
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Err(error),
                Err(error) => {
                    ui.error(&error);
                    summary.unusable += 1;
                }
            }
        }
        if let Some(path) = &args.junit {
            junit::write(path, &summary.files, &summary.crates)?;
        }
        if ui.is_json() {
            ui.print_json(&summary)?;
        } else {
            let Summary { passed, failed, skipped, .. } = &summary;
            let skipped = if *skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
            ui.print(&format!("{passed} passed, {failed} failed{skipped}"))?;
        }
        Ok(summary)
    }

    /// Executes the tests of a file, and with `update` a second time if that has changed it.
    fn file(
        &self,
        ui: Ui,
        file: &Path,
        update: bool,
        read: &mut BTreeMap<PathBuf, watch::Stamp>,
    ) -> Result<FileReport, Error> {
        let Self { args, agents, runner, .. } = self;
        let name = examples::shown(file, self.unpacked.as_ref());
        let text = fs::read(file).map_err(|error| Error::usage(format!("cannot read `{name}`")).with_source(error))?;
        let tests = TestFile::read(&text, &Options::new().file_name(&name)).map_err(|invalid| {
            let text = String::from_utf8_lossy(&text);
            Error::invalid_file(Report::new(name.clone(), text, invalid.into_diagnostics()))
        })?;
        if !tests.warnings.is_empty() {
            ui.show(&Report::new(name.clone(), tests.places.text(), tests.warnings.clone()));
        }
        let path = file.parent().unwrap_or(Path::new("")).join(&tests.value.workflow);
        let path = crate::workflow_folder::normalize(&path);
        read.insert(path.clone(), watch::stamp(&path));
        let workflow =
            WorkflowFile::read(&path).map(|file| file.with_prompts(agents.inline_prompts())).map_err(|error| {
                let line = tests.places.span("/workflow").map(|span| format!(":{}", span.line)).unwrap_or_default();
                Error::usage(format!("{name}{line} names a workflow that cannot be read")).with_source(error)
            })?;
        let is_chosen = |test: &str| args.filter.as_ref().is_none_or(|text| test.contains(text.as_str()));
        let report = runner.run(&name, &tests, |options| workflow.load(options), is_chosen);
        read.extend(workflow.sub_workflows().map(PathBuf::from).map(|file| (file.clone(), watch::stamp(&file))));
        if update {
            let count = update::rewrite(file, &tests.places, &report)?;
            if count > 0 {
                ui.say(&format!("{}: {} written", visible(&name), crate::wording::count(count, "value")));
                read.insert(file.to_owned(), watch::stamp(file));
                // What was wrong may be right now.
                return self.file(ui, file, false, read);
            }
        }
        Ok(report)
    }
}

fn tell_crate(ui: Ui, report: &CrateReport) -> Result<(), Error> {
    let (sign, style) = if report.passed { ("✓", GOOD) } else { ("✗", BAD) };
    let taken = duration(u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX));
    ui.print(&format!("{style}{sign}{style:#} crate {}  {DIM}{taken}{DIM:#}", visible(&report.folder)))
}

fn tell(ui: Ui, report: &FileReport, with_name: bool) -> Result<(), Error> {
    if with_name {
        ui.print(&format!("{DIM}{}{DIM:#}", visible(&report.file)))?;
    }
    for test in &report.tests {
        tell_test(ui, &report.file, test)?;
    }
    for warning in &report.warnings {
        ui.warn(&line_of(&report.file, warning));
    }
    if let Some(coverage) = &report.coverage {
        if !coverage.steps_never_reached.is_empty() {
            ui.print(&format!("  never reached: {}", visible(&coverage.steps_never_reached.join(", "))))?;
        }
        if !coverage.cases_never_taken.is_empty() {
            ui.print(&format!("  cases never taken: {}", visible(&coverage.cases_never_taken.join(", "))))?;
        }
    }
    Ok(())
}

fn tell_test(ui: Ui, file: &str, test: &TestReport) -> Result<(), Error> {
    let millis = |time: std::time::Duration| duration(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let (sign, style) = match test.status {
        TestStatus::Passed => ("✓", GOOD),
        TestStatus::Failed => ("✗", BAD),
        TestStatus::Skipped => return Ok(()),
    };
    let times = format!("{} (virtual {})", millis(test.duration), millis(test.elapsed));
    ui.print(&format!("{style}{sign}{style:#} {}  {DIM}{times}{DIM:#}", visible(&test.name)))?;
    for failure in &test.failures {
        ui.print(&format!("    {}", line_of(file, failure)))?;
    }
    for line in &test.journal {
        ui.print(&format!("    {DIM}{}{DIM:#}", visible(line)))?;
    }
    Ok(())
}

/// A failure, and where it stands.
fn line_of(file: &str, failure: &Failure) -> String {
    let told = failure.to_string();
    let place = failure.span.map(|span| format!("   {DIM}{}:{}{DIM:#}", visible(file), span.line)).unwrap_or_default();
    format!("{}{place}", visible(&told))
}
