//! Copies of the settings as they were.

use std::fs;

use super::{World, manifest::Manifest, settings, target::Target, transaction::Transaction};
use crate::Error;

/// The settings as they were before the first install.
pub(super) const PRISTINE: &str = ".claude/settings.json.backup";
/// How many copies with a time are kept.
const KEPT: usize = 3;

/// Copies the settings before they are changed, and says where to; nowhere if there are none.
pub(super) fn make(
    target: &Target,
    transaction: &mut Transaction<'_>,
    world: &World<'_>,
    manifest: &Manifest,
    settings: Option<&[u8]>,
) -> Result<Option<String>, Error> {
    let Some(settings) = settings else { return Ok(None) };
    if manifest.backup.is_some() && target.read(PRISTINE)?.is_none() {
        transaction.write(PRISTINE, settings, None)?;
    }
    let timed = format!("{PRISTINE}.{}", world.stamp());
    let was = target.read(&timed)?;
    transaction.write(&timed, settings, was.as_deref())?;
    Ok(Some(timed))
}

/// Removes all copies with a time but the newest.
pub(super) fn forget_old(target: &Target) {
    let timed = timed(target);
    for name in timed.iter().rev().skip(KEPT) {
        // It is in nobody's way.
        let _ = target.at(name).map(fs::remove_file);
    }
}

/// The copies with a time, the oldest first.
pub(super) fn timed(target: &Target) -> Vec<String> {
    let folder = settings::PATH.rsplit_once('/').map_or("", |(folder, _)| folder);
    let entries = target.at(folder).ok().and_then(|folder| fs::read_dir(folder).ok());
    let mut names: Vec<_> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy()))
        .filter(|name| {
            let stamp = name.strip_prefix(PRISTINE).and_then(|rest| rest.strip_prefix('.'));
            stamp.is_some_and(|stamp| stamp.len() == 16 && stamp.ends_with('Z') && stamp.as_bytes()[8] == b'T')
        })
        .collect();
    names.sort();
    names
}
