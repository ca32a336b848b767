//! A model in the hands of an agent: what stands around each call of it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use orchestr8_schema::{
    ErrorKind,
    event::ModelCall,
    json_schema::JsonValidator,
    usage::{Estimate, Usage},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    ChatRequest, ChatResponse, DeltaSink, Message, ModelInfo, Resolved, StopReason, ToolChoice,
    structured::{instruction, portable, read, repair},
};
use crate::{
    AgentContext, AgentError, SecretString,
    context::{Lack, Outcome, Remark},
};

/// From this many tokens on an answer is streamed, since connections that are silent for so long are cut on the way.
const LONG: u32 = 16_384;

/// A model that an agent may ask; [`AgentContext::model`] gives it.
///
/// Around each call of the [`ChatModel`](super::ChatModel) it checks that the budget allows it, counts what it uses and costs, shows the text as
/// progress while it is written, and tells the journal (`model.called`) and a span of it. An answer that is to fit a schema is checked, and asked
/// for once more if it does not.
#[derive(Clone)]
#[must_use]
pub struct Model {
    cx: AgentContext,
    resolved: Resolved,
    turn: Option<u32>,
    /// The most that a question may use together with the one that asks for its answer once more.
    most: Estimate,
}

impl AgentContext {
    /// Returns the models that agents may ask here.
    #[cfg(feature = "research")]
    pub(crate) fn models(&self) -> Option<&super::Models> {
        self.host().and_then(|host| host.models())
    }

    /// Returns the model that is meant by a name; absent for the default one.
    ///
    /// # Errors
    ///
    /// VALIDATION if there is no such model, or nobody has any here.
    pub fn model(&self, name: Option<&str>) -> Result<Model, AgentError> {
        self.model_of(name, None)
    }

    /// Returns the model that is meant by a name, of this provider.
    ///
    /// # Errors
    ///
    /// As [`model`](Self::model).
    pub fn model_of(&self, name: Option<&str>, provider: Option<&str>) -> Result<Model, AgentError> {
        let models = self.host().and_then(|host| host.models());
        let models = models.ok_or_else(|| AgentError::validation("no provider of models is configured"))?;
        let resolved = models
            .resolve(name, provider)
            .map_err(|error| AgentError::validation(format!("{error}; {}", error.help())))?;
        let most = Estimate::new(u64::MAX, f64::INFINITY);
        Ok(Model { cx: self.clone(), resolved, turn: None, most })
    }
}

