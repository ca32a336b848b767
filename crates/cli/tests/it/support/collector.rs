//! A collector of traces: OTLP over HTTP on a free port of loopback.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value, trace::v1::Span,
};
use prost::Message as _;

/// Receives spans until the process ends.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound listener has an address"));
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let received = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let received = Arc::clone(&received);
                thread::spawn(move || converse(&stream, &received));
            }
        });
        Self { url, requests }
    }

    /// Returns all spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().expect("no receiver panics");
        requests
            .iter()
            .flat_map(|request| &request.resource_spans)
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| scope.spans.clone())
            .collect()
    }
}

/// Serves one connection, request by request.
fn converse(stream: &TcpStream, received: &Mutex<Vec<ExportTraceServiceRequest>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        for line in reader.by_ref().lines() {
            match line {
                Ok(line) if line.is_empty() => break,
                Ok(line) => head.push(line.to_ascii_lowercase()),
                Err(_) => return,
            }
        }
        let Some(request) = head.first() else { return };
        assert_eq!(request, "post /v1/traces http/1.1");
        assert!(head.contains(&"content-type: application/x-protobuf".to_owned()), "{head:?}");
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).expect("the body has a length");
        let mut body = vec![0; length.parse().expect("a length is a number")];
        reader.read_exact(&mut body).expect("the body is as long as promised");
        received
            .lock()
            .expect("no receiver panics")
            .push(ExportTraceServiceRequest::decode(&*body).expect("the body is an export request"));
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        if (&*stream).write_all(answer).is_err() {
            return;
        }
    }
}

/// Draws a trace as the tree that its parent links make, children in the order of their start.
pub(crate) fn tree(spans: &[Span]) -> String {
    let mut text = String::new();
    let mut spans: Vec<_> = spans.iter().collect();
    spans.sort_by_key(|span| span.start_time_unix_nano);
    let is_known = |id: &[u8]| spans.iter().any(|span| span.span_id == id);
    for root in spans.iter().filter(|span| !is_known(&span.parent_span_id)) {
        draw(&mut text, &spans, root, 0);
    }
    text
}

fn draw(text: &mut String, spans: &[&Span], span: &Span, depth: usize) {
    writeln!(text, "{}{} {}", "  ".repeat(depth), span.name, attributes(span)).expect("a string takes everything");
    for child in spans.iter().filter(|child| child.parent_span_id == span.span_id) {
        assert_eq!(child.trace_id, span.trace_id);
        draw(text, spans, child, depth + 1);
    }
}

/// Our own attributes, those that vary from run to run left out.
fn attributes(span: &Span) -> String {
    const VARYING: [&str; 3] = ["orchestr8.execution_id", "orchestr8.correlation_id", "orchestr8.delay_ms"];
    let attributes = span
        .attributes
        .iter()
        .filter(|attribute| attribute.key.starts_with("orchestr8.") && !VARYING.contains(&attribute.key.as_str()));
    let texts: Vec<_> = attributes
        .map(|attribute| {
            let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
            let value = match value {
                Some(any_value::Value::StringValue(text)) => text.clone(),
                Some(any_value::Value::IntValue(number)) => number.to_string(),
                other => format!("{other:?}"),
            };
            format!("{}={value}", attribute.key.trim_start_matches("orchestr8."))
        })
        .collect();
    texts.join(" ")
}
