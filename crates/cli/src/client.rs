//! The client of a running server.

use std::{
    io::{BufRead as _, BufReader},
    time::Duration,
};

use orchestr8_schema::{
    ExecutionId, Timestamp,
    api::{
        Approval, ApprovalList, ApprovalRequest, ApprovalResult, CancelAnswer, CancelRequest, Entry, Execution,
        ExecutionList, Health, JournalPage, Pagination, PauseAnswer, PauseRequest, Problem, SignalAnswer,
        SignalRequest, Why,
    },
};
use reqwest::{
    StatusCode, Url,
    blocking::{Client as HttpClient, RequestBuilder, Response},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, execution_name::ExecutionName};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stream of events is followed at most.
const FOLLOWING: Duration = Duration::from_secs(30 * 86_400);
/// How long the server holds an answer until something changes, in seconds.
const HOLD: &str = "20";
/// Entries of a journal that are asked for at once.
const PAGE: u32 = 1000;
/// Executions and approvals that are asked for at once.
const LIST: usize = 100;

/// Speaks with one server.
#[derive(Debug)]
pub struct Client {
    http: HttpClient,
    base: Url,
    token: Option<String>,
    health: Health,
}

/// Which executions are wanted; what is absent does not limit.
#[derive(Clone, Debug, Default)]
pub struct ExecutionFilter {
    /// Only these statuses, separated by commas.
    pub status: Option<String>,
    /// Only executions of this workflow.
    pub workflow_id: Option<String>,
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
        let url = base.join("health").unwrap_or_else(|_| base.clone());
        let health = http.get(url).send().map_err(|error| absent(&base, error))?;
        match health.json::<Health>() {
            Ok(health) if health.name == "orchestr8" => Ok(Self { http, base, token, health }),
            _ => Err(Error::unreachable(format!("what answers at {address} is not orchestr8"))
                .with_hint("orchestr8 server --port 0")),
        }
    }

    /// Returns what the server said of itself when it was found.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Returns the server's wall time when it was found.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.health.started_at.plus(Duration::from_millis(self.health.uptime))
    }

    /// Finds the execution that a name means.
    ///
    /// # Errors
    ///
    /// When there is none, or several ids begin or end so.
    pub(crate) fn find(&self, name: &ExecutionName) -> Result<ExecutionId, Error> {
        let unknown = || Error::usage(format!("there is no execution {name}")).with_hint("orchestr8 list");
        match name {
            ExecutionName::Id(id) => Ok(*id),
            ExecutionName::Last => {
                let list = self.executions(&ExecutionFilter::default(), 1)?;
                list.executions.first().map(|newest| newest.execution_id).ok_or_else(unknown)
            }
            ExecutionName::Part(part) => {
                let list = self.executions(&ExecutionFilter::default(), usize::MAX)?;
                let ids = list.executions.iter().map(|execution| execution.execution_id);
                let mut fitting = ids.filter(|id| {
                    let text = id.to_string();
                    text.starts_with(part) || text.ends_with(part)
                });
                let found = fitting.next().ok_or_else(unknown)?;
                match fitting.next() {
                    None => Ok(found),
                    Some(other) => Err(Error::usage(format!("several executions are named so: {found}, {other}"))
                        .with_hint("give more digits")),
                }
            }
        }
    }

    /// Lists executions, newest first, at most so many.
    ///
    /// # Errors
    ///
    /// When the filter cannot be understood, or the server does not answer.
    pub fn executions(&self, filter: &ExecutionFilter, most: usize) -> Result<ExecutionList, Error> {
        let mut list = ExecutionList { executions: Vec::new(), next_cursor: None, has_more: true };
        while list.has_more && list.executions.len() < most {
            let mut url = self.url(&["v1", "executions"]);
            let limit = (most - list.executions.len()).min(LIST).to_string();
            let parameters = [
                ("limit", Some(&limit)),
                ("cursor", list.next_cursor.as_ref()),
                ("status", filter.status.as_ref()),
                ("workflowId", filter.workflow_id.as_ref()),
            ];
            for (name, value) in parameters.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                url.query_pairs_mut().append_pair(name, value);
            }
            let page: ExecutionList = self.get(url)?;
            list.executions.extend(page.executions);
            (list.next_cursor, list.has_more) = (page.next_cursor, page.has_more);
        }
        Ok(list)
    }

    /// Waits for the end of an execution.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution).
    pub fn ended(&self, id: ExecutionId) -> Result<Execution, Error> {
        let mut tag = String::new();
        loop {
            let mut url = self.execution_url(id, &[]);
            url.query_pairs_mut().append_pair("wait", HOLD);
            let response = self.send(self.http.get(url).header("if-none-match", &tag))?;
            if response.status() == StatusCode::NOT_MODIFIED {
                continue;
            }
            tag = response.headers().get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned();
            let execution: Execution = response.json().map_err(|error| self.unreadable(error))?;
            if execution.status.is_terminal() {
                return Ok(execution);
            }
        }
    }

    /// Asks for the end of an execution.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution).
    pub fn cancel(&self, id: ExecutionId, request: &CancelRequest) -> Result<CancelAnswer, Error> {
        self.post(self.execution_url(id, &["cancel"]), request)
    }

    /// Has an execution start nothing more until it is resumed.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution), and when it is ending or has ended.
    pub fn pause(&self, id: ExecutionId, request: &PauseRequest) -> Result<PauseAnswer, Error> {
        self.post(self.execution_url(id, &["pause"]), request)
    }

    /// Tells an execution something.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution), and when it takes no signals any more.
    pub fn signal(&self, id: ExecutionId, name: &str, request: &SignalRequest) -> Result<SignalAnswer, Error> {
        self.post(self.execution_url(id, &["signals", name]), request)
    }

    /// Lists what waits for an answer, oldest first; of one execution, or of all.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution).
    pub fn approvals(&self, id: Option<ExecutionId>) -> Result<Vec<Approval>, Error> {
        let mut approvals = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut url = self.url(&["v1", "approvals"]);
            let (limit, id) = (LIST.to_string(), id.map(|id| id.to_string()));
            let parameters = [("limit", Some(&limit)), ("cursor", cursor.as_ref()), ("executionId", id.as_ref())];
            for (name, value) in parameters.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                url.query_pairs_mut().append_pair(name, value);
            }
            let page: ApprovalList = self.get(url)?;
            approvals.extend(page.approvals);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(approvals);
            }
        }
    }

    /// Answers an approval.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution), when nothing waits there, when it was answered otherwise, and when the answer does not fit
    /// the step's schema.
    pub fn answer(&self, id: ExecutionId, step_path: &str, request: &ApprovalRequest) -> Result<ApprovalResult, Error> {
        self.post(self.execution_url(id, &["approvals", step_path]), request)
    }

    /// Follows a journal to the end of the execution, or of the server.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution), and what taking an entry fails with.
    pub fn follow(&self, id: ExecutionId, mut take: impl FnMut(&Entry) -> Result<(), Error>) -> Result<(), Error> {
        let request = self.http.get(self.execution_url(id, &["events"])).timeout(FOLLOWING);
        for line in BufReader::new(self.send(request)?).lines() {
            let line = line.map_err(|error| Error::unreachable("the server has gone").with_source(error))?;
            // What is no entry tells of the end.
            let entry = line.strip_prefix("data: ").and_then(|data| serde_json::from_str(data).ok());
            if let Some(entry) = entry {
                take(&entry)?;
            }
        }
        Ok(())
    }

    /// Reads an execution.
    ///
    /// # Errors
    ///
    /// When there is none, or the server does not answer.
    pub fn execution(&self, id: ExecutionId) -> Result<Execution, Error> {
        self.get(self.execution_url(id, &[]))
    }

    /// Reads why a step is as it is.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution), and when the execution has no such step.
    pub fn why(&self, id: ExecutionId, step_path: &str) -> Result<Why, Error> {
        self.get(self.execution_url(id, &["steps", step_path, "why"]))
    }

    /// Reads the graph of an execution in one of the languages that the server draws in, its composites open or closed.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution).
    pub fn graph(&self, id: ExecutionId, language: &str, open: bool) -> Result<String, Error> {
        let mut url = self.execution_url(id, &["graph"]);
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
            let mut url = self.execution_url(id, &["journal"]);
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

    fn execution_url(&self, id: ExecutionId, segments: &[&str]) -> Url {
        let id = id.to_string();
        self.url(&[&["v1", "executions", &id], segments].concat())
    }

    fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        self.ask(url)?.json().map_err(|error| self.unreadable(error))
    }

    fn post<T: DeserializeOwned>(&self, url: Url, body: &impl Serialize) -> Result<T, Error> {
        self.send(self.http.post(url).json(body))?.json().map_err(|error| self.unreadable(error))
    }

    fn ask(&self, url: Url) -> Result<Response, Error> {
        self.send(self.http.get(url))
    }

    fn send(&self, mut request: RequestBuilder) -> Result<Response, Error> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().map_err(|error| absent(&self.base, error))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED { Ok(response) } else { Err(refused(response)) }
    }

    fn unreadable(&self, error: reqwest::Error) -> Error {
        Error::internal(format!("reading the answer of {}", self.base)).with_source(error)
    }
}

fn absent(base: &Url, error: reqwest::Error) -> Error {
    Error::unreachable(format!("no server answers at {}", base.as_str().trim_end_matches('/')))
        .with_source(error.without_url())
        .with_hint("orchestr8 server")
}

fn refused(response: Response) -> Error {
    let status = response.status();
    let Ok(problem) = response.json::<Problem>() else {
        return Error::internal(format!("the server answered {status}"));
    };
    let error = match status {
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::PAYLOAD_TOO_LARGE => {
            Error::usage(problem.detail)
        }
        StatusCode::UNAUTHORIZED => Error::usage(problem.detail).with_hint("set ORCHESTR8_TOKEN to the server's token"),
        StatusCode::SERVICE_UNAVAILABLE => Error::unreachable(problem.detail),
        _ => Error::internal(problem.detail),
    };
    match problem.correlation_id {
        Some(id) if status.is_server_error() => error.with_correlation_id(id),
        _ => error,
    }
}
