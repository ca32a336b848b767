//! Messages on a stream: a header that says how long the body is, and the body.

use std::io::{self, BufRead, Read, Write};

/// The longest message; documents of 10 MB fit even if every character is escaped.
const MAX_MESSAGE: u64 = 64_000_000;
/// The longest line of a header.
const MAX_LINE: u64 = 4_096;
/// The most lines of a header.
const MAX_LINES: usize = 32;

/// Reads the body of a message; `None` when the stream has ended.
///
/// # Errors
///
/// When the stream cannot be read, ends in the middle of a message, or what it holds is no message or too long.
pub(super) fn read(stream: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut length = None;
    let mut line = String::new();
    for number in 0.. {
        line.clear();
        stream.by_ref().take(MAX_LINE).read_line(&mut line)?;
        if line.is_empty() && number == 0 {
            return Ok(None);
        }
        if !line.ends_with('\n') || number > MAX_LINES {
            return Err(invalid("a header has no end"));
        }
        let field = line.trim_end();
        if field.is_empty() {
            break;
        }
        if let Some((name, value)) = field.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<u64>().ok();
        }
    }
    let length = length.ok_or_else(|| invalid("a message does not say how long it is"))?;
    if length > MAX_MESSAGE {
        return Err(invalid("a message is too long"));
    }
    let mut body = Vec::new();
    // It grows with what arrives, not with what is announced.
    let read = stream.by_ref().take(length).read_to_end(&mut body)?;
    if (read as u64) < length { Err(invalid("a message has no end")) } else { Ok(Some(body)) }
}

/// Writes a message.
///
/// # Errors
///
/// When the stream cannot be written.
pub(super) fn write(stream: &mut impl Write, message: &impl serde::Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    write!(stream, "Content-Length: {}\r\n\r\n", body.len())?;
    stream.write_all(&body)?;
    stream.flush()
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
