//! Answers from a cassette, and the writing of one.
//!
//! A cassette is a file of JSON lines, one for each call: `{digest, ordinal, request, response}`. The digest is that of the
//! [canonical request](super::ChatRequest::digest); calls that ask the same are told apart by their ordinal, from 0.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Capabilities, ChatModel, ChatRequest, ChatResponse, DeltaSink, ModelInfo, Provider};
use crate::{AgentError, SecretString};

/// One recorded call.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    digest: String,
    ordinal: u32,
    request: Value,
    response: ChatResponse,
}

/// Why a cassette cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CassetteError {
    /// It cannot be opened, read or written.
    #[error("the cassette {path} cannot be used")]
    File {
        /// Its path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A line is none of a cassette.
    #[error("line {line} of the cassette {path} is no recorded call")]
    Line {
        /// The cassette's path.
        path: String,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// A model that gives what was recorded, and never connects. Clones share what was played.
#[derive(Clone)]
pub struct Replay {
    info: ModelInfo,
    tape: Arc<Tape>,
}

struct Tape {
    path: PathBuf,
    lines: BTreeMap<(String, u32), Line>,
    played: Mutex<HashMap<String, u32>>,
}

impl Replay {
    /// Reads a cassette.
    ///
    /// # Errors
    ///
    /// [`CassetteError`] if it cannot be read.
    pub fn open(path: &Path) -> Result<Self, CassetteError> {
        let shown = || path.display().to_string();
        let failed = |source| CassetteError::File { path: shown(), source };
        let mut lines = BTreeMap::new();
        for (number, line) in BufReader::new(File::open(path).map_err(failed)?).lines().enumerate() {
            let line = line.map_err(failed)?;
            if line.trim().is_empty() {
                continue;
            }
            let line: Line = serde_json::from_str(&line).map_err(|source| CassetteError::Line {
                path: shown(),
                line: number + 1,
                source,
            })?;
            lines.insert((line.digest.clone(), line.ordinal), line);
        }
        let info = ModelInfo::new("replay", "recorded", Capabilities::all());
        Ok(Self { info, tape: Arc::new(Tape { path: path.to_owned(), lines, played: Mutex::default() }) })
    }

    /// Lists the recorded calls that nobody has asked for so far, as digest and ordinal.
    #[must_use]
    pub fn unused(&self) -> Vec<(String, u32)> {
        self.tape.unused()
    }

    fn play(&self, request: &ChatRequest) -> Result<ChatResponse, AgentError> {
        let digest = request.digest();
        let mut played = self.tape.played();
        let ordinal = played.entry(digest.clone()).or_default();
        if let Some(line) = self.tape.lines.get(&(digest, *ordinal)) {
            *ordinal += 1;
            return Ok(line.response.clone());
        }
        let message = match (*ordinal, self.nearest(request)) {
            (1.., _) => format!("the cassette has {ordinal} answers to this request, and it is asked once more"),
            (0, Some(difference)) => format!("the cassette has no such request; the nearest differs at {difference}"),
            (0, None) => "the cassette is empty".to_owned(),
        };
        Err(AgentError::not_found(message))
    }

    /// Says where the request that is most like this one differs from it.
    fn nearest(&self, request: &ChatRequest) -> Option<String> {
        let asked = request.canonical();
        let differences = self.tape.lines.values().map(|line| {
            let mut found = Vec::new();
            differences(&line.request, &asked, &mut String::new(), &mut found);
            found
        });
        let least = differences.min_by_key(Vec::len)?;
        // What is redacted in the cassette may differ in nothing that it shows.
        Some(if least.is_empty() { "what is hidden in it".to_owned() } else { least[..least.len().min(5)].join(", ") })
    }
}

impl Tape {
    fn unused(&self) -> Vec<(String, u32)> {
        let played = self.played();
        let is_unused = |(digest, ordinal): &&(String, u32)| played.get(digest).is_none_or(|count| ordinal >= count);
        self.lines.keys().filter(is_unused).cloned().collect()
    }

    fn played(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.played.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes the JSON pointers at which two values differ.
fn differences(a: &Value, b: &Value, path: &mut String, found: &mut Vec<String>) {
    let length = path.len();
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                path.push('/');
                path.push_str(key);
                let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                differences(a, b, path, found);
                path.truncate(length);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for index in 0..a.len().max(b.len()) {
                path.push('/');
                path.push_str(&index.to_string());
                let (a, b) = (a.get(index).unwrap_or(&Value::Null), b.get(index).unwrap_or(&Value::Null));
                differences(a, b, path, found);
                path.truncate(length);
            }
        }
        (a, b) if a != b => found.push(if path.is_empty() { "/".to_owned() } else { path.clone() }),
        _ => {}
    }
}

#[async_trait]
impl ChatModel for Replay {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn chat(
        &self,
        request: ChatRequest,
        on_delta: Option<DeltaSink>,
        _: CancellationToken,
    ) -> Result<ChatResponse, AgentError> {
        let response = self.play(&request)?;
        if let Some(sink) = on_delta {
            sink(&response.message.text());
        }
        Ok(response)
    }
}

impl Provider for Replay {
    fn model(&self, provider: &str, id: &str) -> Arc<dyn ChatModel> {
        let info = ModelInfo::new(provider, id, self.info.capabilities);
        Arc::new(Self { info, tape: Arc::clone(&self.tape) })
    }

    fn remainder(&self) -> Option<String> {
        let has_played = self.tape.played().values().any(|count| *count > 0);
        let (unused, all) = (self.unused().len(), self.tape.lines.len());
        let path = self.tape.path.display();
        (has_played && unused > 0)
            .then(|| format!("{unused} of the {all} calls that {path} has recorded were not asked for"))
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("lines", &self.tape.lines.len()).finish_non_exhaustive()
    }
}

/// A provider that passes everything on to another one, and writes what was asked and answered to a cassette. The file is private, and begun anew
/// with the first answer.
#[derive(Clone)]
pub struct Recording {
    inner: Arc<dyn Provider>,
    cassette: Arc<Mutex<Cassette>>,
    redact: Redact,
}

type Redact = Arc<dyn Fn(&mut Value) + Send + Sync>;

struct Cassette {
    path: PathBuf,
    /// Absent until there is something to write.
    file: Option<File>,
    counts: HashMap<String, u32>,
}

impl Recording {
    /// Makes one. `redact` hides what is not to be written in requests and answers. A call whose answer cannot be written fails with INTERNAL.
    #[must_use]
    pub fn new(
        inner: Arc<dyn Provider>,
        path: impl Into<PathBuf>,
        redact: impl Fn(&mut Value) + Send + Sync + 'static,
    ) -> Self {
        let cassette = Cassette { path: path.into(), file: None, counts: HashMap::new() };
        Self { inner, cassette: Arc::new(Mutex::new(cassette)), redact: Arc::new(redact) }
    }

    fn write(
        &self,
        request: &ChatRequest,
        response: &ChatResponse,
        key: Option<&SecretString>,
    ) -> Result<(), AgentError> {
        let redact = |value: &mut Value| {
            (self.redact)(value);
            if let Some(key) = key {
                key.hide_in(value);
            }
        };
        let (digest, mut shown) = (request.digest(), request.canonical());
        redact(&mut shown);
        let mut answer = serde_json::to_value(response).unwrap_or_default();
        redact(&mut answer);
        // Numbers that look like a card's are hidden by a text, and the answer would not be one any more.
        let response = serde_json::from_value(answer).unwrap_or_else(|_| response.clone());
        let mut cassette = self.cassette.lock().unwrap_or_else(PoisonError::into_inner);
        let count = cassette.counts.entry(digest.clone()).or_default();
        let line = Line { digest, ordinal: *count, request: shown, response };
        *count += 1;
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        cassette
            .append(text.as_bytes())
            .map_err(|error| AgentError::internal("the cassette cannot be written").with_source(error))
    }
}

impl Cassette {
    fn append(&mut self, line: &[u8]) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create(&self.path)?),
        };
        file.write_all(line)?;
        file.flush()
    }
}

