//! Logs and metrics, as a collector receives them from the program.

use opentelemetry_proto::tonic::logs::v1::LogRecord;

use crate::support::{
    collector::{Collector, text},
    example, orchestr8, say,
};

fn body(record: &LogRecord) -> Option<&str> {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    match record.body.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[test]
fn lines_of_the_log_leave_with_the_spans_that_they_belong_to() {
    let collector = Collector::start();
    let mut command = orchestr8();
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url).env("RUST_LOG", "trace");
    let said = say(command.env("OTEL_EXPORTER_OTLP_HEADERS", "tenant=a%20b").arg("run").arg(example("flaky.yaml")));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let (spans, logs) = (collector.spans(), collector.logs());
    let find = |message: &str| logs.iter().find(|(_, record)| body(record) == Some(message)).expect("it is logged");
    let span = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();

    // What is told of a span that is not entered, too.
    let (module, retry) = find("retry_backoff");
    assert_eq!(module, "orchestr8_core::engine::call");
    assert_eq!((retry.severity_text.as_str(), retry.trace_id.len()), ("DEBUG", 16));
    assert_eq!(
        (&retry.trace_id, &retry.span_id),
        (&span("orchestr8.step")[0].trace_id, &span("orchestr8.step")[0].span_id)
    );
    let attempt = retry.attributes.iter().find(|attribute| attribute.key == "attempt").map(text);
    assert_eq!(attempt.as_deref(), Some("2"));
    let (began, ended) = (span("orchestr8.step")[0].start_time_unix_nano, span("orchestr8.step")[0].end_time_unix_nano);
    // The clock of the log has microseconds.
    assert!((began / 1000..=ended / 1000).contains(&(retry.time_unix_nano / 1000)), "{}", retry.time_unix_nano);
    assert_eq!(find("the execution has ended").1.span_id, span("orchestr8.execution")[0].span_id);
    // Or the export would go on for ever.
    assert!(logs.iter().all(|(module, _)| !module.starts_with("hyper") && !module.starts_with("reqwest")));
    assert!(collector.heads().iter().all(|head| head.contains("tenant: a b")), "{:?}", collector.heads());
}

#[test]
fn what_is_not_logged_does_not_leave() {
    let collector = Collector::start();
    let mut command = orchestr8();
    say(command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url).arg("run").arg(example("flaky.yaml")));
    assert!(!collector.spans().is_empty());
    assert_eq!(collector.logs().len(), 0);
}

#[cfg(all(unix, feature = "server"))]
mod metrics {
    use std::collections::BTreeSet;

    use opentelemetry_proto::tonic::metrics::v1::{
        AggregationTemporality, Metric, metric::Data, number_data_point::Value,
    };

    use crate::support::{
        collector::{Collector, labels},
        example, orchestr8,
        running_server::RunningServer,
    };

    /// Writes a metric down as Prometheus does.
    fn lines(metric: &Metric) -> Vec<String> {
        let sample = |ending: &str, labels: &str, value: String| match labels {
            "" => format!("{}{ending} {value}", metric.name),
            labels => format!("{}{ending}{{{labels}}} {value}", metric.name),
        };
        let points = match metric.data.as_ref().expect("a metric has data") {
            Data::Histogram(histogram) => {
                assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Cumulative);
                assert_eq!(metric.unit, "s");
                let points = histogram.data_points.iter().flat_map(|point| {
                    let own = labels(&point.attributes);
                    let bounds = point.explicit_bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
                    let mut count = 0;
                    let mut lines: Vec<_> = bounds
                        .zip(&point.bucket_counts)
                        .map(|(bound, in_bucket)| {
                            count += in_bucket;
                            let separator = if own.is_empty() { "" } else { "," };
                            sample("_bucket", &format!("{own}{separator}le=\"{bound}\""), count.to_string())
                        })
                        .collect();
                    lines.push(sample("_count", &own, point.count.to_string()));
                    lines.push(sample("_sum", &own, point.sum.expect("it has a sum").to_string()));
                    lines
                });
                return points.collect();
            }
            Data::Sum(sum) => {
                assert!(sum.is_monotonic && sum.aggregation_temporality() == AggregationTemporality::Cumulative);
                &sum.data_points
            }
            Data::Gauge(gauge) => &gauge.data_points,
            other => unreachable!("nothing is counted so: {other:?}"),
        };
        let line = |point: &opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| {
            assert!(0 < point.start_time_unix_nano && point.start_time_unix_nano <= point.time_unix_nano);
            let value = match point.value.expect("it has a value") {
                Value::AsInt(number) => number.to_string(),
                Value::AsDouble(number) => number.to_string(),
            };
            sample("", &labels(&point.attributes), value)
        };
        points.iter().map(line).collect()
    }

    /// Requests and streams are counted while one looks.
    fn is_steady(line: &&str) -> bool {
        !line.starts_with('#') && !line.starts_with("orchestr8_http_") && !line.starts_with("orchestr8_sse_")
    }

    #[test]
    fn a_server_sends_what_it_shows_to_prometheus() {
        let collector = Collector::start();
        let mut command = orchestr8();
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}/", collector.url));
        let server = RunningServer::start(command.env("OTEL_METRIC_EXPORT_INTERVAL", "50"));
        collector.wait_for_metrics(2);
        let document = std::fs::read_to_string(example("flaky.yaml")).expect("the example is there");
        let answer = server.post_yaml("/v1/workflows/execute?mode=sync", document).send().expect("the server answers");
        assert!(answer.status().is_success());
        let page = server.get("/metrics").send().expect("the server answers").text().expect("text");
        assert_eq!(server.terminate(), Some(0));

        let metrics = collector.metrics();
        let shown: BTreeSet<_> = page.lines().filter(is_steady).map(str::to_owned).collect();
        let sent: BTreeSet<_> = metrics.iter().flat_map(lines).filter(|line| is_steady(&line.as_str())).collect();
        assert_eq!(sent, shown);
        assert!(sent.contains(r#"orchestr8_executions_total{workflow="flaky",status="completed"} 1"#), "{sent:#?}");
        assert!(sent.contains(r#"orchestr8_retries_total{agent="@orchestr8/hello-world"} 2"#), "{sent:#?}");
        let requests =
            metrics.iter().find(|metric| metric.name == "orchestr8_http_requests_total").expect("it is sent");
        let executed = r#"orchestr8_http_requests_total{method="POST",route="/v1/workflows/execute",status="200"} 1"#;
        assert!(lines(requests).iter().any(|line| line == executed), "{:?}", lines(requests));
    }
}
