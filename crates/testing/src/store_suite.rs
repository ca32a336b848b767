//! What every store promises, as tests.
//!
//! [`store_conformance!`](crate::store_conformance) makes one test of each rule here. The rules are those of
//! [`orchestr8_core::store`], whose contract they hold a store to.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use orchestr8_core::{
    Store,
    store::{
        Commit, Created, Holder, HolderId, IdempotencyRecord, Lease, Query, Retention, StoreError, Summary, Tenancy,
    },
};
use orchestr8_schema::{
    ExecutionId, Timestamp, ValidWorkflow,
    api::ExecutionStatus,
    event::{Activation, CallId, Event, EventBody, Queued, Reopening, Timer},
};
use serde_json::{Value, json};

use crate::simulate::chance::Chance;

/// Makes one test of each rule that a store has to keep.
///
/// The argument is a function without arguments that gives a guard and an empty store; the guard (a temporary folder, or `()`) lives
/// as long as the test. The crate that calls it needs tokio with the features `macros` and `rt-multi-thread`.
///
/// ```
/// use orchestr8_core::MemoryStore;
///
/// orchestr8_testing::store_conformance!(|| ((), MemoryStore::new()));
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! store_conformance {
    ($make:expr) => {
        $crate::store_conformance! { @ $make;
            a_batch_is_added_as_a_whole_and_in_order,
            a_wrong_sequence_or_an_old_epoch_changes_nothing,
            any_part_of_a_journal_can_be_read,
            all_events_have_one_order,
            who_writes_at_once_is_one_behind_the_other_for_everybody,
            lists_are_filtered_and_pages_stand_still,
            a_lease_has_one_holder,
            what_has_ended_can_be_gone_on_with,
            a_key_stands_for_one_request,
            what_has_ended_is_pruned_and_nothing_else,
            many_write_at_once,
            writes_at_once_stand_and_fall_by_themselves,
            values_come_back_as_they_were,
            texts_are_kept_by_name,
        }
    };
    (@ $make:expr; $($rule:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                let (_guard, store) = ($make)();
                $crate::store_suite::$rule(store).await;
            }
        )*
    };
}

const START: i64 = 1_737_072_000_000_000;

fn at(second: u64) -> Timestamp {
    Timestamp::from_micros(START).plus(Duration::from_secs(second))
}

fn id(second: u64) -> ExecutionId {
    ExecutionId::from_parts(at(second).as_unix_millis(), [7; 10])
}

fn holder(number: u64) -> Holder {
    Holder { id: HolderId(number), host: "here".into(), process: 4711, process_began: "today".into() }
}

fn workflow(name: &str) -> ValidWorkflow {
    let document = json!({
        "version": "1.0.0",
        "metadata": { "id": name, "name": name },
        "steps": [{ "id": "a", "agent": { "id": "@test/a" } }]
    });
    ValidWorkflow::from_value(&document).unwrap_or_else(|error| panic!("{error}"))
}

fn first(second: u64, workflow: &ValidWorkflow, input: Value) -> Event {
    let empty = Arc::new(json!({}));
    let queued = Queued::new(
        id(second),
        "suite".parse().unwrap_or_else(|error| panic!("{error}")),
        workflow.clone(),
        Arc::from([Arc::from("1.0.0")]),
        Arc::new(input),
        Arc::clone(&empty),
        empty,
    );
    Event { at: at(second), body: EventBody::ExecutionQueued(Arc::new(queued)) }
}

async fn create(store: &impl Store, second: u64) -> Lease {
    create_for(store, second, &workflow("suite"), None).await
}

async fn create_for(
    store: &impl Store,
    second: u64,
    workflow: &ValidWorkflow,
    request: Option<IdempotencyRecord>,
) -> Lease {
    match store.create(first(second, workflow, json!({})), request, HolderId(1)).await {
        Ok(Created::New(lease)) => lease,
        other => panic!("{other:?} instead of a lease"),
    }
}

fn event(second: u64, body: EventBody) -> Event {
    Event { at: at(second), body }
}

fn finished(value: Value) -> EventBody {
    EventBody::AttemptFinished {
        call: CallId::Step(Activation(0)),
        attempt: 1,
        result: Ok(Arc::new(value)),
        is_final: true,
        usage: None,
    }
}

