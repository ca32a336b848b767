//! Shipped research agents, copied into the `.claude` folder of another repository, and taken back from it.
//!
//! Everything is planned first ([`plan`]), and what is planned is carried out one operation after the other by a [`Transaction`], which
//! can take all of them back. The lock file holds the manifest of what is under way, so that whoever comes after a killed install knows
//! what it had begun; the manifest of what is installed is the only other state.

mod assets;
mod backup;
mod change;
mod lock;
mod manifest;
mod plan;
mod report;
mod settings;
mod target;
mod transaction;
mod uninstall;

use std::sync::atomic::{AtomicBool, Ordering};

use orchestr8_schema::Timestamp;

pub(crate) use self::{
    assets::ShippedAgent,
    plan::{InstallOptions, install},
    report::InstallReport,
    target::Target,
    uninstall::{UninstallOptions, uninstall},
};
use crate::Error;

/// What every run needs to know of the world.
pub(crate) struct World<'w> {
    /// The wall time.
    pub(crate) now: Timestamp,
    /// Set when somebody wants it to end.
    pub(crate) interrupted: &'w AtomicBool,
    /// After how many changes a test has it end, and whether it then takes nothing back.
    #[cfg(test)]
    pub(super) ends: std::cell::Cell<Option<usize>>,
    #[cfg(test)]
    pub(super) dies: bool,
    /// What somebody else does before each change, in a test.
    #[cfg(test)]
    pub(super) meanwhile: Option<&'w dyn Fn()>,
}

impl<'w> World<'w> {
    pub(crate) fn new(now: Timestamp, interrupted: &'w AtomicBool) -> Self {
        Self {
            now,
            interrupted,
            #[cfg(test)]
            ends: std::cell::Cell::new(None),
            #[cfg(test)]
            dies: false,
            #[cfg(test)]
            meanwhile: None,
        }
    }

    /// Fails before the next change if it is to end.
    fn check(&self) -> Result<(), Error> {
        #[cfg(test)]
        if let Some(meanwhile) = self.meanwhile {
            meanwhile();
        }
        #[cfg(test)]
        if let Some(left) = self.ends.get() {
            if left == 0 {
                return Err(Error::internal("a test ends it"));
            }
            self.ends.set(Some(left - 1));
        }
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::internal("interrupted"));
        }
        Ok(())
    }

    /// `20250117T000000Z`
    fn stamp(&self) -> String {
        let text = self.now.to_string();
        let seconds = text.split('.').next().unwrap_or(&text).trim_end_matches('Z');
        format!("{}Z", seconds.replace(['-', ':'], ""))
    }
}

/// Whether a text is one that [`World::stamp`] makes.
fn is_stamp(text: &str) -> bool {
    let has_form = |(index, byte): (usize, u8)| match index {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 16 && text.bytes().enumerate().all(has_form)
}

#[cfg(test)]
mod tests;
