//! The loop: messages in, answers out, and problems when the author pauses.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
    panic::{self, AssertUnwindSafe},
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread,
    time::Duration,
};

use orchestr8_agent_base::AgentRegistry;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Analysis, Text,
    protocol::{
        At, DidChange, DidClose, DidOpen, Incoming, Location, Notification, Outcome, Response, ResponseError,
        WorkspaceEdit,
    },
    transport,
};

/// How long an author pauses before problems are looked for.
const PAUSE: Duration = Duration::from_millis(40);
/// How many messages may come without a pause before problems are looked for all the same.
const MAX_BURST: usize = 64;
/// How many messages wait to be answered; more are left to the stream.
const MAX_WAITING: usize = 64;
/// How many documents may be open; more are not looked at.
const MAX_DOCUMENTS: usize = 1_000;
/// The longest text that is looked at; a longer one has one problem, which says so.
const MAX_TEXT: usize = 10_000_000;

/// Serves an editor until it says `exit` or its stream ends. Says whether it was asked to shut down before, as is polite.
///
/// Every request is answered, whatever the documents hold, and none takes the loop down.
///
/// # Errors
///
/// When the streams cannot be read or written, or what comes is not of the protocol.
pub fn serve(input: impl BufRead + Send + 'static, output: impl Write, agents: &AgentRegistry) -> io::Result<bool> {
    let (sender, receiver) = mpsc::sync_channel(MAX_WAITING);
    // It ends with its stream, or when nobody listens any more; a stream that is silent cannot be joined.
    thread::spawn(move || listen(input, &sender));
    let mut server = Server { agents, output, documents: BTreeMap::new(), phase: Phase::New, exit: None };
    server.serve(&receiver)
}