/// Some events, told apart by their numbers.
fn batch(from: u64, count: u64) -> Vec<Event> {
    let body = |number| match number % 3 {
        0 => finished(json!({ "number": number })),
        1 => EventBody::StepStarted { activation: Activation(number as u32) },
        _ => EventBody::TimerFired { timer: Timer::Wait(Activation(number as u32)) },
    };
    (from..from + count).map(|number| event(number, body(number))).collect()
}

async fn append(store: &impl Store, lease: &Lease, expected: u64, events: &[Event]) -> Result<(), StoreError> {
    let mut buffer = events.to_vec();
    let appended = store.append(lease, expected, &mut buffer).await;
    let left = if appended.is_ok() { &[][..] } else { events };
    assert_eq!(buffer, left, "the buffer is taken if the events are stored, and left as it was if not");
    appended
}

async fn end(store: &impl Store, lease: &Lease, second: u64, body: EventBody) {
    append(store, lease, 1, &[event(second, body)]).await.unwrap_or_else(|error| panic!("{error}"));
}

async fn load(store: &impl Store, execution: ExecutionId, after: u64) -> Vec<Event> {
    store.load(execution, after).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn tenancy(store: &impl Store, execution: ExecutionId) -> Option<Tenancy> {
    let unfinished = store.unfinished(None, 1000).await.unwrap_or_else(|error| panic!("{error}"));
    unfinished.into_iter().find(|tenancy| tenancy.execution_id == execution)
}

fn is_conflict<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict(_)))
}

/// Batches follow one another; a batch of nothing is no batch.
///
/// # Panics
///
/// If the store breaks the rule, as all functions here.
pub async fn a_batch_is_added_as_a_whole_and_in_order(store: impl Store) {
    let lease = create(&store, 0).await;
    let events = batch(1, 7);
    append(&store, &lease, 1, &events[..2]).await.expect("appended");
    append(&store, &lease, 3, &[]).await.expect("there is nothing to append");
    append(&store, &lease, 3, &events[2..]).await.expect("appended");
    let journal = load(&store, lease.execution_id, 0).await;
    assert_eq!(journal[0], first(0, &workflow("suite"), json!({})));
    assert_eq!(journal[1..], events);

    let again = store.create(first(0, &workflow("suite"), json!({})), None, HolderId(1)).await;
    assert!(is_conflict(&again), "an id names one execution: {again:?}");
    let absent = Lease { execution_id: id(99), epoch: 1 };
    let missing = append(&store, &absent, 0, &events).await;
    assert!(matches!(missing, Err(StoreError::NotFound(_))), "{missing:?}");
}

/// Appends of somebody who knows another journal, or was replaced, are refused.
pub async fn a_wrong_sequence_or_an_old_epoch_changes_nothing(store: impl Store) {
    let lease = create(&store, 0).await;
    append(&store, &lease, 1, &batch(1, 3)).await.expect("appended");
    let before = load(&store, lease.execution_id, 0).await;
    for wrong in [0, 1, 2, 3, 5, u64::MAX] {
        let appended = append(&store, &lease, wrong, &batch(10, 2)).await;
        assert!(is_conflict(&appended), "behind {wrong}: {appended:?}");
    }
    let early = Lease { epoch: lease.epoch + 1, ..lease };
    assert!(is_conflict(&append(&store, &early, 4, &batch(10, 2)).await), "nobody was given this epoch");
    let seen = tenancy(&store, lease.execution_id).await.expect("unfinished");
    let heir = store.claim(&seen, HolderId(2)).await.expect("claimed");
    assert!(heir.epoch > lease.epoch);
    assert!(is_conflict(&append(&store, &lease, 4, &batch(10, 2)).await), "it was replaced");
    assert_eq!(load(&store, lease.execution_id, 0).await, before);
    append(&store, &heir, 4, &batch(4, 1)).await.expect("the new holder goes on");
}

