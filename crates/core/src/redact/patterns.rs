//! Texts that look like a secret, wherever they stand.

use std::ops::Range;

/// What the tokens of known services begin with.
const PREFIXES: [&str; 7] = ["sk-", "pk-", "ghp_", "ghs_", "github_pat_", "glpat-", "SG."];

/// A known prefix alone is no secret.
const MIN_BEHIND_PREFIX: usize = 4;

/// Adds the places of what looks like a secret.
pub(super) fn find(text: &str, places: &mut Vec<Range<usize>>) {
    if text.contains("-----BEGIN ") {
        places.push(0..text.len());
        return;
    }
    tokens(text, places);
    cards(text, places);
}

/// Whether a number is a card number by itself.
pub(super) fn is_card_number(digits: &str) -> bool {
    is_card(digits.as_bytes())
}

fn tokens(text: &str, places: &mut Vec<Range<usize>>) {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let bytes = text.as_bytes();
    let mut start = 0;
    while start < bytes.len() {
        if !is_part(bytes[start]) {
            start += 1;
            continue;
        }
        let length = bytes[start..].iter().position(|&byte| !is_part(byte)).unwrap_or(bytes.len() - start);
        let token = &text[start..start + length];
        let trimmed = token.trim_start_matches(['-', '.', '_']);
        if has_prefix(trimmed) || is_web_token(trimmed) {
            places.push(start + token.len() - trimmed.len()..start + length);
        }
        start += length;
    }
}

fn has_prefix(token: &str) -> bool {
    PREFIXES.iter().any(|prefix| token.strip_prefix(prefix).is_some_and(|rest| rest.len() >= MIN_BEHIND_PREFIX))
}

/// Whether it is a JSON Web Token: header, payload and signature, the header being an object in base64.
fn is_web_token(token: &str) -> bool {
    let mut parts = token.split('.');
    let (header, payload) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    header.starts_with("eyJ") && header.len() > 8 && !payload.is_empty() && parts.next().is_some()
}

/// Finds card numbers, whole or in groups that spaces or hyphens separate.
fn cards(text: &str, places: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut start = 0;
    while let Some(next) = bytes[start..].iter().position(u8::is_ascii_digit) {
        start += next;
        let behind_word = start > 0 && bytes[start - 1].is_ascii_alphanumeric();
        let found = if behind_word { None } else { card_at(bytes, start) };
        start = match found {
            Some(end) => {
                places.push(start..end);
                end
            }
            // Not here: go on behind this group of digits.
            None => start + bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count(),
        };
    }
}

/// The end of the card number that begins here.
fn card_at(bytes: &[u8], start: usize) -> Option<usize> {
    let mut digits = Vec::with_capacity(19);
    let mut at = start;
    let mut found = None;
    while at < bytes.len() && digits.len() < 20 {
        match bytes[at] {
            byte if byte.is_ascii_digit() => digits.push(byte),
            b' ' | b'-' if bytes[at - 1].is_ascii_digit() => {}
            _ => break,
        }
        at += 1;
        let ends_here = bytes.get(at).is_none_or(|next| !next.is_ascii_alphanumeric());
        if bytes[at - 1].is_ascii_digit() && ends_here && is_card(&digits) {
            found = Some(at);
        }
    }
    found
}

/// Whether these are the digits of a card number: 13 to 19 of them, of a known industry, with the right check digit (Luhn).
fn is_card(digits: &[u8]) -> bool {
    if !(13..=19).contains(&digits.len()) || !matches!(digits[0], b'2'..=b'6') || !digits.iter().all(u8::is_ascii_digit)
    {
        return false;
    }
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| {
            let digit = u32::from(digit - b'0');
            match (index % 2, digit) {
                (0, _) => digit,
                (_, 5..) => digit * 2 - 9,
                (_, _) => digit * 2,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::find;

    fn hidden(text: &str) -> Vec<&str> {
        let mut places = Vec::new();
        find(text, &mut places);
        places.into_iter().map(|place| &text[place]).collect()
    }

    #[test]
    fn secrets_are_found_by_their_form() {
        for (text, found) in [
            ("key sk-abcd1234, pk-live_9", vec!["sk-abcd1234", "pk-live_9"]),
            ("url?t=ghp_0123456789&x=glpat-aaaa", vec!["ghp_0123456789", "glpat-aaaa"]),
            ("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.c2ln!", vec!["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.c2ln"]),
            ("card 7 4111 1111 1111 1111.", vec!["4111 1111 1111 1111"]),
            ("4111111111111111", vec!["4111111111111111"]),
            ("5500-0000-0000-0004 too", vec!["5500-0000-0000-0004"]),
            ("-----BEGIN RSA PRIVATE KEY-----\nx", vec!["-----BEGIN RSA PRIVATE KEY-----\nx"]),
        ] {
            assert_eq!(hidden(text), found, "{text}");
        }
    }

    #[test]
    fn what_only_resembles_a_secret_is_shown() {
        for text in [
            "task-list sk- pk-1 desk-abcdefgh",
            "4111111111111112",
            "1700000000000",
            "0199aabb-4111-7111-8111-111111111111",
            "a4111111111111111",
            "eyJ.x",
            "2025-01-17T12:00:00.000Z 2025-01-17",
            "",
        ] {
            assert!(hidden(text).is_empty(), "{text}: {:?}", hidden(text));
        }
    }
}