impl Model {
    /// Returns what the model is and can do.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        self.resolved.chat.info()
    }

    /// Has the model asked with this key instead of its provider's.
    ///
    /// # Errors
    ///
    /// VALIDATION if the model takes no key.
    pub fn keyed(mut self, key: SecretString) -> Result<Self, AgentError> {
        let Some(chat) = self.resolved.chat.keyed(key) else {
            let message = format!("provider `{}` takes no key of an agent's own", self.resolved.provider);
            return Err(AgentError::validation(message));
        };
        self.resolved.chat = chat;
        Ok(self)
    }

    /// Says which turn of a conversation is asked for, from 1.
    pub fn turn(mut self, turn: u32) -> Self {
        self.turn = Some(turn);
        self
    }

    /// Has the model asked once more, for an answer that does not fit its schema, only if that cannot use more than this together with the
    /// first question; default without limit.
    #[cfg(feature = "llm")]
    pub(crate) fn within(mut self, most: Estimate) -> Self {
        self.most = most;
        self
    }

    /// Returns the most tokens that this request can use: a third of its bytes, and those of the answer.
    #[must_use]
    pub fn bound(&self, request: &ChatRequest) -> Estimate {
        let (input, output) = self.bounds(request);
        let cost = self.resolved.rates.map_or(0.0, |rates| rates.most(input, output));
        Estimate::new(input.saturating_add(output), cost)
    }

    /// Whether it is known what the model costs.
    #[must_use]
    pub fn has_price(&self) -> bool {
        self.resolved.rates.is_some()
    }

    fn bounds(&self, request: &ChatRequest) -> (u64, u64) {
        let bytes = serde_json::to_vec(request).map_or(0, |bytes| bytes.len()) as u64;
        (bytes.div_ceil(3), u64::from(request.max_tokens.unwrap_or(self.resolved.max_tokens)))
    }

    /// The most that an answer to this can use; one that has to fit a schema may be asked for twice, the first answer being part of
    /// the second question.
    fn worst(&self, request: &ChatRequest, has_schema: bool) -> Usage {
        let (input, output) = self.bounds(request);
        let asked =
            |input| Usage::new(input, output, self.resolved.rates.map_or(0.0, |rates| rates.most(input, output)));
        let mut worst = asked(input);
        if has_schema {
            worst.add(&asked(input.saturating_add(output)));
        }
        worst
    }

    /// Asks the model, and counts what it uses for the attempt.
    ///
    /// # Errors
    ///
    /// BUDGET_EXCEEDED, without asking, if the request might use more than is reserved for the attempt, or the cost of the model is not
    /// known where it is limited; VALIDATION if the answer does not fit the schema, also after having been asked for once more, or had no
    /// room; DENIED if the model refuses; and what the model fails with.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future closes the connection. What the call might have used then counts as used.
    pub async fn chat(&self, request: ChatRequest, cancel: CancellationToken) -> Result<ChatResponse, AgentError> {
        let (result, used) = self.answer(request, cancel).await;
        self.cx.usage(used);
        result
    }

    /// As [`chat`](Self::chat), as a durable call of this key: it is not made again once it was answered.
    ///
    /// # Errors
    ///
    /// As [`chat`](Self::chat).
    pub async fn durable(
        &self,
        key: &str,
        request: ChatRequest,
        cancel: CancellationToken,
    ) -> Result<ChatResponse, AgentError> {
        let mut asked = request.canonical();
        asked["model"] = json!({ "provider": self.resolved.provider, "id": self.resolved.model });
        let call = async {
            let (result, used) = self.answer(request, cancel).await;
            match result {
                Ok(response) => {
                    let value = serde_json::to_value(&response)
                        .map_err(|error| AgentError::internal("an answer cannot be written down").with_source(error))?;
                    Ok(Outcome::new(value, used))
                }
                Err(error) => {
                    self.cx.usage(used);
                    Err(error)
                }
            }
        };
        let value = self.cx.durable(key, &asked, call).await?;
        serde_json::from_value(value)
            .map_err(|error| AgentError::internal("a recorded answer cannot be read").with_source(error))
    }

    /// Asks, checks the answer, and asks once more if it does not fit. Beside the result stands what was used up on the way.
    async fn answer(
        &self,
        mut request: ChatRequest,
        cancel: CancellationToken,
    ) -> (Result<ChatResponse, AgentError>, Usage) {
        let mut used = Usage::default();
        let result = async {
            let schema = request.output_schema.take();
            let validator = match &schema {
                Some(schema) => Some(JsonValidator::compile(schema).map_err(|error| {
                    AgentError::validation("the schema of the answer is no JSON Schema").with_source(error)
                })?),
                None => None,
            };
            match &schema {
                Some(schema) if self.info().capabilities.native_schema => {
                    request.output_schema = Some(portable(schema));
                }
                Some(schema) => request = request.system(instruction(schema)),
                None => {}
            }
            if let Some(lost) = self.cx.count_interruptions(self.worst(&request, validator.is_some())) {
                used.add(&lost);
            }
            let response = self.ask(request.clone(), &cancel, &mut used).await?;
            let Some(validator) = validator.filter(|_| response.stop_reason != StopReason::ToolUse) else {
                return Ok(response);
            };
            let problem = match fitting(&response, &validator)? {
                Ok(value) => return Ok(ChatResponse { structured: Some(value), ..response }),
                Err(problem) => problem,
            };
            tracing::debug!("an answer does not fit its schema and is asked for once more");
            // Of nothing no message can be made.
            if !response.message.text().is_empty() {
                request.messages.push(response.message);
            }
            request.messages.push(Message::user(repair(&problem)));
            request.tool_choice = ToolChoice::None;
            let bound = self.bound(&request);
            if used.tokens().saturating_add(bound.tokens) > self.most.tokens
                || used.cost_usd + bound.cost_usd > self.most.cost_usd + 1e-9
            {
                let message = "the answer does not fit its schema, and asking once more might pass the agent's limits";
                return Err(AgentError::new(ErrorKind::BudgetExceeded, message).with_context(json!({ "usage": used })));
            }
            let response = self.ask(request, &cancel, &mut used).await?;
            let fits = fitting(&response, &validator)?;
            // Both answers were paid for.
            let response = ChatResponse { usage: used, cost_usd: response.cost_usd.map(|_| used.cost_usd), ..response };
            match fits {
                Ok(value) => Ok(ChatResponse { structured: Some(value), ..response }),
                Err(problem) => {
                    Err(AgentError::validation(format!("the model's answer does not fit its schema: {problem}")))
                }
            }
        };
        let result = result.await;
        (result, used)
    }

    /// Asks once.
    async fn ask(
        &self,
        mut request: ChatRequest,
        cancel: &CancellationToken,
        used: &mut Usage,
    ) -> Result<ChatResponse, AgentError> {
        request.max_tokens.get_or_insert(self.resolved.max_tokens);
        let (input, output) = self.bounds(&request);
        let bound = self.bound(&request);
        self.cx.take_of_reserved(bound, self.has_price()).map_err(|limit| {
            let message = match limit {
                Lack::Tokens | Lack::Cost => "the request might use more than is reserved for the attempt",
                Lack::Price => "the budget limits costs, and the price of the model is not known",
            };
            let context = json!({ "budget": budget_of(limit), "bound": bound, "model": self.resolved.model });
            AgentError::new(ErrorKind::BudgetExceeded, message).with_context(context)
        })?;
        if let (Some(host), Some(key)) = (self.cx.host(), self.resolved.chat.key()) {
            host.conceal(&key);
        }
        let mut guard = Taken { cx: &self.cx, bound, worst: Some(Usage::new(input, output, bound.cost_usd)) };
        let began = Instant::now();
        let span = tracing::info_span!(
            "orchestr8.model",
            "orchestr8.model.provider" = %self.resolved.provider,
            "orchestr8.model.name" = %self.resolved.model,
            "orchestr8.model.turn" = self.turn,
            "orchestr8.usage.input_tokens" = tracing::field::Empty,
            "orchestr8.usage.output_tokens" = tracing::field::Empty,
            "orchestr8.usage.cost_usd" = tracing::field::Empty,
            "orchestr8.model.prompt" = tracing::field::Empty,
            "orchestr8.model.answer" = tracing::field::Empty,
            "orchestr8.error_code" = tracing::field::Empty,
        );
        self.cx.show_content(&span, "orchestr8.model.prompt", || request.canonical());
        let deltas = self.deltas(&request);
        let sink = deltas.as_ref().map(Deltas::sink);
        let call = self.resolved.chat.chat(request, sink, cancel.clone()).instrument(span.clone());
        let result = match cancel.run_until_cancelled(call).await {
            Some(result) => result,
            None => Err(AgentError::cancelled("cancelled while a model was asked")),
        };
        if let Some(deltas) = deltas {
            deltas.flush();
        }
        let result = result.map(|mut response| {
            let cost = response.cost_usd.or_else(|| self.resolved.rates.map(|rates| rates.cost(&response.usage)));
            response.cost_usd = cost;
            response.usage.cost_usd = cost.unwrap_or_default();
            response
        });
        let usage = match &result {
            Ok(response) => Some(response.usage),
            // How far the model had come nobody knows.
            Err(error) if error.kind() == ErrorKind::Cancelled => guard.worst,
            Err(_) => None,
        };
        guard.worst = None;
        drop(guard);
        if let Some(usage) = &usage {
            self.cx.count_of_reserved(usage);
            used.add(usage);
            span.record("orchestr8.usage.input_tokens", usage.input_tokens);
            span.record("orchestr8.usage.output_tokens", usage.output_tokens);
            span.record("orchestr8.usage.cost_usd", usage.cost_usd);
        }
        match &result {
            Ok(response) => self.cx.show_content(&span, "orchestr8.model.answer", || json!(response.message)),
            Err(error) => {
                span.record("orchestr8.error_code", error.kind().code());
            }
        }
        self.tell(began.elapsed(), usage, result.as_ref().err());
        let response = result?;
        match response.stop_reason {
            StopReason::Refusal => Err(AgentError::denied("the model refuses to answer")
                .with_context(json!({ "stopReason": "refusal", "requestId": response.request_id }))),
            _ => Ok(response),
        }
    }

    fn tell(&self, duration: Duration, usage: Option<Usage>, error: Option<&AgentError>) {
        let Some(host) = self.cx.host() else { return };
        host.remark(Remark::Model(ModelCall {
            call: self.cx.call_id(),
            attempt: self.cx.attempt(),
            provider: self.resolved.provider.as_str().into(),
            model: self.resolved.model.as_str().into(),
            chain: Arc::clone(&self.resolved.chain),
            turn: self.turn,
            usage,
            duration,
            error: error.map(|error| Arc::new(error.to_failure())),
        }));
    }

    /// What takes the text of an answer while it is written, if somebody looks on or it will be long.
    fn deltas(&self, request: &ChatRequest) -> Option<Deltas> {
        let is_long = request.max_tokens.is_some_and(|tokens| tokens > LONG);
        let is_watched = self.cx.host().is_some_and(|host| host.is_watched());
        let streams = self.info().capabilities.streaming && (is_long || is_watched);
        streams.then(|| Deltas { cx: self.cx.clone(), written: Arc::default() })
    }
}

