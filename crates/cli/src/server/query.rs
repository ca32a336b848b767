//! The parts of a request: what cannot be read is a problem of code `BAD_REQUEST`.

use axum::{extract::Query, http::Uri};
use orchestr8_schema::{ExecutionId, api::Warning};
use serde::de::DeserializeOwned;
use serde_ignored::Path;
use serde_json::{Map, Value};

use super::{body::RequestBody, problem::Rejection};

/// Reads the query; unknown parameters are ignored.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Rejection> {
    match Query::try_from_uri(uri) {
        Ok(Query(parameters)) => Ok(parameters),
        Err(error) => Err(Rejection::bad_request(error.body_text())),
    }
}

/// Reads the body of a request, and says which of its keys mean nothing; an empty one is `{}`.
pub(super) fn request<T: DeserializeOwned>(body: &RequestBody) -> Result<(T, Vec<Warning>), Rejection> {
    match body.json()? {
        Value::Object(body) => read(body),
        _ => Err(Rejection::bad_request("the body is no object")),
    }
}

/// Reads a request, and says which of its keys mean nothing.
pub(super) fn read<T: DeserializeOwned>(request: Map<String, Value>) -> Result<(T, Vec<Warning>), Rejection> {
    let mut warnings = Vec::new();
    let mut warn = |path: Path<'_>| {
        let message = format!("`{}` is unknown and has no effect", dotted(&path));
        warnings.push(Warning::Request { message });
    };
    let read = serde_ignored::deserialize(Value::Object(request), &mut warn);
    read.map(|request| (request, warnings)).map_err(unlike)
}

/// Says that a body is JSON, but no request.
pub(super) fn unlike(error: impl std::fmt::Display) -> Rejection {
    Rejection::bad_request(format!("the body does not have the form of a request: {error}"))
}

/// Writes the path of a key as a person would: `context.source`.
fn dotted(path: &Path<'_>) -> String {
    let below = |parent: &Path<'_>, name: &str| match dotted(parent) {
        parent if parent.is_empty() => name.to_owned(),
        parent => format!("{parent}.{name}"),
    };
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", dotted(parent)),
        Path::Map { parent, key } => below(parent, key),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => dotted(parent),
    }
}

/// Reads the id of an execution from a path.
pub(super) fn execution_id(text: &str) -> Result<ExecutionId, Rejection> {
    text.parse().map_err(|error: orchestr8_schema::id::InvalidId| Rejection::bad_request(error.to_string()))
}
