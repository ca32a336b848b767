//! The program as a server on a free port of loopback.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::Value;

use super::described::{self, Answered};

/// A server that ends with its test.
#[derive(Debug)]
pub(crate) struct RunningServer {
    child: Child,
    /// What it prints.
    told: Lines<BufReader<ChildStdout>>,
    pub(crate) url: String,
    pub(crate) client: Client,
}

impl RunningServer {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::of(command.args(["server", "--port", "0"]))
    }

    /// Starts what is a server already.
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the built program starts");
        let mut told = BufReader::new(child.stdout.take().expect("standard output is a pipe")).lines();
        let url = told
            .find_map(|line| {
                let line = line.expect("it writes UTF-8");
                let (_, address) = line.split_once("Listening on ")?;
                address.split_whitespace().next().map(str::to_owned)
            })
            .expect("the server says where it listens");
        let client = Client::builder().no_proxy().build().expect("a client without TLS can always be made");
        Self { child, told, url, client }
    }

    /// Waits until it has told of so many things.
    pub(crate) fn tells(&mut self, lines: usize) {
        assert_eq!(self.told.by_ref().take(lines).count(), lines, "the server has ended");
    }

    /// Kills it, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the server is our child");
        self.child.wait().expect("the server is our child");
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url))
    }

    pub(crate) fn post_yaml(&self, path: &str, document: impl Into<String>) -> RequestBuilder {
        self.post(path).header("content-type", "application/yaml").body(document.into())
    }

    /// Waits until an execution is as it is wanted.
    pub(crate) fn until(&self, id: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let mut tag = String::new();
        loop {
            let request = self.get(&format!("/v1/executions/{id}?wait=20")).header("if-none-match", &tag);
            let answer = request.send().expect("the server answers");
            tag = answer.headers()["etag"].to_str().expect("a tag is ASCII").to_owned();
            let body: Value = answer.json().expect("it changes within 20 s");
            if is_wanted(&body) {
                return body;
            }
        }
    }

    pub(crate) fn port(&self) -> &str {
        self.url.rsplit(':').next().expect("an address has a port")
    }

    /// Asks the server to end as an operator does, and waits for it.
    #[cfg(unix)]
    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().expect("the server is our child").code()
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id();
        Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().expect("a shell can send signals");
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes an answer down: status, the headers that mean something here, and the body.
pub(crate) fn transcript(what: &str, request: RequestBuilder) -> String {
    let (client, request) = request.build_split();
    let request = request.expect("a request");
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).expect("the server answers");
    let (status, headers) = (response.status(), response.headers().clone());
    let (text, body) = written(what, response);
    if method != reqwest::Method::HEAD {
        described::check(&Answered {
            method: method.as_str(),
            path: &path,
            status: status.as_u16(),
            media_type: headers.get("content-type").and_then(|kind| kind.to_str().ok()),
            headers: headers.keys().map(reqwest::header::HeaderName::as_str).collect(),
            body: &body,
        });
    }
    text
}

pub(crate) fn describe(what: &str, response: Response) -> String {
    written(what, response).0
}

/// Writes an answer down; behind that its body as it came.
fn written(what: &str, response: Response) -> (String, String) {
    // What every answer has is looked at by a test of its own.
    const EVERYWHERE: [&str; 8] = [
        "content-length",
        "content-security-policy",
        "cross-origin-resource-policy",
        "date",
        "referrer-policy",
        "x-content-type-options",
        "x-correlation-id",
        "x-frame-options",
    ];
    let mut text = format!("== {what}\n{}\n", response.status());
    let mut headers: Vec<_> = response
        .headers()
        .iter()
        .filter(|(name, _)| !EVERYWHERE.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap_or("?")))
        .collect();
    headers.sort();
    text.extend(headers);
    let body = response.text().expect("the body is text");
    match serde_json::from_str::<Value>(&body) {
        Ok(body) => writeln!(text, "{body:#}\n").expect("a string takes everything"),
        Err(_) => writeln!(text, "{body}").expect("a string takes everything"),
    }
    (text, body)
}
