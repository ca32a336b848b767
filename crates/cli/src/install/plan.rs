//! Installing: what is to be done, and doing it.

use std::{collections::HashSet, env, fs};

use orchestr8_schema::canonical;
use serde_json::Value;

use super::{
    ShippedAgent, World, backup,
    change::Difference,
    lock::Lock,
    manifest::{self, Manifest},
    report::{Conflict, ConflictKind, InstallReport, Kind, Operation},
    settings::{self, SettingsText},
    target::Target,
    transaction::Transaction,
};
use crate::Error;

/// How to install.
#[derive(Clone, Debug, Default)]
pub(crate) struct InstallOptions {
    pub(crate) agents: Vec<ShippedAgent>,
    /// Only the settings.
    pub(crate) config_only: bool,
    /// Nothing is written.
    pub(crate) dry_run: bool,
    /// Ours wins.
    pub(crate) force: bool,
}

/// Whether something of ours has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nobody is there.
    Free,
    /// It is there already.
    Ours,
    /// What is there is ours to replace.
    Replaceable,
    /// What is there is somebody else's.
    Taken,
}

struct PlannedFile {
    path: String,
    bytes: &'static [u8],
    there: Option<Vec<u8>>,
    place: Place,
}

struct PlannedServer {
    name: &'static str,
    entry: Value,
    there: Option<Value>,
    place: Place,
}

struct Plan {
    files: Vec<PlannedFile>,
    servers: Vec<PlannedServer>,
    settings: Option<Vec<u8>>,
    before: SettingsText,
    after: SettingsText,
    /// What will be installed when all is done.
    manifest: Manifest,
}

/// Installs agents.
///
/// # Errors
///
/// When it cannot be done; then everything is as it was. Conflicts are no error here, but stand in the report.
pub(crate) fn install(target: &Target, options: &InstallOptions, world: &World<'_>) -> Result<InstallReport, Error> {
    options.agents.iter().try_for_each(|agent| agent.check())?;
    let known = Manifest::read(target)?;
    let begun = Lock::peek(target)?;
    let plan = Plan::make(target, options, known.clone().or_else(|| begun.clone()), world)?;
    let mut report = plan.report(options, world);
    // What a killed install has begun is completed, even where all files are there already.
    let is_done = !plan.changes_anything(options) && known.is_some() && begun.is_none();
    if !report.conflicts.is_empty() || options.dry_run || is_done {
        if is_done && report.conflicts.is_empty() {
            report.conclusion = Some("nothing to do".to_owned());
        }
        if options.dry_run {
            report.conclusion = Some("dry run: nothing was written".to_owned());
            check_space(target, &plan)?;
        }
        return Ok(report);
    }
    let mut transaction = Transaction::new(target, world);
    let mut lock = None;
    let done = carry_out(target, options, world, &mut transaction, &mut lock);
    transaction.end(done, lock)
}

fn carry_out(
    target: &Target,
    options: &InstallOptions,
    world: &World<'_>,
    transaction: &mut Transaction<'_>,
    lock: &mut Option<Lock>,
) -> Result<InstallReport, Error> {
    transaction.folder(".claude/configs")?;
    let lock = lock.insert(Lock::take(target)?);
    remove_leftovers(target)?;
    // Again, now that nobody else can be at it.
    let known = Manifest::read(target)?.or_else(|| lock.stale.clone());
    let mut plan = Plan::make(target, options, known, world)?;
    let mut report = plan.report(options, world);
    if !report.conflicts.is_empty() {
        return Err(Error::internal("the folder has changed meanwhile").with_hint("try again"));
    }
    plan.manifest.created_folders.extend(transaction.created_folders().iter().cloned());
    for folder in [".claude/agents", ".claude/prompts"] {
        if !options.config_only && !target.at(folder)?.exists() {
            plan.manifest.created_folders.push(folder.to_owned());
        }
    }
    let mut known = HashSet::new();
    plan.manifest.created_folders.retain(|folder| known.insert(folder.clone()));
    lock.note(&plan.manifest)?;
    if plan.before != plan.after {
        report.backup_path = backup::make(target, transaction, world, &plan.manifest, plan.settings.as_deref())?;
        if let Some(path) = &report.backup_path {
            let (source, timestamp) = (Some(settings::PATH.to_owned()), world.now.to_string());
            let operation = Operation { operation: Kind::BackupCreated, source, target: path.clone(), timestamp };
            report.operation_log.insert(0, operation);
        }
    }
    for file in plan.files.iter().filter(|file| file.place != Place::Ours) {
        if file.place == Place::Taken
            && let Some(there) = &file.there
        {
            transaction.write(&format!("{}.backup", file.path), there, None)?;
        }
        transaction.write(&file.path, file.bytes, file.there.as_deref())?;
    }
    if plan.before != plan.after {
        transaction.write(settings::PATH, plan.after.as_str().as_bytes(), plan.settings.as_deref())?;
    }
    plan.verify(target)?;
    let was = target.read(manifest::PATH)?;
    transaction.write(manifest::PATH, &plan.manifest.to_bytes(), was.as_deref())?;
    world.check()?;
    if plan.before != plan.after {
        backup::forget_old(target);
    }
    Ok(report)
}

