//! The program `claude`, one process for each question.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use orchestr8_schema::{config::ProcessPolicy, usage::Usage};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    ApiKey, Capabilities, ChatModel, ChatRequest, ChatResponse, DeltaSink, Message, ModelInfo, Provider, Role,
    StopReason,
};
use crate::{
    AgentError, SecretString,
    process::{ProgramCall, Programs},
};

/// Variables that the program finds its own settings by.
const ENVIRONMENT: [&str; 4] = ["HOME", "USER", "XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR"];

/// The program `claude`: the prompt goes to its standard input, and the answer is the last JSON object that it writes.
///
/// Its own tools are off. A request whose metadata names `allowedTools` turns those on that `policy.process.claudeTools` names, too; `cwd`
/// has it run in a folder under `policy.process.roots`, and else in an empty one. It leads a process group, which does not outlive the call.
#[derive(Clone, Debug)]
pub struct ClaudeCode {
    program: String,
    policy: Arc<ProcessPolicy>,
    key: ApiKey,
    timeout: Option<Duration>,
}

impl ClaudeCode {
    /// The variable that names the program.
    pub const PROGRAM: &'static str = "ORCHESTR8_CLAUDE_BIN";

    /// Makes a provider of the program that `ORCHESTR8_CLAUDE_BIN` names, else `claude`.
    #[must_use]
    pub fn new(policy: &ProcessPolicy) -> Self {
        let program = env::var(Self::PROGRAM).ok().filter(|program| !program.is_empty());
        Self::program(program.unwrap_or_else(|| "claude".to_owned()), policy)
    }

    /// Makes a provider of another program that speaks alike.
    #[must_use]
    pub fn program(program: impl Into<String>, policy: &ProcessPolicy) -> Self {
        let policy = Arc::new(policy.clone());
        Self { program: program.into(), policy, key: ApiKey::none(), timeout: None }
    }

    /// Sets the key that the program is given; by default it has one of its own.
    #[must_use]
    pub fn key(mut self, key: ApiKey) -> Self {
        self.key = key;
        self
    }

    /// Sets how long an answer may take; by default only the attempt's own timeout counts.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// The tools that a request turns on.
    fn tools(&self, request: &ChatRequest) -> Result<Vec<String>, AgentError> {
        let asked = request.metadata.get("allowedTools").and_then(Value::as_array).into_iter().flatten();
        asked
            .filter_map(Value::as_str)
            .map(|tool| match self.policy.claude_tools.iter().any(|known| known == tool) {
                true => Ok(tool.to_owned()),
                false => Err(AgentError::denied(format!("`{tool}` is not listed in `policy.process.claudeTools`"))),
            })
            .collect()
    }
}

impl Provider for ClaudeCode {
    fn model(&self, provider: &str, id: &str) -> Arc<dyn ChatModel> {
        let capabilities = Capabilities { native_schema: true, ..Capabilities::default() };
        Arc::new(ClaudeCodeModel { info: ModelInfo::new(provider, id, capabilities), provider: self.clone() })
    }
}

struct ClaudeCodeModel {
    info: ModelInfo,
    provider: ClaudeCode,
}

#[async_trait]
impl ChatModel for ClaudeCodeModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn key(&self) -> Option<SecretString> {
        self.provider.key.read().ok().flatten()
    }

    fn keyed(&self, key: SecretString) -> Option<Arc<dyn ChatModel>> {
        let provider = ClaudeCode { key: ApiKey::given(key), ..self.provider.clone() };
        Some(Arc::new(Self { info: self.info.clone(), provider }))
    }

    async fn chat(
        &self,
        request: ChatRequest,
        _: Option<DeltaSink>,
        cancel: CancellationToken,
    ) -> Result<ChatResponse, AgentError> {
        let provider = &self.provider;
        let tools = provider.tools(&request)?;
        let empty = EmptyFolder::create()?;
        let asked = request.metadata.get("cwd").and_then(Value::as_str).map(PathBuf::from);
        let mut policy = ProcessPolicy::default();
        policy.allow = vec![provider.program.clone()];
        policy.roots = match &asked {
            Some(_) if provider.policy.roots.is_empty() => {
                return Err(AgentError::denied("`cwd` is under no folder of `policy.process.roots`"));
            }
            Some(_) => provider.policy.roots.clone(),
            None => vec![empty.0.display().to_string()],
        };
        let mut call = ProgramCall::new(&provider.program);
        call.args = arguments(&self.info.model, &request, &tools);
        call.stdin = transcript(&request.messages);
        call.cwd = Some(asked.unwrap_or_else(|| empty.0.clone()));
        call.env = environment(provider)?;
        let programs = Programs::new(policy);
        let running = programs.run(&call, &cancel);
        let finished = match provider.timeout {
            None => running.await?,
            Some(limit) => tokio::time::timeout(limit, running)
                .await
                .map_err(|_| AgentError::timeout("the program `claude` took too long"))??,
        };
        match last_object(&finished.stdout) {
            Some(answer) => read(&answer),
            None => {
                // What it says may hold parts of the prompt.
                let (code, signal) = (finished.exit_code, finished.signal);
                Err(AgentError::retryable("the program `claude` gave no answer")
                    .with_context(json!({ "exitCode": code, "signal": signal, "truncated": finished.truncated })))
            }
        }
    }
}

