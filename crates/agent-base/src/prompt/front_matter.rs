//! What stands before a text: lines between two lines of three hyphens.

/// Splits a text into its front matter and what comes behind.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("---\n").or_else(|| text.strip_prefix("---\r\n"))?;
    let is_end = |place: &usize| {
        let after = rest[place + 4..].trim_start_matches('\r');
        after.is_empty() || after.starts_with('\n')
    };
    let end = rest.match_indices("\n---").map(|(place, _)| place).find(is_end)?;
    Some((&rest[..=end], &rest[end + 4..]))
}

/// Whether a text is XML, behind front matter or not.
pub(super) fn is_xml(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    split(text).map_or(text, |(_, body)| body).trim_start().starts_with('<')
}
