//! The client of the REST interface: of a running server, or of the same routes in this process.
//!
//! Every command that looks at executions, or tells them something, does so through it. So it prints the same with a server and without.

#[cfg(feature = "server")]
mod in_process;
mod transport;

use std::{
    io::{self, BufRead as _, BufReader, Read as _},
    sync::Arc,
    time::Duration,
};

#[cfg(feature = "server")]
use orchestr8_core::Engine;
use orchestr8_core::clock::{self, SystemClock};
use orchestr8_schema::{
    CorrelationId, ExecutionId, Timestamp,
    api::{
        Accepted, Approval, ApprovalList, ApprovalRequest, ApprovalResult, CancelAnswer, CancelRequest, Entry,
        Execution, ExecutionList, ExecutionStatus, ForkAnswer, ForkBody, Health, JournalPage, Pagination, PauseAnswer,
        PauseRequest, Problem, ResumeAnswer, ResumeRequest, SignalAnswer, SignalRequest, StepProgress, Why,
    },
};
use reqwest::{
    Method, StatusCode, Url,
    header::{self, HeaderName},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

#[cfg(feature = "server")]
use self::in_process::InProcess;
use self::transport::{Answer, Http, Request, Transport};
use crate::{Error, ErrorKind, execution_name::ExecutionName, sleep::sleep, telemetry};

/// How long whoever listens may take to say who it is.
const PROBE: Duration = Duration::from_secs(2);
/// How long a stream of events is followed at most.
const FOLLOWING: Duration = Duration::from_secs(30 * 86_400);
/// How long to wait before a stream that broke off is asked for again.
const AGAIN: Duration = Duration::from_millis(500);
/// How often in a row that may fail.
const MOST_FAILURES: u32 = 10;
/// How long the server holds an answer until something changes, in seconds.
const HOLD: &str = "20";
/// Entries of a journal that are asked for at once.
const PAGE: u32 = 1000;
/// Executions and approvals that are asked for at once.
const LIST: usize = 100;

const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What is told to those who follow an execution.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// An entry of the journal.
    Entry(Entry),
    /// How far a step has come, which is in no journal.
    Progress(StepProgress),
}

/// Asks one server, or the routes of a server in this process. Clones ask the same one.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Arc<dyn Transport>,
    base: Url,
    token: Option<String>,
    health: Health,
    /// What ties everything that this process asks for together, in journals, logs and traces.
    correlation_id: CorrelationId,
}

/// Who answers at an address.
#[derive(Debug)]
pub(crate) enum Answerer {
    /// A server of ours.
    Server(Box<Client>),
    /// Another program, or one that does not speak.
    Foreign,
    /// Nobody.
    Nobody,
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
    /// Begins to ask the server at an address, once it has said that it is one: a token never reaches another program.
    ///
    /// # Errors
    ///
    /// When the address is no HTTP address, nobody answers, or another program does.
    pub fn connect(address: &str, token: Option<String>) -> Result<Self, Error> {
        match Self::probe(address, token)? {
            Answerer::Server(client) => Ok(*client),
            Answerer::Foreign => Err(Error::unreachable(format!("what answers at {address} is not orchestr8"))
                .with_hint("orchestr8 start --port 0")),
            Answerer::Nobody => {
                Err(Error::unreachable(format!("no server answers at {address}")).with_hint("orchestr8 start"))
            }
        }
    }

    /// Finds out who answers at an address.
    pub(crate) fn probe(address: &str, token: Option<String>) -> Result<Answerer, Error> {
        let base =
            Url::parse(address).ok().filter(|url| url.has_host() && url.scheme() == "http").ok_or_else(|| {
                Error::usage(format!("`{address}` is no address of a server"))
                    .with_hint("--server=http://127.0.0.1:8088")
            })?;
        let http = Http::new()?;
        let url = base.join("health").unwrap_or_else(|_| base.clone());
        let answer = match http.try_send(Request { timeout: PROBE, ..Request::new(Method::GET, url) }) {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Ok(Answerer::Nobody),
            Err(_) => return Ok(Answerer::Foreign),
        };
        Ok(match read::<Health>(answer) {
            Ok(health) if health.name == "orchestr8" => {
                Answerer::Server(Box::new(Self::new(Arc::new(http), base, token, health)))
            }
            _ => Answerer::Foreign,
        })
    }

