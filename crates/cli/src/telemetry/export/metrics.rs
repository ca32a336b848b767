//! What a server counts, as metrics of OpenTelemetry
//!
//! The numbers are those of `GET /metrics`, read when they are sent: nothing is counted twice. The SDK's own instruments are not used, since
//! they would count for themselves, and take no histogram that is counted already; what is sent is built of the messages of the protocol.

use std::{borrow::Cow, time::Duration};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, Sum, metric::Data, number_data_point,
    },
    resource::v1::Resource,
};
use orchestr8_core::metrics::BOUNDS;
use orchestr8_schema::{Timestamp, config::TelemetryConfig};
use prost::Message as _;
use reqwest::{
    Client,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use tokio_util::task::AbortOnDropHandle;

use super::destination::{Destination, Signal, variable};
use crate::server::{
    Service,
    metrics::{Family, Kind, Value},
};

/// How often the numbers are sent unless the environment says otherwise.
const INTERVAL: Duration = Duration::from_secs(60);

/// Sends what a server counts until it is finished or dropped.
#[derive(Debug)]
pub(crate) struct MetricExport {
    sender: Sender,
    _sending: AbortOnDropHandle<()>,
}

impl MetricExport {
    /// Begins to send the numbers of a service, if environment or settings say where to.
    pub(crate) fn start(config: &TelemetryConfig, service: &Service) -> Option<Self> {
        let Destination { url, timeout } = Signal::Metrics.destination(config)?;
        let client = match Client::builder().timeout(timeout).default_headers(headers()).build() {
            Ok(client) => client,
            Err(error) => {
                Signal::Metrics.stays(&error.to_string());
                return None;
            }
        };
        let millis = variable("OTEL_METRIC_EXPORT_INTERVAL").and_then(|millis| millis.parse().ok());
        let interval = millis.map_or(INTERVAL, |millis: u64| Duration::from_millis(millis.max(1)));
        let sender = Sender { client, url, service: service.clone() };
        let sending = tokio::spawn(sender.clone().send_every(interval));
        Some(Self { sender, _sending: AbortOnDropHandle::new(sending) })
    }

    /// Sends the numbers a last time.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future leaves the last numbers unsent.
    pub(crate) async fn finish(self) {
        self.sender.send().await;
    }
}

#[derive(Clone, Debug)]
struct Sender {
    client: Client,
    url: String,
    service: Service,
}

impl Sender {
    async fn send_every(self, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            self.send().await;
        }
    }

    /// Sends the numbers. They only grow, so that what is lost once is in the next ones.
    async fn send(&self) {
        let (began, now) = (self.service.started_at(), self.service.now());
        let body = message(self.service.numbers(), began, now).encode_to_vec();
        let sent = self.client.post(&self.url).body(body).send().await;
        if let Err(error) = sent.and_then(reqwest::Response::error_for_status) {
            tracing::warn!(error = &error as &dyn std::error::Error, "metrics were not exported");
        }
    }
}

/// Reads the headers that every request is to have, in percent-encoding.
fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    let told = Signal::Metrics.variable("HEADERS").unwrap_or_default();
    for (name, value) in told.split(',').filter_map(|pair| pair.split_once('=')) {
        let name = HeaderName::from_bytes(name.trim().as_bytes());
        let value = HeaderValue::from_bytes(&percent_decoded(value.trim()));
        match (name, value) {
            (Ok(name), Ok(value)) => drop(headers.insert(name, value)),
            _ => Signal::Metrics.stays("OTEL_EXPORTER_OTLP_HEADERS holds what no header can say; it is left out"),
        }
    }
    headers
}

/// Decodes `%20` and the like; what is no such sequence stays.
fn percent_decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return text.as_bytes().into();
    }
    let (mut decoded, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => (decoded.push(byte), rest = &behind[2..]),
            None => (decoded.push(first), rest = behind),
        };
    }
    decoded.into()
}

fn message(families: Vec<Family>, began: Timestamp, now: Timestamp) -> ExportMetricsServiceRequest {
    let resource = super::resource();
    let attributes = resource.iter().map(|(key, value)| KeyValue {
        key: key.to_string(),
        value: Some(value.clone().into()),
        ..KeyValue::default()
    });
    let scope = InstrumentationScope {
        name: "orchestr8".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let times = Times { began: nanoseconds(began), now: nanoseconds(now) };
    // A family that has counted nothing yet has nothing to tell.
    let metrics = families.into_iter().filter(|family| !family.samples.is_empty()).map(|family| times.metric(family));
    let scope_metrics =
        vec![ScopeMetrics { scope: Some(scope), metrics: metrics.collect(), ..ScopeMetrics::default() }];
    let resource = Some(Resource { attributes: attributes.collect(), ..Resource::default() });
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
    }
}

fn nanoseconds(at: Timestamp) -> u64 {
    at.as_micros().unsigned_abs().saturating_mul(1000)
}

/// From when to when was counted.
#[derive(Clone, Copy)]
struct Times {
    began: u64,
    now: u64,
}

impl Times {
    fn metric(self, family: Family) -> Metric {
        let Family { name, kind, help, samples } = family;
        let unit = if name.ends_with("_seconds") {
            "s"
        } else if name.contains("_bytes") {
            "By"
        } else {
            ""
        };
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        let data = if kind == Kind::Histogram {
            let data_points =
                samples.into_iter().filter_map(|sample| self.distribution(&sample.labels, sample.value)).collect();
            Data::Histogram(Histogram { data_points, aggregation_temporality })
        } else {
            let data_points =
                samples.into_iter().filter_map(|sample| self.number(&sample.labels, sample.value)).collect();
            match kind {
                Kind::Counter => Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true }),
                Kind::Gauge | Kind::Histogram => Data::Gauge(Gauge { data_points }),
            }
        };
        Metric {
            name: name.to_owned(),
            description: help.to_owned(),
            unit: unit.to_owned(),
            data: Some(data),
            ..Metric::default()
        }
    }

    fn number(self, labels: &[(&'static str, String)], value: Value) -> Option<NumberDataPoint> {
        let value = match value {
            Value::Count(count) => number_data_point::Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX)),
            Value::Amount(amount) => number_data_point::Value::AsDouble(amount),
            Value::Distribution(_) => return None,
        };
        Some(NumberDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: self.began,
            time_unix_nano: self.now,
            value: Some(value),
            ..NumberDataPoint::default()
        })
    }

    fn distribution(self, labels: &[(&'static str, String)], value: Value) -> Option<HistogramDataPoint> {
        let Value::Distribution(durations) = value else { return None };
        Some(HistogramDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: self.began,
            time_unix_nano: self.now,
            count: durations.count(),
            sum: Some(durations.sum.as_secs_f64()),
            bucket_counts: durations.buckets.to_vec(),
            explicit_bounds: BOUNDS.iter().map(Duration::as_secs_f64).collect(),
            ..HistogramDataPoint::default()
        })
    }
}

fn attributes(labels: &[(&'static str, String)]) -> Vec<KeyValue> {
    let attribute = |(key, value): &(&'static str, String)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.clone())) }),
        ..KeyValue::default()
    };
    labels.iter().map(attribute).collect()
}
