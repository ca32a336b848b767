use std::collections::HashMap;

use super::{
    Checker,
    frame::{Frame, StepRef},
};
use crate::types::Type;

/// What the verifier knows of the values that steps give and bodies see, by their places; also of a workflow with errors.
///
/// Made by [`source::infer`](crate::source::infer), for those who help to write a workflow.
#[derive(Clone, Debug, Default)]
pub struct Inferred {
    /// By the places of steps.
    outputs: HashMap<String, Type>,
    /// By the places of lists of steps: the names that are seen inside.
    names: HashMap<String, Vec<(String, Type)>>,
}

impl Inferred {
    /// Returns the type of what a step gives, its fallback's included. The step is named by its place in the document, a JSON
    /// pointer such as `/steps/2` or `/steps/0/map/steps/1`.
    #[must_use]
    pub fn output(&self, step: &str) -> Option<&Type> {
        self.outputs.get(step)
    }

    /// Returns the type of a name that a place sees beside the roots: the item and the index of a map, its `accumulator`, `loop`.
    #[must_use]
    pub fn name(&self, place: &str, name: &str) -> Option<&Type> {
        let ends = place.char_indices().rev().filter(|(_, c)| *c == '/').map(|(end, _)| end);
        let mut around = std::iter::once(place.len()).chain(ends).filter_map(|end| self.names.get(&place[..end]));
        around.find_map(|names| names.iter().rev().find(|(known, _)| known == name).map(|(_, of)| of))
    }
}

impl Checker<'_> {
    /// Tells what is known when everything has been checked.
    pub(super) fn inferred(&mut self) -> Inferred {
        let mut inferred = Inferred::default();
        self.silent += 1;
        for frame in 0..self.frames.len() {
            let path = self.frames[frame].path.clone();
            // Those without a place only hold names for a moment.
            if path.is_empty() {
                continue;
            }
            for step in (0..self.frames[frame].steps.len())
                .filter(|step| self.frames[frame].is_known(*step))
                .collect::<Vec<_>>()
            {
                let of = self.output(StepRef { frame, step });
                inferred.outputs.insert(format!("{path}/{step}"), of);
            }
            let Frame { bindings, .. } = &self.frames[frame];
            let names = bindings.iter().map(|(name, of)| ((*name).to_owned(), of.clone())).collect();
            inferred.names.insert(path, names);
        }
        self.silent -= 1;
        inferred
    }
}
