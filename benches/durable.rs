//! What it costs to keep what happens in a file, beside a raw loop of commits and one of syncs in the same run and folder: per step alone
//! and with many executions at once, the recovery of unfinished ones, the reading of a long journal, and what it takes on the disk.
//!
//! `cargo bench -p benches --bench durable`

use std::{
    fs::{self, OpenOptions},
    future::Future,
    io::Write as _,
    path::Path,
    time::Duration,
};

use benches::{
    Shape,
    measured::{engine, execute, runtime, workflow},
};
use mimalloc::MiMalloc;
use orchestr8_core::{
    Engine,
    store::{Durability, SqliteStore},
};
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::time::Instant;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const ROUNDS: usize = 3;

fn open(folder: &Path, durability: Durability) -> Engine {
    let store = SqliteStore::open(folder.join("orchestr8.db"), durability).expect("opened");
    engine().store(store).build().expect("an engine")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// The shortest and the middle time of some rounds.
async fn rounds<F: Future>(mut round: impl FnMut() -> F) -> (Duration, Duration) {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        round().await;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    (times[0], times[ROUNDS / 2])
}

fn tell(what: &str, (best, median): (Duration, Duration), count: usize) -> f64 {
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    println!("{what}: {:.2} µs (best {:.2})", each(median), each(best));
    each(median)
}

/// Commits of one row each, as a program would make them that writes its own.
fn raw_commits(folder: &Path, synchronous: &str, bytes: usize, count: usize) {
    let connection = Connection::open(folder.join("raw.db")).expect("opened");
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};
             CREATE TABLE IF NOT EXISTS rows (key INTEGER PRIMARY KEY, body BLOB NOT NULL)"
        ))
        .expect("made");
    let body = vec![7_u8; bytes];
    let mut insert = connection.prepare("INSERT INTO rows (body) VALUES (?1)").expect("prepared");
    for _ in 0..count {
        insert.execute([&body]).expect("committed");
    }
}

fn raw_syncs(folder: &Path, bytes: usize, count: usize) {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join("raw")).expect("opened");
    let body = vec![7_u8; bytes];
    for _ in 0..count {
        file.write_all(&body).expect("written");
        file.sync_data().expect("synced");
    }
}

async fn alone(steps: usize) {
    let chain = workflow(&Shape::chain(steps).document());
    for (name, durability, synchronous) in
        [("power", Durability::Power, "FULL"), ("process", Durability::Process, "NORMAL")]
    {
        let folder = folder();
        let engine = open(folder.path(), durability);
        let time = rounds(|| execute(&engine, &chain, json!({}))).await;
        let ours = tell(&format!("{name}, one execution of {steps} steps, per step"), time, steps);
        let connection = Connection::open(folder.path().join("orchestr8.db")).expect("opened");
        let (batches, bytes): (i64, f64) = connection
            .query_row("SELECT count(*), avg(length(body)) FROM batches", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .expect("read");
        println!("  {:.2} batches of {bytes:.0} bytes per step", batches as f64 / (ROUNDS * steps) as f64);
        let bytes = bytes as usize;
        let raw = rounds(async || raw_commits(folder.path(), synchronous, bytes, steps)).await;
        let raw = tell(&format!("  raw commits of as many bytes (synchronous = {synchronous})"), raw, steps);
        println!("  ratio {:.2}", ours / raw);
        if durability == Durability::Power {
            tell("  raw append and sync", rounds(async || raw_syncs(folder.path(), bytes, steps)).await, steps);
        }
    }
}

async fn together(executions: usize, steps: usize) {
    let folder = folder();
    let what = format!("{executions} executions of {steps} steps at once, per step");
    let ours = at_once(&open(folder.path(), Durability::Power), executions, steps).await;
    let ours = tell(&format!("power, {what}"), ours, executions * steps);
    let memory = at_once(&engine().build().expect("an engine"), executions, steps).await;
    let memory = tell("  in memory", memory, executions * steps);
    println!("  {:.2} µs more", ours - memory);
}

async fn at_once(engine: &Engine, executions: usize, steps: usize) -> (Duration, Duration) {
    let chain = workflow(&Shape::chain(steps).document());
    rounds(async || {
        let mut handles = Vec::with_capacity(executions);
        for _ in 0..executions {
            let (engine, chain) = (engine.clone(), chain.clone());
            handles.push(tokio::spawn(async move { execute(&engine, &chain, json!({})).await }));
        }
        for handle in handles {
            handle.await.expect("it ends");
        }
    })
    .await
}

fn waiting() -> Value {
    json!({
        "version": "1.0.0",
        "metadata": { "id": "bench", "name": "Bench" },
        "steps": [
            { "id": "before", "agent": { "id": "@bench/noop" } },
            { "id": "ask", "dependencies": ["before"], "approval": { "prompt": "Shall it go on?" } },
        ]
    })
}

async fn recovery(executions: usize) {
    let folder = folder();
    let before = open(folder.path(), Durability::Process);
    let waiting = workflow(&waiting());
    for _ in 0..executions {
        let handle = before.start(&waiting, json!({})).await.expect("it starts");
        while handle.snapshot().await.expect("it is stored").to_body().waiting_for.is_empty() {
            tokio::task::yield_now().await;
        }
    }
    before.shutdown(Duration::ZERO).await;
    let after = open(folder.path(), Durability::Power);
    let began = Instant::now();
    let recovered = after.recover().await.expect("recovered");
    let took = began.elapsed();
    assert_eq!((recovered.taken_up.len(), recovered.failed.len()), (executions, 0));
    println!("power, recovery of {executions} unfinished executions: {:.2} s", took.as_secs_f64());
    after.shutdown(Duration::ZERO).await;
}

async fn reading(steps: usize) {
    let folder = folder();
    let engine = open(folder.path(), Durability::Process);
    let chain = workflow(&Shape::chain(steps).document());
    let handle = engine.start(&chain, json!({})).await.expect("it starts");
    assert!(handle.outcome().await.expect("it ends").is_completed());
    let (best, median) = rounds(async || drop(engine.snapshot(handle.id()).await.expect("read"))).await;
    println!(
        "reading and folding a journal of {steps} steps: {:.1} ms (best {:.1})",
        median.as_secs_f64() * 1e3,
        best.as_secs_f64() * 1e3
    );
    let events = engine.snapshot(handle.id()).await.expect("read").events().len();
    engine.shutdown(Duration::ZERO).await;
    drop((engine, handle));
    let file = folder.path().join("orchestr8.db");
    Connection::open(&file).expect("opened").execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("written");
    let size = fs::metadata(&file).expect("it is there").len();
    println!("  {size} bytes on the disk, {:.0} per event", size as f64 / events as f64);
}

fn main() {
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    runtime().block_on(async {
        if is_measured {
            alone(1_000).await;
            together(100, 100).await;
            together(1_000, 20).await;
            recovery(10_000).await;
            reading(10_000).await;
        } else {
            alone(5).await;
            together(3, 3).await;
            recovery(3).await;
            reading(5).await;
        }
    });
}