fn arguments(model: &str, request: &ChatRequest, tools: &[String]) -> Vec<String> {
    let mut arguments =
        vec!["-p", "--output-format", "json", "--model", model].into_iter().map(str::to_owned).collect::<Vec<_>>();
    let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    let system: Vec<_> = request.system.iter().map(|block| block.text.as_str()).collect();
    add("--system-prompt", system.join("\n\n"));
    if let Some(schema) = &request.output_schema {
        add("--json-schema", schema.to_string());
    }
    // An empty list turns all of them off.
    add("--tools", tools.join(","));
    if !tools.is_empty() {
        add("--allowedTools", tools.join(","));
    }
    arguments
}

fn environment(provider: &ClaudeCode) -> Result<BTreeMap<String, String>, AgentError> {
    let own = ENVIRONMENT.iter().filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)));
    let mut environment: BTreeMap<_, _> = own.collect();
    if let Some(key) = provider.key.read()? {
        environment.insert("ANTHROPIC_API_KEY".to_owned(), key.expose().to_owned());
    }
    Ok(environment)
}

/// The conversation as one text; a single message is that message.
fn transcript(messages: &[Message]) -> String {
    if let [message] = messages {
        return message.text();
    }
    let said = messages.iter().map(|message| {
        let who = match message.role {
            Role::User => "User",
            Role::Assistant => "Assistant",
        };
        format!("{who}:\n{}", message.text())
    });
    said.collect::<Vec<_>>().join("\n\n")
}

/// The last line, or the whole text, that is a JSON object.
fn last_object(text: &str) -> Option<Value> {
    let object = |text: &str| serde_json::from_str::<Value>(text.trim()).ok().filter(Value::is_object);
    object(text).or_else(|| text.lines().rev().find_map(object))
}

fn read(answer: &Value) -> Result<ChatResponse, AgentError> {
    if answer["is_error"] == true {
        let kind = answer["subtype"]
            .as_str()
            .filter(|kind| kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        return Err(AgentError::retryable("the program `claude` failed").with_context(json!({ "error": kind })));
    }
    let count = |key: &str| answer["usage"][key].as_u64().unwrap_or(0);
    let structured = answer.get("structured_output").filter(|value| !value.is_null());
    let text = match structured {
        Some(value) => value.to_string(),
        None => answer["result"].as_str().unwrap_or_default().to_owned(),
    };
    let mut response = ChatResponse::text(text);
    response.stop_reason = match answer["stop_reason"].as_str() {
        Some("refusal") => StopReason::Refusal,
        Some("max_tokens") => StopReason::MaxTokens,
        _ => StopReason::EndTurn,
    };
    response.usage = Usage {
        cache_read_tokens: count("cache_read_input_tokens"),
        cache_creation_tokens: count("cache_creation_input_tokens"),
        ..Usage::new(count("input_tokens"), count("output_tokens"), 0.0)
    };
    response.cost_usd = answer["total_cost_usd"].as_f64();
    response.request_id = answer["session_id"].as_str().map(str::to_owned);
    Ok(response)
}

/// A folder with nothing in it, which is gone when the call is over.
struct EmptyFolder(PathBuf);

impl EmptyFolder {
    fn create() -> Result<Self, AgentError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);

        for _ in 0..1000 {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("orchestr8-claude-{}-{number}", std::process::id()));
            match make(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(AgentError::internal("making an empty folder").with_source(error)),
            }
        }
        Err(AgentError::internal("making an empty folder: all names are taken"))
    }
}

/// Makes a folder that nobody else may enter.
fn make(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path)
}

impl Drop for EmptyFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(error = &error as &dyn std::error::Error, "removing an empty folder");
        }
    }
}
