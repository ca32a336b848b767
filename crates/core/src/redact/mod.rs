//! What views do not show: secrets that an execution holds all the same, because it needs them to go on.
//!
//! Three rules, none of which touches what is stored:
//!
//! - A value that a schema marks (`x-redact: true`, `writeOnly: true`, `format: password`) is hidden where it stands, and every text
//!   of at least [`MIN_TEXT`] characters in it wherever else it occurs in the execution.
//! - A value under a key that names a secret (`apiKey`, `password`, …) is hidden, whatever it is.
//! - Texts that look like a secret (tokens with a known prefix, JSON Web Tokens, private keys, card numbers) are hidden where they
//!   stand.
//!
//! Beside them stand the secrets that the workflow names in `context.secretRefs` and may ask for: their texts are hidden wherever they occur,
//! from the first event on, whoever has brought them in.
//!
//! ```
//! use orchestr8_core::redact::Redactor;
//! use serde_json::json;
//!
//! let mut redactor = Redactor::default();
//! redactor.learn(&json!({ "properties": { "pin": { "x-redact": true } } }), &json!({ "pin": "4711-0815" }));
//! let mut value = json!({ "said": "4711-0815 it is", "userPassword": 7, "note": "use sk-abcdefgh" });
//! redactor.redact(&mut value);
//! assert_eq!(value, json!({ "said": "[REDACTED] it is", "userPassword": "[REDACTED]", "note": "use [REDACTED]" }));
//! ```

mod annotated;
mod given_out;
mod names;
mod patterns;
mod sources;
mod texts;

use std::{borrow::Cow, sync::Arc};

use orchestr8_schema::Failure;
use serde_json::{Map, Value};

use self::texts::Texts;
pub(crate) use self::{given_out::GivenOut, sources::Annotations};

/// What stands in place of what is hidden.
pub const REDACTED: &str = "[REDACTED]";

/// The fewest characters of a marked text that is hidden elsewhere, too. Shorter ones occur by chance.
pub const MIN_TEXT: usize = 6;

/// Values are hidden below this many levels, since nobody reads that deep.
const MAX_DEPTH: u32 = 128;

/// Hides secrets, and learns of more of them as an execution goes on.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    texts: Texts,
}

impl Redactor {
    /// Learns the texts of a value that its JSON Schema marks as secret.
    pub fn learn(&mut self, schema: &Value, value: &Value) {
        if annotated::marks(schema) {
            annotated::hide(schema, &mut value.clone(), &mut |text| self.texts.insert(text));
        }
    }

    /// Learns a secret, as it is and as it stands within JSON that is kept as a text.
    pub(crate) fn learn_secret(&mut self, secret: &str) {
        self.texts.insert_secret(secret);
    }

    /// Hides what a schema marks in a value, where it stands.
    pub fn hide_marked(schema: &Value, value: &mut Value) {
        if annotated::marks(schema) {
            annotated::hide(schema, value, &mut |_| ());
        }
    }

    /// Hides secrets in a value.
    pub fn redact(&self, value: &mut Value) {
        self.walk(value, MAX_DEPTH);
    }

    /// Hides secrets in the values of a map.
    pub fn redact_map(&self, map: &mut Map<String, Value>) {
        self.walk_map(map, MAX_DEPTH);
    }

    /// Hides secrets in a text.
    pub fn redact_text(&self, text: &mut String) {
        if let Cow::Owned(redacted) = self.hidden(text) {
            *text = redacted;
        }
    }

    /// Hides secrets in a failure, its causes included.
    pub fn redact_failure(&self, failure: &mut Failure) {
        self.redact_text(&mut failure.message);
        if let Some(context) = &mut failure.context {
            self.redact(context);
        }
        if let Some(cause) = &mut failure.cause {
            self.redact_failure(Arc::make_mut(cause));
        }
    }

    fn walk(&self, value: &mut Value, depth: u32) {
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::String(text) => self.redact_text(text),
            Value::Number(number) => {
                if patterns::is_card_number(&number.to_string()) {
                    *value = REDACTED.into();
                }
            }
            Value::Array(_) | Value::Object(_) if depth == 0 => *value = REDACTED.into(),
            Value::Array(items) => items.iter_mut().for_each(|item| self.walk(item, depth - 1)),
            Value::Object(map) => self.walk_map(map, depth - 1),
        }
    }

    fn walk_map(&self, map: &mut Map<String, Value>, depth: u32) {
        for (key, value) in map.iter_mut() {
            if !value.is_null() && names::is_secret(key) {
                *value = REDACTED.into();
            } else {
                self.walk(value, depth);
            }
        }
        // A key may be a secret itself: of a map's items, or of data that is grouped by one.
        if map.keys().any(|key| matches!(self.hidden(key), Cow::Owned(_))) {
            *map =
                std::mem::take(map).into_iter().map(|(key, value)| (self.hidden(&key).into_owned(), value)).collect();
        }
    }

    fn hidden<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut places = self.texts.find(text);
        patterns::find(text, &mut places);
        if places.is_empty() {
            return Cow::Borrowed(text);
        }
        places.sort_unstable_by_key(|place| place.start);
        let mut hidden = String::with_capacity(text.len());
        let mut shown = 0;
        for place in places {
            if place.start >= shown {
                hidden.push_str(&text[shown..place.start]);
                hidden.push_str(REDACTED);
            }
            shown = shown.max(place.end);
        }
        hidden.push_str(&text[shown..]);
        Cow::Owned(hidden)
    }
}
