//! HTTP under a policy, against servers on loopback that answer byte by byte what a test wants.
#![cfg(feature = "http")]

mod support;

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use orchestr8_agent_base::{
    AgentError, AgentRegistry, AgentService, CancellationToken,
    http::{self, Lookup, Web},
    service::AgentRequest,
};
use orchestr8_schema::{ErrorKind, config::HttpPolicy};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt;

/// A server that answers each request with what its path names, closes the connection, and notes what it was asked.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1", answer).await
    }

    async fn at(address: &str, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((address, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read_request(&mut stream).await;
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                let answer = answer(&path);
                if answer.is_empty() {
                    // Until the other side has enough.
                    let _ = stream.read(&mut [0]).await;
                    noted.lock().unwrap_or_else(PoisonError::into_inner).push("closed".to_owned());
                }
                // Who has gone does not read.
                let _ = stream.write_all(&answer).await;
            }
        });
        Self { port, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads one request with its body.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().expect("a length")) {
                return text;
            }
        }
        if read == 0 {
            return text;
        }
    }
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        .into_bytes()
}

fn policy(allow: &[&str], deny: &[&str]) -> HttpPolicy {
    let list = |hosts: &[&str]| hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>();
    let mut policy = HttpPolicy::default();
    policy.allow = Some(list(allow));
    policy.deny = list(deny);
    policy
}

async fn call_at(web: Web, name: &str, input: Value, cancel: CancellationToken) -> Result<Value, AgentError> {
    let mut registry = AgentRegistry::new();
    http::register(&mut registry, &web).expect("registered");
    let callee = if name.starts_with('@') {
        Arc::clone(registry.latest(&name.parse().expect("an id")).expect("it is registered").callee())
    } else {
        Arc::clone(registry.tools().get(&name.parse().expect("a name")).expect("it is registered").callee())
    };
    let cx = support::context(&input, Map::new());
    AgentService::new(callee).oneshot(AgentRequest::new(Arc::new(input), cx, cancel)).await
}

/// Asks where loopback is listed by its address.
async fn ask(input: Value) -> Result<Value, AgentError> {
    let web = Web::new(policy(&["127.0.0.1"], &[]));
    call_at(web, "@orchestr8/http", input, CancellationToken::new()).await
}

#[tokio::test]
async fn a_request_arrives_as_it_was_asked_for_and_json_is_parsed() {
    let server = Server::start(|path| match path {
        "/text" => answer("200 OK", "content-type: text/plain\r\nx-twice: 1\r\nX-Twice: 2\r\n", "Grüße"),
        "/bytes" => b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\xff\xfe".to_vec(),
        "/not" => answer("200 OK", "content-type: application/json\r\n", "{ half"),
        _ => answer("201 Created", "content-type: application/problem+json; charset=utf-8\r\n", r#"{"a":[1]}"#),
    })
    .await;

    let asked = json!({
        "method": "post", "url": server.url("/things?x=1"), "query": { "q": "a b", "n": [1, 2] },
        "headers": { "X-Key": "k" }, "body": { "name": "Ada" },
    });
    let got = ask(asked).await.expect("answered");
    assert_eq!((&got["status"], &got["body"]), (&json!(201), &json!({ "a": [1] })));
    let request = server.asked().remove(0);
    assert!(request.starts_with("POST /things?x=1&n=1&n=2&q=a+b HTTP/1.1\r\n"), "{request}");
    for line in ["x-key: k\r\n", "content-type: application/json\r\n", "\r\n\r\n{\"name\":\"Ada\"}"] {
        assert!(request.contains(line), "{line} in {request}");
    }
    // The same key for each attempt, and none where nothing changes.
    let key =
        |request: &str| request.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).map(str::to_owned);
    assert_eq!(key(&request).map(|key| key.len()), Some(64), "{request}");

    let text = ask(json!({ "url": server.url("/text") })).await.expect("answered");
    assert_eq!((&text["body"], &text["headers"]["x-twice"]), (&json!("Grüße"), &json!("1, 2")));
    assert_eq!(key(&server.asked()[1]), None);
    let bytes = ask(json!({ "url": server.url("/bytes") })).await.expect("answered");
    assert_eq!((&bytes["bodyBase64"], bytes.get("body")), (&json!("//4="), None));
    assert_eq!(ask(json!({ "url": server.url("/not") })).await.expect("answered")["body"], "{ half");
}

