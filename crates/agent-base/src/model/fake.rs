//! A model that answers from a script.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use orchestr8_schema::{ErrorKind, usage::Usage};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{Capabilities, ChatModel, ChatRequest, ChatResponse, DeltaSink, ModelInfo, Provider, ToolRequest};
use crate::AgentError;

/// A model that answers from a script: in order, or by what it is asked. Clones share script and record.
///
/// ```
/// # use orchestr8_agent_base::model::{ChatResponse, Fake};
/// let fake = Fake::answers([ChatResponse::text("first"), ChatResponse::text("second")])
///     .when(|request| request.messages.len() > 4, |_| Ok(ChatResponse::text("a long talk")));
/// # let _ = fake;
/// ```
#[derive(Clone)]
pub struct Fake {
    info: ModelInfo,
    script: Arc<Script>,
}

#[derive(Default)]
struct Script {
    answers: Mutex<Answers>,
    matchers: Vec<(Matcher, Answer)>,
    delay: Duration,
}

#[derive(Default)]
struct Answers {
    in_order: std::collections::VecDeque<Result<ChatResponse, orchestr8_schema::Failure>>,
    asked: Vec<ChatRequest>,
}

type Matcher = Arc<dyn Fn(&ChatRequest) -> bool + Send + Sync>;
type Answer = Arc<dyn Fn(&ChatRequest) -> Result<ChatResponse, AgentError> + Send + Sync>;

impl Fake {
    /// Makes a model that gives these answers, one after another.
    #[must_use]
    pub fn answers(answers: impl IntoIterator<Item = ChatResponse>) -> Self {
        Self::results(answers.into_iter().map(Ok))
    }

    /// Makes a model that answers or fails so, one after another.
    #[must_use]
    pub fn results(results: impl IntoIterator<Item = Result<ChatResponse, AgentError>>) -> Self {
        let in_order = results.into_iter().map(|result| result.map_err(|error| error.to_failure())).collect();
        let answers = Mutex::new(Answers { in_order, asked: Vec::new() });
        let info = ModelInfo::new("fake", "fake", Capabilities::all());
        Self { info, script: Arc::new(Script { answers, ..Script::default() }) }
    }

    /// Makes a model that answers everything by a function.
    #[must_use]
    pub fn by(answer: impl Fn(&ChatRequest) -> Result<ChatResponse, AgentError> + Send + Sync + 'static) -> Self {
        Self::answers([]).when(|_| true, answer)
    }

    /// Answers what fits by a function, before the script; what was added first is asked first.
    #[must_use]
    pub fn when(
        mut self,
        fits: impl Fn(&ChatRequest) -> bool + Send + Sync + 'static,
        answer: impl Fn(&ChatRequest) -> Result<ChatResponse, AgentError> + Send + Sync + 'static,
    ) -> Self {
        let answers = std::mem::take(&mut *self.answers_of());
        let (mut matchers, delay) = (self.script.matchers.clone(), self.script.delay);
        matchers.push((Arc::new(fits), Arc::new(answer)));
        self.script = Arc::new(Script { answers: Mutex::new(answers), matchers, delay });
        self
    }

    /// Has every answer take this long.
    #[must_use]
    pub fn delays(mut self, delay: Duration) -> Self {
        let answers = std::mem::take(&mut *self.answers_of());
        let matchers = self.script.matchers.clone();
        self.script = Arc::new(Script { answers: Mutex::new(answers), matchers, delay });
        self
    }

    /// Sets what the model is and can do.
    #[must_use]
    pub fn info(mut self, info: ModelInfo) -> Self {
        self.info = info;
        self
    }

