//! The edges between steps, in compressed sparse rows.

use orchestr8_schema::StepIndex;

use super::Unit;

/// Who waits for whom: one flat list of edges, sliced by the step that they leave.
#[derive(Debug, PartialEq, Eq)]
pub struct Graph {
    /// Where the edges of each step begin; one entry more than there are steps.
    offsets: Box<[u32]>,
    edges: Box<[Edge]>,
    /// How many edges enter each step.
    incoming: Box<[u32]>,
    /// How many of them are hard.
    dependencies: Box<[u32]>,
}

/// An edge to a step that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The step that waits.
    pub to: StepIndex,
    /// Whether it needs the other to complete; otherwise it waits only until the other has ended.
    pub hard: bool,
}

impl Graph {
    pub(super) fn new(units: &[Unit]) -> Self {
        let steps: Vec<_> =
            units.iter().flat_map(|unit| unit.workflow.steps().iter().map(move |step| (unit, step))).collect();
        let entering = |&(unit, step): &(&Unit, &_)| {
            let step: &orchestr8_schema::ValidStep = step;
            let hard = step.dependencies.iter().map(|&from| (unit.global(from), true));
            let soft = step.soft.iter().map(|&from| (unit.global(from), false));
            hard.chain(soft).collect::<Vec<_>>()
        };
        let mut offsets = vec![0_u32; steps.len() + 1];
        for step in &steps {
            for (from, _) in entering(step) {
                offsets[from.get() + 1] += 1;
            }
        }
        for index in 0..steps.len() {
            offsets[index + 1] += offsets[index];
        }
        let mut next = offsets.clone();
        let mut edges = vec![Edge { to: StepIndex(0), hard: false }; offsets[steps.len()] as usize];
        for (index, step) in steps.iter().enumerate() {
            for (from, hard) in entering(step) {
                let place = &mut next[from.get()];
                edges[*place as usize] = Edge { to: StepIndex(index as u32), hard };
                *place += 1;
            }
        }
        Self {
            offsets: offsets.into(),
            edges: edges.into(),
            incoming: steps.iter().map(|(_, step)| (step.dependencies.len() + step.soft.len()) as u32).collect(),
            dependencies: steps.iter().map(|(_, step)| step.dependencies.len() as u32).collect(),
        }
    }

    /// Returns the steps that wait for this one, in the order of declaration.
    #[must_use]
    pub fn successors(&self, step: StepIndex) -> &[Edge] {
        &self.edges[self.offsets[step.get()] as usize..self.offsets[step.get() + 1] as usize]
    }

    /// Returns how many steps this one waits for.
    #[must_use]
    pub fn incoming(&self, step: StepIndex) -> u32 {
        self.incoming[step.get()]
    }

    /// Returns how many steps this one depends on.
    #[must_use]
    pub fn dependencies(&self, step: StepIndex) -> u32 {
        self.dependencies[step.get()]
    }
}
