//! A collector of traces, logs and metrics: OTLP over HTTP on a free port of loopback.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{KeyValue, any_value},
    logs::v1::LogRecord,
    metrics::v1::Metric,
    trace::v1::Span,
};

/// Receives what is exported until the process ends.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) url: String,
    received: Arc<(Mutex<Received>, Condvar)>,
}

#[derive(Debug, Default)]
struct Received {
    traces: Vec<ExportTraceServiceRequest>,
    logs: Vec<ExportLogsServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
    /// The heads of all requests, in lower case.
    heads: Vec<String>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound listener has an address"));
        let received = Arc::<(Mutex<Received>, Condvar)>::default();
        let place = Arc::clone(&received);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let place = Arc::clone(&place);
                thread::spawn(move || converse(&stream, &place));
            }
        });
        Self { url, received }
    }

    /// Returns all spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let received = self.received.0.lock().expect("no receiver panics");
        let resources = received.traces.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    /// Returns all log records so far, each with the module that it is of.
    pub(crate) fn logs(&self) -> Vec<(String, LogRecord)> {
        let received = self.received.0.lock().expect("no receiver panics");
        let resources = received.logs.iter().flat_map(|request| &request.resource_logs);
        let scopes = resources.flat_map(|resource| &resource.scope_logs);
        let records = scopes.flat_map(|scope| {
            let module = scope.scope.as_ref().map(|scope| scope.name.clone()).unwrap_or_default();
            scope.log_records.iter().map(move |record| (module.clone(), record.clone()))
        });
        records.collect()
    }

    /// Returns the metrics as they came last.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let received = self.received.0.lock().expect("no receiver panics");
        let resources = received.metrics.last().into_iter().flat_map(|request| &request.resource_metrics);
        resources.flat_map(|resource| &resource.scope_metrics).flat_map(|scope| scope.metrics.clone()).collect()
    }

    /// Waits until metrics have come so often.
    pub(crate) fn wait_for_metrics(&self, times: usize) {
        let (received, news) = &*self.received;
        let received = received.lock().expect("no receiver panics");
        drop(news.wait_while(received, |received| received.metrics.len() < times).expect("no receiver panics"));
    }

    /// Returns the heads of all requests so far, in lower case.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.received.0.lock().expect("no receiver panics").heads.clone()
    }
}

/// Serves one connection, request by request.
fn converse(stream: &TcpStream, (received, news): &(Mutex<Received>, Condvar)) {
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
        assert!(head.contains(&"content-type: application/x-protobuf".to_owned()), "{head:?}");
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).expect("the body has a length");
        let mut body = vec![0; length.parse().expect("a length is a number")];
        reader.read_exact(&mut body).expect("the body is as long as promised");
        let mut received = received.lock().expect("no receiver panics");
        match request.as_str() {
            "post /v1/traces http/1.1" => received.traces.push(decode(&body)),
            "post /v1/logs http/1.1" => received.logs.push(decode(&body)),
            "post /v1/metrics http/1.1" => received.metrics.push(decode(&body)),
            other => unreachable!("nothing is exported there: {other}"),
        }
        received.heads.push(head.join("\n"));
        drop(received);
        news.notify_all();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        if (&*stream).write_all(answer).is_err() {
            return;
        }
    }
}

fn decode<M: prost::Message + Default>(body: &[u8]) -> M {
    M::decode(body).expect("the body is an export request")
}

/// Shows attributes as Prometheus shows labels.
pub(crate) fn labels(attributes: &[KeyValue]) -> String {
    let texts = attributes.iter().map(|attribute| format!("{}=\"{}\"", attribute.key, text(attribute)));
    texts.collect::<Vec<_>>().join(",")
}

/// Shows the value of an attribute.
pub(crate) fn text(attribute: &KeyValue) -> String {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
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
        .map(|attribute| format!("{}={}", attribute.key.trim_start_matches("orchestr8."), text(attribute)))
        .collect();
    texts.join(" ")
}
