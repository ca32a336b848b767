//! What an execution keeps when it goes on, what runs again then, and why.

use orchestr8_schema::{
    api::{Rerun, ResumeAnswer},
    event::{Activation, SkipReason},
};

use crate::{
    machine::{self, Phase, Rescue, State, Status, StepState},
    plan::Plan,
};

/// Counts the steps that have completed and call, wait for or ask something, and lists those that will run again.
pub(crate) fn rerun(plan: &Plan, state: &State) -> (u32, Vec<Rerun>) {
    let has_result = |step: &&StepState| step.phase == Phase::Completed && !step.is_composite();
    let reused = state.steps().iter().filter(has_result).count() as u32;
    let again: Vec<Activation> = match state.status() {
        Status::Failed => machine::rerun(plan, state),
        _ => {
            let interrupted = (0..).map(Activation).zip(state.steps()).filter(|(_, step)| step.phase.is_in_flight());
            interrupted.map(|(activation, _)| activation).collect()
        }
    };
    let mut again: Vec<_> = again
        .into_iter()
        .map(|activation| Rerun {
            step_path: state.path_of(plan, activation),
            because: because(plan, &state.steps()[activation.get()]),
        })
        .collect();
    again.sort_unstable_by(|one, other| one.step_path.cmp(&other.step_path));
    again.truncate(ResumeAnswer::MAX_RERUN);
    (reused, again)
}

fn because(plan: &Plan, step: &StepState) -> String {
    match (step.phase, &step.error) {
        (Phase::Failed, _) if step.rescue == Rescue::Lost => {
            let fallback = plan.steps()[step.step.get()].fallback.map(|fallback| &plan.steps()[fallback.get()].id);
            fallback.map_or_else(|| "failed".to_owned(), |id| format!("failed, and so did its fallback {id}"))
        }
        (Phase::Failed, Some(error)) => format!("failed with {}", error.code),
        (Phase::Skipped, _) => match (step.skip_reason, step.blocked_by) {
            (Some(SkipReason::DependencyNotCompleted), Some(dependency)) => {
                format!("was skipped, since {} had not completed", plan.steps()[dependency.get()].id)
            }
            (Some(SkipReason::ConditionNotMet), _) => "was skipped, since its condition did not hold".to_owned(),
            (Some(SkipReason::FallbackNotNeeded), _) => "was not needed".to_owned(),
            _ => "its turn had not come when the workflow failed".to_owned(),
        },
        (Phase::Cancelled, _) if step.attempts > 0 => "was cancelled when the workflow failed".to_owned(),
        (phase, _) if phase.is_in_flight() => format!("attempt {} was interrupted", step.attempts),
        _ => "its turn had not come when the workflow failed".to_owned(),
    }
}
