//! The limits of views: how much of a field, of an output and of a whole journal people are shown.
//!
//! What is stored is never cut; and nothing is cut before it is redacted, so that no half of a secret is left over.

use orchestr8_schema::{
    api::{Entry, Level, Truncated},
    canonical,
};
use serde_json::{Map, Value, json};

/// The most bytes of a field of an entry.
pub(crate) const MAX_FIELD: usize = 8192;
/// The most bytes of an output, or an input, that is shown by itself.
pub(crate) const MAX_OUTPUT: usize = 512 * 1024;
/// The most bytes of a journal in one document.
pub(crate) const MAX_DOCUMENT: usize = 10_000_000;
/// The most entries of a journal in one document.
pub(crate) const MAX_DOCUMENT_ENTRIES: usize = 10_000;

const MARK: &str = "[truncated]";

/// Cuts the fields of an entry, and notes on it what was cut.
pub(crate) fn entry(entry: &mut Entry) {
    let size = |value: &Value| json_size(value).saturating_sub(if value.is_string() { 2 } else { 0 });
    let is_long = |value: &Value| match value {
        Value::String(text) => text.len() > MAX_FIELD,
        other => size(other) > MAX_FIELD,
    };
    let mut fields: Vec<_> =
        entry.data.iter().filter(|(_, value)| is_long(value)).map(|(key, _)| key.clone()).collect();
    if entry.message.len() > MAX_FIELD {
        fields.push("message".to_owned());
    }
    if fields.is_empty() {
        return;
    }
    let original = json!({ "message": entry.message, "data": entry.data });
    let truncated = Truncated {
        original_size: json_size(&original) as u64,
        truncated_fields: fields,
        checksum: canonical::digest(&original),
    };
    for field in &truncated.truncated_fields {
        if let Some(value) = entry.data.get_mut(field) {
            cut(value, MAX_FIELD);
        }
    }
    cut_text(&mut entry.message, MAX_FIELD);
    entry.truncated = Some(truncated);
}

/// Cuts a value that is shown by itself; returns how many bytes it had, if it was too long.
pub(crate) fn output(value: &mut Value) -> Option<u64> {
    let size = json_size(value);
    (size > MAX_OUTPUT).then(|| {
        cut(value, MAX_OUTPUT);
        size as u64
    })
}

/// Cuts a journal to what one document may have: the oldest entries that are not about the execution itself go, and one
/// `journal.truncated` stands in their place.
pub(crate) fn document(entries: Vec<Entry>) -> Vec<Entry> {
    let sizes: Vec<_> =
        entries.iter().map(|entry| serde_json::to_vec(entry).map_or(0, |bytes| bytes.len() + 1)).collect();
    let (mut count, mut size) = (entries.len(), sizes.iter().sum::<usize>());
    if count <= MAX_DOCUMENT_ENTRIES && size <= MAX_DOCUMENT {
        return entries;
    }
    // Room for the entry that tells of the others.
    let (most, room) = (MAX_DOCUMENT_ENTRIES - 1, MAX_DOCUMENT - 1024);
    let mut kept = Vec::with_capacity(most);
    let mut dropped: Option<(usize, u64, Entry)> = None;
    for (entry, bytes) in entries.into_iter().zip(sizes) {
        if (count > most || size > room) && !entry.kind.starts_with("execution.") {
            (count, size) = (count - 1, size - bytes);
            let (number, _, first) = dropped.unwrap_or_else(|| (0, 0, stand_in(&entry)));
            if number == 0 {
                kept.push(first.clone());
            }
            dropped = Some((number + 1, entry.sequence, first));
        } else {
            kept.push(entry);
        }
    }
    if let Some((number, to, first)) = dropped
        && let Some(place) = kept.iter_mut().find(|entry| entry.kind == first.kind)
    {
        place.message = format!("{number} entries are not shown");
        place.data = Map::from_iter([
            ("count".to_owned(), number.into()),
            ("fromSequence".to_owned(), first.sequence.into()),
            ("toSequence".to_owned(), to.into()),
        ]);
    }
    kept
}

/// The entry that stands in place of dropped ones, the first of which this is.
fn stand_in(first: &Entry) -> Entry {
    let mut entry = Entry::new(
        first.sequence,
        first.timestamp,
        "journal.truncated",
        Level::Warn,
        first.execution_id,
        first.workflow_id.clone(),
        first.correlation_id.clone(),
    );
    (entry.elapsed_ms, entry.delta_ms) = (first.elapsed_ms, first.delta_ms);
    entry
}

fn cut(value: &mut Value, limit: usize) {
    match value {
        Value::String(text) => cut_text(text, limit),
        other => {
            let size = json_size(other);
            let message = format!("{size} bytes are not shown");
            *other = json!({ "truncated": true, "originalSize": size, "message": message });
        }
    }
}

/// Cuts a text so that it fits together with the mark.
/// Cuts a text that is shown by itself as a field of an entry is.
pub(crate) fn text(text: &mut String) {
    cut_text(text, MAX_FIELD);
}

fn cut_text(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit - MARK.len()));
        text.push_str(MARK);
    }
}

/// The bytes of a value's JSON, without writing it down.
pub(crate) fn json_size(value: &Value) -> usize {
    struct Count(usize);

    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    // Writing to a counter cannot fail, and keys of maps are texts.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}
