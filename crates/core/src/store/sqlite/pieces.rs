//! Large values are stored once.
//!
//! A row is MessagePack. Before it is written, every text, list and map of [`LARGE`] bytes and more that stands in it is taken out, the
//! inner ones first, and a reference is left in its place: the extension type [`REFERENCE`] with the number of the piece. What
//! was taken out is kept under its hash, so an output that is the input of ten steps is there once, wherever in their inputs it
//! stands. Rows without large values, which is most of them, are written as they are.

use std::{
    borrow::Cow,
    io::{self, ErrorKind},
};

use sha2::{Digest, Sha256};

/// Values of so many bytes are kept apart. What is smaller costs less where it stands than a reference, a hash and a row.
pub(super) const LARGE: usize = 512;
/// The deepest nesting; encoder and decoder do not go deeper either.
const MAX_DEPTH: usize = 1024;
/// The most bytes that a row may have with all its pieces put in.
const MAX_ROW: usize = 1 << 30;
/// The extension type of references, with 8 bytes of data.
const REFERENCE: u8 = 1;
const FIXEXT8: u8 = 0xd7;
/// The batch, its list of events, and each event stay where they are.
const FRAME: usize = 3;

/// The SHA-256 of what is kept.
pub(super) type Hash = [u8; 32];

pub(super) fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// A row whose large values were taken out. Their numbers are not known yet: that needs the database.
#[derive(Debug)]
pub(super) struct Short {
    row: Vec<u8>,
    references: Vec<Reference>,
    /// The inner ones first.
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    hash: Hash,
    bytes: Vec<u8>,
    references: Vec<Reference>,
}

/// Where the number of a piece is to stand.
#[derive(Debug)]
struct Reference {
    at: usize,
    piece: usize,
}

impl Short {
    /// Takes the large values out of a row. What stands before `from` is left as it is.
    pub(super) fn new(row: Vec<u8>, from: usize) -> io::Result<Self> {
        let mut short = Self { row: Vec::new(), references: Vec::new(), pieces: Vec::new() };
        if row.len() < LARGE {
            short.row = row;
            return Ok(short);
        }
        let mut at = from.min(row.len());
        short.row.reserve(row.len().min(4 * LARGE));
        short.row.extend_from_slice(&row[..at]);
        short.take_out(&row, &mut at, 0)?;
        Ok(short)
    }

    fn take_out(&mut self, row: &[u8], at: &mut usize, depth: usize) -> io::Result<()> {
        let start = self.row.len();
        let item = Item::read(row, *at, depth)?;
        self.row.extend_from_slice(&row[*at..item.end]);
        *at = item.end;
        for _ in 0..item.children {
            self.take_out(row, at, depth + 1)?;
        }
        if self.row.len() - start >= LARGE && depth >= FRAME {
            let inner = self.references.partition_point(|reference| reference.at < start);
            let mut references = self.references.split_off(inner);
            for reference in &mut references {
                reference.at -= start;
            }
            let bytes = self.row.split_off(start);
            let mut digest = Sha256::new_with_prefix(&bytes);
            for reference in &references {
                digest.update(self.pieces[reference.piece].hash);
            }
            self.row.extend_from_slice(&[FIXEXT8, REFERENCE]);
            self.references.push(Reference { at: self.row.len(), piece: self.pieces.len() });
            self.row.extend_from_slice(&[0; 8]);
            self.pieces.push(Piece { hash: digest.finalize().into(), bytes, references });
        }
        Ok(())
    }

    /// Returns how many bytes the row has, with what was taken out of it.
    pub(super) fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes.len() as u64).sum::<u64>() + self.row.len() as u64
    }

    /// Returns what is left of the row. `keep` stores a piece and gives its number.
    pub(super) fn keep<E>(&self, mut keep: impl FnMut(&Hash, &[u8]) -> Result<i64, E>) -> Result<Cow<'_, [u8]>, E> {
        let mut numbers = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            numbers.push(keep(&piece.hash, &numbered(&piece.bytes, &piece.references, &numbers))?);
        }
        Ok(numbered(&self.row, &self.references, &numbers))
    }
}

fn numbered<'a>(bytes: &'a [u8], references: &[Reference], numbers: &[i64]) -> Cow<'a, [u8]> {
    let mut bytes = Cow::Borrowed(bytes);
    for Reference { at, piece } in references {
        bytes.to_mut()[*at..at + 8].copy_from_slice(&numbers[*piece].to_be_bytes());
    }
    bytes
}

/// Puts the pieces back into a row. `find` gives the bytes of one. What stands before `from` is left as it is.
pub(super) fn put_in<'a, E: From<io::Error>>(
    row: &'a [u8],
    from: usize,
    find: &mut impl FnMut(i64) -> Result<Vec<u8>, E>,
) -> Result<Cow<'a, [u8]>, E> {
    // Most rows hold no reference, which is seen without reading them.
    if !row.windows(2).any(|pair| pair == [FIXEXT8, REFERENCE]) {
        return Ok(Cow::Borrowed(row));
    }
    let mut out = Vec::with_capacity(row.len() * 2);
    let mut at = from.min(row.len());
    out.extend_from_slice(&row[..at]);
    put_in_value(row, &mut at, 0, &mut out, find)?;
    Ok(Cow::Owned(out))
}

