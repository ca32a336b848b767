//! Step paths, taken apart. Keys in brackets may hold any character; ids hold no dot, bracket or `#`.

/// The places of characters of a path that stand in no key.
fn outside_of_keys(path: &str) -> impl DoubleEndedIterator<Item = (usize, char)> {
    let (mut quoted, mut escaped) = (false, false);
    let mut found = Vec::new();
    for (place, character) in path.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted => found.push((place, character)),
            _ => {}
        }
    }
    found.into_iter()
}

/// The id at the end of a path.
pub(super) fn id(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// What stands before the ids of the steps at a place, of those around it, and so on out to the workflow: `a[0].b#1.` gives itself, `a[0].`
/// and the empty text.
pub(super) fn prefixes(prefix: &str) -> impl Iterator<Item = &str> {
    let mut next = Some(prefix);
    std::iter::from_fn(move || {
        let prefix = next?;
        next = prefix.strip_suffix('.').map(|inner| {
            let dot = outside_of_keys(inner).rev().find(|(_, character)| *character == '.');
            dot.map_or("", |(place, _)| &inner[..=place])
        });
        Some(prefix)
    })
}

/// The composite that a prefix is inside of, and the item or iteration: `a[0].b#1.` gives `a[0].b` and `#1`; absent where nothing is counted.
pub(super) fn mark(prefix: &str) -> Option<(&str, &str)> {
    let inner = prefix.strip_suffix('.')?;
    let last = outside_of_keys(inner).rev().find(|(_, character)| matches!(character, '.' | '[' | '#'));
    last.filter(|(_, character)| *character != '.').map(|(place, _)| inner.split_at(place))
}

/// The places at which an item (`[`) or an iteration (`#`) is named.
pub(super) fn openings(path: &str) -> impl Iterator<Item = (usize, char)> {
    outside_of_keys(path).filter(|(_, character)| matches!(character, '[' | '#'))
}

/// The length of what begins with a `[` and ends with its `]`.
pub(super) fn closing(text: &str) -> usize {
    outside_of_keys(text).find(|(_, character)| *character == ']').map_or(text.len(), |(place, _)| place + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_whatever_keys_hold() {
        let prefix = r#"a["x.y[#\"1"].b#12.c."#;
        let all: Vec<_> = prefixes(prefix).collect();
        assert_eq!(all, [prefix, r#"a["x.y[#\"1"].b#12."#, r#"a["x.y[#\"1"]."#, ""]);
        assert_eq!(mark(prefix), None);
        assert_eq!(mark(all[1]), Some((r#"a["x.y[#\"1"].b"#, "#12")));
        assert_eq!(mark(all[2]), Some(("a", r#"["x.y[#\"1"]"#)));
        assert_eq!(closing(r#"["]"].b"#), 5);
        assert_eq!(id("a[0].b"), "b");
    }
}