/// Begins a file that its owner alone may read.
fn create(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

struct RecordingModel {
    inner: Arc<dyn ChatModel>,
    recording: Recording,
}

impl Provider for Recording {
    fn model(&self, provider: &str, id: &str) -> Arc<dyn ChatModel> {
        Arc::new(RecordingModel { inner: self.inner.model(provider, id), recording: self.clone() })
    }

    fn remainder(&self) -> Option<String> {
        self.inner.remainder()
    }
}

#[async_trait]
impl ChatModel for RecordingModel {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    fn key(&self) -> Option<SecretString> {
        self.inner.key()
    }

    fn keyed(&self, key: SecretString) -> Option<Arc<dyn ChatModel>> {
        let inner = self.inner.keyed(key)?;
        Some(Arc::new(Self { inner, recording: self.recording.clone() }))
    }

    async fn chat(
        &self,
        request: ChatRequest,
        on_delta: Option<DeltaSink>,
        cancel: CancellationToken,
    ) -> Result<ChatResponse, AgentError> {
        let response = self.inner.chat(request.clone(), on_delta, cancel).await?;
        let key = self.inner.key().filter(|key| !key.expose().is_empty());
        self.recording.write(&request, &response, key.as_ref())?;
        Ok(response)
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").finish_non_exhaustive()
    }
}