impl Plan {
    fn make(
        target: &Target,
        options: &InstallOptions,
        previous: Option<Manifest>,
        world: &World<'_>,
    ) -> Result<Self, Error> {
        let settings = target.read(settings::PATH)?;
        let before = SettingsText::read(settings.as_deref())?;
        let mut manifest = previous.clone().unwrap_or_else(|| Manifest {
            created_settings: settings.is_none(),
            created_servers: !before.has_servers(),
            ..Manifest::default()
        });
        let previous = previous.unwrap_or_default();
        let (mut files, mut servers, mut after) = (Vec::new(), Vec::new(), before.clone());
        for agent in &options.agents {
            for (path, bytes) in agent.files().into_iter().filter(|_| !options.config_only) {
                let there = target.read(&path)?;
                let place = match &there {
                    None => Place::Free,
                    Some(there) if there == bytes => Place::Ours,
                    Some(there) if previous.owns_file(&path, there) => Place::Replaceable,
                    Some(_) => Place::Taken,
                };
                manifest.add_file(&path, bytes);
                files.push(PlannedFile { path, bytes, there, place });
            }
            let (name, entry) = (agent.name, agent.server());
            let there = before.server(name);
            let place = match &there {
                None => Place::Free,
                Some(there) if canonical::digest(there) == canonical::digest(&entry) => Place::Ours,
                Some(there) if previous.owns_server(name, there) => Place::Replaceable,
                Some(_) => Place::Taken,
            };
            if place != Place::Ours {
                after = after.with_server(name, &entry);
            }
            manifest.add_server(name, &entry);
            manifest.add_agent(name);
            servers.push(PlannedServer { name, entry, there, place });
        }
        if before != after && manifest.backup.is_none() && settings.is_some() {
            manifest.backup = Some(backup::PRISTINE.to_owned());
        }
        manifest.schema_version = "1.0.0".to_owned();
        manifest.version = env!("CARGO_PKG_VERSION").to_owned();
        manifest.installed_at = world.now.to_string();
        manifest.settings_sha256 = Some(canonical::sha256_hex(after.as_str()));
        Ok(Self { files, servers, settings, before, after, manifest })
    }

    /// Whether there is anything to do, conflicts aside.
    fn changes_anything(&self, options: &InstallOptions) -> bool {
        let acts = |place: Place| place != Place::Ours && (options.force || place != Place::Taken);
        self.files.iter().any(|file| acts(file.place)) || self.servers.iter().any(|server| acts(server.place))
    }

