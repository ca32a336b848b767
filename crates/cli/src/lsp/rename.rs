//! Renaming a step everywhere.

use std::ops::Range;

use orchestr8_schema::{StepId, source};

use super::{
    Analysis,
    analysis::mention_at,
    completion::is_plain,
    outline::Outline,
    protocol::{Position, Renamable, TextEdit},
    syntax::Tree,
};

/// Why a step is not renamed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenameError {
    /// No step is named there.
    #[error("there is no step to rename here")]
    NoStep,
    /// The new name is none.
    #[error("`{0}` is no step id: letters, digits, `-` and `_`, at most 128")]
    InvalidId(String),
    /// Another step has the new name.
    #[error("there is a step `{0}` already")]
    Used(String),
    /// The text cannot be read, so that nobody knows where the step is named.
    #[error("the document has syntax errors; mend them first")]
    Unreadable,
    /// A place cannot take the new name as it is written.
    #[error("line {0} cannot take that name as it is written")]
    Unsafe(u32),
}

impl Analysis<'_> {
    /// Returns what would be renamed at a place.
    #[must_use]
    pub fn renamable(&self, position: Position) -> Option<Renamable> {
        let tree = Tree::new(self.text.as_str());
        let outline = Outline::new(&tree);
        let mention = mention_at(&tree, &outline, self.text.offset(position))?;
        outline.find(&mention.id)?;
        Some(Renamable { range: self.text.range(&mention.range), placeholder: mention.id })
    }

    /// Renames the step that is named at a place: where it is defined, in dependencies and fallbacks, and in the expressions and
    /// conditions that read it. Quotes stay, and are added where the new name needs them.
    ///
    /// # Errors
    ///
    /// [`RenameError`] when there is nothing to rename, the name will not do, or the document cannot be read.
    pub fn rename(&self, position: Position, name: &str) -> Result<Vec<TextEdit>, RenameError> {
        let text = self.text.as_str();
        let tree = Tree::new(text);
        let outline = Outline::new(&tree);
        let mention = mention_at(&tree, &outline, self.text.offset(position)).ok_or(RenameError::NoStep)?;
        if outline.find(&mention.id).is_none() {
            return Err(RenameError::NoStep);
        }
        if name.parse::<StepId>().is_err() {
            return Err(RenameError::InvalidId(name.to_owned()));
        }
        if outline.find(name).is_some() {
            let is_same = name == mention.id;
            return if is_same { Ok(Vec::new()) } else { Err(RenameError::Used(name.to_owned())) };
        }
        if source::parse(text, &source::Options::new().file_name(self.name)).is_err() {
            return Err(RenameError::Unreadable);
        }
        let all = outline.mentions(&tree);
        let ranges: Vec<Range<usize>> =
            all.iter().filter(|other| other.id == mention.id).map(|other| other.range.clone()).collect();
        let renamed = replaced(&tree, &ranges, name);
        // The proof: read again, the same places name the same steps, but for the new name.
        let new_text = apply(text, &renamed);
        let new_tree = Tree::new(&new_text);
        let found = Outline::new(&new_tree).mentions(&new_tree);
        let expected = all.iter().map(|other| if other.id == mention.id { name } else { other.id.as_str() });
        let is_readable = source::parse(&new_text, &source::Options::new().file_name(self.name)).is_ok();
        let differs = expected.zip(found.iter().map(|other| other.id.as_str()).chain(std::iter::repeat("")));
        let place = differs.zip(&all).find(|((expected, found), _)| expected != found).map(|(_, place)| place);
        if place.is_some() || found.len() != all.len() || !is_readable {
            let range = place.map_or(mention.range, |place| place.range.clone());
            return Err(RenameError::Unsafe(self.text.position(range.start).line + 1));
        }
        let edits = renamed.into_iter();
        Ok(edits.map(|(range, new_text)| TextEdit { range: self.text.range(&range), new_text }).collect())
    }
}

/// Returns what is written in each place.
fn replaced(tree: &Tree<'_>, ranges: &[Range<usize>], name: &str) -> Vec<(Range<usize>, String)> {
    let replaced = ranges.iter().map(|range| {
        // An id that stands alone without quotes must not become a number.
        let stands_alone = match tree.find(range.start) {
            Some(super::syntax::Found::Scalar(node)) => tree.range(node) == *range,
            _ => false,
        };
        let quoted = stands_alone && !is_plain(name);
        (range.clone(), if quoted { format!("\"{name}\"") } else { name.to_owned() })
    });
    replaced.collect()
}

/// Replaces ranges, which are in the order of the text.
fn apply(text: &str, edits: &[(Range<usize>, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (range, new_text) in edits {
        out.push_str(&text[from..range.start]);
        out.push_str(new_text);
        from = range.end;
    }
    out.push_str(&text[from..]);
    out
}