/// The events behind any sequence, wherever batches end.
pub async fn any_part_of_a_journal_can_be_read(store: impl Store) {
    let lease = create(&store, 0).await;
    let mut sequence = 1;
    for count in [1, 4, 2, 9] {
        append(&store, &lease, sequence, &batch(sequence, count)).await.expect("appended");
        sequence += count;
    }
    let journal = load(&store, lease.execution_id, 0).await;
    assert_eq!(journal.len() as u64, sequence);
    for after in 0..=journal.len() + 1 {
        let expected = journal.get(after..).unwrap_or_default();
        assert_eq!(load(&store, lease.execution_id, after as u64).await, expected, "behind {after}");
        for limit in [0, 1, 3, 100] {
            let some = store.load_some(lease.execution_id, after as u64, limit).await.expect("read");
            assert_eq!(some, expected[..expected.len().min(limit)], "{limit} behind {after}");
        }
    }
    assert!(load(&store, lease.execution_id, u64::MAX).await.is_empty());
    assert!(matches!(store.load(id(99), 0).await, Err(StoreError::NotFound(_))));
}

/// Reads what is stored behind a position in pieces of this many commits: for each event its position, execution and sequence.
async fn order(store: &impl Store, after: u64, limit: usize) -> Vec<(u64, ExecutionId, u64)> {
    let (mut events, mut position) = (Vec::new(), after);
    loop {
        let commits = store.commits(position, limit).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(commits.len() <= limit, "no more than asked for");
        let Some(last) = commits.last() else { return events };
        position = last.position + last.count - 1;
        for Commit { position, execution_id, sequence, count } in commits {
            assert!(count > 0, "a commit is of something");
            events.extend((0..count).map(|index| (position + index, execution_id, sequence + index)));
        }
    }
}

/// Positions follow one another; they can be read from anywhere; what was refused has none; what was dropped is left out.
pub async fn all_events_have_one_order(store: impl Store) {
    assert_eq!((store.position().await.expect("read"), order(&store, 0, 9).await), (0, Vec::new()));
    let (one, two) = (create(&store, 1).await, create(&store, 2).await);
    append(&store, &one, 1, &batch(1, 2)).await.expect("appended");
    append(&store, &one, 3, &batch(3, 1)).await.expect("appended");
    append(&store, &one, 4, &[]).await.expect("there is nothing to append");
    assert!(is_conflict(&append(&store, &two, 7, &batch(1, 1)).await), "there are not so many");
    append(&store, &two, 1, &batch(1, 3)).await.expect("appended");
    append(&store, &one, 4, &[event(9, EventBody::ExecutionFailed)]).await.expect("appended");
    let (a, b) = (one.execution_id, two.execution_id);
    let told = [(a, 1), (b, 1), (a, 2), (a, 3), (a, 4), (b, 2), (b, 3), (b, 4), (a, 5)];
    let told: Vec<_> = (1..).zip(told).map(|(position, (id, sequence))| (position, id, sequence)).collect();
    for after in 0..=told.len() + 2 {
        for limit in [1, 2, 100] {
            let expected = told.get(after..).unwrap_or_default();
            assert_eq!(order(&store, after as u64, limit).await, expected, "{limit} behind {after}");
        }
    }
    assert!(order(&store, u64::MAX, 1).await.is_empty());
    assert_eq!(store.position().await.expect("read"), 9);

    let three = create(&store, 3).await;
    end(&store, &three, 10, EventBody::ExecutionCompleted { outputs: None }).await;
    store.prune(&Retention { age: None, max_finished: 1 }, at(1000)).await.expect("pruned");
    let left: Vec<_> = order(&store, 0, 100).await.into_iter().filter(|(_, id, _)| *id == a).collect();
    assert_eq!(left, [], "what was dropped is in no order");
    let told = order(&store, 5, 100).await;
    let expected = [(6, b, 2), (7, b, 3), (8, b, 4), (10, three.execution_id, 1), (11, three.execution_id, 2)];
    assert_eq!(told, expected);
    let four = create(&store, 4).await;
    assert_eq!(order(&store, 11, 100).await, [(12, four.execution_id, 1)], "positions are never given again");
}

