//! Traces, as a collector receives them from the program.

use crate::support::{
    assert_steady,
    collector::{Collector, tree},
    example, orchestr8, say,
};

#[test]
fn one_trace_leads_from_execution_to_step_to_attempts() {
    let collector = Collector::start();
    let said =
        say(orchestr8().env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url).arg("run").arg(example("flaky.yaml")));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let spans = collector.spans();
    let traces: std::collections::BTreeSet<_> = spans.iter().map(|span| span.trace_id.clone()).collect();
    assert_eq!(traces.len(), 1);
    assert_steady("trace", &tree(&spans));
}

#[test]
fn a_failed_execution_leaves_its_trace_too() {
    let collector = Collector::start();
    let mut command = orchestr8();
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url);
    let said = say(command.arg("run").arg(example("slow.yaml")).args(["--timeout", "100ms"]));
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(collector.spans().iter().any(|span| span.name == "orchestr8.execution"));
}

#[test]
fn a_collector_that_is_away_is_only_a_warning() {
    let said = say(orchestr8()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .arg("run")
        .arg(example("vertical-slice.json")));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("warning: some traces were not exported"), "{}", said.stderr);
}

#[cfg(all(unix, feature = "server"))]
#[test]
fn an_execution_continues_the_trace_of_its_request() {
    let collector = Collector::start();
    let mut command = orchestr8();
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url);
    let server = crate::support::running_server::RunningServer::start(&mut command);
    let document = std::fs::read_to_string(example("flaky.yaml")).expect("the example is there");
    let answer = server
        .post_yaml("/v1/workflows/execute?mode=sync", document)
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .send()
        .expect("the server answers");
    assert!(answer.status().is_success());
    assert_eq!(server.terminate(), Some(0));

    let spans = collector.spans();
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name}"));
    let (request, execution) = (find("http.request"), find("orchestr8.execution"));
    assert_eq!(request.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(request.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(execution.parent_span_id, request.span_id);
}

/// Spans of a service that notes what it is told, beside its answer.
#[cfg(all(unix, feature = "server"))]
mod service {
    use std::{
        io::{BufRead as _, BufReader, Read as _, Write as _},
        net::{TcpListener, TcpStream},
        sync::{Arc, Mutex},
        thread,
    };

    /// An agent elsewhere, on a free port of loopback.
    pub(super) struct Service {
        pub(super) url: String,
        heads: Arc<Mutex<Vec<String>>>,
    }

    impl Service {
        pub(super) fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
            let url = format!("http://{}", listener.local_addr().expect("a bound listener has an address"));
            let heads = Arc::<Mutex<Vec<_>>>::default();
            let noted = Arc::clone(&heads);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let noted = Arc::clone(&noted);
                    thread::spawn(move || converse(&stream, &noted));
                }
            });
            Self { url, heads }
        }

        /// Returns a header of the last call.
        pub(super) fn told(&self, name: &str) -> Option<String> {
            let heads = self.heads.lock().expect("no receiver panics");
            let mut lines = heads.last()?.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.trim().to_owned()))
        }
    }

    fn converse(stream: &TcpStream, noted: &Mutex<Vec<String>>) {
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap_or(0) == 0 {
                    return;
                }
            }
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).expect("the body is as long as promised");
            let answer = if head.starts_with("get ") {
                r#"{"healthy":true,"version":"1.0.0"}"#
            } else {
                noted.lock().expect("no receiver panics").push(head);
                r#"{"success":true,"data":{"done":true}}"#
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                answer.len()
            );
            if (&*stream).write_all((head + answer).as_bytes()).is_err() {
                return;
            }
        }
    }
}

#[cfg(all(unix, feature = "server"))]
#[test]
fn one_correlation_id_and_one_trace_lead_from_the_command_through_the_server_to_the_agent() {
    let (collector, agent, home) =
        (Collector::start(), service::Service::start(), tempfile::tempdir().expect("a folder"));
    let config = serde_json::json!({
        "telemetry": { "endpoint": collector.url },
        "agents": { "@acme/service": { "url": agent.url } },
    });
    std::fs::write(home.path().join("config.json"), config.to_string()).expect("written");
    let file = home.path().join("ask.yaml");
    let text =
        "version: 1.0.0\nmetadata: { id: ask, name: Ask }\nsteps: [{ id: ask, agent: { id: '@acme/service' } }]\n";
    std::fs::write(&file, text).expect("written");
    let mut command = orchestr8();
    let server = crate::support::running_server::RunningServer::start(command.env("ORCHESTR8_HOME", home.path()));
    let said = say(orchestr8()
        .env("ORCHESTR8_HOME", home.path())
        .args(["run", &format!("--server={}", server.url), "--correlation-id", "order-4711"])
        .arg(&file));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(server.terminate(), Some(0));

    let spans = collector.spans();
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name}"));
    let (command, execution, attempt) =
        (find("orchestr8.command"), find("orchestr8.execution"), find("orchestr8.attempt"));
    for span in [execution, attempt] {
        assert_eq!(span.trace_id, command.trace_id);
    }
    let request = spans.iter().find(|span| span.span_id == execution.parent_span_id).expect("that of the request");
    assert_eq!((request.name.as_str(), &request.parent_span_id), ("http.request", &command.span_id));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let told = agent.told("traceparent").expect("the agent is told of the trace");
    assert_eq!(told, format!("00-{}-{}-01", hex(&attempt.trace_id), hex(&attempt.span_id)));
    assert_eq!(agent.told("x-correlation-id").as_deref(), Some("order-4711"));
    let is_of_it = |span: &&opentelemetry_proto::tonic::trace::v1::Span| {
        span.attributes.iter().any(|attribute| {
            attribute.key == "orchestr8.correlation_id" && format!("{:?}", attribute.value).contains("order-4711")
        })
    };
    assert!(is_of_it(&request) && is_of_it(&execution));
    let logs = std::fs::read_dir(home.path().join("logs")).expect("it is there").flatten();
    let logged: String = logs.map(|file| std::fs::read_to_string(file.path()).expect("read")).collect();
    assert!(
        logged.lines().any(|line| line.contains("order-4711") && line.contains("/v1/workflows/execute")),
        "{logged}"
    );
}

#[test]
fn settings_say_what_is_exported() {
    let names = |mode: &str, rate: &str| {
        let collector = Collector::start();
        let mut command = orchestr8();
        command.env("ORCHESTR8_TELEMETRY_ENDPOINT", &collector.url).env("ORCHESTR8_TELEMETRY_MODE", mode);
        command.env("RUST_LOG", "orchestr8=debug");
        command.env("ORCHESTR8_TELEMETRY_SAMPLING_RATE", rate);
        let said = say(command.arg("run").arg(example("flaky.yaml")));
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        let heads = collector.heads();
        let is_of_a_span = |head: &String| head.starts_with("post /v1/traces ");
        assert!(mode == "full" || heads.iter().all(is_of_a_span), "more than traces has left: {heads:?}");
        let names: std::collections::BTreeSet<_> = collector.spans().into_iter().map(|span| span.name).collect();
        names.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert!(names("full", "1").contains("orchestr8.attempt"));
    assert_eq!(names("minimal", "1"), "orchestr8.execution");
    assert_eq!(names("disabled", "1"), "");
    assert_eq!(names("full", "0"), "");
}
