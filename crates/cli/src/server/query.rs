//! The parts of a request: what cannot be read is a problem of code `BAD_REQUEST`.

use axum::{extract::Query, http::Uri};
use orchestr8_schema::ExecutionId;
use serde::de::DeserializeOwned;

use super::{body::RequestBody, problem::Rejection};

/// Reads the query; unknown parameters are ignored.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Rejection> {
    match Query::try_from_uri(uri) {
        Ok(Query(parameters)) => Ok(parameters),
        Err(error) => Err(Rejection::bad_request(error.body_text())),
    }
}

/// Reads the body of a request; an empty one is `{}`.
pub(super) fn request<T: DeserializeOwned>(body: &RequestBody) -> Result<T, Rejection> {
    serde_json::from_value(body.json()?)
        .map_err(|error| Rejection::bad_request(format!("the body does not have the form of a request: {error}")))
}

/// Reads the id of an execution from a path.
pub(super) fn execution_id(text: &str) -> Result<ExecutionId, Rejection> {
    text.parse().map_err(|error: orchestr8_schema::id::InvalidId| Rejection::bad_request(error.to_string()))
}