/// Somebody who reads while others write sees no position before those in front of it.
pub async fn who_writes_at_once_is_one_behind_the_other_for_everybody(store: impl Store) {
    const WRITERS: u64 = 6;
    const ROUNDS: u64 = 20;
    let store = Arc::new(store);
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.push(tokio::spawn(async move {
            let lease = create(&*store, number).await;
            for round in 0..ROUNDS {
                append(&*store, &lease, 1 + 2 * round, &batch(round, 2)).await.expect("appended");
            }
        }));
    }
    let mut seen = Vec::new();
    let total = WRITERS * (1 + 2 * ROUNDS);
    while (seen.len() as u64) < total {
        let behind = order(&*store, seen.len() as u64, 5).await;
        assert!(behind.len() as u64 + seen.len() as u64 <= total, "there are not so many");
        seen.extend(behind);
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.expect("no panic");
    }
    assert!(seen.iter().map(|(position, ..)| *position).eq(1..=total), "without gap or repetition");
    assert_eq!(order(&*store, 0, 100).await, seen, "it stays as it was seen");
    for number in 0..WRITERS {
        let of_one = seen.iter().filter(|(_, execution, _)| *execution == id(number));
        assert!(of_one.map(|(.., sequence)| *sequence).eq(1..=1 + 2 * ROUNDS), "in the order of each journal");
    }
}

/// Newest first, by status and workflow, page by page while others begin.
pub async fn lists_are_filtered_and_pages_stand_still(store: impl Store) {
    let (red, blue) = (workflow("red"), workflow("blue"));
    for second in 1..=9 {
        let lease = create_for(&store, second, if second % 2 == 0 { &red } else { &blue }, None).await;
        if second % 3 == 0 {
            end(&store, &lease, 100 + second, EventBody::ExecutionCompleted { outputs: None }).await;
        } else {
            end(&store, &lease, 50, EventBody::ExecutionStarted { epoch: 1 }).await;
        }
    }
    let page = store.list(&Query::newest(4)).await.expect("listed");
    let ids = |executions: &[Summary]| executions.iter().map(|found| found.execution_id).collect::<Vec<_>>();
    assert_eq!(ids(&page.executions), [9, 8, 7, 6].map(id));
    assert!(page.has_more);
    let newest = Summary {
        execution_id: id(9),
        workflow_id: "blue".to_owned(),
        status: ExecutionStatus::Completed,
        created_at: at(9),
        ended_at: Some(at(109)),
    };
    assert_eq!(page.executions[0], newest);

    create(&store, 10).await;
    let query = Query::newest(4).before(id(6));
    let page = store.list(&query).await.expect("listed");
    assert_eq!((ids(&page.executions), page.has_more), ([5, 4, 3, 2].map(id).to_vec(), true));
    let page = store.list(&Query::newest(4).before(id(2))).await.expect("listed");
    assert_eq!((ids(&page.executions), page.has_more), (vec![id(1)], false));

    let running = Query::newest(100).statuses([ExecutionStatus::Running, ExecutionStatus::Queued]);
    let page = store.list(&running).await.expect("listed");
    assert_eq!(ids(&page.executions), [10, 8, 7, 5, 4, 2, 1].map(id));
    let page = store.list(&running.workflow("red").before(id(8))).await.expect("listed");
    assert_eq!((ids(&page.executions), page.has_more), ([4, 2].map(id).to_vec(), false));
    assert!(store.list(&Query::newest(9).workflow("green")).await.expect("listed").executions.is_empty());
}

/// Claimed, renewed, released: as it was seen, or not at all.
pub async fn a_lease_has_one_holder(store: impl Store) {
    let (one, two) = (holder(1), holder(2));
    store.renew(&one, at(30)).await.expect("renewed");
    store.renew(&two, at(30)).await.expect("renewed");
    let lease = create(&store, 0).await;
    let execution = lease.execution_id;
    let seen = tenancy(&store, execution).await.expect("unfinished");
    assert_eq!(seen, Tenancy { execution_id: execution, epoch: lease.epoch, holder: Some(one.clone()), until: at(30) });

    store.renew(&one, at(40)).await.expect("renewed");
    assert!(is_conflict(&store.claim(&seen, two.id).await), "it was renewed since it was seen");
    let seen = tenancy(&store, execution).await.expect("unfinished");
    assert_eq!(seen.until, at(40));
    let claims = [store.claim(&seen, two.id).await, store.claim(&seen, HolderId(3)).await];
    assert!(claims[0].is_ok() && is_conflict(&claims[1]), "{claims:?}");

    store.release(&lease).await.expect("what is another's by now stays");
    let seen = tenancy(&store, execution).await.expect("unfinished");
    assert_eq!((seen.epoch, seen.holder.as_ref()), (lease.epoch + 1, Some(&two)));
    let lease = Lease { execution_id: execution, epoch: seen.epoch };
    store.release(&lease).await.expect("released");
    let seen = tenancy(&store, execution).await.expect("unfinished");
    assert_eq!((seen.epoch, seen.holder.as_ref()), (lease.epoch, None));
    let lease = store.claim(&seen, one.id).await.expect("anybody may have it");
    assert_eq!(lease.epoch, seen.epoch + 1);

    for second in 1..=4 {
        create(&store, second).await;
    }
    let page = store.unfinished(Some(id(1)), 2).await.expect("read");
    assert_eq!(page.iter().map(|seen| seen.execution_id).collect::<Vec<_>>(), [id(2), id(3)]);

    let seen = tenancy(&store, execution).await.expect("unfinished");
    end(&store, &lease, 60, EventBody::ExecutionFailed).await;
    assert_eq!(tenancy(&store, execution).await, None, "nobody needs a lease of what has ended");
    assert!(store.claim(&seen, two.id).await.is_err());
}

