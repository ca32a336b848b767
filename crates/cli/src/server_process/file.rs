//! `server.json`: which server looks after a data directory, and where it listens.

use std::{fs, path::PathBuf};

use orchestr8_schema::Timestamp;
use serde::{Deserialize, Serialize};

use crate::data::DataDir;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerFile {
    /// Its process.
    pub(crate) pid: u32,
    /// When it began to listen.
    pub(crate) started_at: Timestamp,
    /// The port that it has got.
    pub(crate) port: u16,
    /// The address that it listens on.
    pub(crate) host: String,
    /// The version of its program.
    pub(crate) version: String,
    /// Operating system and processor.
    pub(crate) platform: String,
    /// Its working directory.
    pub(crate) cwd: PathBuf,
    /// Its program and arguments.
    pub(crate) command: Vec<String>,
}

impl ServerFile {
    pub(super) const NAME: &str = "server.json";

    /// Reads the file. One that is not there or cannot be understood says nothing.
    pub(crate) fn read(data: &DataDir) -> Option<Self> {
        serde_json::from_slice(&fs::read(data.file(Self::NAME)).ok()?).ok()
    }

    /// Takes the file away if it still is about this server.
    pub(crate) fn remove(&self, data: &DataDir) {
        // The time is written in milliseconds, and would not be the same.
        let is_it = |file: Self| file.pid == self.pid && file.port == self.port && file.command == self.command;
        if Self::read(data).is_some_and(is_it) {
            // If it stays, whoever reads it finds that nobody answers.
            let _ = fs::remove_file(data.file(Self::NAME));
        }
    }

    /// Returns the address by which programs of this machine reach the server.
    pub(crate) fn url(&self) -> String {
        super::url(&self.host, self.port)
    }

    /// Whether its process still lives, as far as the system tells.
    pub(crate) fn is_alive(&self) -> bool {
        super::process::is_alive(self.pid) && super::process::command(self.pid).is_none_or(|now| now == self.command)
    }
}
