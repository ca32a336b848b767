//! What a server leaves in its data directory as long as it listens.

use std::{env, io, net::SocketAddr, process};

use orchestr8_core::{agent_base::Clock as _, clock::SystemClock};

use super::ServerFile;
use crate::{Error, data::DataDir, private_file};

/// Says where this process listens as long as it does.
#[derive(Debug)]
#[must_use = "dropping it takes the file away"]
pub(crate) struct Announcement {
    data: DataDir,
    file: ServerFile,
}

impl Announcement {
    /// Writes the file, over that of an earlier server.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn write(data: &DataDir, address: SocketAddr) -> Result<Self, Error> {
        let arguments = env::args_os().map(|argument| argument.to_string_lossy().into_owned());
        let file = ServerFile {
            pid: process::id(),
            started_at: SystemClock::new().now(),
            port: address.port(),
            host: address.ip().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: platform(),
            cwd: env::current_dir().unwrap_or_default(),
            command: arguments.collect(),
        };
        let text = serde_json::to_vec_pretty(&file).map_err(io::Error::from);
        let path = data.file(ServerFile::NAME);
        text.and_then(|text| private_file::replace(&path, &text)).map_err(|error| {
            Error::unreachable(format!("cannot write {}", path.display()))
                .with_source(error)
                .with_hint("choose a folder that can be written with --data-dir")
        })?;
        Ok(Self { data: data.clone(), file })
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        self.file.remove(&self.data);
    }
}

/// Names the operating system and the processor that the program is built for.
fn platform() -> String {
    format!("{}-{}", env::consts::OS, env::consts::ARCH)
}
