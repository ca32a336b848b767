//! Where a list goes on: opaque to clients, and stable when something is added in front.

use std::fmt;

use super::problem::Rejection;

/// A place in a list, as text.
pub(super) trait Place: Sized {
    fn to_text(&self) -> String;
    fn from_text(text: &str) -> Option<Self>;
}

impl Place for String {
    fn to_text(&self) -> String {
        self.clone()
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

/// The cursor of a place: its text in hexadecimal digits, after a `c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor<T>(pub(super) T);

impl<T: Place> Cursor<T> {
    pub(super) fn parse(text: &str) -> Result<Self, Rejection> {
        let place = || {
            let digits = text.strip_prefix('c').filter(|digits| digits.len().is_multiple_of(2))?;
            let bytes: Option<Vec<u8>> = digits
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                .collect();
            T::from_text(&String::from_utf8(bytes?).ok()?)
        };
        place().map(Self).ok_or_else(|| Rejection::bad_request("`cursor` is none of this server's"))
    }
}

impl<T: Place> fmt::Display for Cursor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("c")?;
        self.0.to_text().bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