fn put_in_value<E: From<io::Error>>(
    row: &[u8],
    at: &mut usize,
    depth: usize,
    out: &mut Vec<u8>,
    find: &mut impl FnMut(i64) -> Result<Vec<u8>, E>,
) -> Result<(), E> {
    let item = Item::read(row, *at, depth)?;
    let bytes = &row[*at..item.end];
    *at = item.end;
    if let [FIXEXT8, REFERENCE, number @ ..] = bytes {
        let number = number.try_into().map_err(|_| bad("a reference is cut off"))?;
        let piece = find(i64::from_be_bytes(number))?;
        return put_in_value(&piece, &mut 0, depth, out, find);
    }
    if out.len() + bytes.len() > MAX_ROW {
        return Err(bad("the row is too large").into());
    }
    out.extend_from_slice(bytes);
    for _ in 0..item.children {
        put_in_value(row, at, depth + 1, out, find)?;
    }
    Ok(())
}

/// One item of MessagePack: a scalar, or the head of a list or map.
struct Item {
    /// Where it ends, its children not counted.
    end: usize,
    /// The items that follow and belong to it.
    children: usize,
}

impl Item {
    fn read(row: &[u8], at: usize, depth: usize) -> io::Result<Self> {
        if depth > MAX_DEPTH {
            return Err(bad("the row is nested too deeply"));
        }
        let marker = *row.get(at).ok_or_else(|| bad("the row is cut off"))?;
        let number = |width: usize| -> io::Result<usize> {
            let digits = row.get(at + 1..at + 1 + width).ok_or_else(|| bad("the row is cut off"))?;
            Ok(digits.iter().fold(0, |number, digit| number << 8 | usize::from(*digit)))
        };
        let (length, children) = match marker {
            0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => (1, 0),
            0x80..=0x8f => (1, 2 * usize::from(marker & 0x0f)),
            0x90..=0x9f => (1, usize::from(marker & 0x0f)),
            0xa0..=0xbf => (1 + usize::from(marker & 0x1f), 0),
            0xc4 | 0xd9 => (2 + number(1)?, 0),
            0xc5 | 0xda => (3 + number(2)?, 0),
            0xc6 | 0xdb => (5 + number(4)?, 0),
            0xc7 => (3 + number(1)?, 0),
            0xc8 => (4 + number(2)?, 0),
            0xc9 => (6 + number(4)?, 0),
            0xcc | 0xd0 => (2, 0),
            0xcd | 0xd1 => (3, 0),
            0xca | 0xce | 0xd2 => (5, 0),
            0xcb | 0xcf | 0xd3 => (9, 0),
            0xd4..=0xd8 => (2 + (1 << (marker - 0xd4)), 0),
            0xdc => (3, number(2)?),
            0xdd => (5, number(4)?),
            0xde => (3, 2 * number(2)?),
            0xdf => (5, 2 * number(4)?),
            0xc1 => return Err(bad("the row holds a byte that means nothing")),
        };
        let end = at + length;
        // Each child has a byte at least, so a damaged count is noticed before anybody counts to it.
        if end.saturating_add(children) > row.len() {
            return Err(bad("the row is cut off"));
        }
        Ok(Self { end, children })
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::io;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{Hash, LARGE, Short, put_in};

    /// Takes out, puts in, and returns what was kept and how many bytes were left.
    fn there_and_back(value: &Value) -> (Vec<Vec<u8>>, usize) {
        let row = rmp_serde::to_vec(&[[[value]]]).expect("encoded");
        let mut kept: Vec<(Hash, Vec<u8>)> = Vec::new();
        let short = Short::new(row.clone(), 0).expect("taken out");
        let left = short.keep(|hash, piece| {
            let found = kept.iter().position(|(known, _)| known == hash);
            Ok::<_, io::Error>(found.unwrap_or_else(|| {
                kept.push((*hash, piece.to_vec()));
                kept.len() - 1
            }) as i64)
        });
        let left = left.expect("kept");
        let kept: Vec<_> = kept.into_iter().map(|(_, bytes)| bytes).collect();
        let whole = put_in::<io::Error>(&left, 0, &mut |number| Ok(kept[number as usize].clone())).expect("put in");
        assert_eq!(*whole, row);
        (kept, left.len())
    }

    #[test]
    fn a_large_value_is_kept_once_wherever_it_stands() {
        let text = "x".repeat(10 * LARGE);
        let (kept, left) = there_and_back(&json!([text, { "deep": [{ "again": text }] }, [text, text]]));
        assert_eq!(kept.len(), 1);
        assert!(left < 100, "{left} bytes are left");
        let (kept, _) =
            there_and_back(&json!({ "body": text, "more": ["y".repeat(LARGE / 2), "y".repeat(LARGE / 2)] }));
        assert_eq!(kept.len(), 2, "what is large only as a whole is kept as a whole");
        assert!(there_and_back(&json!({ "small": "x".repeat(LARGE / 2) })).0.is_empty());
    }

    proptest! {
        #[test]
        fn what_is_taken_out_can_be_put_in(parts in prop::collection::vec((0..2000usize, 0..5u8), 0..12)) {
            let value = parts.iter().fold(json!(0), |inner, (size, form)| match form {
                0 => json!([inner, "t".repeat(*size)]),
                1 => json!({ "inner": inner, "list": vec![size; size / 10] }),
                2 => json!({ "k".repeat(*size): inner, "float": *size as f64 / 3.0 }),
                3 => json!([inner, { "\u{0}": null }, -(*size as i64) * 1_000_000_007]),
                _ => json!({ "again": ["t".repeat(*size)], "inner": inner }),
            });
            there_and_back(&value);
        }

        #[test]
        fn damaged_rows_are_errors(row in prop::collection::vec(any::<u8>(), 0..200)) {
            // Either it is a row or an error says why not; a piece that holds a reference to itself is nested too deeply.
            let _ = put_in::<io::Error>(&row, 0, &mut |_| Ok(row.clone()));
            let _ = Short::new(row, 0);
        }
    }
}