#[tokio::test]
async fn each_status_is_the_failure_that_it_means() {
    let server = Server::start(|path| {
        let status = path.trim_start_matches('/');
        let date = "Fri, 17 Jan 2025 12:00:30 GMT";
        let delay = if status == "503" { format!("Retry-After: {date}\r\n") } else { "Retry-After: 7\r\n".to_owned() };
        answer(&format!("{status} Whatever"), &delay, "{\"detail\":\"why\"}")
    })
    .await;
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    for (status, kind, delay) in [
        (400, ErrorKind::Validation, None),
        (401, ErrorKind::Denied, None),
        (403, ErrorKind::Denied, None),
        (404, ErrorKind::NotFound, None),
        (408, ErrorKind::Timeout, None),
        (418, ErrorKind::Validation, None),
        (429, ErrorKind::RateLimited, seconds(7)),
        (500, ErrorKind::Retryable, seconds(7)),
        // The clock of the call says noon.
        (503, ErrorKind::Retryable, seconds(30)),
    ] {
        let url = server.url(&format!("/{status}"));
        let error = ask(json!({ "url": url })).await.expect_err("it fails");
        assert_eq!((error.kind(), error.retry_after()), (kind, delay), "{status}: {error}");
        assert_eq!(error.context().expect("facts")["status"], status);
        assert_eq!(error.context().expect("facts")["body"], "{\"detail\":\"why\"}");
        assert_eq!(ask(json!({ "url": url, "expect": [status] })).await.expect("expected")["status"], status);
    }
    let error = ask(json!({ "url": server.url("/200"), "expect": [201, 202] })).await.expect_err("not expected");
    assert_eq!(error.kind(), ErrorKind::Validation);
}

#[tokio::test]
async fn what_is_cut_or_huge_or_never_comes_has_a_kind_and_an_end() {
    let server = Server::start(|path| match path {
        "/cut" => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec(),
        "/chunk" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhal".to_vec(),
        "/garbage" => b"\0\0\0 no HTTP at all\r\n\r\n".to_vec(),
        "/huge" => b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\nx".to_vec(),
        "/endless" => {
            [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec(), vec![b'x'; Web::MAX_BODY + 1]].concat()
        }
        "/large" => [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec(), vec![b'x'; 2_000_000]].concat(),
        _ => Vec::new(),
    })
    .await;
    for (path, kind) in [
        ("/cut", ErrorKind::Network),
        ("/chunk", ErrorKind::Network),
        ("/garbage", ErrorKind::Network),
        ("/huge", ErrorKind::Validation),
        ("/endless", ErrorKind::Validation),
    ] {
        let error = ask(json!({ "url": server.url(path) })).await.expect_err(path);
        assert_eq!(error.kind(), kind, "{path}: {error}");
    }
    assert_eq!(ask(json!({ "url": server.url("/large") })).await.expect("answered")["status"], 200);
    let web = Web::new(policy(&["127.0.0.1"], &[]));
    let get =
        |path: &str| call_at(web.clone(), "http.get", json!({ "url": server.url(path) }), CancellationToken::new());
    assert_eq!(get("/large").await.expect_err("too much for a tool").kind(), ErrorKind::Validation);

    let slow = ask(json!({ "url": server.url("/hang?token=hush"), "timeout": 50 })).await.expect_err("it hangs");
    assert_eq!(slow.kind(), ErrorKind::Timeout);
    assert!(!format!("{:?}", slow.to_failure()).contains("hush"));
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound").port();
    let refused =
        ask(json!({ "url": format!("http://127.0.0.1:{gone}/?token=hush") })).await.expect_err("nobody is there");
    assert_eq!(refused.kind(), ErrorKind::Network);
    assert!(!format!("{:?}", refused.to_failure()).contains("hush"));
}