/// Finds what fits the schema in an answer, or says what does not.
///
/// # Errors
///
/// VALIDATION if the answer was cut: what is whole in it may fit, and is not the answer.
fn fitting(response: &ChatResponse, validator: &JsonValidator) -> Result<Result<Value, String>, AgentError> {
    if response.stop_reason == StopReason::MaxTokens {
        return Err(AgentError::validation("the answer had no room: `maxTokens` is too low for the schema"));
    }
    Ok(read(&response.message.text(), validator))
}

/// Text that was written and not yet shown.
struct Deltas {
    cx: AgentContext,
    written: Arc<Mutex<String>>,
}

impl Deltas {
    fn sink(&self) -> DeltaSink {
        let (cx, written) = (self.cx.clone(), Arc::clone(&self.written));
        Arc::new(move |text| {
            written.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
            show(&cx, &written, false);
        })
    }

    fn flush(&self) {
        show(&self.cx, &self.written, true);
    }
}

/// Shows what was written, unless that was done a moment ago.
fn show(cx: &AgentContext, written: &Mutex<String>, essential: bool) {
    let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
    let end = if essential { written.len() } else { whole_words(&written) };
    if end == 0 {
        return;
    }
    let mut progress = cx.progress_of(None, written[..end].to_owned());
    progress.is_text = true;
    if cx.show(progress, essential) {
        written.drain(..end);
    }
}

/// Returns up to where no word of a text may go on. What is shown piece by piece must not cut a secret, which is hidden where it stands whole.
fn whole_words(text: &str) -> usize {
    /// A longer word is of a language without spaces.
    const LONGEST: usize = 512;

    let words = text.rfind(char::is_whitespace).unwrap_or(0);
    words.max(text.floor_char_boundary(text.len().saturating_sub(LONGEST)))
}

fn budget_of(lack: Lack) -> &'static str {
    match lack {
        Lack::Tokens => "maxTokens",
        Lack::Cost | Lack::Price => "maxCostUsd",
    }
}

/// What a call in progress may use of what is reserved. If it is dropped, all of that counts as used.
struct Taken<'a> {
    cx: &'a AgentContext,
    bound: Estimate,
    worst: Option<Usage>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.cx.give_back_to_reserved(self.bound);
        if let Some(worst) = self.worst.take() {
            self.cx.count_of_reserved(&worst);
            self.cx.usage(worst);
        }
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("resolved", &self.resolved).finish_non_exhaustive()
    }
}
