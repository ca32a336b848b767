//! How numbers, durations and foreign text are put into words for people.

use std::{borrow::Cow, time::Duration};

/// Puts milliseconds into words: `6ms`, `1.2s`, `41s`, `2m 5s`, `3h 10m`.
#[must_use]
pub fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    match millis {
        0..1_000 => format!("{millis}ms"),
        1_000..10_000 => format!("{seconds}.{}s", millis % 1000 / 100),
        10_000..60_000 => format!("{seconds}s"),
        60_000..3_600_000 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Puts milliseconds into the largest unit that there is one of: `41s`, `2m`, `3h`, `5d`.
#[must_use]
pub fn rough(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Says how long ago something was: `now`, `2m ago`.
#[must_use]
pub fn ago(since: Duration) -> String {
    match u64::try_from(since.as_millis()).unwrap_or(u64::MAX) {
        0..1000 => "now".to_owned(),
        millis => format!("{} ago", rough(millis)),
    }
}

/// Counts things: `1 step`, `2 steps`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Makes foreign text harmless for a terminal: control characters and marks that reorder text become visible signs.
///
/// Line breaks become spaces, since what is printed with it is one line.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(|character| sign(character) == character) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|character| if character == '\n' { ' ' } else { sign(character) }).collect())
}

/// Returns what stands for a character on a terminal.
#[must_use]
pub fn sign(character: char) -> char {
    match character {
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        other => other,
    }
}

/// Writes a word so that a shell reads it as one, for commands to copy.
#[must_use]
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let is_plain = |character: char| character.is_alphanumeric() || "/._-@:=+,".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ago, duration, shell_word, visible};

    #[test]
    fn durations_grow_coarser() {
        let table =
            [(0, "0ms"), (999, "999ms"), (1_234, "1.2s"), (41_000, "41s"), (125_000, "2m 5s"), (11_400_000, "3h 10m")];
        for (millis, text) in table {
            assert_eq!(duration(millis), text);
        }
    }

    #[test]
    fn the_past_is_told_roughly() {
        let table = [(0, "now"), (41, "41s ago"), (150, "2m ago"), (7300, "2h ago"), (200_000, "2d ago")];
        for (seconds, text) in table {
            assert_eq!(ago(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_file_name_can_be_copied_into_a_shell() {
        assert_eq!(shell_word("flows/greet.yaml"), "flows/greet.yaml");
        assert_eq!(shell_word("Ada's flow.yaml"), r"'Ada'\''s flow.yaml'");
    }

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\nc"), "a␛[2Jb c");
        assert_eq!(visible("plain ä"), "plain ä");
    }
}
