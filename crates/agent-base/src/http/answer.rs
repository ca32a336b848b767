//! What is answered.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde_json::{Map, Value, json};

use super::failure;
use crate::AgentError;

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// Reads an answer of at most so many bytes.
    pub(super) async fn read(mut response: Response, limit: usize) -> Result<Self, AgentError> {
        let too_long = || AgentError::validation(format!("the answer is over {limit} bytes"));
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(too_long());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failure::of_error)? {
            if body.len() + chunk.len() > limit {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Self { status: response.status(), headers: response.headers().clone(), body })
    }

    /// The beginning of the body, as far as it is text.
    pub(super) fn excerpt(&self) -> String {
        const LONGEST: usize = 4096;
        String::from_utf8_lossy(&self.body[..self.body.len().min(LONGEST)]).into_owned()
    }

    /// Returns `{status, headers, body}`: what is called JSON parsed if it is, else the text; or `bodyBase64` for what is no text.
    pub(super) fn into_value(self) -> Value {
        let mut headers = Map::new();
        for name in self.headers.keys() {
            let values = self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
            headers.insert(name.to_string(), values.collect::<Vec<_>>().join(", ").into());
        }
        let status = self.status.as_u16();
        if self.is_json()
            && let Ok(body) = serde_json::from_slice::<Value>(&self.body)
        {
            return json!({ "status": status, "headers": headers, "body": body });
        }
        match String::from_utf8(self.body) {
            Ok(text) => json!({ "status": status, "headers": headers, "body": text }),
            Err(error) => {
                json!({ "status": status, "headers": headers, "bodyBase64": STANDARD.encode(error.as_bytes()) })
            }
        }
    }

    fn is_json(&self) -> bool {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        kind == "application/json" || kind == "text/json" || kind.ends_with("+json")
    }
}
