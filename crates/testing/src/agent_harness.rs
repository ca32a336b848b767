//! One agent alone: a call of it, and what every agent promises.

use std::{fmt, sync::Arc, time::Duration};

use orchestr8_agent_base::{
    Agent, AgentContext, AgentError, AgentRegistry, Clock, Tool,
    context::{ExecutionIdentity, Host, Records, StepIdentity, input_digest, structural_key},
    model::Models,
    registry::RegisteredAgent,
};
use orchestr8_schema::{
    CorrelationId, ErrorKind, ExecutionId, StepId, StepPath,
    config::ToolPolicy,
    event::{Activation, CallId},
    json_schema::Violations,
    usage::Usage,
};
use serde_json::{Map, Value, json};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    TestClock,
    agent_host::{Script, Told, record},
    simulate::{chance::Chance, value::value_of},
};

/// How many inputs are made of an input schema.
const INPUTS: u64 = 24;
/// How long an agent may take to end once its token has fired.
const CANCELLED_WITHIN: Duration = Duration::from_millis(100);
/// How long a call may take before it is given up, in virtual time.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Calls an agent without an engine. The test pauses the runtime's clock: `#[tokio::test(start_paused = true)]`.
///
/// ```
/// use orchestr8_agent_base::HelloWorld;
/// use orchestr8_testing::AgentHarness;
/// use serde_json::json;
///
/// #[tokio::main(flavor = "current_thread", start_paused = true)] // in a test: #[tokio::test(start_paused = true)]
/// async fn main() {
///     let harness = AgentHarness::new(HelloWorld::default());
///     let run = harness.run(json!({ "name": "Ada" })).await;
///     assert_eq!(run.result.unwrap()["result"], "Hello, Ada! Welcome to @orchestr8.");
///     assert_eq!(harness.contract().await, []);
/// }
/// ```
#[derive(Debug)]
#[must_use]
pub struct AgentHarness {
    agent: Arc<RegisteredAgent>,
    config: Arc<Map<String, Value>>,
    attempt: u32,
    records: Records,
    script: Script,
}

/// What came of a call.
#[derive(Debug)]
#[non_exhaustive]
pub struct AgentRun {
    /// The output, or the error.
    pub result: Result<Value, AgentError>,
    /// What the agent said that it used up.
    pub usage: Option<Usage>,
    /// How long it took, in virtual time.
    pub took: Duration,
    /// What the agent has told besides.
    pub told: Told,
}

/// A promise that an agent does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Breach {
    /// Which promise, in a few words.
    pub promise: &'static str,
    /// What came instead, with the input that it takes.
    pub message: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.message)
    }
}

impl AgentHarness {
    /// Makes a harness for an agent. Its id, version and schemas are checked as when it is registered.
    ///
    /// # Panics
    ///
    /// If it cannot be registered; the message says why.
    pub fn new(agent: impl Agent) -> Self {
        let id = agent.manifest().id;
        let mut registry = AgentRegistry::new();
        registry.register(agent).unwrap_or_else(|error| panic!("{error}"));
        let agent = registry.latest(&id).unwrap_or_else(|| panic!("{id} is registered under another id"));
        let agent = Arc::clone(agent);
        let config = agent.configure(None).unwrap_or_default();
        Self { agent, config: Arc::new(config), attempt: 1, records: Records::default(), script: Script::default() }
    }

    /// Sets the configuration that the agent is called with.
    pub fn config(mut self, config: Map<String, Value>) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// Sets the number of the attempt, 1 unless told otherwise.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Gives the agent what an earlier attempt has recorded: the result of the inner call of this key, if it asks for the same.
    pub fn recorded(mut self, key: &str, request: &Value, value: Value) -> Self {
        self.records.push(record(key, request, value));
        self
    }

    /// Gives the agent a secret: the text of `secret://<path>`.
    pub fn secret(mut self, path: impl Into<String>, text: impl Into<String>) -> Self {
        self.script.secrets = self.script.secrets.with(path, text);
        self
    }

