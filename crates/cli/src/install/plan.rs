//! Installing: what is to be done, and doing it.

use std::{collections::HashSet, env, fs};

use orchestr8_schema::canonical;
use serde_json::Value;

use super::{
    ShippedAgent, World, backup,
    change::Difference,
    is_stamp,
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

/// What an earlier install has left.
enum Known {
    /// It was done.
    Installed(Manifest),
    /// It was killed.
    Begun(Manifest),
}

struct Plan {
    files: Vec<PlannedFile>,
    servers: Vec<PlannedServer>,
    settings: Option<Vec<u8>>,
    before: SettingsText,
    after: SettingsText,
    /// Whether the settings are, as they are, those from before the first install.
    makes_pristine: bool,
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
    let previous = known.clone().map(Known::Installed).or_else(|| begun.clone().map(Known::Begun));
    let plan = Plan::make(target, options, previous, world)?;
    let mut report = plan.report(options, world);
    // What a killed install has begun is completed, even where all files are there already.
    let is_done = !plan.changes_anything(options) && known.is_some() && begun.is_none();
    if !report.conflicts.is_empty() || options.dry_run || is_done {
        if is_done && report.conflicts.is_empty() {
            report.conclusion = Some("nothing to do".to_owned());
        }
        if options.dry_run {
            report.conclusion = Some("dry run: nothing was written".to_owned());
            if !is_done {
                target.check_writable()?;
                check_space(target, &plan)?;
            }
        }
        return Ok(report);
    }
    target.check_writable()?;
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
    let known = Manifest::read(target)?.map(Known::Installed).or_else(|| lock.stale.clone().map(Known::Begun));
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
    let mut copied = Vec::new();
    if let Some(settings) = plan.settings.as_deref().filter(|_| plan.before != plan.after) {
        let path = backup::of_settings(target, transaction, world, settings, plan.makes_pristine)?;
        report.backup_path = Some(path.clone());
        copied.push((settings::PATH, path));
    }
    for file in plan.files.iter().filter(|file| file.place != Place::Ours) {
        if file.place == Place::Taken
            && let Some(there) = &file.there
        {
            copied.push((&file.path, backup::of_file(target, transaction, world, &file.path, there)?));
        }
        transaction.write(&file.path, file.bytes, file.there.as_deref())?;
    }
    if plan.before != plan.after {
        transaction.write(settings::PATH, plan.after.as_str().as_bytes(), plan.settings.as_deref())?;
    }
    let copies = copied.into_iter().map(|(source, target)| Operation {
        operation: Kind::BackupCreated,
        source: Some(source.to_owned()),
        target,
        timestamp: world.now.to_string(),
    });
    report.operation_log.splice(..0, copies);
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
        previous: Option<Known>,
        world: &World<'_>,
    ) -> Result<Self, Error> {
        let settings = target.read(settings::PATH)?;
        let before = SettingsText::read(settings.as_deref())?;
        let (previous, is_installed) = match previous {
            Some(Known::Installed(manifest)) => (Some(manifest), true),
            Some(Known::Begun(manifest)) => (Some(manifest), false),
            None => (None, false),
        };
        let mut manifest = previous.clone().unwrap_or_else(|| Manifest {
            created_settings: settings.is_none(),
            created_servers: !before.has_servers(),
            ..Manifest::default()
        });
        let previous = previous.unwrap_or_default();
        // What a killed install has copied stays, once it has put something into the settings.
        let is_copied = previous.backup.is_some()
            && (is_installed || previous.servers.iter().any(|server| before.server(&server.name).is_some()));
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
        // Settings that we have made have no state before.
        let makes_pristine = before != after && settings.is_some() && !manifest.created_settings && !is_copied;
        if makes_pristine {
            manifest.backup = Some(backup::PRISTINE.to_owned());
        }
        manifest.schema_version = "1.0.0".to_owned();
        manifest.version = env!("CARGO_PKG_VERSION").to_owned();
        manifest.installed_at = world.now.to_string();
        manifest.settings_sha256 = Some(canonical::sha256_hex(after.as_str()));
        Ok(Self { files, servers, settings, before, after, makes_pristine, manifest })
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
    let agents = ShippedAgent::find(&[])?;
    let files: Vec<_> = agents.into_iter().flat_map(ShippedAgent::files).map(|(path, _)| path).collect();
    for folder in [".claude", ".claude/agents", ".claude/prompts", ".claude/configs"] {
        let Ok(entries) = fs::read_dir(target.at(folder)?) else { continue };
        for entry in entries.flatten() {
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            let is_leftover = name.rsplit_once(".tmp.").is_some_and(|(path, ending)| {
                (is_stamp(ending) || ending == Transaction::ROLLBACK) && is_written_here(path, &files)
            });
            if is_leftover {
                // It is looked at again next time.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    Ok(())
}

/// Whether an install writes such a file: one of these, the settings, the manifest, or a copy of what was in its place.
fn is_written_here(path: &str, files: &[String]) -> bool {
    let of = |path: &str| {
        path.strip_suffix(".backup")
            .or_else(|| {
                let (path, stamp) = path.rsplit_once(".backup.")?;
                is_stamp(stamp).then_some(path)
            })
            .map(str::to_owned)
    };
    let original = of(path).unwrap_or_else(|| path.to_owned());
    original == settings::PATH || original == manifest::PATH || files.contains(&original)
}

/// Checks that there is room for half as much again as is written.
#[cfg(unix)]
fn check_space(target: &Target, plan: &Plan) -> Result<(), Error> {
    let files: usize = plan.files.iter().filter(|file| file.place != Place::Ours).map(|file| file.bytes.len()).sum();
    let needed = (files + plan.after.as_str().len() + plan.before.as_str().len() * 2) as u64 * 3 / 2;
    let space = rustix::fs::statvfs(target.folder())
        .map_err(|error| target.unusable("cannot be looked at").with_source(error))?;
    if space.f_bavail.saturating_mul(space.f_frsize) < needed {
        return Err(target.unusable("has no room"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_space(_: &Target, _: &Plan) -> Result<(), Error> {
    Ok(())
}
