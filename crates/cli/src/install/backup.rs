//! Copies of what was there before.

use std::fs;

use super::{World, is_stamp, settings, target::Target, transaction::Transaction};
use crate::Error;

/// The settings as they were before the first install.
pub(super) const PRISTINE: &str = ".claude/settings.json.backup";
/// How many copies with a time are kept.
const KEPT: usize = 3;

/// Copies the settings before they are changed, and says where to: `makes_pristine` is what this is the first change of.
pub(super) fn of_settings(
    target: &Target,
    transaction: &mut Transaction<'_>,
    world: &World<'_>,
    settings: &[u8],
    makes_pristine: bool,
) -> Result<String, Error> {
    if makes_pristine {
        // One that nobody knows of is not the state before this install.
        let was = target.read(PRISTINE)?;
        transaction.write(PRISTINE, settings, was.as_deref())?;
    }
    let timed = format!("{PRISTINE}.{}", world.stamp());
    let was = target.read(&timed)?;
    transaction.write(&timed, settings, was.as_deref())?;
    Ok(timed)
}

/// Copies a file of somebody else's before ours takes its place, and says where to. What was copied there before stays.
pub(super) fn of_file(
    target: &Target,
    transaction: &mut Transaction<'_>,
    world: &World<'_>,
    path: &str,
    bytes: &[u8],
) -> Result<String, Error> {
    let names = [format!("{path}.backup"), format!("{path}.backup.{}", world.stamp())];
    for name in names {
        match target.read(&name)? {
            None => {
                transaction.write(&name, bytes, None)?;
                return Ok(name);
            }
            Some(there) if there == bytes => return Ok(name),
            Some(_) => {}
        }
    }
    Err(Error::internal(format!("{path} was replaced a moment ago")).with_hint("try again in a second"))
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
            stamp.is_some_and(is_stamp)
        })
        .collect();
    names.sort();
    names
}
