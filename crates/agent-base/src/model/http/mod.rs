//! Models over HTTP: what all of them share is the connection, one map from statuses to kinds of failure, and the reading of streams.

mod anthropic;
mod connection;
mod openai;
mod stream;

use serde_json::{Map, Value};

pub use self::{anthropic::Anthropic, connection::InvalidProvider, openai::OpenAi};
use super::WireNames;
use crate::{AgentError, model::ChatRequest};

/// The names of the request's tools on the wire.
fn names_of(request: &ChatRequest) -> Result<WireNames, AgentError> {
    WireNames::new(request.tools.iter().map(|tool| tool.name.as_str())).map_err(|(one, other)| {
        AgentError::validation(format!("models cannot tell the tools `{one}` and `{other}` apart: rename one of them"))
    })
}

/// Makes an object of what is there.
fn object<const N: usize>(entries: [(&str, Option<Value>); N]) -> Map<String, Value> {
    entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// The error of an answer that is none.
fn broken(what: &str) -> AgentError {
    AgentError::network(format!("the answer is broken: {what}"))
}

fn count(usage: &Value, key: &str) -> u64 {
    usage.get(key).and_then(Value::as_u64).unwrap_or(0)
}
