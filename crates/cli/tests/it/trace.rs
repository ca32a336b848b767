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