    /// Asks the routes in this process, on the store of this engine. What a request changes is driven here as long as the client
    /// lives, and left to others then.
    #[cfg(feature = "server")]
    pub(crate) fn in_process(engine: Engine) -> Result<Self, Error> {
        let base = Url::parse("http://127.0.0.1").map_err(|error| Error::internal("an address").with_source(error))?;
        let transport = InProcess::new(engine)?;
        let url = base.join("health").unwrap_or_else(|_| base.clone());
        let health = read(transport.send(Request::new(Method::GET, url))?)
            .map_err(|error| Error::internal("asking in this process").with_source(error))?;
        Ok(Self::new(Arc::new(transport), base, None, health))
    }

    fn new(transport: Arc<dyn Transport>, base: Url, token: Option<String>, health: Health) -> Self {
        let correlation_id = clock::correlation_id(&SystemClock::new());
        Self { transport, base, token, health, correlation_id }
    }

    /// Ties what is asked for to a cause that is known already.
    pub(crate) fn correlation_id(&mut self, id: CorrelationId) {
        self.correlation_id = id;
    }

    /// Returns what the server said of itself when it was found.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Returns where it is.
    pub(crate) fn url_of_server(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
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
        self.until(id, |_| false)
    }

    /// Waits until an execution has ended, or is as it is wanted.
    fn until(&self, id: ExecutionId, is_wanted: impl Fn(&Execution) -> bool) -> Result<Execution, Error> {
        let mut tag = String::new();
        loop {
            let mut url = self.execution_url(id, &[]);
            url.query_pairs_mut().append_pair("wait", HOLD);
            let answer = self.send(Request::new(Method::GET, url).header(header::IF_NONE_MATCH, &tag))?;
            if answer.status == StatusCode::NOT_MODIFIED {
                continue;
            }
            tag = answer.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned();
            let execution: Execution = read(answer).map_err(|error| self.unreadable(error))?;
            if execution.status.is_terminal() || is_wanted(&execution) {
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

    /// Asks for an execution.
    ///
    /// # Errors
    ///
    /// When the workflow or its input is not valid, the key stands for something else, or the server does not answer.
    pub(crate) fn execute(&self, body: &Value, key: Option<&str>) -> Result<Accepted, Error> {
        self.post_once(self.url(&["v1", "workflows", "execute"]), body, key)
    }

    /// Lets an execution go on that is paused, that nobody drives, or that has failed.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution), and when it cannot go on.
    pub(crate) fn resume(&self, id: ExecutionId, request: &ResumeRequest) -> Result<ResumeAnswer, Error> {
        self.post(self.execution_url(id, &["resume"]), request)
    }

    /// Starts a new execution from a checkpoint of another one.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution), and when there can be no fork.
    pub(crate) fn fork(&self, id: ExecutionId, request: &ForkBody) -> Result<ForkAnswer, Error> {
        self.post(self.execution_url(id, &["fork"]), request)
    }

    /// Reads the input of an execution as its journal has it.
    ///
    /// # Errors
    ///
    /// As [`journal`](Self::journal).
    pub(crate) fn input(&self, id: ExecutionId) -> Result<Value, Error> {
        let types = Some("execution.queued".to_owned());
        let journal = self.journal(id, &JournalFilter { types, ..JournalFilter::default() })?;
        Ok(journal.entries.first().and_then(|entry| entry.data.get("input")).cloned().unwrap_or_default())
    }

    /// Reads how long running steps have been given to end, in milliseconds; absent if the execution is not ending so.
    ///
    /// # Errors
    ///
    /// As [`journal`](Self::journal).
    pub(crate) fn grace(&self, id: ExecutionId) -> Result<Option<u64>, Error> {
        let types = Some("execution.cancelling".to_owned());
        let journal = self.journal(id, &JournalFilter { types, ..JournalFilter::default() })?;
        Ok(journal.entries.last().and_then(|entry| entry.data.get("gracePeriodMs")?.as_u64()))
    }

    /// Waits until nothing of an execution runs in this process any more. What a server drives is left to it.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution).
    pub(crate) fn settle(&self, id: ExecutionId) -> Result<(), Error> {
        let rests = |execution: &Execution| {
            // Who waits counts among those that run.
            let waiting = execution.waiting_for.len();
            let is_still = execution.status == ExecutionStatus::Paused || waiting > 0;
            is_still && execution.progress.running as usize <= waiting
        };
        if self.transport.is_here() { self.until(id, rests).map(|_| ()) } else { Ok(()) }
    }

    /// Reads the definition of an execution as it is executed.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution).
    pub(crate) fn workflow(&self, id: ExecutionId) -> Result<Value, Error> {
        self.get(self.execution_url(id, &["workflow"]))
    }

    /// Follows a journal behind a sequence to the end of the execution. A stream that breaks off is asked for again behind what came.
    ///
    /// # Errors
    ///
    /// As [`execution`](Self::execution), what taking an entry fails with, and when the server is gone for long.
    pub fn follow(
        &self,
        id: ExecutionId,
        after: u64,
        mut take: impl FnMut(&Entry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.follow_closely(id, after, |told| match told {
            Told::Entry(entry) => take(&entry),
            Told::Progress(_) => Ok(()),
        })
    }

    /// Follows a journal as [`follow`](Self::follow) does, and what is told beside it of how far steps have come.
    ///
    /// # Errors
    ///
    /// As [`follow`](Self::follow).
    pub(crate) fn follow_closely(
        &self,
        id: ExecutionId,
        mut after: u64,
        mut take: impl FnMut(Told) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut failures = 0;
        loop {
            let came = self.follow_stream(id, &mut after, &mut take);
            match came {
                Ok(()) if self.execution(id)?.status.is_terminal() => return Ok(()),
                Ok(()) => failures = 0,
                Err(error) if error.kind() == ErrorKind::Unreachable && failures < MOST_FAILURES => failures += 1,
                Err(error) => return Err(error),
            }
            sleep(AGAIN)?;
        }
    }

    /// Follows one stream to its end.
    fn follow_stream(
        &self,
        id: ExecutionId,
        after: &mut u64,
        take: &mut impl FnMut(Told) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut url = self.execution_url(id, &["events"]);
        url.query_pairs_mut().append_pair("after", &after.to_string());
        let answer = self.send(Request { timeout: FOLLOWING, ..Request::new(Method::GET, url) })?;
        for line in BufReader::new(answer.body).lines() {
            let line = line.map_err(|error| Error::unreachable("the server has gone").with_source(error))?;
            let Some(data) = line.strip_prefix("data: ") else { continue };
            if let Ok(entry) = serde_json::from_str::<Entry>(data) {
                let sequence = entry.sequence;
                take(Told::Entry(entry))?;
                *after = sequence;
            } else if let Ok(progress) = serde_json::from_str::<StepProgress>(data) {
                take(Told::Progress(progress))?;
            }
            // What is neither tells of the end.
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
        let mut text = String::new();
        let mut body = self.send(Request::new(Method::GET, url))?.body;
        body.read_to_string(&mut text).map_err(|error| self.unreadable(error))?;
        Ok(text)
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
        read(self.send(Request::new(Method::GET, url))?).map_err(|error| self.unreadable(error))
    }

    fn post<T: DeserializeOwned>(&self, url: Url, body: &impl Serialize) -> Result<T, Error> {
        self.post_once(url, body, None)
    }

    /// Posts what is done once, however often it is posted with the same key.
    fn post_once<T: DeserializeOwned>(&self, url: Url, body: &impl Serialize, key: Option<&str>) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|error| Error::internal("writing JSON").with_source(error))?;
        let mut request = Request::new(Method::POST, url).header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        read(self.send(Request { body: Some(body), ..request })?).map_err(|error| self.unreadable(error))
    }

    fn send(&self, request: Request) -> Result<Answer, Error> {
        let mut request = request.header(CORRELATION_ID, self.correlation_id.as_str());
        if let Some(trace) = telemetry::traceparent() {
            request = request.header(TRACEPARENT, &trace);
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, &format!("Bearer {token}"));
        }
        let answer = self.transport.send(request)?;
        let is_answered = answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED;
        if is_answered { Ok(answer) } else { Err(refused(answer)) }
    }

    fn unreadable(&self, error: io::Error) -> Error {
        Error::internal(format!("reading the answer of {}", self.base)).with_source(error)
    }
}

/// Reads a body of JSON.
fn read<T: DeserializeOwned>(mut answer: Answer) -> io::Result<T> {
    let mut text = Vec::new();
    answer.body.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn refused(answer: Answer) -> Error {
    let status = answer.status;
    let Ok(problem) = read::<Problem>(answer) else {
        return Error::internal(format!("the server answered {status}"));
    };
    let holder = problem.extensions.get("holder").and_then(|holder| holder.get("process")).and_then(Value::as_u64);
    let holder = holder.and_then(|process| u32::try_from(process).ok());
    let error = match status {
        _ if let Some(process) = holder => Error::unreachable(problem.detail).with_holder(process),
        _ if problem.code == "VALIDATION" => {
            let issues = problem.issues.iter().map(|issue| format!("; {}: {}", issue.path, issue.message));
            let issues: String = issues.collect();
            Error::new(ErrorKind::Invalid, format!("{}{issues}", problem.detail))
        }
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