/// By one of those who want to, and then it is unfinished again.
pub async fn what_has_ended_can_be_gone_on_with(store: impl Store) {
    let old = create(&store, 0).await;
    let execution = old.execution_id;
    assert!(is_conflict(&store.reclaim(execution, 1, HolderId(2)).await), "it has not ended");
    end(&store, &old, 5, EventBody::ExecutionFailed).await;
    assert!(is_conflict(&store.reclaim(execution, 1, HolderId(2)).await), "more is stored than that");
    let late = store.reclaim(execution, 2, HolderId(2)).await.expect("it has ended");
    let lease = store.reclaim(execution, 2, HolderId(3)).await.expect("nothing was appended meanwhile");
    assert!(old.epoch < late.epoch && late.epoch < lease.epoch);
    assert_eq!(tenancy(&store, execution).await, None, "nothing says yet that it goes on");

    let reopened = event(6, EventBody::ExecutionReopened(Arc::new(Reopening::new(vec![Activation(0)]))));
    assert!(is_conflict(&append(&store, &late, 2, std::slice::from_ref(&reopened)).await), "somebody came later");
    append(&store, &lease, 2, &[reopened]).await.expect("appended");
    assert_eq!(tenancy(&store, execution).await.expect("it is unfinished").epoch, lease.epoch);
    let page = store.list(&Query::newest(1)).await.expect("listed");
    assert_eq!((page.executions[0].status, page.executions[0].ended_at), (ExecutionStatus::Running, None));
    let retention = Retention { age: Some(Duration::ZERO), max_finished: 1 };
    for second in 10..13 {
        let other = create(&store, second).await;
        end(&store, &other, second, EventBody::ExecutionCompleted { outputs: None }).await;
    }
    store.prune(&retention, at(1000)).await.expect("pruned");
    assert_eq!(load(&store, execution, 0).await.len(), 3, "what goes on is not pruned");
    append(&store, &lease, 3, &[event(20, EventBody::ExecutionCompleted { outputs: None })]).await.expect("appended");
    assert_eq!(tenancy(&store, execution).await, None);
}

/// One execution per key, until its time is over or the execution ends without success.
pub async fn a_key_stands_for_one_request(store: impl Store) {
    let record = |second, digest: &str| IdempotencyRecord {
        key: "order-1".parse().unwrap_or_else(|error| panic!("{error}")),
        digest: digest.to_owned(),
        execution_id: id(second),
        created_at: at(second),
    };
    let workflow = workflow("suite");
    let ask = async |second| {
        let request = Some(record(second, "asked"));
        store.create(first(second, &workflow, json!({})), request, HolderId(1)).await.expect("answered")
    };
    let Created::New(lease) = ask(1).await else { panic!("the key is free") };
    assert_eq!(ask(2).await, Created::Taken(record(1, "asked")));
    assert!(matches!(store.load(id(2), 0).await, Err(StoreError::NotFound(_))), "nothing was stored");

    end(&store, &lease, 3, EventBody::ExecutionFailed).await;
    let Created::New(lease) = ask(4).await else { panic!("a repeat after a failure starts anew") };
    end(&store, &lease, 5, EventBody::ExecutionCompleted { outputs: None }).await;
    assert_eq!(ask(6).await, Created::Taken(record(4, "asked")), "a success is not repeated");
    let later = 4 + IdempotencyRecord::LIFE.as_secs();
    assert!(matches!(ask(later).await, Created::New(_)), "its time is over");

    let store = Arc::new(store);
    let race = (0..20).map(|number| {
        let (store, workflow) = (Arc::clone(&store), workflow.clone());
        tokio::spawn(async move {
            let second = 10_000 + number;
            let mut request = record(second, "raced");
            request.key = "order-2".parse().unwrap_or_else(|error| panic!("{error}"));
            store.create(first(second, &workflow, json!({})), Some(request), HolderId(1)).await.expect("answered")
        })
    });
    let mut started = 0;
    let mut named = BTreeSet::new();
    for answer in race.collect::<Vec<_>>() {
        match answer.await.expect("no panic") {
            Created::New(lease) => {
                started += 1;
                named.insert(lease.execution_id);
            }
            Created::Taken(taken) => {
                named.insert(taken.execution_id);
            }
        }
    }
    assert_eq!((started, named.len()), (1, 1), "one wins the race, and all others are told which");
}

