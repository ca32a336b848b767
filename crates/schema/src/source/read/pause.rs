//! Waits and approvals.

use serde_json::Value;

use super::{Field, Reader};
use crate::{
    Code, Timestamp,
    workflow::{ApprovalStep, OnTimeout, WaitDuration, WaitStep, WaitUntil},
};

impl Reader<'_> {
    pub(super) fn wait(&mut self, field: Field<'_>) -> Option<WaitStep> {
        let object = self.object(Some(field))?;
        let given: Vec<Field<'_>> = ["duration", "until", "signal"].iter().filter_map(|key| object.get(key)).collect();
        let timeout = self.duration(object.get("timeout"));
        self.unknown_keys(&object, &["duration", "until", "signal", "timeout"]);
        let field = match &*given {
            [] => {
                self.problems
                    .report(Code::Missing, object.at, "`wait` does not say for what")
                    .help("give it a `duration`, `until` or a `signal`");
                return None;
            }
            [field] => *field,
            [first, second, ..] => {
                let message = format!("wait has both `{}` and `{}`", first.name, second.name);
                self.problems.report(Code::WrongForm, second.at, message).on_key().help("keep one");
                return None;
            }
        };
        if let Some(timeout) = object.get("timeout").filter(|_| field.name != "signal") {
            let message = format!("`timeout` on a wait with `{}`", field.name);
            self.problems.report(Code::KeyNotForKind, timeout.at, message).on_key().help("only a signal may not come");
        }
        let template = field.value.as_str().filter(|text| text.contains("${"));
        Some(match (field.name, template) {
            ("duration", Some(text)) => WaitStep::Duration { duration: WaitDuration::Template(text.to_owned()) },
            ("duration", None) => WaitStep::Duration { duration: WaitDuration::Fixed(self.duration(Some(field))?) },
            ("until", Some(text)) => WaitStep::Until { until: WaitUntil::Template(text.to_owned()) },
            ("until", None) => WaitStep::Until { until: WaitUntil::At(self.time(Some(field))?) },
            _ => {
                let signal = self.parse(Some(field), "signal name", "1 to 128 letters, digits, `_`, `.` and `-`")?;
                WaitStep::Signal { signal, timeout }
            }
        })
    }

    pub(super) fn approval(&mut self, field: Field<'_>) -> Option<ApprovalStep> {
        if field.value.is_string() {
            self.mismatch(field, "an object").help("`approval: {prompt: …}`");
            return None;
        }
        let object = self.object(Some(field))?;
        let prompt = self.required(&object, "prompt", "what the person is asked");
        let prompt = self.owned(prompt);
        let schema = self.schema(object.get("schema"));
        let timeout = self.duration(object.get("timeout"));
        let on_timeout = object.get("onTimeout").and_then(|field| self.on_timeout(field));
        self.unknown_keys(&object, &["prompt", "schema", "timeout", "onTimeout"]);
        Some(ApprovalStep { prompt: prompt?, schema, timeout, on_timeout: on_timeout.unwrap_or_default() })
    }

    fn on_timeout(&mut self, field: Field<'_>) -> Option<OnTimeout> {
        match field.value {
            Value::Object(_) => {
                let object = self.object(Some(field))?;
                self.unknown_keys(&object, &["answer"]);
                // Null is an answer.
                let answer = object.map.get("answer");
                if answer.is_none() {
                    self.required(&object, "answer", "what counts as the answer");
                }
                answer.cloned().map(OnTimeout::Answer)
            }
            Value::String(_) => match self.choice(Some(field), &[("fail", true), ("reject", false)])? {
                true => Some(OnTimeout::Fail),
                false => Some(OnTimeout::Reject),
            },
            _ => {
                self.mismatch(field, "`fail`, `reject` or `{answer: …}`");
                None
            }
        }
    }

    /// Reads a time, to the millisecond: it is written back so.
    pub(super) fn time(&mut self, field: Option<Field<'_>>) -> Option<Timestamp> {
        let time: Timestamp = self.parse(field, "time of RFC 3339", "times look like 2025-01-17T09:00:00Z")?;
        Some(Timestamp::from_micros(time.as_micros().div_euclid(1000) * 1000))
    }
}
