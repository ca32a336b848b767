//! What is asked for.

use std::collections::BTreeMap;

use orchestr8_schema::Millis;
use reqwest::{
    Method, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::AgentError;

/// What `@orchestr8/http` and `http.request` take.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct HttpInput {
    /// The method.
    #[serde(default = "get")]
    pub method: String,
    /// The absolute URL, http or https.
    pub url: String,
    /// Headers of the request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What is added to the query of the URL; a list adds its name once for each item.
    #[serde(default)]
    pub query: BTreeMap<String, Value>,
    /// The body: a text as it is, anything else as JSON.
    #[serde(default)]
    pub body: Option<Value>,
    /// The statuses that are no failure; by default all below 400.
    #[serde(default)]
    pub expect: Vec<u16>,
    /// How long it may take in all: milliseconds, or a text such as `"5s"`.
    #[serde(default)]
    pub timeout: Option<Millis>,
}

fn get() -> String {
    "GET".to_owned()
}

/// Headers that are the connection's own business.
const RESERVED: [&str; 8] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive"];

/// Headers that may follow to another origin: none that says who asks.
const HARMLESS: [&str; 5] = ["accept", "accept-language", "content-type", "user-agent", "idempotency-key"];

/// A request that can be sent, and sent again elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
}

impl Request {
    pub(super) fn of(input: &HttpInput) -> Result<Self, AgentError> {
        let method = Method::from_bytes(input.method.to_ascii_uppercase().as_bytes());
        let method = method.map_err(|_| AgentError::validation(format!("`{}` is no method", input.method)))?;
        // The text of the URL is not told: it may hold a secret.
        let mut url = Url::parse(&input.url)
            .map_err(|error| AgentError::validation("the URL is none, or not absolute").with_source(error))?;
        if !input.query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for (name, value) in &input.query {
                match value {
                    Value::Null => {}
                    Value::Array(items) => {
                        pairs.extend_pairs(items.iter().map(|item| (name, text_of(item))));
                    }
                    other => {
                        pairs.append_pair(name, &text_of(other));
                    }
                }
            }
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &input.headers {
            let key = HeaderName::from_bytes(name.as_bytes());
            let key = key.map_err(|_| AgentError::validation(format!("`{name}` is no name of a header")))?;
            if RESERVED.contains(&key.as_str()) || key.as_str().starts_with("proxy-") {
                return Err(AgentError::validation(format!("the header `{name}` cannot be set")));
            }
            let value = HeaderValue::from_str(value);
            let value = value.map_err(|_| AgentError::validation(format!("the header `{name}` has no valid value")))?;
            headers.append(key, value);
        }
        let body = match &input.body {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain; charset=utf-8"));
                Some(text.clone().into_bytes())
            }
            Some(value) => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                Some(value.to_string().into_bytes())
            }
        };
        Ok(Self { method, url, headers, body })
    }

    /// Whether it changes nothing, so that it needs no key.
    pub(super) fn is_safe(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    /// The request that a redirect asks for.
    pub(super) fn redirected(mut self, status: u16, to: Url) -> Self {
        let becomes_get = match status {
            303 => self.method != Method::HEAD,
            301 | 302 => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = None;
            self.headers.remove(CONTENT_TYPE);
        }
        if to.origin() != self.url.origin() {
            let foreign: Vec<_> =
                self.headers.keys().filter(|name| !HARMLESS.contains(&name.as_str())).cloned().collect();
            for name in foreign {
                self.headers.remove(name);
            }
        }
        self.url = to;
        self
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
