//! Where what leaves the program goes: the environment says it as OpenTelemetry specifies, else the settings

use std::{env, time::Duration};

use orchestr8_schema::config::{TelemetryConfig, TelemetryMode};

/// How long an export may take unless the environment says otherwise.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What leaves the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
    #[cfg_attr(not(feature = "server"), expect(dead_code, reason = "only a server counts"))]
    Metrics,
}

/// Where one of them goes.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    /// The whole address.
    pub(super) url: String,
    /// How long an export may take.
    pub(super) timeout: Duration,
}

impl Signal {
    /// Returns its name in addresses and messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }

    /// Reads a variable of the exporter: that of this signal, else that of all.
    pub(super) fn variable(self, what: &str) -> Option<String> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_{what}", self.name().to_uppercase());
        variable(&own).or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{what}")))
    }

    /// Finds out where it goes; `None` if it stays here. Short of `full`, only traces leave.
    pub(super) fn destination(self, config: &TelemetryConfig) -> Option<Destination> {
        match config.mode {
            TelemetryMode::Disabled => return None,
            TelemetryMode::Minimal if self != Self::Traces => return None,
            TelemetryMode::Minimal | TelemetryMode::Full => {}
        }
        let below = |base: &str| format!("{}/v1/{}", base.trim_end_matches('/'), self.name());
        let own = variable(&format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", self.name().to_uppercase()));
        let told = own.or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT").as_deref().map(below));
        let url = told.or_else(|| config.endpoint.as_deref().map(below))?;
        if url.starts_with("https:") {
            self.stays(&format!("`{url}` needs TLS, which this program is built without"));
            return None;
        }
        let timeout = self.variable("TIMEOUT").and_then(|millis| millis.parse().ok());
        Some(Destination { url, timeout: timeout.map_or(TIMEOUT, Duration::from_millis) })
    }

    /// Tells that it does not leave.
    pub(super) fn stays(self, why: &str) {
        eprintln!("warning: {} are not exported: {why}", self.name());
    }
}

/// Reads a variable of the environment; an empty one is none.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
