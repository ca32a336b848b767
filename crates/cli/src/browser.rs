//! Showing a page to whoever sits at the terminal.

use std::process::{Command, Stdio};

use crate::ui::Ui;

#[cfg(target_os = "macos")]
const OPENER: &str = "open";
#[cfg(windows)]
const OPENER: &str = "explorer";
#[cfg(not(any(target_os = "macos", windows)))]
const OPENER: &str = "xdg-open";

/// Opens a page, with a certain program or as the system does. Where that is not possible its address is told.
pub(crate) fn open(ui: Ui, program: Option<&str>, url: &str) {
    let program = program.unwrap_or(OPENER);
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if command.spawn().is_err() {
        ui.say(&format!("Dashboard: {url}"));
    }
}
