//! A growing set of texts, and where they occur.

use std::{collections::HashSet, ops::Range};

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::Value;

use super::{MIN_TEXT, REDACTED};

/// A set of texts that are looked for all at once, in time that does not depend on their number.
///
/// An automaton cannot grow, so there are several, each at least twice as large as the one after it: a text is built into a new one
/// as often as the number of texts can be halved.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    known: HashSet<String>,
    groups: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Group {
    texts: Vec<String>,
    /// Absent if there are more texts than an automaton can hold. Everything is hidden then.
    automaton: Option<AhoCorasick>,
}

impl Texts {
    /// Adds a text, if it is long enough.
    pub(super) fn insert(&mut self, text: &str) {
        if text == REDACTED || text.chars().take(MIN_TEXT).count() < MIN_TEXT || !self.known.insert(text.to_owned()) {
            return;
        }
        let mut texts = vec![text.to_owned()];
        while self.groups.last().is_some_and(|group| group.texts.len() < 2 * texts.len()) {
            texts.extend(self.groups.pop().into_iter().flat_map(|group| group.texts));
        }
        self.groups.push(Group::new(texts));
    }

    /// Adds a text as it is, and as it stands within JSON that is kept as a text.
    pub(super) fn insert_secret(&mut self, text: &str) {
        self.insert(text);
        let quoted = Value::from(text).to_string();
        self.insert(&quoted[1..quoted.len() - 1]);
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Returns where the texts occur in another one.
    pub(super) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut places = Vec::new();
        for group in &self.groups {
            match &group.automaton {
                Some(automaton) => places.extend(automaton.find_iter(text).map(|found| found.range())),
                None => places.push(0..text.len()),
            }
        }
        places
    }
}

impl Group {
    fn new(texts: Vec<String>) -> Self {
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&texts).ok();
        Self { texts, automaton }
    }
}
