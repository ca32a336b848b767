//! What a request to execute or validate asks for: a bare workflow document, or a wrapper around one.

use std::collections::BTreeMap;

use orchestr8_core::StartRequest;
use orchestr8_schema::{
    CorrelationId, Diagnostic, InvalidWorkflow, ValidWorkflow,
    api::{ExecuteRequest, Warning},
    canonical,
    policy::Budget,
    source::{Format, Options, load},
};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    Service,
    body::RequestBody,
    bundle::Bundle,
    problem::Rejection,
    query::{read, unlike},
    workflows,
};

/// A request to execute, understood and checked.
#[derive(Debug)]
pub(super) struct Execute {
    pub(super) workflow: ValidWorkflow,
    pub(super) request: StartRequest,
    pub(super) warnings: Vec<Warning>,
}

/// The workflow of a request, before it is checked.
pub(super) enum Document {
    /// The body itself.
    Bare(Format, Bundle),
    /// A part of the body: the rest, the workflow and what it refers to as they are written, and what has no effect.
    Wrapped(Box<ExecuteRequest>, Box<RawValue>, Bundle, Vec<Warning>),
    /// One of the catalogue: the body that names it, and what has no effect.
    Catalogued(Box<ExecuteRequest>, ValidWorkflow, Vec<Warning>),
}

/// The documents of a wrapper, as they are written.
#[derive(Deserialize)]
struct Written {
    workflow: Option<Box<RawValue>>,
    #[serde(default)]
    bundle: BTreeMap<String, Box<RawValue>>,
}

impl Execute {
    pub(super) async fn parse(
        service: &Service,
        body: &RequestBody,
        correlation_id: CorrelationId,
    ) -> Result<Self, Rejection> {
        let document = Document::of(service, body).await?;
        let workflow = document.check(service, body, false).map_err(|invalid| {
            let issues = document.place(invalid.into_diagnostics());
            Rejection::invalid("the workflow is not valid", issues)
        })?;
        let found = document.place(workflow.warnings().to_vec());
        let (wrapper, mut warnings) = match document {
            Document::Bare(..) => (Box::default(), Vec::new()),
            Document::Wrapped(wrapper, _, _, warnings) | Document::Catalogued(wrapper, _, warnings) => {
                (wrapper, warnings)
            }
        };
        warnings.extend(found.into_iter().map(Warning::Workflow));
        let context = wrapper.context.unwrap_or_default();
        let input = wrapper.input.unwrap_or_else(|| Value::Object(Map::new()));
        let mut request = StartRequest::new(&workflow, input)
            .variables(wrapper.variables)
            .env(wrapper.env)
            .correlation_id(context.correlation_id.unwrap_or(correlation_id));
        if let Some(timeout) = context.timeout {
            request = request.timeout(timeout.as_duration());
        }
        if let Some(budget) = wrapper.budget {
            request = request.budget(budget);
        }
        Ok(Self { workflow, request, warnings })
    }

    /// Returns what stands for everything that is asked for, whatever the order of its keys.
    pub(super) fn digest(&self, body: &RequestBody) -> Result<String, Rejection> {
        Ok(match body.format {
            Format::Yaml => canonical::digest(&serde_json::to_value(&self.workflow).unwrap_or_default()),
            Format::Json => canonical::digest(&body.json()?),
        })
    }
}

impl Document {
    /// Finds the workflow of a body: a bare document is recognised by `steps`.
    pub(super) async fn of(service: &Service, body: &RequestBody) -> Result<Self, Rejection> {
        if body.format == Format::Yaml {
            return Self::bare(service, Format::Yaml);
        }
        if body.bytes.is_empty() {
            return Err(Rejection::bad_request("the body is empty; send a workflow"));
        }
        let Value::Object(mut map) = body.json()? else {
            return Err(Rejection::bad_request("the body is no object"));
        };
        if map.contains_key("steps") {
            return Self::bare(service, Format::Json);
        }
        let reserved = map.shift_remove("options");
        // It belongs to the documents, which are read as text.
        map.shift_remove("bundle");
        let (request, mut warnings): (ExecuteRequest, _) = read(map)?;
        if reserved.is_some() {
            let message = "`options` is reserved and has no effect".to_owned();
            warnings.push(Warning::Request { message });
        }
        if let Some(name) = request.budget.as_ref().and_then(empty_limit) {
            return Err(Rejection::bad_request(format!("`budget.{name}` has to be greater than 0")));
        }
        // As text, so that duplicate keys are still there to be found.
        let Written { workflow, bundle: documents } = serde_json::from_slice(&body.bytes).map_err(unlike)?;
        match (workflow, &request.workflow_id) {
            (Some(workflow), None) => {
                let bundle = Bundle::new(documents, service.catalogue())?;
                Ok(Self::Wrapped(Box::new(request), workflow, bundle, warnings))
            }
            (None, Some(id)) => {
                let found = workflows::find(service, id).await?;
                Ok(Self::Catalogued(Box::new(request), found.workflow, warnings))
            }
            (Some(_), Some(_)) => Err(Rejection::bad_request("give either `workflow` or `workflowId`")),
            (None, None) => {
                Err(Rejection::bad_request("give `workflow`, `workflowId`, or a workflow as the whole body"))
            }
        }
    }

    /// Takes the whole body for the document.
    pub(super) fn bare(service: &Service, format: Format) -> Result<Self, Rejection> {
        Ok(Self::Bare(format, Bundle::new(BTreeMap::new(), service.catalogue())?))
    }

    /// What of the body has no effect.
    pub(super) fn warnings(&self) -> &[Warning] {
        match self {
            Self::Bare(..) => &[],
            Self::Wrapped(_, _, _, warnings) | Self::Catalogued(_, _, warnings) => warnings,
        }
    }

    /// Checks the workflow against the formats and the engine's agents; one of the catalogue has been checked already.
    pub(super) fn check(
        &self,
        service: &Service,
        body: &RequestBody,
        strict: bool,
    ) -> Result<ValidWorkflow, InvalidWorkflow> {
        let options = Options::new().strict(strict).agents(service.engine().agents());
        match self {
            Self::Bare(format, bundle) => load(&body.bytes, &options.format(*format).workflows(bundle)),
            Self::Wrapped(_, workflow, bundle, _) => {
                load(workflow.get(), &options.format(Format::Json).workflows(bundle))
            }
            Self::Catalogued(_, workflow, _) => Ok(workflow.clone()),
        }
    }

    /// Lets problems name places of the body: positions within a part of it would mislead, paths do not.
    pub(super) fn place(&self, mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
        if matches!(self, Self::Wrapped(..)) {
            diagnostics.iter_mut().for_each(|diagnostic| diagnostic.span = None);
        }
        diagnostics
    }
}

/// Names the limit of a budget that nothing can be done within.
fn empty_limit(budget: &Budget) -> Option<&'static str> {
    let is_empty_cost = budget.max_cost_usd.is_some_and(|cost| !(cost > 0.0 && cost.is_finite()));
    let limits = [
        ("maxTokens", budget.max_tokens == Some(0)),
        ("maxCostUsd", is_empty_cost),
        ("maxSteps", budget.max_steps == Some(0)),
        ("maxDuration", budget.max_duration.is_some_and(|duration| duration.as_duration().is_zero())),
    ];
    limits.into_iter().find_map(|(name, is_empty)| is_empty.then_some(name))
}