    fn report(&self, options: &InstallOptions, world: &World<'_>) -> InstallReport {
        let mut report = InstallReport { dry_run: options.dry_run, ..InstallReport::default() };
        let log = |operation: Kind, source: Option<&str>, target: &str| Operation {
            operation,
            source: source.map(str::to_owned),
            target: target.to_owned(),
            timestamp: world.now.to_string(),
        };
        for file in &self.files {
            let source = file.path.rsplit('/').next();
            match file.place {
                Place::Ours => report.unchanged.push(file.path.clone()),
                Place::Taken if !options.force => report.conflicts.push(Conflict {
                    kind: ConflictKind::File,
                    name: file.path.clone(),
                    existing: file.there.as_ref().map(canonical::sha256_hex).into(),
                    ours: canonical::sha256_hex(file.bytes).into(),
                }),
                Place::Free => report.operation_log.push(log(Kind::FileCreated, source, &file.path)),
                Place::Replaceable | Place::Taken => {
                    report.operation_log.push(log(Kind::FileReplaced, source, &file.path));
                }
            }
            report.checksums.insert(file.path.clone(), canonical::sha256_hex(file.bytes));
        }
        if self.settings.is_none() && self.before != self.after {
            report.operation_log.push(log(Kind::SettingsCreated, None, settings::PATH));
        }
        for server in &self.servers {
            match server.place {
                Place::Ours => report.unchanged.push(server.name.to_owned()),
                Place::Taken if !options.force => report.conflicts.push(Conflict {
                    kind: ConflictKind::Server,
                    name: server.name.to_owned(),
                    existing: server.there.clone().unwrap_or_default(),
                    ours: server.entry.clone(),
                }),
                Place::Free => report.operation_log.push(log(Kind::McpServerAdded, None, server.name)),
                Place::Replaceable | Place::Taken => {
                    report.operation_log.push(log(Kind::McpServerModified, None, server.name));
                }
            }
        }
        report.checksums.insert(settings::PATH.to_owned(), canonical::sha256_hex(self.after.as_str()));
        if options.dry_run {
            report.would_install = self.files.iter().map(|file| file.path.clone()).collect();
            report.would_merge = self.servers.iter().map(|server| server.name.to_owned()).collect();
        }
        if self.before != self.after {
            report.difference = Some(Difference::between(self.before.as_str(), self.after.as_str()));
        }
        let named = options.agents.iter().flat_map(|agent| agent.environment());
        report.required_environment = named.filter(|name| env::var_os(name).is_none()).collect();
        report.success = report.conflicts.is_empty();
        report
    }

    /// Looks whether everything is there that should be.
    fn verify(&self, target: &Target) -> Result<(), Error> {
        let wrong = |what: &str| Error::internal(format!("{what} is not what was installed"));
        for file in &self.files {
            if target.read(&file.path)?.as_deref() != Some(file.bytes) {
                return Err(wrong(&file.path));
            }
        }
        let settings = SettingsText::read(target.read(settings::PATH)?.as_deref())?;
        let is_there = |server: &PlannedServer| {
            settings
                .server(server.name)
                .is_some_and(|there| canonical::digest(&there) == canonical::digest(&server.entry))
        };
        if !self.servers.iter().all(is_there) {
            return Err(wrong(settings::PATH));
        }
        Ok(())
    }
}

/// Removes what a killed install had not yet put in its place.
pub(super) fn remove_leftovers(target: &Target) -> Result<(), Error> {
    for folder in [".claude", ".claude/agents", ".claude/prompts", ".claude/configs"] {
        let Ok(entries) = fs::read_dir(target.at(folder)?) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((of, _)) = name.split_once(".tmp.") else { continue };
            let path = if folder == ".claude" {
                of.to_owned()
            } else {
                format!("{}/{of}", folder.trim_start_matches(".claude/"))
            };
            let is_ours = ShippedAgent::find(&[])?
                .iter()
                .flat_map(|agent| agent.files())
                .any(|(known, _)| known == format!(".claude/{path}"))
                || [settings::PATH, manifest::PATH, backup::PRISTINE].contains(&format!(".claude/{path}").as_str());
            if is_ours {
                // It is looked at again next time.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    Ok(())
}

/// Checks that there is room for half as much again as is written.
#[cfg(unix)]
fn check_space(target: &Target, plan: &Plan) -> Result<(), Error> {
    let files: usize = plan.files.iter().filter(|file| file.place != Place::Ours).map(|file| file.bytes.len()).sum();
    let needed = (files + plan.after.as_str().len() + plan.before.as_str().len() * 2) as u64 * 3 / 2;
    let unusable = |why: &str| Error::usage(format!("the target {} {why}", target.folder().display()));
    let space =
        rustix::fs::statvfs(target.folder()).map_err(|error| unusable("cannot be looked at").with_source(error))?;
    if space.f_bavail.saturating_mul(space.f_frsize) < needed {
        return Err(unusable("has no room"));
    }
    rustix::fs::access(target.folder(), rustix::fs::Access::WRITE_OK)
        .map_err(|error| unusable("cannot be written").with_source(error))
}

#[cfg(not(unix))]
fn check_space(_: &Target, _: &Plan) -> Result<(), Error> {
    Ok(())
}
