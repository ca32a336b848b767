//! The invariants of the specification, each by its name, as far as a driver without a world can show them.

use std::collections::{BTreeMap, BTreeSet};

use orchestr8_core::{
    machine::{Command, Commands, Phase, Rescue, State, Status, fold, step},
    plan::Plan,
};
use orchestr8_schema::{
    ErrorKind, StepIndex,
    api::Compensation,
    event::{Activation, CallId, Event, EventBody, EventSort, LoopVerdict, Timer},
    policy::OnError,
    validate::ValidKind,
    workflow::CompensateOn,
};
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use crate::{
    ALL, ORDERLY, SCARCE, account, cases, plan,
    workflows::workflows,
    world::{Move, World, moves},
};

/// Properties of a whole life of any execution.
macro_rules! invariants {
    ($($name:ident => $check:expr;)*) => {
        proptest! {
            #![proptest_config(cases())]
            $(
                #[test]
                fn $name(document in workflows(ALL), moves in moves()) {
                    let plan = plan(&document)?;
                    let mut world = World::new(&plan);
                    world.live(&moves);
                    let check: fn(&World<'_>) = $check;
                    check(&world);
                }
            )*
        }
    };
}

invariants! {
    i03_two_runs_emit_the_same_commands_and_every_record_is_the_next_derived_event => same_commands;
    i04_sequences_rise_by_one => |world| {
        let mut expected = 0;
        world.replay(|_, event, after| {
            expected += 1;
            assert_eq!(after.sequence(), expected, "{}", event.body.name());
        });
    };
    i07_no_activation_has_two_terminal_events => |world| {
        let mut ended = BTreeSet::new();
        for activation in world.journal.iter().filter_map(|event| end_of(&event.body)) {
            assert!(ended.insert(activation), "{activation:?} ended twice");
        }
    };
    i08_no_terminal_activation_starts_an_attempt => |world| {
        world.replay(|before, event, _| {
            if let EventBody::AttemptStarted { call: CallId::Step(activation), .. } = event.body {
                assert!(!phase(before, activation).is_terminal(), "{activation:?} has ended");
            }
        });
    };
    i09_no_step_starts_before_its_dependencies => dependencies;
    i11_every_step_is_terminal_in_the_end => |world| {
        assert!(world.state.status().is_terminal());
        assert!(world.state.steps().iter().all(|step| step.phase.is_terminal()), "a step is not terminal");
    };
    i12_there_is_one_terminal_event_and_it_is_the_last => |world| {
        let terminal = world.journal.iter().filter(|event| event.body.is_terminal()).count();
        assert_eq!(terminal, 1);
        assert!(world.journal.last().expect("not empty").body.is_terminal());
    };
    i17_a_call_has_one_final_answer_or_was_aborted_by_force => one_answer;
    i18_no_two_activations_share_a_place => |world| {
        // A default key is made of the place, the input and the execution; both places and inputs never change.
        let mut places = BTreeSet::new();
        for activation in activations(&world.state) {
            assert!(places.insert(path(world, activation)), "{activation:?} stands where another does");
        }
        world.replay(|before, event, after| {
            for activation in activations(before) {
                let (was, is) = (&before.steps()[activation.get()].input, &after.steps()[activation.get()].input);
                // A guard may replace it, before there is an attempt.
                let may_change = was.is_none() || matches!(event.body, EventBody::HookFinished { .. });
                assert!(may_change || was == is, "the input changed with {}", event.body.name());
            }
        });
    };
    i19_a_skipped_step_had_no_attempt => |world| {
        let mut attempts = BTreeMap::new();
        for event in &world.journal {
            if let EventBody::AttemptStarted { call: CallId::Step(activation), .. } = event.body {
                *attempts.entry(activation).or_insert(0) += 1;
            }
        }
        for activation in activations(&world.state) {
            let step = &world.state.steps()[activation.get()];
            assert_eq!(step.attempts, attempts.get(&activation).copied().unwrap_or(0));
            assert!(step.phase != Phase::Skipped || step.attempts == 0, "{activation:?} was skipped after an attempt");
        }
    };
    i20_a_fallback_is_scheduled_only_if_the_step_that_it_serves_failed => |world| {
        world.replay(|before, event, _| {
            let EventBody::StepScheduled { activation, .. } = event.body else { return };
            let planned = &world.plan.steps()[before.steps()[activation.get()].step.get()];
            if let Some(served) = planned.serves {
                assert_eq!(phase(before, sibling(world, activation, served)), Phase::Failed);
            }
        });
    };
    i21_completed_implies_that_every_failure_was_continued_or_recovered => |world| {
        if world.finished != Some(Status::Completed) {
            return;
        }
        for step in world.state.own_steps().iter().filter(|step| step.phase == Phase::Failed) {
            let planned = &world.plan.steps()[step.step.get()];
            let is_fallback = planned.serves.is_some();
            assert!(planned.on_error == OnError::Continue || step.rescue == Rescue::Recovered || is_fallback);
        }
    };
    i22_nothing_is_scheduled_once_the_execution_is_ending => |world| {
        world.replay(|before, event, _| {
            let starts = matches!(
                event.body,
                EventBody::StepScheduled { .. } | EventBody::AttemptStarted { call: CallId::Step(_), .. }
            );
            assert!(!(starts && before.status().is_ending()), "{} while it is ending", event.body.name());
        });
    };
    i24_nothing_starts_in_a_pause => |world| {
        world.replay(|before, event, _| {
            if before.status() != Status::Paused {
                return;
            }
            let is_end = matches!(event.body, EventBody::StepCompleted { .. } | EventBody::StepFailed { .. });
            let starts = matches!(event.body, EventBody::AttemptStarted { .. });
            assert!(!starts && (is_end || event.body.sort() != EventSort::Derived), "{} in a pause", event.body.name());
        });
    };
    i25_signals_are_delivered_once_each_in_their_order => |world| {
        let mut latest = BTreeMap::new();
        for (place, event) in world.journal.iter().enumerate() {
            let EventBody::SignalDelivered { signal_sequence, .. } = event.body else { continue };
            let EventBody::SignalReceived(signal) = &world.journal[signal_sequence as usize - 1].body else {
                panic!("{place} delivers what is no signal");
            };
            let before = latest.insert(signal.name.clone(), signal_sequence);
            assert!(before < Some(signal_sequence), "out of order");
        }
    };
    i26_compensations_end_once_each_in_reverse_order_of_the_ends => compensations;
    i27_a_maps_output_has_its_inputs_order => |world| {
        for step in world.state.steps().iter().filter(|step| step.phase == Phase::Completed) {
            let is_map = matches!(world.plan.valid_step(step.step).kind, ValidKind::Map(_));
            let Some(Value::Array(output)) = step.output.as_deref().filter(|_| is_map) else { continue };
            let items: Vec<_> = output.iter().filter_map(|value| value["of"].as_u64()).collect();
            assert!(items.is_sorted(), "{items:?}");
        }
    };
    i28_maps_and_loops_keep_within_their_bounds => bounds;
    a_group_that_needs_some_of_its_steps_ends_as_their_count_says => joins;
    hooks_are_called_where_they_belong => crate::hooks::are_called_where_they_belong;
    i33_time_never_goes_back => |world| {
        assert!(world.journal.is_sorted_by_key(|event| event.at));
    };
}

proptest! {
    #![proptest_config(cases())]

    /// The comparison is made after every batch, by the world itself.
    #[test]
    fn i01_i34_the_journal_folds_to_the_live_state_and_what_is_held_is_outstanding(
        document in workflows(ALL), moves in moves()
    ) {
        let plan = plan(&document)?;
        let mut world = World::checked(&plan);
        world.live(&moves);
        assert!(world.is_idle(), "something is held in the end");
        // Nothing fits any more.
        let refused = !world.event(EventBody::ExecutionStarted { epoch: 2 });
        prop_assert!(refused);
    }

    /// Hostile events are among the moves; one that is refused and changes something is found by the world.
    #[test]
    fn i02_folding_any_mixture_of_events_never_panics(
        document in workflows(ALL), moves in moves(), picks in prop::collection::vec(any::<Index>(), 0..60)
    ) {
        let plan = plan(&document)?;
        let mut world = World::new(&plan);
        world.live(&moves);
        let mut state = State::new(&plan);
        for pick in &picks {
            fold(&plan, &mut state, &world.journal[pick.index(world.journal.len())]);
        }
    }

    #[test]
    fn i06_a_crash_at_any_point_changes_nothing(
        document in workflows(ALL), moves in moves(), crashes in prop::collection::vec(any::<bool>(), 100)
    ) {
        let plan = plan(&document)?;
        let live = |crashes: &[bool]| {
            let mut world = World::new(&plan);
            world.start(json!({ "yes": true, "no": false }));
            for (action, crash) in moves.iter().zip(crashes) {
                if world.finished.is_some() {
                    break;
                }
                world.act(action);
                if *crash && world.finished.is_none() {
                    world.crash();
                }
            }
            world.settle();
            world.journal
        };
        prop_assert_eq!(live(&crashes), live(&[false; 100]));
    }

    #[test]
    fn i29_no_attempt_begins_beyond_a_budget(document in workflows(SCARCE), moves in moves()) {
        let plan = plan(&document)?;
        let mut world = World::new(&plan);
        world.live(&moves);
        account::is_kept(&world);
    }

    #[test]
    fn i27_an_accumulator_meets_the_items_in_their_order(
        items in 0..7_usize, concurrency in 1..7_u32, order in prop::collection::vec(any::<Index>(), 7)
    ) {
        let map = json!({
            "items": vec![0; items], "indexAs": "index", "concurrency": concurrency,
            "accumulator": { "init": "items", "value": "${accumulator} ${index}" },
            "steps": [{ "id": "inner", "agent": { "id": "@test/any" } }]
        });
        let plan = plan(&json!({
            "version": "1.0.0", "metadata": { "id": "sum", "name": "Sum" }, "steps": [{ "id": "map", "map": map }]
        }))?;
        let mut world = World::new(&plan);
        world.start(json!({}));
        for next in &order {
            for _ in 0..concurrency {
                world.act(&Move::Start(*next));
            }
            world.act(&Move::Succeed(*next));
        }
        prop_assert_eq!(world.finished, Some(Status::Completed));
        let expected = (0..items).fold("items".to_owned(), |sum, item| format!("{sum} {item}"));
        prop_assert_eq!(world.state.steps()[0].output.as_deref(), Some(&Value::from(expected)));
    }

    #[test]
    fn i10_the_order_of_completion_does_not_matter(
        document in workflows(ORDERLY), one in moves(), other in moves()
    ) {
        let plan = plan(&document)?;
        let run = |moves: &[Move]| {
            let mut world = World::new(&plan);
            world.start(json!({ "yes": true, "no": false }));
            let harmless = |action: &&Move| {
                matches!(action, Move::Start(_) | Move::Succeed(_) | Move::Pause | Move::Resume)
            };
            for action in moves.iter().filter(harmless) {
                if world.finished.is_none() {
                    world.act(action);
                }
            }
            world.settle();
            // Where something fails fatally, if only in a scope, what else still ran depends on when it failed.
            let is_fatal = |event: &Event| matches!(event.body, EventBody::StepFailed { fatal: true, .. });
            let orderly = world.finished == Some(Status::Completed) && !world.journal.iter().any(is_fatal);
            orderly.then(|| world.results())
        };
        if let (Some(one), Some(other)) = (run(&one), run(&other)) {
            prop_assert_eq!(one, other);
        }
    }
}

/// Whose terminal event this is.
fn end_of(body: &EventBody) -> Option<Activation> {
    match body {
        EventBody::StepCompleted { activation, .. }
        | EventBody::StepFailed { activation, .. }
        | EventBody::StepSkipped { activation, .. }
        | EventBody::StepCancelled { activation, .. } => Some(*activation),
        _ => None,
    }
}

fn phase(state: &State, activation: Activation) -> Phase {
    state.steps()[activation.get()].phase
}

fn activations(state: &State) -> impl Iterator<Item = Activation> + use<> {
    (0..state.steps().len() as u32).map(Activation)
}

fn path(world: &World<'_>, activation: Activation) -> String {
    world.state.step_path(world.plan, activation).expect("there is one").to_string()
}

/// The activation of a step in the scope that another stands in.
pub(crate) fn sibling(world: &World<'_>, of: Activation, step: StepIndex) -> Activation {
    let place = path(world, of);
    let outer = place.rsplit_once('.').map(|(outer, _)| outer);
    let id = &world.plan.steps()[step.get()].id;
    let wanted = outer.map_or_else(|| id.to_string(), |outer| format!("{outer}.{id}"));
    activations(&world.state).find(|activation| path(world, *activation) == wanted).expect("it stands beside it")
}

fn same_commands(world: &World<'_>) {
    let mut state = State::new(world.plan);
    for (place, (event, asked)) in world.journal.iter().zip(&world.asked).enumerate() {
        let mut commands = Commands::new();
        step(world.plan, &mut state, event, &mut commands);
        let next = world.journal.get(place + 1).filter(|next| next.body.sort() == EventSort::Derived);
        let record = match commands.last() {
            Some(Command::Record(_)) => commands.pop(),
            _ => None,
        };
        assert_eq!(record, next.cloned().map(Command::Record), "behind {}", event.body.name());
        assert_eq!(&commands, asked, "of {}", event.body.name());
    }
}

fn dependencies(world: &World<'_>) {
    let is_settled = |plan: &Plan, before: &State, activation: Activation| {
        let known = &before.steps()[activation.get()];
        let has_fallback = plan.steps()[known.step.get()].fallback.is_some();
        let is_rescued = matches!(known.rescue, Rescue::Recovered | Rescue::Lost);
        known.phase.is_terminal() && (known.phase != Phase::Failed || !has_fallback || is_rescued)
    };
    world.replay(|before, event, _| {
        let EventBody::StepScheduled { activation, .. } = event.body else { return };
        let index = before.steps()[activation.get()].step;
        let (valid, unit) = (world.plan.valid_step(index), world.plan.unit_of(index));
        for dependency in &valid.dependencies {
            let dependency = sibling(world, activation, unit.global(*dependency));
            assert!(before.steps()[dependency.get()].is_satisfied(), "scheduled before its dependency");
        }
        for soft in &valid.soft {
            let soft = sibling(world, activation, unit.global(*soft));
            assert!(is_settled(world.plan, before, soft), "scheduled before what it reads was settled");
        }
    });
}

/// Where a call was opened, answered and aborted.
fn one_answer(world: &World<'_>) {
    let mut open = BTreeSet::new();
    for (event, asked) in world.journal.iter().zip(&world.asked) {
        match &event.body {
            EventBody::AttemptFinished { call, is_final: true, .. }
            | EventBody::AttemptRejected { call, is_final: true, .. } => {
                assert!(open.remove(call), "{call:?} is answered and not open");
            }
            EventBody::AttemptStarted { call, .. } | EventBody::AttemptFinished { call, .. } => {
                assert!(open.contains(call), "{call:?} has an attempt and is not open");
            }
            _ => {}
        }
        for command in asked {
            match command {
                Command::Call(call) => assert!(open.insert(call.id), "{:?} is called twice", call.id),
                Command::AbortCall { call, force: true, .. } => {
                    assert!(open.remove(call), "{call:?} is aborted and not open");
                }
                _ => {}
            }
        }
    }
    assert!(open.is_empty(), "{open:?} without an end");
}

fn compensations(world: &World<'_>) {
    let mut ends = Vec::new();
    let mut completed = BTreeSet::new();
    let mut undone = Vec::new();
    let (mut failed, mut is_late) = (false, false);
    for event in &world.journal {
        ends.extend(end_of(&event.body));
        match &event.body {
            EventBody::StepCompleted { activation, .. } => {
                completed.insert(*activation);
            }
            EventBody::CompensationStepCompleted { activation } => undone.push(*activation),
            EventBody::CompensationStepFailed { activation, .. } => {
                undone.push(*activation);
                failed = true;
            }
            EventBody::TimerFired { timer: Timer::Compensation } => is_late = true,
            _ => {}
        }
    }
    let places: Vec<_> = undone.iter().map(|step| ends.iter().position(|ended| ended == step)).collect();
    assert!(places.is_sorted_by(|one, other| one > other), "undone twice, or in another order: {undone:?}");
    let owed: BTreeSet<_> = activations(&world.state)
        .filter(|activation| {
            let step = &world.state.steps()[activation.get()];
            match world.plan.valid_step(step.step).compensate.as_ref().map(|compensation| compensation.on) {
                Some(CompensateOn::Completed) => completed.contains(activation),
                Some(CompensateOn::Attempt) => step.attempts > 0,
                None => false,
            }
        })
        .collect();
    let undone: BTreeSet<_> = undone.into_iter().collect();
    match world.state.compensation() {
        Compensation::None => assert!(undone.is_empty() && (owed.is_empty() || completes(world))),
        Compensation::Complete => assert!(!failed && undone == owed, "{undone:?} of {owed:?}"),
        Compensation::Incomplete if is_late => assert!(failed && undone.is_subset(&owed), "{undone:?} of {owed:?}"),
        Compensation::Incomplete => assert!(failed && undone == owed, "{undone:?} of {owed:?}"),
    }
}

fn completes(world: &World<'_>) -> bool {
    world.finished == Some(Status::Completed)
}

fn joins(world: &World<'_>) {
    let mut joined = BTreeSet::new();
    world.replay(|before, event, _| {
        let (activation, error) = match &event.body {
            EventBody::ParallelJoined { activation, .. } => {
                joined.insert(*activation);
                return;
            }
            EventBody::StepCompleted { activation, .. } => (*activation, None),
            EventBody::StepFailed { activation, error, .. } => (*activation, Some(error)),
            _ => return,
        };
        let group = before.steps()[activation.get()].step;
        let ValidKind::Parallel(parallel) = &world.plan.valid_step(group).kind else { return };
        let (Some(needed), Phase::Closing) = (parallel.needed, phase(before, activation)) else { return };
        let unit = world.plan.unit_of(group);
        let ids: BTreeSet<_> = parallel
            .joined
            .iter()
            .map(|step| format!("{}.{}", path(world, activation), world.plan.steps()[unit.global(*step).get()].id))
            .collect();
        let has_result = |inner: &Activation| {
            let step = &before.steps()[inner.get()];
            let has_ended = matches!(step.phase, Phase::Completed | Phase::Failed) && step.is_satisfied();
            has_ended && ids.contains(&path(world, *inner))
        };
        let results = activations(before).filter(has_result).count() as u32;
        match error {
            None => assert!(results >= needed && joined.contains(&activation), "{results} of {needed}"),
            Some(error) if error.code == ErrorKind::Timeout => {}
            Some(_) => assert!(results < needed, "{results} of {needed}, and it failed"),
        }
    });
}

fn bounds(world: &World<'_>) {
    world.replay(|before, event, after| match &event.body {
        EventBody::LoopDecided { activation, decision } => {
            let ValidKind::Loop(valid) = &world.plan.valid_step(before.steps()[activation.get()].step).kind else {
                panic!("{activation:?} is no loop");
            };
            let goes_on = matches!(decision.verdict, LoopVerdict::Continue { .. });
            assert!(!goes_on || decision.index < valid.max_iterations, "iteration {}", decision.index);
        }
        EventBody::StepScheduled { .. } => {
            for map in activations(after).filter(|activation| phase(after, *activation) == Phase::Open) {
                let ValidKind::Map(valid) = &world.plan.valid_step(after.steps()[map.get()].step).kind else {
                    continue;
                };
                let prefix = format!("{}[", path(world, map));
                let is_live = |activation: &Activation| {
                    let phase = phase(after, *activation);
                    !phase.is_terminal() && !matches!(phase, Phase::Blocked | Phase::Ready)
                };
                let live = activations(after).filter(is_live).map(|activation| path(world, activation));
                let items: BTreeSet<_> =
                    live.filter_map(|path| Some(path.strip_prefix(&prefix)?.split_once(']')?.0.to_owned())).collect();
                assert!(items.len() <= valid.concurrency as usize, "{items:?} of {prefix} are open");
            }
        }
        _ => {}
    });
}
