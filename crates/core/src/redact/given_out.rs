//! Secrets that agents are given: they are hidden before an event is made of what agents say.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use orchestr8_schema::Failure;
use serde_json::Value;

use super::{MAX_DEPTH, REDACTED, Redactor, texts::Texts};

/// The texts of the secrets that agents of one execution were given, or may be.
#[derive(Debug, Default)]
pub(crate) struct GivenOut {
    texts: Mutex<Texts>,
    /// Whether there are any, so that most executions look for nothing.
    any: AtomicBool,
}

impl GivenOut {
    /// Begins with what an execution may be given: one that goes on after a restart has forgotten what it was given before.
    pub(crate) fn knowing(redactor: &Redactor) -> Self {
        let texts = redactor.texts.clone();
        Self { any: AtomicBool::new(!texts.is_empty()), texts: Mutex::new(texts) }
    }

    /// Adds a text, if it is long enough to be told from others.
    pub(crate) fn insert(&self, text: &str) {
        self.texts().insert_secret(text);
        self.any.store(true, Ordering::Release);
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }

    /// Hides them in a value.
    pub(crate) fn hide(&self, value: &mut Value) {
        if !self.is_empty() {
            walk(&self.texts(), value, MAX_DEPTH);
        }
    }

    /// Hides them in a text.
    pub(crate) fn hide_in_text(&self, text: &mut String) {
        if !self.is_empty() {
            hide(&self.texts(), text);
        }
    }

    /// Hides them in a failure, its causes included.
    pub(crate) fn hide_in_failure(&self, failure: &mut Failure) {
        self.hide_in_text(&mut failure.message);
        if let Some(context) = &mut failure.context {
            self.hide(context);
        }
        if let Some(cause) = &mut failure.cause {
            self.hide_in_failure(Arc::make_mut(cause));
        }
    }

    fn texts(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn walk(texts: &Texts, value: &mut Value, depth: u32) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => hide(texts, text),
        Value::Array(_) | Value::Object(_) if depth == 0 => *value = REDACTED.into(),
        Value::Array(items) => items.iter_mut().for_each(|item| walk(texts, item, depth - 1)),
        Value::Object(map) => {
            for value in map.values_mut() {
                walk(texts, value, depth - 1);
            }
            if map.keys().any(|key| !texts.find(key).is_empty()) {
                let hidden = std::mem::take(map).into_iter().map(|(mut key, value)| {
                    hide(texts, &mut key);
                    (key, value)
                });
                *map = hidden.collect();
            }
        }
    }
}

fn hide(texts: &Texts, text: &mut String) {
    let mut places = texts.find(text);
    places.sort_unstable_by_key(|place| place.start);
    for place in places.into_iter().rev() {
        // Of texts that overlap the later one is hidden already.
        let end = place.end.min(text.len());
        if text.is_char_boundary(place.start) && text.is_char_boundary(end) {
            text.replace_range(place.start..end, REDACTED);
        }
    }
}
