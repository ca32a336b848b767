//! What was done, or would be.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::change::Difference;
use crate::{Error, ui::Ui};

/// What an install or uninstall did.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstallReport {
    pub(super) success: bool,
    pub(super) dry_run: bool,
    /// In milliseconds.
    pub(crate) duration: u64,
    pub(super) operation_log: Vec<Operation>,
    pub(super) checksums: BTreeMap<String, String>,
    pub(super) backup_path: Option<String>,
    pub(super) would_install: Vec<String>,
    pub(super) would_merge: Vec<String>,
    pub(super) conflicts: Vec<Conflict>,
    pub(super) unchanged: Vec<String>,
    pub(super) kept: Vec<String>,
    pub(super) required_environment: Vec<String>,
    #[serde(skip)]
    pub(super) difference: Option<Difference>,
    #[serde(skip)]
    pub(super) conclusion: Option<String>,
}

/// One thing that was done, or would be.
#[derive(Debug, Serialize)]
pub(super) struct Operation {
    pub(super) operation: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    pub(super) target: String,
    pub(super) timestamp: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    BackupCreated,
    FileCreated,
    FileReplaced,
    FileRemoved,
    McpServerAdded,
    McpServerModified,
    McpServerRemoved,
    SettingsCreated,
}

/// Something of somebody else's where ours belongs.
#[derive(Debug, Serialize)]
pub(super) struct Conflict {
    pub(super) kind: ConflictKind,
    pub(super) name: String,
    pub(super) existing: Value,
    pub(super) ours: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ConflictKind {
    File,
    Server,
}

impl InstallReport {
    /// Whether everything went well, or would.
    pub(crate) fn is_success(&self) -> bool {
        self.success
    }

    /// Whether there is, or was, anything to do.
    pub(crate) fn changes_anything(&self) -> bool {
        !self.operation_log.is_empty()
    }

    /// Shows it to people: one line per operation.
    pub(crate) fn show(&self, ui: Ui) -> Result<(), Error> {
        let settings = super::settings::PATH;
        let mut shown_settings = false;
        for operation in &self.operation_log {
            let sign = match operation.operation {
                Kind::SettingsCreated => {
                    shown_settings = true;
                    '+'
                }
                Kind::FileCreated | Kind::BackupCreated => '+',
                Kind::FileReplaced => '~',
                Kind::FileRemoved => '-',
                Kind::McpServerAdded | Kind::McpServerModified | Kind::McpServerRemoved => {
                    if !std::mem::replace(&mut shown_settings, true) {
                        ui.print(&format!("~ {settings}"))?;
                        if let Some(difference) = &self.difference {
                            difference.lines().try_for_each(|line| ui.print(&line))?;
                        }
                    }
                    continue;
                }
            };
            ui.print(&format!("{sign} {}", operation.target))?;
        }
        self.unchanged.iter().try_for_each(|name| ui.print(&format!("= {name}")))?;
        self.kept.iter().try_for_each(|name| ui.print(&format!("! {name}")))?;
        for conflict in &self.conflicts {
            ui.print(&format!("! {}", conflict.name))?;
            if conflict.kind == ConflictKind::Server {
                ui.print(&format!("    there: {}", conflict.existing))?;
                ui.print(&format!("    ours:  {}", conflict.ours))?;
            }
        }
        if let Some(conclusion) = &self.conclusion {
            ui.print(conclusion)?;
        }
        if !self.required_environment.is_empty() {
            ui.print(&format!("to be set: {}", self.required_environment.join(", ")))?;
        }
        Ok(())
    }
}
