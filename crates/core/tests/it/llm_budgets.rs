//! What many agents that ask models use up at once, across the deaths of the processes that run them.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use orchestr8_agent_base::{
    Clock,
    model::{ChatRequest, ChatResponse, Fake, Models},
};
use orchestr8_core::{
    Engine,
    store::{Durability, SqliteStore},
};
use orchestr8_schema::{ValidWorkflow, api::ExecutionStatus, usage::Usage};
use orchestr8_testing::{FaultStore, Interference, StoreFault, TestClock};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    llm::{agents, call, document},
    workflow_with,
};

/// As many as run at the same time.
const AGENTS: usize = 64;

/// The end of a process: from this write on, the executions are somebody else's.
#[derive(Debug)]
struct DiesAt(u64);

impl Interference for DiesAt {
    fn on_write(&self, write: u64) -> Option<StoreFault> {
        (write >= self.0).then_some(StoreFault::Conflict)
    }
}

/// A provider that uses at random as much as it may, and keeps count of it, whoever lives to hear the answer.
fn provider(seeds: Arc<Vec<u64>>, answers: Arc<AtomicU64>, spent: Arc<AtomicU64>) -> Fake {
    Fake::by(move |request: &ChatRequest| {
        let place = answers.fetch_add(1, SeqCst) as usize;
        let seed = seeds[place % seeds.len()];
        let bytes = serde_json::to_vec(request).expect("JSON").len() as u64;
        let output = seed % u64::from(request.max_tokens.unwrap_or(1) + 1);
        let usage = Usage::new(bytes.div_ceil(3), output, 0.0);
        spent.fetch_add(usage.tokens(), SeqCst);
        let answer = match seed % 3 {
            0 => ChatResponse::text("done"),
            _ => ChatResponse::tools([call("1", "slow", json!({ "ms": seed }))]),
        };
        Ok(answer.with_usage(usage))
    })
}

fn engine(path: &Path, provider: Fake, dies_at: u64) -> Engine {
    let store = SqliteStore::open(path, Durability::Process).expect("opened");
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new(dies_at));
    let models = Models::new().provider("house", "fake", provider).default_model("priced");
    let store = FaultStore::new(store, Arc::new(DiesAt(dies_at)));
    let builder = Engine::builder().registry(agents()).store(store).models(models).clock(clock);
    builder.max_concurrent_steps(AGENTS as u32).build().expect("built")
}

fn workflow(limit: u64, most: u32) -> ValidWorkflow {
    let steps: Vec<Value> = (0..AGENTS)
        .map(|number| {
            let config = json!({ "tools": ["slow"], "maxTokens": most, "maxTotalTokens": 3_000 });
            let mut step = document(config)["steps"][0].clone();
            (step["id"], step["onError"]) = (json!(format!("ask-{number}")), json!("continue"));
            step
        })
        .collect();
    let document = workflow_with(json!(steps), json!({ "budget": { "maxTokens": limit } }));
    ValidWorkflow::from_value(&document).expect("valid")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, max_shrink_iters: 8, ..ProptestConfig::default() })]

    #[test]
    fn agents_that_run_at_once_and_die_never_use_more_than_their_budget(
        limit in 5_000_u64..150_000,
        seeds in proptest::collection::vec(1_u64..1_000, 1..40),
        most in 50_u32..400,
        deaths in proptest::collection::vec(2_u64..90, 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("built");
        runtime.block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("orchestr8.db");
            let (seeds, answers, spent) = (Arc::new(seeds), Arc::default(), Arc::<AtomicU64>::default());
            let live = |dies_at| {
                engine(&path, provider(Arc::clone(&seeds), Arc::clone(&answers), Arc::clone(&spent)), dies_at)
            };
            let first = live(deaths[0]);
            let begun = first.start(&workflow(limit, most), json!({})).await.expect("started");
            let id = begun.id();
            // It may end before it dies.
            let _ = begun.outcome().await;
            drop((begun, first));
            for dies_at in deaths[1..].iter().copied().chain([u64::MAX]) {
                let next = live(dies_at);
                next.recover().await.expect("recovered");
                let _ = next.execution(id).await.expect("it is there").outcome().await;
            }
            let last = live(u64::MAX);
            let outcome = last.execution(id).await.expect("it is there").outcome().await.expect("it has ended");
            assert_eq!(outcome.status(), ExecutionStatus::Completed);
            let used = outcome.to_body().usage.map_or(0, |usage| usage.tokens());
            let spent = spent.load(SeqCst);
            assert!(used <= limit, "{used} of {limit} in the journal");
            assert!(spent <= limit, "{spent} of {limit} at the provider");
        });
    }
}
