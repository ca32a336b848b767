//! The data directory: where executions outlive the program.

use std::{
    env,
    path::{Path, PathBuf},
};

use orchestr8_core::{
    Engine,
    store::{Durability, OpenError, Query, Retention, SqliteStore, Store},
};
use orchestr8_schema::{
    ExecutionId,
    config::{JournalConfig, JournalDurability},
};

use crate::{Error, ErrorKind};

/// The directory of the executions, logs and settings of one user.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
    journal: JournalConfig,
}

impl DataDir {
    /// Finds it: what the command line says, else `ORCHESTR8_HOME`, else `.orchestr8` in the home directory. Executions are kept in it
    /// as the settings say.
    ///
    /// # Errors
    ///
    /// When nothing says where it is.
    pub fn find(told: Option<&Path>, journal: JournalConfig) -> Result<Self, Error> {
        Ok(Self { path: Self::place(told)?, journal })
    }

    /// Returns where it is.
    #[cfg(feature = "server")]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where a file of it is.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Finds the place alone.
    pub(crate) fn place(told: Option<&Path>) -> Result<PathBuf, Error> {
        if let Some(path) = told {
            return Ok(path.to_owned());
        }
        if let Some(path) = env::var_os("ORCHESTR8_HOME").filter(|path| !path.is_empty()) {
            return Ok(path.into());
        }
        let home = env::home_dir().filter(|path| !path.as_os_str().is_empty());
        home.map(|home| home.join(".orchestr8")).ok_or_else(|| {
            Error::unreachable("there is no home directory to keep executions in").with_hint("set ORCHESTR8_HOME")
        })
    }

    /// Opens the store of executions, as durable as the settings say.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or written.
    pub fn open_store(&self) -> Result<SqliteStore, Error> {
        self.open_file(&self.file("orchestr8.db"))
    }

    /// Opens a database elsewhere.
    pub(crate) fn open_file(&self, path: &Path) -> Result<SqliteStore, Error> {
        let durability = match self.journal.durability {
            JournalDurability::Power => Durability::Power,
            JournalDurability::Process => Durability::Process,
        };
        SqliteStore::open(path, durability).map_err(unopened)
    }

    /// Drops executions that have ended long ago, as the settings say.
    pub(crate) async fn prune(&self, store: &SqliteStore, engine: &Engine) {
        let mut retention = Retention::default();
        retention.age = Some(self.journal.retention.0.as_duration());
        retention.max_finished = usize::try_from(self.journal.max_finished).unwrap_or(usize::MAX);
        if let Err(error) = store.prune(&retention, engine.clock().now()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "dropping old executions");
        }
    }
}

fn unopened(error: OpenError) -> Error {
    let hint = match &error {
        OpenError::Foreign { .. } | OpenError::Truncated { .. } => "choose another folder with --data-dir",
        OpenError::Newer { .. } => "update orchestr8, or choose another folder with --data-dir",
        OpenError::Locked { .. } => "wait for the other process, or choose another folder with --data-dir",
        _ => "choose a folder that can be written with --data-dir",
    };
    Error::unreachable("the store of executions cannot be opened").with_source(error).with_hint(hint)
}

/// Finds the execution that a text names: an id, a unique beginning or end of one of at least 6 digits, or `@last`.
pub(crate) async fn find_execution(engine: &Engine, text: &str) -> Result<ExecutionId, Error> {
    const PAGE: usize = 1000;
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let unreadable = |error| Error::internal("reading the store of executions").with_source(error);
    let digits = text.to_ascii_lowercase();
    let is_part = text.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if text != "@last" && !is_part {
        return Err(Error::usage(format!("`{text}` is no execution id, nor 6 digits of one"))
            .with_hint("orchestr8 resume @last"));
    }
    let mut found: Vec<ExecutionId> = Vec::new();
    let mut query = Query::newest(if text == "@last" { 1 } else { PAGE });
    loop {
        let page = engine.executions(&query).await.map_err(unreadable)?;
        let ids = page.executions.iter().map(|summary| summary.execution_id);
        found.extend(ids.filter(|id| {
            let id = id.to_string();
            text == "@last" || id.starts_with(&digits) || id.ends_with(&digits)
        }));
        match page.executions.last() {
            Some(last) if page.has_more && text != "@last" => query = query.before(last.execution_id),
            _ => break,
        }
    }
    match found[..] {
        [id] => Ok(id),
        [] => Err(Error::usage(format!("there is no execution {text}")).with_hint("orchestr8 list")),
        _ => Err(Error::new(ErrorKind::Usage, format!("`{text}` names {} executions", found.len()))),
    }
}
