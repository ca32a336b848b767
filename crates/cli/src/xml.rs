//! Text in XML.

/// Writes a text so that it is only text to XML, in an element or in an attribute; characters that XML does not know become signs.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            character if character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}') => {
                out.push(char::REPLACEMENT_CHARACTER);
            }
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_breaks_out_of_its_attribute() {
        assert_eq!(super::escaped("a<b> & \"c\"\u{1b}[2J"), "a&lt;b&gt; &amp; &quot;c&quot;\u{fffd}[2J");
    }
}
