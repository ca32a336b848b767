//! The client of a running server.

use std::time::Duration;

use orchestr8_schema::{
    ExecutionId,
    api::{Entry, Execution, Health, JournalPage, Pagination, Problem},
};
use reqwest::{
    StatusCode, Url,
    blocking::{Client as HttpClient, Response},
};
use serde::de::DeserializeOwned;

use crate::Error;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Entries of a journal that are asked for at once.
const PAGE: u32 = 1000;

/// Speaks with one server.
#[derive(Debug)]
pub struct Client {
    http: HttpClient,
    base: Url,
    token: Option<String>,
}

/// Which entries of a journal are wanted; what is absent does not limit.
#[derive(Clone, Debug, Default)]
pub struct JournalFilter {
    /// Only this step.
    pub step_path: Option<String>,
    /// Only these types, separated by commas.
    pub types: Option<String>,
    /// Only this level and higher ones.
    pub level: Option<String>,
    /// Only from this sequence or time on.
    pub since: Option<String>,
}

impl Client {
    /// Finds out whether an orchestr8 server answers at an address, so that a token never reaches another program.
    ///
    /// # Errors
    ///
    /// When the address is no HTTP address, nobody answers, or another program does.
    pub fn connect(address: &str, token: Option<String>) -> Result<Self, Error> {
        let base =
            Url::parse(address).ok().filter(|url| url.has_host() && url.scheme() == "http").ok_or_else(|| {
                Error::usage(format!("`{address}` is no address of a server"))
                    .with_hint("--server http://127.0.0.1:8088")
            })?;
        // A proxy has no business between two programs of one machine.
        let http = HttpClient::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| Error::internal("making an HTTP client").with_source(error))?;
        let client = Self { http, base, token };
        let health = client.http.get(client.url(&["health"])).send().map_err(|error| client.absent(error))?;
        match health.json::<Health>() {
            Ok(health) if health.name == "orchestr8" => Ok(client),
            _ => Err(Error::unreachable(format!("what answers at {address} is not orchestr8"))
                .with_hint("orchestr8 server --port 0")),
        }
    }

    /// Reads an execution.
    ///
    /// # Errors
    ///
    /// When there is none, or the server does not answer.
    pub fn execution(&self, id: ExecutionId) -> Result<Execution, Error> {
        self.get(self.url(&["v1", "executions", &id.to_string()]))
    }

    /// Reads the graph of an execution in one of the languages that the server draws in, its composites open or closed.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution).
    pub fn graph(&self, id: ExecutionId, language: &str, open: bool) -> Result<String, Error> {
        let mut url = self.url(&["v1", "executions", &id.to_string(), "graph"]);
        url.query_pairs_mut().append_pair("format", language);
        if !open {
            url.query_pairs_mut().append_pair("collapse", "true");
        }
        self.ask(url)?.text().map_err(|error| self.unreadable(error))
    }

    /// Reads a whole journal, page by page, as one page.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution), and when the filter cannot be understood.
    pub fn journal(&self, id: ExecutionId, filter: &JournalFilter) -> Result<JournalPage, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut url = self.url(&["v1", "executions", &id.to_string(), "journal"]);
            let limit = PAGE.to_string();
            let parameters = [
                ("limit", Some(&limit)),
                ("cursor", cursor.as_ref()),
                ("stepPath", filter.step_path.as_ref()),
                ("types", filter.types.as_ref()),
                ("level", filter.level.as_ref()),
                ("since", filter.since.as_ref()),
            ];
            for (name, value) in parameters.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                url.query_pairs_mut().append_pair(name, value);
            }
            let page: JournalPage = self.get(url)?;
            entries.extend(page.entries);
            cursor = page.pagination.next_cursor;
            if cursor.is_none() {
                let pagination = Pagination { next_cursor: None, has_more: false, limit: PAGE };
                return Ok(JournalPage { execution_id: page.execution_id, entries, pagination, summary: page.summary });
            }
        }
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        self.ask(url)?.json().map_err(|error| self.unreadable(error))
    }

    fn ask(&self, url: Url) -> Result<Response, Error> {
        let mut request = self.http.get(url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().map_err(|error| self.absent(error))?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response)) }
    }

    fn unreadable(&self, error: reqwest::Error) -> Error {
        Error::internal(format!("reading the answer of {}", self.base)).with_source(error)
    }

    fn absent(&self, error: reqwest::Error) -> Error {
        Error::unreachable(format!("no server answers at {}", self.base.as_str().trim_end_matches('/')))
            .with_source(error.without_url())
            .with_hint("orchestr8 server")
    }
}

fn refused(response: Response) -> Error {
    let status = response.status();
    let Ok(problem) = response.json::<Problem>() else {
        return Error::internal(format!("the server answered {status}"));
    };
    let error = match status {
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Error::usage(problem.detail),
        StatusCode::UNAUTHORIZED => Error::usage(problem.detail).with_hint("set ORCHESTR8_TOKEN to the server's token"),
        StatusCode::SERVICE_UNAVAILABLE => Error::unreachable(problem.detail),
        _ => Error::internal(problem.detail),
    };
    match problem.correlation_id {
        Some(id) if status.is_server_error() => error.with_correlation_id(id),
        _ => error,
    }
}
