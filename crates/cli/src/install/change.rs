//! What differs between two texts.

/// The lines in which two texts differ, with one line before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    before: Option<String>,
    removed: Vec<String>,
    added: Vec<String>,
    after: Option<String>,
}

impl Difference {
    /// Compares two texts; there is one stretch from the first line that differs to the last.
    pub(super) fn between(one: &str, other: &str) -> Self {
        let (one, other): (Vec<_>, Vec<_>) = (one.lines().collect(), other.lines().collect());
        let same = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
        let rest = one.len().min(other.len()) - same;
        let pairs = one.iter().rev().zip(other.iter().rev());
        let same_end = pairs.take(rest).take_while(|(one, other)| one == other).count();
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        Self {
            before: same.checked_sub(1).map(|index| one[index].to_owned()),
            removed: owned(&one[same..one.len() - same_end]),
            added: owned(&other[same..other.len() - same_end]),
            after: (same_end > 0).then(|| one[one.len() - same_end].to_owned()),
        }
    }

    /// The lines as a unified diff has them.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let of = |sign: char, line: &String| format!("{sign} {line}");
        let context = |line: &Option<String>| line.as_ref().map(|line| of(' ', line));
        let removed = self.removed.iter().map(move |line| of('-', line));
        let added = self.added.iter().map(move |line| of('+', line));
        context(&self.before).into_iter().chain(removed).chain(added).chain(context(&self.after))
    }
}

#[cfg(test)]
mod tests {
    use super::Difference;

    #[test]
    fn the_lines_that_differ_are_shown_with_their_neighbours() {
        let lines = |one: &str, other: &str| Difference::between(one, other).lines().collect::<Vec<_>>();
        assert_eq!(lines("a\nb\nc", "a\nb\nx\nc"), ["  b", "+ x", "  c"]);
        assert_eq!(lines("a\nb\nc", "a\nx\nc"), ["  a", "- b", "+ x", "  c"]);
        assert_eq!(lines("", "a"), ["+ a"]);
        assert_eq!(lines("a\na", "a\na\na"), ["  a", "+ a"]);
    }
}
