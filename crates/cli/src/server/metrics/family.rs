//! Numbers in the form that they are handed out in, whoever asks for them

use orchestr8_core::metrics::Durations;

/// What a family of numbers counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something that only grows.
    Counter,
    /// Something that comes and goes.
    Gauge,
    /// How long something took.
    Histogram,
}

impl Kind {
    /// Returns its name in the text format of Prometheus.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A number with a name, for each set of labels that it was counted by.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
    pub(crate) samples: Vec<Sample>,
}

/// A number of a family.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) labels: Vec<(&'static str, String)>,
    pub(crate) value: Value,
}

/// How much it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    /// So many.
    Count(u64),
    /// So much.
    Amount(f64),
    /// So often so long.
    Distribution(Durations),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<bool> for Value {
    fn from(holds: bool) -> Self {
        Self::Count(u64::from(holds))
    }
}

impl From<f64> for Value {
    fn from(amount: f64) -> Self {
        Self::Amount(amount)
    }
}

impl From<&Durations> for Value {
    fn from(durations: &Durations) -> Self {
        Self::Distribution(*durations)
    }
}

/// Families as they are put together, the latest last.
#[derive(Debug, Default)]
pub(super) struct Families(pub(super) Vec<Family>);

impl Families {
    /// Begins a family, which the samples that follow belong to.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) {
        self.0.push(Family { name, kind, help, samples: Vec::new() });
    }

    /// Adds to the family that was begun last.
    pub(super) fn sample(&mut self, labels: &[(&'static str, &str)], value: impl Into<Value>) {
        if let Some(family) = self.0.last_mut() {
            let labels = labels.iter().map(|(label, text)| (*label, (*text).to_owned())).collect();
            family.samples.push(Sample { labels, value: value.into() });
        }
    }

    /// Adds a family of one number that comes and goes.
    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str, value: impl Into<Value>) {
        self.family(name, Kind::Gauge, help);
        self.sample(&[], value);
    }
}
