//! Who this process is among those that may drive executions.

use std::{fs, process};

use orchestr8_agent_base::Clock;

use crate::store::{Holder, HolderId};

/// Names an engine of this process.
pub(super) fn holder(clock: &dyn Clock) -> Holder {
    let process = process::id();
    Holder {
        // Stores keep it as a signed number.
        id: HolderId(clock.random() >> 1),
        host: host().into(),
        process,
        process_began: process_began(process).unwrap_or_default().into(),
    }
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// When a process began: the boot of its host, and the clock ticks from then.
fn process_began(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name, which may hold anything, stands in parentheses; behind them the 20th field is the time.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    // What has ended and waits for its parent to notice is gone, too.
    let state = fields.next().filter(|state| !matches!(*state, "Z" | "X"))?;
    debug_assert_eq!(state.len(), 1);
    let ticks = fields.nth(18)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{}:{ticks}", boot.trim()))
}
