//! Executions that were recorded, played again without calling anybody.
//!
//! Every journal is a recording: it holds what each attempt answered. A [`Cassette`] is made of one and stands in for all agents and tools. An
//! attempt that is asked for again gives what was recorded, result, error and usage, after as long as it took; so there are as many
//! attempts as there were, and the outputs are the same. People who were asked give the answers that they gave, and signals come
//! when they are waited for.
//!
//! Nothing is ever called for real. A call that was not recorded, or was with another input, fails with NOT_FOUND, and
//! [`misses`](Cassette::misses) names it. What a recording does not hold is not repeated: requests to cancel, pause and resume, and hooks that
//! programs have registered in Rust.
//!
//! ```
//! use orchestr8_core::{Engine, agent_base::HelloWorld, cassette::Cassette, schema::ValidWorkflow};
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let workflow = ValidWorkflow::from_json(r#"{
//! #     "version": "1.0.0", "metadata": { "id": "greet", "name": "Greet" },
//! #     "steps": [{ "id": "hello", "agent": { "id": "@orchestr8/hello-world" }, "input": { "name": "Ada" } }]
//! # }"#)?;
//! let engine = Engine::builder().agent(HelloWorld).build()?;
//! let recorded = engine.start(&workflow, json!({})).await?;
//! let outputs = recorded.outcome().await?.outputs();
//!
//! let cassette = Cassette::of(&recorded.snapshot().await?);
//! let offline = Engine::builder().registry(cassette.registry(engine.agents())?).build()?;
//! let replayed = offline.submit(cassette.request(&workflow)).await?.handle;
//! cassette.attend(&replayed).await?;
//! assert_eq!(replayed.outcome().await?.outputs(), outputs);
//! assert!(cassette.misses().is_empty());
//! # Ok(())
//! # }
//! ```

mod stand_in;
mod tape;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orchestr8_agent_base::AgentRegistry;
use orchestr8_schema::{
    Failure, StepPath, Timestamp, ValidWorkflow,
    api::{Entry, JournalExport},
    event::{ApprovalAnswer, EventBody, Signal},
    usage::Usage,
};
use serde_json::{Map, Value};

pub use self::stand_in::StandInError;
use crate::{
    bus::TooManySubscribers,
    engine::{StartRequest, own_variables},
    execution::{ExecutionHandle, Snapshot},
    journal::Renderer,
    store::StoreError,
};

/// A recorded execution. Clones are the same one: what one has played is not played again by another.
#[derive(Clone, Debug)]
pub struct Cassette(Arc<Tape>);

/// A call that could not be played.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Miss {
    /// The step that asked for it; of hooks around the execution, their point.
    pub step_path: StepPath,
    /// Why, for people.
    pub because: String,
}

