//! How wide text is, without asking a font: what the common sans-serif fonts need, rounded up.

use unicode_width::UnicodeWidthChar;

/// Returns the width of a text in pixels at a size of 100 pixels per em, divided by 100.
pub(super) fn text_width(text: &str, size: i32) -> i32 {
    let hundredths: i32 = text.chars().map(character_width).fold(0, i32::saturating_add);
    hundredths.saturating_mul(size).div_euclid(100) + 1
}

/// Shortens a text to a width, with an ellipsis at its end.
pub(super) fn fit(text: &str, size: i32, width: i32) -> String {
    if text_width(text, size) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = text_width("…", size);
    for character in text.chars() {
        used += character_width(character) * size / 100 + 1;
        if used > width {
            break;
        }
        kept.push(character);
    }
    let kept = kept.trim_end();
    format!("{kept}…")
}

/// Returns the width of a character in hundredths of an em.
fn character_width(character: char) -> i32 {
    match character {
        'i' | 'j' | 'l' | '\'' | '|' | '!' | '.' | ',' | ':' | ';' | 'I' => 32,
        'f' | 't' | 'r' | ' ' | '(' | ')' | '[' | ']' | '/' | '-' | '·' | '`' | '"' => 42,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' => 100,
        'A'..='Z' | '&' | '#' | '$' => 72,
        'a'..='z' | '0'..='9' | '_' => 62,
        other => match other.width() {
            Some(2) => 105,
            Some(0) | None => 0,
            Some(_) => 75,
        },
    }
}
