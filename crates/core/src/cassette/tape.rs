//! Reading a recording.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use orchestr8_schema::{
    Failure, Timestamp,
    api::Entry,
    canonical,
    event::{ApprovalAnswer, ApprovalDecision, Signal},
    usage::Usage,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{Attempt, Tape};

/// What stands in the place of what an export hides or cuts.
const HIDDEN: [&str; 2] = ["[REDACTED]", "[truncated]"];

/// What is known of a call while its entries are read.
#[derive(Default)]
struct Call {
    digest: Option<String>,
    began: Timestamp,
    /// Of what its agent has recorded since the last attempt ended.
    recorded: Option<Usage>,
}

pub(super) fn read(entries: impl Iterator<Item = Entry>) -> Tape {
    let mut tape = Tape::default();
    let mut calls: HashMap<(String, String), Call> = HashMap::new();
    let mut signals: HashMap<u64, Signal> = HashMap::new();
    let mut recorded: HashMap<String, Vec<Attempt>> = HashMap::new();
    for mut entry in entries {
        let path = entry.step_path.clone();
        let data = &mut entry.data;
        tape.agents.extend(text(data, "agentId").map(|id| (id, String::new())));
        tape.tools.extend(text(data, "tool"));
        match (entry.kind.as_str(), path) {
            ("execution.queued", _) => {
                tape.began_at = entry.timestamp;
                tape.input = taken(data, "input").unwrap_or_default();
                tape.variables = taken(data, "variables").unwrap_or_default();
                tape.env = taken(data, "env").unwrap_or_default();
                let versions: Map<String, Value> = taken(data, "agentVersions").unwrap_or_default();
                tape.agents
                    .extend(versions.into_iter().filter_map(|(id, version)| Some((id, version.as_str()?.to_owned()))));
            }
            ("step.scheduled", Some(path)) => {
                let known = calls.entry((path, "step".to_owned())).or_default();
                known.digest = text(data, "inputDigest");
            }
            ("compensation.step-started", Some(path)) => {
                let digest = digest_of(data);
                calls.entry((path, "compensation".to_owned())).or_default().digest = digest;
            }
            ("hook.started", path) => {
                let Some(point) = text(data, "point") else { continue };
                let purpose = format!("{point}/{}", data.get("index").unwrap_or(&Value::Null));
                let digest = digest_of(data);
                calls.entry((path.unwrap_or(point), purpose)).or_default().digest = digest;
            }
            // The input that a guard has put in the place of the step's.
            ("hook.finished", Some(path)) if data.contains_key("input") => {
                calls.entry((path, "step".to_owned())).or_default().digest = None;
            }
            ("attempt.started", path) => {
                let Some(place) = place(data, path) else { continue };
                calls.entry(place).or_default().began = entry.timestamp;
            }
            ("durable.recorded", path) => {
                let Some(place) = place(data, path) else { continue };
                if let Some(usage) = taken::<Usage>(data, "usage") {
                    calls.entry(place).or_default().recorded.get_or_insert_default().add(&usage);
                }
            }
            ("attempt.finished", path) => {
                let Some(place) = place(data, path) else { continue };
                let mut usage = calls.get_mut(&place).and_then(|known| known.recorded.take());
                if let Some(reported) = taken::<Usage>(data, "usage") {
                    usage.get_or_insert_default().add(&reported);
                }
                let known = calls.get(&place);
                let error = data.remove("error");
                let is_cut = entry.truncated.is_some() || is_hidden(data) || error.as_ref().is_some_and(hides);
                let result = match error.map(serde_json::from_value::<Failure>) {
                    Some(Ok(failure)) => Err(failure),
                    Some(Err(_)) => continue,
                    None => Ok(data.remove("output").unwrap_or_default()),
                };
                recorded.entry(place.0).or_default().push(Attempt {
                    number: entry.attempt.unwrap_or(1),
                    digest: known.and_then(|known| known.digest.clone()),
                    result,
                    usage,
                    took: known.map_or(Duration::ZERO, |known| entry.timestamp.since(known.began)),
                    is_cut,
                    is_played: false,
                });
            }
            // What a fork had taken over is as good as an answer.
            ("step.completed", Some(path)) if data.get("reused") == Some(&json!(true)) => {
                let digest = calls.get(&(path.clone(), "step".to_owned())).and_then(|known| known.digest.clone());
                recorded.entry(path).or_default().push(Attempt {
                    number: 1,
                    digest,
                    is_cut: entry.truncated.is_some() || is_hidden(data),
                    result: Ok(data.remove("output").unwrap_or_default()),
                    usage: None,
                    took: Duration::ZERO,
                    is_played: false,
                });
            }
            ("approval.answered", Some(path)) => {
                let Some(decision) = taken::<ApprovalDecision>(data, "decision") else { continue };
                let answer = data.remove("answer").unwrap_or_default();
                let (comment, by) = (text(data, "comment"), text(data, "by"));
                tape.answers.insert(path, ApprovalAnswer { decision, answer, comment, by });
            }
            ("signal.received", _) => {
                let Some(name) = text(data, "name") else { continue };
                let payload = data.remove("payload").unwrap_or_default();
                let signal = Signal { name: name.into(), payload, signal_id: None, step_path: None };
                signals.insert(entry.sequence, signal);
            }
            ("signal.delivered", Some(path)) => {
                let sequence = data.get("signalSequence").and_then(Value::as_u64);
                if let Some(signal) = sequence.and_then(|sequence| signals.remove(&sequence)) {
                    tape.signals.insert(path, signal);
                }
            }
            _ => {}
        }
    }
    tape.calls = Mutex::new(recorded);
    tape
}

/// The path and the purpose of the call that an entry is about: `path/step`, `path/compensation`, or `path/point/index/hook`.
fn place(data: &Map<String, Value>, path: Option<String>) -> Option<(String, String)> {
    let mut parts = data.get("callId")?.as_str()?.rsplit('/');
    match parts.next()? {
        "hook" => {
            let (index, point) = (parts.next()?, parts.next()?);
            Some((path.unwrap_or_else(|| point.to_owned()), format!("{point}/{index}")))
        }
        purpose => Some((path?, purpose.to_owned())),
    }
}

/// The digest of what a hook or a compensation is given; absent if not all of it is told.
fn digest_of(data: &Map<String, Value>) -> Option<String> {
    let input = data.get("input").filter(|_| !is_hidden(data))?;
    Some(match text(data, "tool") {
        Some(name) => canonical::digest(&json!({ "arguments": input, "name": name })),
        None => canonical::digest(input),
    })
}

fn text(data: &Map<String, Value>, key: &str) -> Option<String> {
    data.get(key)?.as_str().map(str::to_owned)
}

fn taken<T: DeserializeOwned>(data: &mut Map<String, Value>, key: &str) -> Option<T> {
    serde_json::from_value(data.remove(key)?).ok()
}

fn is_hidden(data: &Map<String, Value>) -> bool {
    data.values().any(hides)
}

/// Whether something in a value was hidden or cut.
fn hides(value: &Value) -> bool {
    match value {
        Value::String(text) => HIDDEN.iter().any(|mark| text.contains(mark)),
        Value::Array(items) => items.iter().any(hides),
        Value::Object(map) => map.values().any(hides),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