#[tokio::test]
async fn a_cancelled_request_closes_its_connection() {
    let server = Server::start(|_| Vec::new()).await;
    let cancel = CancellationToken::new();
    let web = Web::new(policy(&["127.0.0.1"], &[]));
    let asking = tokio::spawn(call_at(web, "@orchestr8/http", json!({ "url": server.url("/") }), cancel.clone()));
    let until = async |what: usize| {
        while server.asked().len() < what {
            tokio::task::yield_now().await;
        }
    };
    until(1).await;
    cancel.cancel();
    assert_eq!(asking.await.expect("no panic").expect_err("it is cancelled").kind(), ErrorKind::Cancelled);
    until(2).await;
    assert_eq!(server.asked()[1], "closed");
}

/// A table of hosts that notes each question; a host's answers come one after the other.
#[derive(Debug, Default)]
struct Table {
    answers: BTreeMap<&'static str, Vec<&'static str>>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Lookup for Table {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let before = asked.iter().filter(|known| *known == host).count();
        asked.push(host.to_owned());
        let answers = self.answers.get(host).ok_or(io::ErrorKind::NotFound)?;
        let answer = answers.get(before).or(answers.last()).ok_or(io::ErrorKind::NotFound)?;
        Ok(answer.split(' ').map(|address| address.parse().expect("an address")).collect())
    }
}

#[tokio::test]
async fn addresses_that_are_not_public_are_denied_unless_the_host_is_listed_by_name() {
    let server = Server::start(|_| answer("200 OK", "", "secret")).await;
    let table = Arc::new(Table {
        answers: BTreeMap::from([
            ("rebound.test", vec!["127.0.0.1"]),
            ("mixed.test", vec!["10.1.2.3 127.0.0.1 ::1 169.254.169.254"]),
            ("listed.test", vec!["127.0.0.1"]),
            ("denied.test", vec!["127.0.0.1"]),
        ]),
        asked: Mutex::default(),
    });
    let deny = ["*.evil.test", "denied.test", "127.0.0.9"];
    let web = Web::with_lookup(policy(&["*", "listed.test", "DENIED.test", "127.0.0.9"], &deny), table.clone());
    let get = async |url: String| {
        call_at(web.clone(), "@orchestr8/http", json!({ "url": url }), CancellationToken::new()).await
    };
    let port = server.port;
    for (host, setting) in [
        ("127.0.0.1", "policy.http.allow"),
        ("2130706433", "policy.http.allow"),
        ("0x7f.1", "policy.http.allow"),
        ("[::1]", "policy.http.allow"),
        ("[::ffff:127.0.0.1]", "policy.http.allow"),
        ("169.254.169.254", "policy.http.allow"),
        ("rebound.test", "policy.http.allow"),
        ("user:pass@rebound.test", "policy.http.allow"),
        ("mixed.test", "policy.http.allow"),
        ("x.evil.test", "policy.http.deny"),
        ("X.EVIL.test.", "policy.http.deny"),
        ("denied.test", "policy.http.deny"),
        ("127.0.0.9", "policy.http.deny"),
    ] {
        let error = get(format!("http://{host}:{port}/")).await.expect_err(host);
        assert_eq!(error.kind(), ErrorKind::Denied, "{host}: {error}");
        assert_eq!(error.context().expect("facts")["setting"], setting, "{host}: {error}");
        assert!(error.to_string().contains(setting), "{error}");
    }
    assert_eq!(server.asked(), Vec::<String>::new(), "nobody was connected to");
    assert_eq!(get(format!("http://listed.test:{port}/")).await.expect("it is listed")["body"], "secret");
    assert_eq!(get(format!("http://nowhere.test:{port}/")).await.expect_err("unknown").kind(), ErrorKind::Network);
    assert_eq!(get("ftp://listed.test/".to_owned()).await.expect_err("no HTTP").kind(), ErrorKind::Validation);

    // Where hosts are listed, no other is asked, and a pattern does not stand for a name.
    let web = Web::with_lookup(policy(&["*.test"], &[]), table);
    for host in ["example.org", "listed.test"] {
        let input = json!({ "url": format!("http://{host}:{port}/") });
        let error = call_at(web.clone(), "http.get", input, CancellationToken::new()).await.expect_err(host);
        assert_eq!(error.kind(), ErrorKind::Denied, "{host}: {error}");
    }
}

