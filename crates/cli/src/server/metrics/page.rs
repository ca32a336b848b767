//! Numbers in the text format of Prometheus

use std::fmt::{Display, Write as _};

use orchestr8_core::metrics::{BOUNDS, Durations};

use super::family::{Family, Value};

/// Writes a page of families.
pub(super) fn text(families: &[Family]) -> String {
    let mut page = Page(String::new());
    families.iter().for_each(|family| page.family(family));
    page.0
}

struct Page(String);

impl Page {
    fn family(&mut self, family: &Family) {
        let Family { name, kind, help, samples } = family;
        // A string takes everything.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {}\n", kind.name());
        for sample in samples {
            let labels: Vec<_> = sample.labels.iter().map(|(label, text)| (*label, text.as_str())).collect();
            match &sample.value {
                Value::Count(count) => self.sample(name, &labels, count),
                Value::Amount(amount) => self.sample(name, &labels, amount),
                Value::Distribution(durations) => self.histogram(name, &labels, durations),
            }
        }
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], durations: &Durations) {
        let bounds = BOUNDS.iter().map(|bound| bound.as_secs_f64().to_string()).chain(["+Inf".to_owned()]);
        let mut count = 0;
        for (bound, in_bucket) in bounds.zip(durations.buckets) {
            count += in_bucket;
            self.sample(&format!("{name}_bucket"), &[labels, &[("le", bound.as_str())]].concat(), count);
        }
        self.sample(&format!("{name}_sum"), labels, durations.sum.as_secs_f64());
        self.sample(&format!("{name}_count"), labels, count);
    }
}