/// Why people and signals cannot be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttendError {
    /// Too many others follow the execution.
    #[error(transparent)]
    TooManySubscribers(#[from] TooManySubscribers),
    /// The journal cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was recorded.
#[derive(Debug, Default)]
struct Tape {
    began_at: Timestamp,
    input: Value,
    variables: Value,
    env: Map<String, Value>,
    /// The agents that were called, with their versions, and the tools.
    agents: BTreeSet<(String, String)>,
    tools: BTreeSet<String>,
    answers: HashMap<String, ApprovalAnswer>,
    signals: HashMap<String, Signal>,
    calls: Mutex<HashMap<String, Vec<Attempt>>>,
    misses: Mutex<Vec<Miss>>,
}

/// An attempt of a step, of a compensation or of a hook.
#[derive(Clone, Debug)]
struct Attempt {
    number: u32,
    /// Of the input; absent if the recording does not tell.
    digest: Option<String>,
    result: Result<Value, Failure>,
    usage: Option<Usage>,
    took: Duration,
    /// Not all of the result is in the recording.
    is_cut: bool,
    is_played: bool,
}

impl Cassette {
    /// Makes one of a stored execution.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut renderer = Renderer::whole(snapshot.plan());
        Self::of_entries(snapshot.events().iter().filter_map(|event| renderer.entry(event)))
    }

    /// Makes one of an exported journal. Exports hide secrets and cut long values: an attempt whose result is not all there cannot be
    /// played, and is told as a miss.
    #[must_use]
    pub fn of_export(export: &JournalExport) -> Self {
        Self::of_entries(export.entries.iter().cloned())
    }

    fn of_entries(entries: impl Iterator<Item = Entry>) -> Self {
        Self(Arc::new(tape::read(entries)))
    }

    /// Makes a request for the same execution: input, variables and environment are those that were recorded.
    pub fn request(&self, workflow: &ValidWorkflow) -> StartRequest {
        let Tape { input, variables, env, .. } = &*self.0;
        let env = env.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        StartRequest::new(workflow, input.clone()).variables(own_variables(workflow, input, variables)).env(env)
    }

    /// Returns when the recorded execution was asked for.
    #[must_use]
    pub fn began_at(&self) -> Timestamp {
        self.0.began_at
    }

    /// Makes a registry in which this cassette stands in for everybody. What was called and is not in `agents` gets a stand-in without
    /// schemas.
    ///
    /// # Errors
    ///
    /// [`StandInError`] if the recording names an agent or a tool as nobody can be named.
    pub fn registry(&self, agents: &AgentRegistry) -> Result<AgentRegistry, StandInError> {
        stand_in::registry(&self.0, agents)
    }

    /// Answers for the people who were asked, and sends the signals that came, until the execution has ended.
    ///
    /// # Errors
    ///
    /// [`AttendError`] if the execution cannot be followed.
    ///
    /// # Cancellation safety
    ///
    /// If the future is dropped nobody answers any more.
    pub async fn attend(&self, execution: &ExecutionHandle) -> Result<(), AttendError> {
        let mut events = execution.events()?;
        while let Some((_, event)) = events.next().await? {
            let Some(path) = events.step_path(&event) else { continue };
            // One that does not fit any more has come too late, as it may have done before.
            match &event.body {
                EventBody::ApprovalRequested { .. } => {
                    if let Some(answer) = self.0.answers.get(path.as_str()) {
                        let _ = execution.answer(path.as_str(), answer.clone()).await;
                    }
                }
                EventBody::StepWaiting { .. } => {
                    if let Some(signal) = self.0.signals.get(path.as_str()) {
                        let _ = execution.signal(Signal { step_path: Some(path), ..signal.clone() }).await;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the paths of the steps with calls that were recorded and that nobody has made so far, sorted.
    #[must_use]
    pub fn unplayed(&self) -> Vec<String> {
        let calls = self.0.calls();
        let left = calls.iter().filter(|(_, attempts)| attempts.iter().any(|attempt| !attempt.is_played));
        let mut paths: Vec<_> = left.map(|(path, _)| path.clone()).collect();
        paths.sort();
        paths
    }

    /// Returns the calls that could not be played so far, each once.
    #[must_use]
    pub fn misses(&self) -> Vec<Miss> {
        self.0.misses().clone()
    }
}

impl Tape {
    /// Plays the next attempt of this number that was made of this input.
    fn play(&self, path: &StepPath, number: u32, digest: &str) -> Result<Attempt, Miss> {
        let mut calls = self.calls();
        let at_path = calls.get_mut(path.as_str()).map_or(&mut [][..], Vec::as_mut_slice);
        let fits = |attempt: &Attempt| attempt.digest.as_deref().is_none_or(|known| known == digest);
        let is_next = |attempt: &Attempt| !attempt.is_played && attempt.number == number && fits(attempt);
        let because = match at_path.iter().position(is_next) {
            Some(next) if !at_path[next].is_cut => {
                at_path[next].is_played = true;
                return Ok(at_path[next].clone());
            }
            Some(_) => "its result was hidden or cut when the journal was exported".to_owned(),
            None if at_path.is_empty() => "it was never recorded".to_owned(),
            None if !at_path.iter().any(fits) => "it was recorded with another input".to_owned(),
            None => format!("its attempt {number} was never recorded to its end"),
        };
        let miss = Miss { step_path: path.clone(), because };
        let mut misses = self.misses();
        if !misses.contains(&miss) {
            misses.push(miss.clone());
        }
        Err(miss)
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<String, Vec<Attempt>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn misses(&self) -> MutexGuard<'_, Vec<Miss>> {
        self.misses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