fn listen(mut input: impl BufRead, sender: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let message = match transport::read(&mut input) {
            Ok(Some(message)) => Ok(message),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let is_last = message.is_err();
        if sender.send(message).is_err() || is_last {
            return;
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    New,
    Running,
    ShutDown,
}

struct Server<'a, W> {
    agents: &'a AgentRegistry,
    output: W,
    documents: BTreeMap<String, Document>,
    phase: Phase,
    exit: Option<bool>,
}

struct Document {
    /// The name of the file, from its address.
    name: String,
    version: i64,
    text: Text,
    /// Whether problems are to be looked for.
    is_changed: bool,
}

type Answer = Result<Value, ResponseError>;

impl<W: Write> Server<'_, W> {
    fn serve(&mut self, receiver: &Receiver<io::Result<Vec<u8>>>) -> io::Result<bool> {
        let mut burst = 0;
        loop {
            let is_waiting = self.documents.values().any(|document| document.is_changed);
            let message = match is_waiting {
                true if burst >= MAX_BURST => Err(RecvTimeoutError::Timeout),
                true => receiver.recv_timeout(PAUSE),
                false => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(message) => {
                    burst += 1;
                    self.message(&message?)?;
                    if let Some(polite) = self.exit {
                        return Ok(polite);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    burst = 0;
                    self.publish()?;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(self.phase == Phase::ShutDown),
            }
        }
    }

    fn message(&mut self, body: &[u8]) -> io::Result<()> {
        let message: Incoming = match serde_json::from_slice(body) {
            Ok(message) => message,
            Err(error) => {
                let error = ResponseError::new(ResponseError::PARSE, error.to_string());
                return self.respond(Value::Null, Err(error));
            }
        };
        match (message.id, message.method) {
            (Some(id), Some(method)) => {
                let answer = guarded(|| self.request(&method, message.params));
                self.respond(id, answer)
            }
            (None, Some(method)) => self.notification(&method, message.params),
            // An answer to what was never asked.
            (_, None) => Ok(()),
        }
    }

    fn request(&mut self, method: &str, params: Value) -> Answer {
        match (self.phase, method) {
            (Phase::New, "initialize") => {
                self.phase = Phase::Running;
                Ok(capabilities())
            }
            (Phase::New, _) => Err(ResponseError::new(ResponseError::NOT_INITIALIZED, "say `initialize` first")),
            (Phase::ShutDown, _) => Err(ResponseError::new(ResponseError::INVALID_REQUEST, "the server is shut down")),
            (Phase::Running, "shutdown") => {
                self.phase = Phase::ShutDown;
                Ok(Value::Null)
            }
            (Phase::Running, "textDocument/completion") => {
                let items = self.ask(params, |analysis, at, _| Ok(Some(analysis.completion(at.position))))?;
                Ok(json!({ "isIncomplete": false, "items": if items.is_null() { json!([]) } else { items } }))
            }
            (Phase::Running, "textDocument/hover") => {
                self.ask(params, |analysis, at, _| Ok(analysis.hover(at.position)))
            }
            (Phase::Running, "textDocument/definition") => self.ask(params, |analysis, at, uri| {
                let range = analysis.definition(at.position);
                Ok(range.map(|range| Location { uri: uri.to_owned(), range }))
            }),
            (Phase::Running, "textDocument/prepareRename") => {
                self.ask(params, |analysis, at, _| Ok(analysis.renamable(at.position)))
            }
            (Phase::Running, "textDocument/rename") => self.ask(params, |analysis, at, uri| {
                let name = at.new_name.as_deref().unwrap_or_default();
                let edits = analysis
                    .rename(at.position, name)
                    .map_err(|error| ResponseError::new(ResponseError::REQUEST_FAILED, error.to_string()))?;
                Ok(Some(WorkspaceEdit { changes: BTreeMap::from([(uri.to_owned(), edits)]) }))
            }),
            (Phase::Running, method) => {
                Err(ResponseError::new(ResponseError::NO_SUCH_METHOD, format!("there is no `{method}`")))
            }
        }
    }

    /// Asks something about a place in a document; of one that is not open, nothing is known.
    fn ask<T: serde::Serialize>(
        &self,
        params: Value,
        question: impl FnOnce(&Analysis<'_>, &At, &str) -> Result<Option<T>, ResponseError>,
    ) -> Answer {
        let at: At = parameters(params)?;
        let uri = at.text_document.uri.as_str();
        let document = self.documents.get(uri).filter(|document| document.text.as_str().len() <= MAX_TEXT);
        let Some(document) = document else { return Ok(Value::Null) };
        let answer = question(&Analysis::new(&document.name, &document.text, self.agents), &at, uri)?;
        serde_json::to_value(answer).map_err(|error| ResponseError::new(ResponseError::INTERNAL, error.to_string()))
    }

    fn notification(&mut self, method: &str, params: Value) -> io::Result<()> {
        if method == "exit" {
            self.exit = Some(self.phase == Phase::ShutDown);
            return Ok(());
        }
        if self.phase != Phase::Running {
            return Ok(());
        }
        // Nobody hears why a notification cannot be read.
        match method {
            "textDocument/didOpen" => {
                if let Ok(DidOpen { text_document }) = parameters(params)
                    && (self.documents.len() < MAX_DOCUMENTS || self.documents.contains_key(&text_document.uri))
                {
                    let document = Document {
                        name: file_name(&text_document.uri),
                        version: text_document.version,
                        text: Text::new(text_document.text),
                        is_changed: true,
                    };
                    self.documents.insert(text_document.uri, document);
                }
            }
            "textDocument/didChange" => {
                if let Ok(DidChange { text_document, content_changes }) = parameters(params)
                    && let Some(document) = self.documents.get_mut(&text_document.uri)
                {
                    for change in content_changes {
                        match change.range {
                            Some(range) => document.text.replace(range, &change.text),
                            None => document.text = Text::new(change.text),
                        }
                    }
                    document.version = text_document.version;
                    document.is_changed = true;
                }
            }
            "textDocument/didClose" => {
                if let Ok(DidClose { text_document }) = parameters(params)
                    && self.documents.remove(&text_document.uri).is_some()
                {
                    return self.notify(json!({ "uri": text_document.uri, "diagnostics": [] }));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Says what is wrong with the documents that have changed.
    fn publish(&mut self) -> io::Result<()> {
        let changed: Vec<String> = self
            .documents
            .iter_mut()
            .filter_map(|(uri, document)| std::mem::take(&mut document.is_changed).then(|| uri.clone()))
            .collect();
        for uri in changed {
            let Some(document) = self.documents.get(&uri) else { continue };
            let analysis = Analysis::new(&document.name, &document.text, self.agents);
            let version = document.version;
            let diagnostics = guarded(|| Ok(json!(analysis.diagnostics())));
            // Better no news than none at all.
            if let Ok(diagnostics) = diagnostics {
                self.notify(json!({ "uri": uri, "version": version, "diagnostics": diagnostics }))?;
            }
        }
        Ok(())
    }

    fn respond(&mut self, id: Value, answer: Answer) -> io::Result<()> {
        let outcome = match answer {
            Ok(value) => Outcome::Result(value),
            Err(error) => Outcome::Error(error),
        };
        transport::write(&mut self.output, &Response { jsonrpc: "2.0", id, outcome })
    }

    fn notify(&mut self, params: Value) -> io::Result<()> {
        let method = "textDocument/publishDiagnostics";
        transport::write(&mut self.output, &Notification { jsonrpc: "2.0", method, params })
    }
}

/// Answers even if something in here is broken: an editor that loses its server loses more than one answer.
fn guarded(answer: impl FnOnce() -> Answer) -> Answer {
    panic::catch_unwind(AssertUnwindSafe(answer))
        .unwrap_or_else(|_| Err(ResponseError::new(ResponseError::INTERNAL, "this is a defect of the language server")))
}

fn parameters<T: DeserializeOwned>(params: Value) -> Result<T, ResponseError> {
    serde_json::from_value(params).map_err(|error| ResponseError::new(ResponseError::INVALID_PARAMS, error.to_string()))
}

fn capabilities() -> Value {
    json!({
        "capabilities": {
            "positionEncoding": "utf-16",
            // Incremental.
            "textDocumentSync": { "openClose": true, "change": 2 },
            "completionProvider": { "triggerCharacters": ["\"", "'", ".", "{", "[", ":", " ", "@", "-"] },
            "hoverProvider": true,
            "definitionProvider": true,
            "renameProvider": { "prepareProvider": true },
        },
        "serverInfo": { "name": "orchestr8", "version": env!("CARGO_PKG_VERSION") },
    })
}

/// Returns the path of a `file:` address, and any other address as it is.
fn file_name(uri: &str) -> String {
    let Some(path) = uri.strip_prefix("file://") else { return uri.to_owned() };
    let path = path.strip_prefix("localhost").unwrap_or(path);
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after.get(..2).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match escaped.filter(|_| byte == b'%') {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    let path = String::from_utf8_lossy(&bytes).into_owned();
    // A drive of Windows: `/c:/flows`.
    match path.as_bytes() {
        [b'/', drive, b':', ..] if drive.is_ascii_alphabetic() => path[1..].to_owned(),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn addresses_become_paths() {
        assert_eq!(file_name("file:///home/ada/my%20flow.yaml"), "/home/ada/my flow.yaml");
        assert_eq!(file_name("file:///c%3A/flows/a.json"), "c:/flows/a.json");
        assert_eq!(file_name("untitled:Untitled-1"), "untitled:Untitled-1");
    }
}