#[tokio::test]
async fn a_host_is_looked_up_once_and_the_address_that_was_checked_is_connected_to() {
    let first = Server::start(|_| answer("200 OK", "", "first")).await;
    let table = Arc::new(Table {
        // What answers later is somebody else.
        answers: BTreeMap::from([("rebinding.test", vec!["127.0.0.1", "127.0.0.2"])]),
        asked: Mutex::default(),
    });
    let web = Web::with_lookup(policy(&["rebinding.test"], &[]), table.clone());
    let input = json!({ "url": format!("http://rebinding.test:{}/", first.port) });
    let got = call_at(web, "http.get", input, CancellationToken::new()).await.expect("answered");
    assert_eq!(got["body"], "first");
    assert_eq!(*table.asked.lock().expect("no panic"), ["rebinding.test"]);
}

#[tokio::test]
async fn each_redirect_is_checked_and_tells_other_hosts_nothing_of_who_asks() {
    let other = Server::at("127.0.0.2", |_| answer("200 OK", "", "private")).await;
    let to_other = other.port;
    let server = Server::start(move |path| {
        let (status, to) = match path {
            "/out" => ("302 Found", format!("http://127.0.0.2:{to_other}/metadata")),
            "/name" => ("307 Temporary Redirect", format!("http://rebound.test:{to_other}/")),
            "/see" => ("303 See Other", "/done".to_owned()),
            "/keep" => ("308 Permanent Redirect", "done".to_owned()),
            "/loop" => ("302 Found", "/loop".to_owned()),
            "/file" => ("302 Found", "file:///etc/passwd".to_owned()),
            _ => return answer("200 OK", "", "done"),
        };
        answer(status, &format!("location: {to}\r\n"), "")
    })
    .await;
    let table =
        Arc::new(Table { answers: BTreeMap::from([("rebound.test", vec!["127.0.0.2"])]), asked: Mutex::default() });
    let web = |allow: &[&str]| Web::with_lookup(policy(allow, &[]), table.clone());
    let post = async |web: Web, path: &str| {
        let input = json!({
            "method": "POST", "url": server.url(path), "body": "text",
            "headers": { "authorization": "Bearer hush", "x-api-key": "hush", "accept": "text/plain" },
        });
        call_at(web, "@orchestr8/http", input, CancellationToken::new()).await
    };
    let narrow = web(&["*", "127.0.0.1"]);
    for path in ["/out", "/name"] {
        assert_eq!(post(narrow.clone(), path).await.expect_err(path).kind(), ErrorKind::Denied);
    }
    assert_eq!(other.asked(), Vec::<String>::new());
    for path in ["/loop", "/file"] {
        assert_eq!(post(narrow.clone(), path).await.expect_err(path).kind(), ErrorKind::Validation);
    }
    assert_eq!(server.asked().iter().filter(|request| request.contains(" /loop ")).count(), 1 + Web::MAX_REDIRECTS);

    for (path, method) in [("/see", "GET"), ("/keep", "POST")] {
        assert_eq!(post(narrow.clone(), path).await.expect("followed")["body"], "done");
        let last = server.asked().pop().expect("a request");
        assert!(last.starts_with(&format!("{method} /done ")), "{last}");
        assert_eq!(last.ends_with("text"), method == "POST", "{last}");
        assert!(last.contains("authorization: Bearer hush"), "the same host: {last}");
    }
    assert_eq!(post(web(&["127.0.0.1", "127.0.0.2"]), "/out").await.expect("listed")["body"], "private");
    let told = other.asked().remove(0);
    assert!(told.contains("accept: text/plain") && !told.contains("hush"), "{told}");
}