/// By age and by number, the oldest first.
pub async fn what_has_ended_is_pruned_and_nothing_else(store: impl Store) {
    for second in 0..6 {
        let lease = create(&store, second).await;
        if second > 0 {
            end(&store, &lease, 100 + second, EventBody::ExecutionCompleted { outputs: None }).await;
        }
    }
    let left = async || {
        let page = store.list(&Query::newest(10)).await.expect("listed");
        page.executions.iter().map(|found| found.execution_id).collect::<Vec<_>>()
    };
    let keep = Retention { age: Some(Duration::from_secs(60)), max_finished: 10 };
    assert_eq!(store.prune(&keep, at(160)).await.expect("pruned"), 0);
    assert_eq!(store.prune(&keep, at(163)).await.expect("pruned"), 2);
    assert_eq!(left().await, [5, 4, 3, 0].map(id));
    let few = Retention { age: None, max_finished: 1 };
    assert_eq!(store.prune(&few, at(9999)).await.expect("pruned"), 2);
    assert_eq!(left().await, [5, 0].map(id), "what has not ended stays");
    assert!(matches!(store.load(id(1), 0).await, Err(StoreError::NotFound(_))));
    assert_eq!(load(&store, id(5), 0).await.len(), 2);
}

/// A hundred executions at the same time, and readers between them.
pub async fn many_write_at_once(store: impl Store) {
    const BATCHES: u64 = 10;
    let store = Arc::new(store);
    let writers = (0..100).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let lease = create(&*store, number).await;
            for round in 0..BATCHES {
                let sequence = 1 + round * 3;
                append(&*store, &lease, sequence, &batch(number * 1000 + sequence, 3)).await.expect("appended");
                let read = load(&*store, lease.execution_id, sequence).await;
                assert_eq!(read.len(), 3, "whoever has appended reads what was appended");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic");
    }
    for number in 0..100 {
        let journal = load(&*store, id(number), 1).await;
        let expected: Vec<Event> = (0..BATCHES).flat_map(|round| batch(number * 1000 + 1 + round * 3, 3)).collect();
        assert_eq!(journal, expected, "of writer {number}");
    }
}

