//! How a request reaches whoever answers it: a server over HTTP, or the same routes in this process, on the store of a data directory.

use std::{io::Read, time::Duration};

use reqwest::{
    Method, StatusCode, Url,
    blocking::Client as HttpClient,
    header::{HeaderMap, HeaderName, HeaderValue},
};

use crate::Error;

/// How long an answer may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// A request to one of the routes.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
    /// How long the whole answer may take.
    pub(super) timeout: Duration,
}

/// What came back. The body arrives while it is read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Box<dyn Read + Send>,
}

impl Request {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: None, timeout: TIMEOUT }
    }

    /// Adds a header; what no header can say is left out.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

/// Carries requests.
pub(super) trait Transport: std::fmt::Debug + Send + Sync {
    /// Carries one, and waits for the head of its answer.
    fn send(&self, request: Request) -> Result<Answer, Error>;

    /// Whether what is asked for happens in this process.
    fn is_here(&self) -> bool;
}

/// Carries requests over HTTP.
#[derive(Debug)]
pub(super) struct Http(HttpClient);

impl Http {
    pub(super) fn new() -> Result<Self, Error> {
        // A proxy has no business between two programs of one machine.
        let http = HttpClient::builder().no_proxy().timeout(TIMEOUT).build();
        Ok(Self(http.map_err(|error| Error::internal("making an HTTP client").with_source(error))?))
    }

    /// Carries a request, and tells in which way that failed.
    pub(super) fn try_send(&self, request: Request) -> Result<Answer, reqwest::Error> {
        let Request { method, url, headers, body, timeout } = request;
        let mut builder = self.0.request(method, url).headers(headers).timeout(timeout);
        if let Some(body) = body {
            builder = builder.body(body);
        }
        let response = builder.send()?;
        Ok(Answer { status: response.status(), headers: response.headers().clone(), body: Box::new(response) })
    }
}

impl Transport for Http {
    fn send(&self, request: Request) -> Result<Answer, Error> {
        let mut base = request.url.clone();
        base.set_path("");
        base.set_query(None);
        self.try_send(request).map_err(|error| {
            Error::unreachable(format!("no server answers at {}", base.as_str().trim_end_matches('/')))
                .with_source(error.without_url())
                .with_hint("orchestr8 start")
        })
    }

    fn is_here(&self) -> bool {
        false
    }
}
