//! The store in a SQLite file: beyond the contract, what becomes of files that are not as they should be.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use orchestr8_core::{
    Store,
    store::{Commit, Created, Durability, HolderId, Lease, OpenError, Query, Retention, SqliteStore, StoreError},
};
use orchestr8_schema::{
    ExecutionId, Timestamp, ValidWorkflow,
    event::{Activation, CallId, Event, EventBody, Queued},
};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

mod conformance {
    orchestr8_testing::store_conformance!(super::make);
}

fn make() -> (TempDir, SqliteStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("new/orchestr8.db"), Durability::Process).expect("opened");
    (folder, store)
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("new/orchestr8.db")
}

fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(path, Durability::Power)
}

fn event(value: Value) -> Event {
    let result = Ok(Arc::new(value));
    let body = EventBody::AttemptFinished {
        call: CallId::Step(Activation(0)),
        attempt: 1,
        result,
        is_final: true,
        usage: None,
    };
    Event { at: Timestamp::from_micros(5), body }
}

async fn create(store: &SqliteStore, number: u64) -> Lease {
    let workflow = ValidWorkflow::from_value(&json!({
        "version": "1.0.0",
        "metadata": { "id": "test", "name": "Test" },
        "steps": [{ "id": "a", "agent": { "id": "@test/a" } }]
    }))
    .expect("valid");
    let empty = Arc::new(json!({}));
    let id = ExecutionId::from_parts(number, [1; 10]);
    let correlation = "test".parse().expect("well formed");
    let versions = Arc::from([Arc::from("1.0.0")]);
    let queued = Queued::new(id, correlation, workflow, versions, Arc::clone(&empty), Arc::clone(&empty), empty);
    let first = Event { at: Timestamp::from_micros(4), body: EventBody::ExecutionQueued(Arc::new(queued)) };
    match store.create(first, None, HolderId(1)).await.expect("created") {
        Created::New(lease) => lease,
        Created::Taken(_) => unreachable!("the request has no key"),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

#[tokio::test]
async fn what_was_stored_is_there_when_the_file_is_opened_again() {
    let (folder, store) = make();
    let lease = create(&store, 1).await;
    store.append(&lease, 1, &mut vec![event(json!("x".repeat(100_000)))]).await.expect("appended");
    drop(store);
    let store = open(&file(&folder)).expect("opened");
    let journal = store.load(lease.execution_id, 0).await.expect("read");
    assert_eq!(journal[1..], [event(json!("x".repeat(100_000)))]);
    store.append(&lease, 2, &mut vec![event(json!(2))]).await.expect("the lease counts still");
}

#[tokio::test]
async fn large_values_are_stored_once_and_go_with_the_last_execution_that_needs_them() {
    let (folder, store) = make();
    let pieces = || -> i64 {
        let connection = Connection::open(file(&folder)).expect("opened");
        connection.query_row("SELECT count(*) FROM pieces", [], |row| row.get(0)).expect("counted")
    };
    let large = json!({ "body": "large ".repeat(10_000) });
    let mut leases = Vec::new();
    for number in 1..=3 {
        let lease = create(&store, number).await;
        let mut events = vec![event(large.clone()), event(json!({ "input": { "message": large["body"] } }))];
        store.append(&lease, 1, &mut events).await.expect("appended");
        leases.push(lease);
    }
    assert_eq!(pieces(), 2, "the workflow and the text");
    for lease in &leases[..2] {
        let end = Event { at: Timestamp::from_micros(9), body: EventBody::ExecutionCompleted { outputs: None } };
        store.append(lease, 3, &mut vec![end]).await.expect("appended");
    }
    let none = Retention { age: Some(Duration::ZERO), max_finished: 1 };
    assert_eq!(store.prune(&none, Timestamp::from_micros(1000)).await.expect("pruned"), 2);
    assert_eq!(pieces(), 2, "the third needs them");
    assert_eq!(store.load(leases[2].execution_id, 1).await.expect("read")[0], event(large));
}

/// How many transactions the log holds: the last frame of each names the size of the database.
fn commits(folder: &TempDir) -> usize {
    let log = fs::read(file(folder).with_extension("db-wal")).expect("there is one");
    let page = u32::from_be_bytes(log[8..12].try_into().expect("four bytes")) as usize;
    let frames = log[32..].chunks_exact(24 + page).filter(|frame| frame[8..16] == log[16..24]);
    frames.filter(|frame| frame[4..8] != [0; 4]).count()
}

fn rows(folder: &TempDir, of: &str) -> i64 {
    let connection = Connection::open(file(folder)).expect("opened");
    connection.query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get(0)).expect("counted")
}

async fn append_at_once(store: &SqliteStore, leases: &[Lease], expected: u64) -> Vec<Result<(), StoreError>> {
    let appends = leases.iter().map(|lease| {
        let (store, lease) = (store.clone(), *lease);
        tokio::spawn(async move { store.append(&lease, expected, &mut vec![event(json!(expected))]).await })
    });
    let mut results = Vec::new();
    for append in appends.collect::<Vec<_>>() {
        results.push(append.await.expect("no panic"));
    }
    results
}

#[tokio::test]
async fn appends_at_the_same_time_share_a_commit() {
    const ROUNDS: u64 = 5;
    let (folder, store) = make();
    let mut leases = Vec::new();
    for number in 0..100 {
        leases.push(create(&store, number).await);
    }
    let before = commits(&folder);
    for round in 0..ROUNDS {
        for appended in append_at_once(&store, &leases, 1 + round).await {
            appended.expect("appended");
        }
    }
    let shared = commits(&folder) - before;
    assert!(shared as u64 <= 2 * ROUNDS, "{shared} commits for {ROUNDS} times 100 appends");
    let alone = commits(&folder);
    for sequence in 0..10 {
        store.append(&leases[0], 1 + ROUNDS + sequence, &mut vec![event(json!(0))]).await.expect("appended");
    }
    assert_eq!(commits(&folder) - alone, 10, "each was acknowledged before the next was asked for");
}

#[tokio::test]
async fn an_append_that_the_database_refuses_takes_no_other_with_it() {
    let (folder, store) = make();
    let mut leases = Vec::new();
    for number in 0..50 {
        leases.push(create(&store, number).await);
    }
    let connection = Connection::open(file(&folder)).expect("opened");
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON batches WHEN NEW.key >> 24 IN (7, 8, 31)
                  BEGIN SELECT RAISE(ABORT, 'no'); END";
    connection.execute_batch(refuse).expect("made");
    let results = append_at_once(&store, &leases, 1).await;
    for (index, (lease, result)) in leases.iter().zip(results).enumerate() {
        let refused = [6, 7, 30].contains(&index);
        assert_eq!(result.is_err(), refused, "{index}: {result:?}");
        let journal = store.load(lease.execution_id, 1).await.expect("read");
        assert_eq!(journal.len(), usize::from(!refused), "{index}");
    }
}

#[tokio::test]
async fn what_is_stored_side_by_side_goes_with_the_last_execution_that_needs_it() {
    let (folder, store) = make();
    let mut leases = Vec::new();
    for number in 0..30 {
        leases.push(create(&store, number).await);
    }
    for sequence in 1..4 {
        append_at_once(&store, &leases, sequence).await.into_iter().for_each(|appended| appended.expect("appended"));
    }
    assert!(rows(&folder, "sheets") > 0);
    let mut ended = 0;
    for part in leases.chunks(15) {
        for lease in part {
            ended += 1;
            let end =
                Event { at: Timestamp::from_micros(ended), body: EventBody::ExecutionCompleted { outputs: None } };
            store.append(lease, 4, &mut vec![end]).await.expect("appended");
        }
        let newest = Retention { age: None, max_finished: 1 };
        store.prune(&newest, Timestamp::from_micros(1000)).await.expect("pruned");
        for lease in &leases[ended as usize..] {
            let expected: Vec<_> = (1..4).map(|sequence| event(json!(sequence))).collect();
            assert_eq!(store.load(lease.execution_id, 1).await.expect("read"), expected);
        }
    }
    let last = store.load(leases[29].execution_id, 0).await.expect("the newest is kept");
    assert_eq!(last.len(), 5);
    let needed = rows(&folder, "sheets");
    assert!((1..=3).contains(&needed), "{needed} sheets for three batches");

    let connection = Connection::open(file(&folder)).expect("opened");
    connection.execute("UPDATE sheets SET bytes = x'00'", []).expect("changed");
    let error = store.load(leases[29].execution_id, 0).await.expect_err("it is damaged");
    assert!(matches!(error, StoreError::Corrupt { after: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_of_an_earlier_version_is_read_and_written() {
    let (folder, store) = make();
    let lease = create(&store, 1).await;
    store.append(&lease, 1, &mut vec![event(json!(1))]).await.expect("appended");
    drop(store);
    let earlier = Connection::open(file(&folder)).expect("opened");
    let without = "DROP TABLE sheets; DROP TABLE commits; ALTER TABLE executions DROP COLUMN position;
                   PRAGMA user_version = 1";
    earlier.execute_batch(without).expect("changed");
    let store = open(&file(&folder)).expect("opened");
    assert_eq!(store.load(lease.execution_id, 1).await.expect("read"), [event(json!(1))]);
    assert_eq!((rows(&folder, "sheets"), store.position().await.expect("read")), (0, 0));
    store.append(&lease, 2, &mut vec![event(json!(2))]).await.expect("appended");
    let told = store.commits(0, 9).await.expect("read");
    let expected = Commit { position: 1, execution_id: lease.execution_id, sequence: 3, count: 1 };
    assert_eq!(told, [expected], "the order begins with what is stored now");
    store.prune(&Retention::default(), Timestamp::from_micros(9)).await.expect("pruned");
    assert_eq!(store.position().await.expect("read"), 1);
}

#[tokio::test]
async fn two_processes_agree_about_the_order_and_each_transaction_costs_it_one_row() {
    const EACH: u64 = 20;
    let (folder, store) = make();
    let stores = [store, open(&file(&folder)).expect("opened")];
    let mut writers = Vec::new();
    for (number, store) in stores.iter().enumerate() {
        let store = store.clone();
        writers.push(tokio::spawn(async move {
            let lease = create(&store, number as u64).await;
            for sequence in 1..EACH {
                store.append(&lease, sequence, &mut vec![event(json!(sequence))]).await.expect("appended");
            }
        }));
    }
    for writer in writers {
        writer.await.expect("no panic");
    }
    let [one, two] = &stores;
    let told = one.commits(0, usize::MAX).await.expect("read");
    assert_eq!(told, two.commits(0, usize::MAX).await.expect("read"));
    assert!(told.iter().map(|commit| commit.position).eq(1..=2 * EACH), "without gap or repetition: {told:?}");
    assert_eq!(rows(&folder, "commits"), 2 * EACH as i64);
    assert_eq!((one.position().await.expect("read"), two.position().await.expect("read")), (2 * EACH, 2 * EACH));

    let mut leases = Vec::new();
    for number in 10..60 {
        leases.push(create(one, number).await);
    }
    let before = rows(&folder, "commits");
    append_at_once(one, &leases, 1).await.into_iter().for_each(|appended| appended.expect("appended"));
    let shared = rows(&folder, "commits") - before;
    assert!(shared <= 2, "{shared} rows for 50 appends at once");
    assert_eq!(two.position().await.expect("read"), 2 * EACH + 100);
}

#[tokio::test]
async fn the_order_of_what_is_gone_is_forgotten_and_damage_to_it_is_no_panic() {
    let (folder, store) = make();
    let mut told = 0;
    for number in 0..5 {
        let lease = create(&store, number).await;
        let at = Timestamp::from_micros(number as i64);
        let end = Event { at, body: EventBody::ExecutionCompleted { outputs: None } };
        store.append(&lease, 1, &mut vec![end]).await.expect("appended");
        told += 2;
    }
    let newest = Retention { age: None, max_finished: 1 };
    store.prune(&newest, Timestamp::from_micros(1000)).await.expect("pruned");
    assert_eq!((rows(&folder, "commits"), store.position().await.expect("read")), (2, told));
    let connection = Connection::open(file(&folder)).expect("opened");
    for damage in ["x''", "x'ff'", "x'0101ffffffffffffffffff01'", "x'ffffffffffffffffffffffff010101'"] {
        connection.execute(&format!("UPDATE commits SET batches = {damage}"), []).expect("changed");
        // Whatever it reads as, it ends.
        let _ = store.commits(0, 100).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, store) = make();
    create(&store, 1).await;
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("new")), 0o700);
    for name in ["orchestr8.db", "orchestr8.db-wal", "orchestr8.db-shm"] {
        assert_eq!(mode(&folder.path().join("new").join(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn files_of_others_and_of_later_versions_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("notes.txt");
    fs::write(&text, "not a database, but long enough to have a header of a hundred bytes, if it were one at all ....")
        .expect("written");
    assert!(matches!(open(&text), Err(OpenError::Foreign { .. })));
    assert!(fs::read_to_string(&text).expect("read").starts_with("not a database"));

    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).expect("opened").execute_batch("CREATE TABLE songs (name TEXT)").expect("made");
    assert!(matches!(open(&foreign), Err(OpenError::Foreign { .. })));

    let newer = folder.path().join("newer.db");
    drop(open(&newer).expect("opened"));
    Connection::open(&newer).expect("opened").pragma_update(None, "user_version", 99).expect("changed");
    let error = open(&newer).expect_err("it is newer");
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");

    let folder_as_file = open(folder.path()).expect_err("it is a folder");
    assert!(matches!(folder_as_file, OpenError::Denied { .. }), "{folder_as_file:?}");
}

#[tokio::test]
async fn a_file_that_is_cut_off_is_told_by_name_wherever_it_is_cut() {
    let (folder, store) = make();
    let lease = create(&store, 1).await;
    store.append(&lease, 1, &mut vec![event(json!("x".repeat(50_000)))]).await.expect("appended");
    drop(store);
    Connection::open(file(&folder)).expect("opened").pragma_update(None, "journal_mode", "delete").expect("changed");
    let whole = fs::read(file(&folder)).expect("read");
    for length in [1, 15, 16, 99, 100, 1000, 4096, whole.len() / 2, whole.len() - 1] {
        fs::write(file(&folder), &whole[..length]).expect("written");
        let error = open(&file(&folder)).expect_err("it is cut off");
        assert!(matches!(error, OpenError::Truncated { .. }), "{length}: {error:?}");
    }
}

#[tokio::test]
async fn a_torn_log_loses_nothing_but_its_torn_end_and_never_panics() {
    let (folder, store) = make();
    let lease = create(&store, 1).await;
    let log = file(&folder).with_extension("db-wal");
    let mut lengths = vec![fs::metadata(&log).expect("there is one").len()];
    for sequence in 1..6 {
        store.append(&lease, sequence, &mut vec![event(json!(sequence))]).await.expect("appended");
        lengths.push(fs::metadata(&log).expect("there is one").len());
    }
    let (whole, database) = (fs::read(&log).expect("read"), fs::read(file(&folder)).expect("read"));
    for length in (lengths[0]..=lengths[5]).step_by(997).chain(lengths.iter().copied()) {
        let torn = tempfile::tempdir().expect("a folder");
        let path = torn.path().join("orchestr8.db");
        fs::write(&path, &database).expect("written");
        fs::write(torn.path().join("orchestr8.db-wal"), &whole[..length as usize]).expect("written");
        let acknowledged = lengths.iter().rposition(|known| *known <= length).expect("the first is whole");
        let store = open(&path).expect("opened");
        let journal = store.load(lease.execution_id, 0).await.expect("read");
        assert_eq!(journal.len(), 1 + acknowledged, "{length} bytes of the log");
    }
}

#[tokio::test]
async fn a_damaged_row_is_an_error_of_its_execution_and_of_no_other() {
    let (folder, store) = make();
    let (healthy, damaged) = (create(&store, 1).await, create(&store, 2).await);
    for lease in [&healthy, &damaged] {
        for sequence in 1..4 {
            store.append(lease, sequence, &mut vec![event(json!({ "n": sequence }))]).await.expect("appended");
        }
    }
    let connection = Connection::open(file(&folder)).expect("opened");
    let change = |set: &str| {
        let update = format!("UPDATE batches SET {set} WHERE key = (2 << 24) + 3");
        assert_eq!(connection.execute(&update, []).expect("changed"), 1);
    };
    for (set, says) in [
        ("body = x'01'", "damaged"),
        ("body = x''", "a row of it is empty"),
        ("body = x'0193aa'", "damaged"),
        ("body = CAST(x'63' || substr(body, 2) AS BLOB)", "its events have format 99"),
        ("body = randomblob(60)", ""),
        ("body = zeroblob(60)", ""),
    ] {
        change(set);
        let error = store.load(damaged.execution_id, 0).await.expect_err("it is damaged");
        let text = chain(&error);
        assert!(text.contains(&damaged.execution_id.to_string()) && text.contains(says), "{set}: {text}");
        assert!(matches!(error, StoreError::Corrupt { after: 2, .. }), "{set}: {error:?}");
        assert_eq!(store.load(healthy.execution_id, 0).await.expect("it is whole").len(), 4);
    }
    connection.execute("DELETE FROM batches WHERE key = (2 << 24) + 3", []).expect("deleted");
    let error = store.load(damaged.execution_id, 0).await.expect_err("events are missing");
    assert!(chain(&error).contains("behind event 2"), "{}", chain(&error));
    assert_eq!(store.list(&Query::newest(9)).await.expect("listed").executions.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_locked_says_so_and_is_written_once_it_is_free() {
    let (folder, store) = make();
    let lease = create(&store, 1).await;
    let other = Connection::open(file(&folder)).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let mut events = vec![event(json!(1))];
    let error = store.append(&lease, 1, &mut events).await.expect_err("it is locked");
    assert!(error.is_passing() && chain(&error).contains("another process keeps the database locked"), "{error:?}");
    assert_eq!(events.len(), 1, "to be tried again");
    other.execute_batch("ROLLBACK").expect("free");
    store.append(&lease, 1, &mut events).await.expect("appended");
}