/// Appends of many executions at the same time, some of them refused and some given up: what was acknowledged is there, what was refused is
/// not, what was given up is there as a whole or not at all, and none hinders another.
pub async fn writes_at_once_stand_and_fall_by_themselves(store: impl Store) {
    const EXECUTIONS: u64 = 40;
    const ROUNDS: u64 = 25;
    let store = Arc::new(store);
    let mut chance = Chance::of(6, "writes at once");
    let mut leases = Vec::new();
    for number in 0..EXECUTIONS {
        create(&*store, number).await;
        let seen = tenancy(&*store, id(number)).await.expect("it has not ended");
        // Of the second epoch, so that there is an older one.
        leases.push(store.claim(&seen, HolderId(2)).await.expect("claimed"));
    }
    let mut journals = vec![Vec::<Event>::new(); EXECUTIONS as usize];
    for round in 0..ROUNDS {
        let mut writers = Vec::new();
        for (number, lease) in leases.iter().copied().enumerate() {
            let stored = 1 + journals[number].len() as u64;
            let mut events = batch(1000 * round + stored, 1 + chance.below(3));
            if chance.one_in(10) {
                events.push(event(round, finished(json!("large ".repeat(chance.below(2_000) as usize)))));
            }
            let (mut lease, mut expected, mut patience) = (lease, stored, u64::MAX);
            match chance.below(8) {
                0 => lease.epoch -= 1,
                1 => expected += 1,
                2 => lease.execution_id = id(EXECUTIONS),
                3 => patience = chance.below(4),
                _ => {}
            }
            let (store, mut buffer) = (Arc::clone(&store), events.clone());
            let writer = tokio::spawn(async move {
                let given_up = async {
                    for _ in 0..patience {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    biased;
                    appended = store.append(&lease, expected, &mut buffer) => Some(appended),
                    () = given_up => None,
                }
            });
            writers.push((number, lease == leases[number] && expected == stored, events, writer));
        }
        // Somebody else may be about to store what was given up, until all of them have ended.
        let mut ended = Vec::new();
        for (number, fits, events, writer) in writers {
            ended.push((number, fits, events, writer.await.expect("no panic")));
        }
        for (number, fits, events, appended) in ended {
            let journal = load(&*store, id(number as u64), 1).await;
            let known = &journals[number];
            let as_before = journal == *known;
            let with_all =
                journal.len() == known.len() + events.len() && journal.starts_with(known) && journal.ends_with(&events);
            match appended {
                Some(Ok(())) => assert!(fits && with_all, "round {round}, {number}: acknowledged"),
                Some(Err(error)) => assert!(!fits && as_before, "round {round}, {number}: {error}"),
                None => assert!(as_before || (fits && with_all), "round {round}, {number}: given up"),
            }
            journals[number] = journal;
        }
    }
}

/// Of any size, any text, any number, any form, and beside each other in one journal.
pub async fn values_come_back_as_they_were(store: impl Store) {
    let text: String = (0..=0x0010_FFFF).filter_map(char::from_u32).collect();
    let nested = (0..100).fold(json!("core"), |inner, level| json!({ format!("level {level}"): [inner] }));
    let large = "large ".repeat(1_700_000);
    let values = [
        json!(""),
        json!(null),
        json!([]),
        json!({}),
        json!({ "\u{0}": 1, "": { "\u{0}": "x" }, "$blob": "y" }),
        json!([u64::MAX, i64::MIN, 0.1, 1e308, 5e-324, -0.0, 1.797_693_134_862_315_7e308, 123_456_789.123_456_79]),
        json!(text),
        nested,
        json!("x".repeat(4095)),
        json!({ "b": "x".repeat(4096), "a": "x".repeat(4097), "again": ["x".repeat(4096)] }),
        json!({ "large": large }),
        json!({ "the same again, further in": [{ "large": large }] }),
        json!({ "\u{0}": "y".repeat(10_000) }),
        json!({ "\u{0}": { "\u{0}": ["y".repeat(10_000)] } }),
        json!((0..3000).map(|number| json!({ "number": number })).collect::<Vec<_>>()),
    ];
    let created = store.create(first(0, &workflow("suite"), json!({ "input": values })), None, HolderId(1)).await;
    let Ok(Created::New(lease)) = created else { panic!("{created:?}") };
    let events: Vec<_> = values.iter().map(|value| event(1, finished(value.clone()))).collect();
    append(&store, &lease, 1, &events[..4]).await.expect("appended");
    append(&store, &lease, 5, &events[4..]).await.expect("appended");
    let journal = load(&store, lease.execution_id, 0).await;
    assert!(journal[0] == first(0, &workflow("suite"), json!({ "input": values })), "the input has changed");
    for (index, (read, written)) in journal[1..].iter().zip(&events).enumerate() {
        assert!(read == written, "value {index} has changed");
    }
    assert_eq!(journal.len(), 1 + values.len());
}

/// The latest text counts.
pub async fn texts_are_kept_by_name(store: impl Store) {
    assert_eq!(store.kept("circuits").await.expect("read"), None);
    store.keep("circuits", "").await.expect("kept");
    store.keep("circuits", "{\"a\": \"ü\"}").await.expect("kept");
    store.keep("buckets", "other").await.expect("kept");
    assert_eq!(store.kept("circuits").await.expect("read").as_deref(), Some("{\"a\": \"ü\"}"));
}
