//! `orchestr8 agents install` and `orchestr8 agents uninstall`

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use clap::Args;
use orchestr8_agent_base::Clock as _;
use orchestr8_core::clock::SystemClock;
use tokio::runtime::Builder;

use crate::{
    Error, Exit,
    install::{InstallOptions, InstallReport, ShippedAgent, Target, UninstallOptions, World, install, uninstall},
    interrupt::Interrupts,
    ui::Ui,
};

/// Installs research agents into the `.claude` folder of a repository.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 agents install --dry-run\n  \
                             orchestr8 agents install --agents context7,tavily\n  orchestr8 agents install --check")]
pub(super) struct InstallArgs {
    /// Which ones: context7, firecrawl, tavily; all without
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    agents: Vec<String>,
    /// Only the servers in the settings, no files
    #[arg(long)]
    config_only: bool,
    /// The repository
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    target: PathBuf,
    /// Show what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Say whether anything would change: exit 1 if so
    #[arg(long, conflicts_with_all = ["dry_run", "force"])]
    check: bool,
    /// Replace what is in the way; a backup keeps it
    #[arg(long)]
    force: bool,
}

/// Takes back what `install` has done.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  orchestr8 agents uninstall --dry-run\n  orchestr8 agents uninstall --restore"
)]
pub(super) struct UninstallArgs {
    /// The repository
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    target: PathBuf,
    /// Put the settings back as they were before the first install
    #[arg(long)]
    restore: bool,
    /// Show what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove and replace what has been changed since, too
    #[arg(long)]
    force: bool,
}

pub(super) fn install_agents(ui: Ui, args: &InstallArgs) -> Result<Exit, Error> {
    let options = InstallOptions {
        agents: ShippedAgent::find(&args.agents)?,
        config_only: args.config_only,
        dry_run: args.dry_run || args.check,
        force: args.force,
    };
    let target = Target::open(&args.target)?;
    let report = attended(|world| install(&target, &options, world))?;
    if args.check {
        let is_done = report.is_success() && !report.changes_anything();
        if !is_done {
            show(ui, &report)?;
        }
        return Ok(if is_done { Exit::Success } else { Exit::Failed });
    }
    show(ui, &report)?;
    Ok(if report.is_success() { Exit::Success } else { Exit::Failed })
}

pub(super) fn uninstall_agents(ui: Ui, args: &UninstallArgs) -> Result<Exit, Error> {
    let options = UninstallOptions { restore: args.restore, dry_run: args.dry_run, force: args.force };
    let target = Target::open(&args.target)?;
    show(ui, &attended(|world| uninstall(&target, options, world))?)?;
    Ok(Exit::Success)
}

fn show(ui: Ui, report: &InstallReport) -> Result<(), Error> {
    if ui.is_json() { ui.print_json(report) } else { report.show(ui) }
}

/// Does something that a signal has taken back.
fn attended(work: impl FnOnce(&World<'_>) -> Result<InstallReport, Error>) -> Result<InstallReport, Error> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let mut interrupts = runtime.block_on(async { Interrupts::listen() })?;
    let told = Arc::clone(&interrupted);
    runtime.spawn(async move {
        interrupts.next().await;
        told.store(true, Ordering::Relaxed);
    });
    let clock = SystemClock::new();
    let began = clock.now();
    let mut report = work(&World::new(began, &interrupted))?;
    report.duration = u64::try_from(clock.now().since(began).as_millis()).unwrap_or(u64::MAX);
    runtime.shutdown_background();
    Ok(report)
}
