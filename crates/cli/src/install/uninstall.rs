//! Taking back exactly what was installed.

use std::fs;

use orchestr8_schema::canonical;

use super::{
    World, backup,
    change::Difference,
    lock::Lock,
    manifest::{self, Manifest},
    report::{InstallReport, Kind, Operation},
    settings::{self, SettingsText},
    target::Target,
    transaction::Transaction,
};
use crate::Error;

/// How to uninstall.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UninstallOptions {
    /// The settings become what they were before the first install.
    pub(crate) restore: bool,
    /// Nothing is written.
    pub(crate) dry_run: bool,
    /// Changes that were made since are lost.
    pub(crate) force: bool,
}

/// What is to become of the settings.
enum Settings {
    Keep,
    Write(Vec<u8>),
    Remove,
}

struct Plan {
    /// With what is in them.
    files: Vec<(String, Vec<u8>)>,
    settings: Settings,
    there: Option<Vec<u8>>,
    report: InstallReport,
}

/// Uninstalls everything.
///
/// # Errors
///
/// When it cannot be done; then everything is as it was.
pub(crate) fn uninstall(target: &Target, options: UninstallOptions, world: &World<'_>) -> Result<InstallReport, Error> {
    let Some(known) = installed(target)? else {
        let conclusion = Some("nothing installed".to_owned());
        return Ok(InstallReport { success: true, dry_run: options.dry_run, conclusion, ..InstallReport::default() });
    };
    let mut plan = Plan::make(target, options, &known, world)?;
    if options.dry_run {
        plan.report.conclusion = Some("dry run: nothing was written".to_owned());
        return Ok(plan.report);
    }
    target.check_writable()?;
    let mut transaction = Transaction::new(target, world);
    let mut lock = None;
    let done = carry_out(target, options, world, &mut transaction, &mut lock);
    let (report, known) = transaction.end(done, lock)?;
    for folder in known.created_folders.iter().rev() {
        // What somebody has put something into stays.
        let _ = target.at(folder).map(fs::remove_dir);
    }
    Ok(report)
}

/// What is installed, or what a killed install had begun.
fn installed(target: &Target) -> Result<Option<Manifest>, Error> {
    Ok(Manifest::read(target)?.or(Lock::peek(target)?))
}

fn carry_out(
    target: &Target,
    options: UninstallOptions,
    world: &World<'_>,
    transaction: &mut Transaction<'_>,
    lock: &mut Option<Lock>,
) -> Result<(InstallReport, Manifest), Error> {
    transaction.folder(".claude/configs")?;
    let lock = lock.insert(Lock::take(target)?);
    let known = Manifest::read(target)?.or_else(|| lock.stale.clone()).unwrap_or_default();
    // If this ends half-way, the next one knows of it.
    lock.note(&known)?;
    super::plan::remove_leftovers(target)?;
    let Plan { files, settings, there, report } = Plan::make(target, options, &known, world)?;
    for (path, bytes) in &files {
        transaction.remove(path, bytes)?;
    }
    match (settings, &there) {
        (Settings::Write(bytes), _) => transaction.write(settings::PATH, &bytes, there.as_deref())?,
        (Settings::Remove, Some(there)) => transaction.remove(settings::PATH, there)?,
        _ => {}
    }
    let copies = backup::timed(target).into_iter().chain(known.backup.clone());
    for path in copies.chain([manifest::PATH.to_owned()]) {
        if let Some(bytes) = target.read(&path)? {
            transaction.remove(&path, &bytes)?;
        }
    }
    world.check()?;
    Ok((report, known))
}

impl Plan {
    fn make(target: &Target, options: UninstallOptions, known: &Manifest, world: &World<'_>) -> Result<Self, Error> {
        let mut report = InstallReport { success: true, dry_run: options.dry_run, ..InstallReport::default() };
        let mut log = |operation: Kind, target: &str| {
            let (target, timestamp) = (target.to_owned(), world.now.to_string());
            report.operation_log.push(Operation { operation, source: None, target, timestamp });
        };
        let (mut files, mut kept) = (Vec::new(), Vec::new());
        for file in &known.files {
            match target.read(&file.path)? {
                None => {}
                Some(bytes) if options.force || known.owns_file(&file.path, &bytes) => {
                    log(Kind::FileRemoved, &file.path);
                    files.push((file.path.clone(), bytes));
                }
                Some(_) => kept.push(file.path.clone()),
            }
        }
        let there = target.read(settings::PATH)?;
        let before = SettingsText::read(there.as_deref())?;
        let settings = if options.restore {
            restored(target, options, known, there.as_deref())?
        } else {
            let mut after = before.clone();
            for server in &known.servers {
                let Some(entry) = before.server(&server.name) else { continue };
                if options.force || known.owns_server(&server.name, &entry) {
                    log(Kind::McpServerRemoved, &server.name);
                    after = after.without_server(&server.name);
                } else {
                    kept.push(server.name.clone());
                }
            }
            if known.created_servers {
                after = after.without_empty_servers();
            }
            if after != before {
                // It is to be JSON still.
                SettingsText::read(Some(after.as_str().as_bytes()))?;
                report.difference = Some(Difference::between(before.as_str(), after.as_str()));
            }
            if known.created_settings && there.is_some() && after.is_empty() {
                Settings::Remove
            } else if after == before {
                Settings::Keep
            } else {
                Settings::Write(after.as_str().as_bytes().to_vec())
            }
        };
        report.kept = kept;
        Ok(Self { files, settings, there, report })
    }
}

/// The settings as they were before the first install.
fn restored(
    target: &Target,
    options: UninstallOptions,
    known: &Manifest,
    there: Option<&[u8]>,
) -> Result<Settings, Error> {
    let now = there.map(canonical::sha256_hex);
    if now != known.settings_sha256 && !options.force {
        return Err(Error::internal(format!("{} has changed since it was last written", settings::PATH))
            .with_hint("uninstall without --restore, which keeps the changes, or with --force, which loses them"));
    }
    let Some(backup) = &known.backup else {
        return Ok(if known.created_settings { Settings::Remove } else { Settings::Keep });
    };
    let unusable =
        |why: &str| Error::internal(format!("the backup {backup} {why}")).with_hint("uninstall without --restore");
    let bytes = target.read(backup)?.ok_or_else(|| unusable("is missing"))?;
    SettingsText::read(Some(&bytes)).map_err(|error| unusable("is no settings").with_source(error))?;
    Ok(Settings::Write(bytes))
}