    /// Reads a script: a JSON list of answers, each an object of `text`, `json`, `tools` ([{name, arguments}]) or `error` ({code,
    /// message?}), and beside it `usage` and `when`, a text that the last message or the system text has to contain. Answers
    /// with `when` are given as often as they fit, others once and in order.
    ///
    /// # Errors
    ///
    /// VALIDATION if it is no such list; NOT_FOUND if the file cannot be read.
    pub fn script(path: &Path) -> Result<Self, AgentError> {
        let shown = path.display();
        let text = std::fs::read(path)
            .map_err(|error| AgentError::not_found(format!("the script {shown} cannot be read")).with_source(error))?;
        let scripted: Vec<Scripted> = serde_json::from_slice(&text)
            .map_err(|error| AgentError::validation(format!("{shown} is no list of answers")).with_source(error))?;
        let (by_match, in_order): (Vec<_>, Vec<_>) = scripted.into_iter().partition(|answer| answer.when.is_some());
        let fake = Self::results(in_order.iter().enumerate().map(|(place, answer)| answer.result(place)));
        Ok(by_match.into_iter().fold(fake, |fake, answer| {
            let wanted = answer.when.clone().unwrap_or_default();
            fake.when(move |request| contains(request, &wanted), move |request| answer.result(request.messages.len()))
        }))
    }

    /// Returns what it was asked so far.
    #[must_use]
    pub fn asked(&self) -> Vec<ChatRequest> {
        self.answers_of().asked.clone()
    }

    fn answers_of(&self) -> MutexGuard<'_, Answers> {
        self.script.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &ChatRequest) -> Result<ChatResponse, AgentError> {
        let mut answers = self.answers_of();
        answers.asked.push(request.clone());
        if let Some((_, answer)) = self.script.matchers.iter().find(|(fits, _)| fits(request)) {
            drop(answers);
            return answer(request);
        }
        match answers.in_order.pop_front() {
            Some(result) => result.map_err(|failure| AgentError::from_failure(&failure)),
            None => {
                let message = format!("script exhausted at call {}", answers.asked.len());
                Err(AgentError::internal(message).with_context(json!({ "request": request })))
            }
        }
    }
}

#[async_trait]
impl ChatModel for Fake {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn chat(
        &self,
        request: ChatRequest,
        on_delta: Option<DeltaSink>,
        cancel: CancellationToken,
    ) -> Result<ChatResponse, AgentError> {
        let delay = self.script.delay;
        if !delay.is_zero() && cancel.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
            return Err(AgentError::cancelled("cancelled while a model was asked"));
        }
        let mut response = self.answer(&request)?;
        if response.model.is_empty() {
            response.model.clone_from(&self.info.model);
        }
        if let Some(sink) = on_delta {
            sink(&response.message.text());
        }
        Ok(response)
    }
}

impl Provider for Fake {
    fn model(&self, provider: &str, id: &str) -> Arc<dyn ChatModel> {
        let info = ModelInfo::new(provider, id, self.info.capabilities);
        Arc::new(self.clone().info(info))
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake").field("info", &self.info).finish_non_exhaustive()
    }
}

/// An answer of a script.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Scripted {
    when: Option<String>,
    text: Option<String>,
    json: Option<Value>,
    #[serde(default)]
    tools: Vec<ScriptedTool>,
    error: Option<ScriptedError>,
    #[serde(default)]
    usage: Usage,
}

#[derive(Clone, Deserialize)]
struct ScriptedTool {
    name: String,
    #[serde(default)]
    arguments: Map<String, Value>,
}

#[derive(Clone, Deserialize)]
struct ScriptedError {
    code: ErrorKind,
    message: Option<String>,
}

impl Scripted {
    fn result(&self, place: usize) -> Result<ChatResponse, AgentError> {
        if let Some(ScriptedError { code, message }) = &self.error {
            return Err(AgentError::new(*code, message.as_deref().unwrap_or("scripted")));
        }
        let text = match (&self.text, &self.json) {
            (Some(text), _) => Some(text.clone()),
            (None, Some(json)) => Some(json.to_string()),
            (None, None) => None,
        };
        let response = if self.tools.is_empty() {
            ChatResponse::text(text.unwrap_or_default())
        } else {
            let tools = self.tools.iter().enumerate();
            ChatResponse::tools(tools.map(|(index, tool)| {
                ToolRequest::new(format!("call-{place}-{index}"), &tool.name, Value::Object(tool.arguments.clone()))
            }))
        };
        Ok(response.with_usage(self.usage))
    }
}

fn contains(request: &ChatRequest, wanted: &str) -> bool {
    let last = request.messages.last().map(super::Message::text).unwrap_or_default();
    last.contains(wanted) || request.system.iter().any(|block| block.text.contains(wanted))
}