    /// Gives the agent a tool.
    ///
    /// # Panics
    ///
    /// If it cannot be registered; the message says why.
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.script.add_tool(tool);
        self
    }

    /// Sets the models that the agent may ask; default none.
    pub fn models(mut self, models: Models) -> Self {
        self.script.models = models;
        self
    }

    /// Sets which tools the agent may call; default all.
    pub fn tool_policy(mut self, policy: ToolPolicy) -> Self {
        self.script.tool_policy = policy;
        self
    }

    /// Calls the agent, as the only step of an execution: its input is validated as the engine does it, and its panic is an INTERNAL
    /// error.
    pub async fn run(&self, input: Value) -> AgentRun {
        self.run_until(input, CancellationToken::new()).await
    }

    async fn run_until(&self, input: Value, cancel: CancellationToken) -> AgentRun {
        let began = Instant::now();
        let input = Arc::new(input);
        let host = Arc::new(self.script.host());
        let cx = self.context(&input, host.clone());
        let agent = Arc::clone(self.agent.agent());
        let checked = self.agent.input_schema().map(|schema| schema.validate(&input));
        let result = match checked {
            Some(Err(violations)) => Err(AgentError::validation(Violations(&violations).to_string())),
            _ => {
                let called = cx.clone();
                let call = tokio::spawn(async move {
                    let attempt = async {
                        agent.validate(&input, &called).await?;
                        agent.execute(&input, &called, cancel.clone()).await
                    };
                    called.cleaned_up(attempt, cancel.clone()).await
                });
                match timeout(PATIENCE, call).await {
                    Ok(Ok(result)) => result,
                    Ok(Err(_)) => Err(AgentError::internal("the agent panicked")),
                    Err(_) => Err(AgentError::new(ErrorKind::Timeout, "the agent does not end")),
                }
            }
        };
        AgentRun { result, usage: cx.reported_usage(), took: began.elapsed(), told: host.take_told() }
    }

    fn context(&self, input: &Arc<Value>, host: Arc<dyn Host>) -> AgentContext {
        let clock: Arc<dyn Clock> = Arc::new(TestClock::new(TestClock::SEED));
        let id = ExecutionId::from_parts(clock.now().as_micros() as u64 / 1000, [0; 10]);
        let (Ok(correlation), Ok(step)) = ("test".parse::<CorrelationId>(), "test".parse::<StepId>()) else {
            unreachable!("these ids are well formed")
        };
        let path = StepPath::from(&step);
        let execution = ExecutionIdentity::new(id, "test", correlation, clock.now());
        let key = structural_key(&execution, &path, &input_digest(self.agent.callee(), input));
        let step = Arc::new(StepIdentity::new(step, path, 0));
        AgentContext::builder(Arc::new(execution), step, clock, Arc::clone(input))
            .config(Arc::clone(&self.config))
            .idempotency_key(key)
            .callee(Arc::clone(self.agent.callee()))
            .host(host, CallId::Step(Activation(0)))
            .records(self.records.clone())
            .build()
            .for_attempt(self.attempt, None)
    }

    /// Holds the agent against what every agent promises, for inputs that its schema allows (`{}` where it has none), and tells what it does
    /// not keep: it does not panic, its output fits its schema, it ends as CANCELLED within 100 ms of its token and leaves no task
    /// behind, and it gives the same twice if it is idempotent.
    pub async fn contract(&self) -> Vec<Breach> {
        let mut breaches = Vec::new();
        for seed in 0..INPUTS {
            let input = match self.agent.input_schema() {
                Some(schema) => value_of(schema, &mut Chance::of(seed, "input")),
                None => Some(json!({})),
            };
            let Some(input) = input else {
                let message = "no value was found that it allows".to_owned();
                return vec![Breach { promise: "there is an input that the schema allows", message }];
            };
            breaches.extend(self.breach(&input).await);
            if !breaches.is_empty() || self.agent.input_schema().is_none() {
                break;
            }
        }
        breaches
    }

    async fn breach(&self, input: &Value) -> Option<Breach> {
        let breach = |promise, message: String| Some(Breach { promise, message: format!("{message}, with {input}") });
        let first = self.run(input.clone()).await;
        match (&first.result, self.agent.output_schema()) {
            (Err(error), _) if error.kind() == ErrorKind::Internal => {
                return breach("it does not panic, and fails with a kind that says why", error.to_string());
            }
            (Ok(output), Some(schema)) => {
                if let Err(violations) = schema.validate(output) {
                    return breach("its output fits its schema", Violations(&violations).to_string());
                }
            }
            _ => {}
        }
        if self.agent.manifest().idempotent {
            let second = self.run(input.clone()).await;
            if let (Ok(first), Ok(second)) = (&first.result, &second.result)
                && first != second
            {
                return breach("it gives the same twice", format!("first {first}, then {second}"));
            }
        }
        for delay in [Duration::ZERO, first.took / 2] {
            let before = Handle::current().metrics().num_alive_tasks();
            let token = CancellationToken::new();
            let call = self.run_until(input.clone(), token.clone());
            tokio::pin!(call);
            if !delay.is_zero() && timeout(delay, &mut call).await.is_ok() {
                continue;
            }
            token.cancel();
            match timeout(CANCELLED_WITHIN, call).await {
                Err(_) => return breach("it ends within 100 ms of its token", "it goes on".to_owned()),
                // Who has an answer at once may give it.
                Ok(run) if run.result.is_ok() && run.took.is_zero() => {}
                Ok(AgentRun { result: Ok(output), .. }) => {
                    return breach("it ends as CANCELLED", format!("it answers {output}"));
                }
                Ok(AgentRun { result: Err(error), .. }) if error.kind() == ErrorKind::Internal => {
                    return breach("it ends as CANCELLED", error.to_string());
                }
                Ok(_) => {}
            }
            tokio::task::yield_now().await;
            if Handle::current().metrics().num_alive_tasks() > before {
                return breach("it leaves nothing behind", "a task goes on".to_owned());
            }
        }
        None
    }
}
