//! What a failed execution keeps when it is reopened, and what runs again.

use std::collections::BTreeSet;

use orchestr8_core::machine::{Phase, Status};
use orchestr8_schema::event::{Activation, CallId, EventBody};
use proptest::prelude::*;
use serde_json::json;

use crate::{
    REOPENABLE, STRICT, cases, plan,
    workflows::workflows,
    world::{Move, World, moves},
};

proptest! {
    #![proptest_config(cases())]

    /// However it failed, and however often: it goes on, holds what is outstanding, and comes to an end again.
    #[test]
    fn what_has_completed_does_not_run_again(
        document in workflows(REOPENABLE), lives in prop::collection::vec(moves(), 1..4)
    ) {
        let plan = plan(&document)?;
        let mut world = World::checked(&plan);
        world.start(json!({ "yes": true, "no": false }));
        for (life, moves) in lives.iter().enumerate() {
            if life > 0 && !reopen_checked(&mut world) {
                break;
            }
            let before = world.journal.len();
            let kept = terminal(&world);
            for action in moves {
                if world.finished.is_none() {
                    world.act(action);
                }
            }
            world.settle();
            for event in &world.journal[before..] {
                let begins = matches!(
                    event.body,
                    EventBody::StepScheduled { .. }
                        | EventBody::StepStarted { .. }
                        | EventBody::AttemptStarted { call: CallId::Step(_), .. }
                );
                let about = event.body.activation().filter(|_| begins);
                prop_assert!(about.is_none_or(|activation| !kept.contains(&activation)), "{:?} runs again", about);
            }
            prop_assert!(world.state.steps().iter().all(|step| step.phase.is_terminal()));
            prop_assert!(world.is_idle(), "something is held in the end");
        }
    }

    #[test]
    fn the_results_are_those_of_an_execution_that_never_failed(document in workflows(STRICT), moves in moves()) {
        let plan = plan(&document)?;
        let run = |moves: &[Move]| {
            let mut world = World::new(&plan);
            world.start(json!({ "yes": true, "no": false }));
            // Waits for a signal find theirs.
            for _ in 0..40 {
                world.act(&Move::Signal(true));
            }
            for action in moves {
                let is_answer = matches!(
                    action,
                    Move::Start(_) | Move::Succeed(_) | Move::FailFinally(_) | Move::Pause | Move::Resume
                );
                if is_answer && world.finished.is_none() {
                    world.act(action);
                }
            }
            world.settle();
            while world.finished == Some(Status::Failed) && moves.len() > 1 && world.reopen() {
                world.settle();
                if world.journal.len() > 20_000 {
                    break;
                }
            }
            (world.finished == Some(Status::Completed)).then(|| world.results())
        };
        if let Some(smooth) = run(&[]) {
            prop_assert_eq!(Some(smooth), run(&moves));
        }
    }
}

/// Reopens it and sees that what was completed is as it was.
fn reopen_checked(world: &mut World<'_>) -> bool {
    let before = world.state.clone();
    let reopened = world.reopen();
    for (known, step) in before.steps().iter().zip(world.state.steps()) {
        if known.phase == Phase::Completed {
            assert_eq!(known.output, step.output);
            assert_eq!(step.phase, Phase::Completed);
        }
    }
    reopened
}

/// What will not run again.
fn terminal(world: &World<'_>) -> BTreeSet<Activation> {
    let steps = world.state.steps().iter().enumerate();
    steps.filter(|(_, step)| step.phase.is_terminal()).map(|(index, _)| Activation(index as u32)).collect()
}
