//! `GET /v1/approvals` and `POST /v1/executions/{id}/approvals/{stepPath}`

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, Uri},
};
use orchestr8_core::{RequestError, store::Query};
use orchestr8_schema::{
    ExecutionId,
    api::{Approval, ApprovalList, ApprovalRequest, ApprovalResult, Decision, ExecutionStatus},
    event::{ApprovalAnswer, ApprovalDecision, EventBody},
    json_schema::JsonValidator,
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Service,
    control::{asked, driven, refused},
    cursor::{self, Cursor},
    problem::{ProblemCode, Rejection, issue},
    query::{execution_id, query},
};

const LIMIT: usize = 50;
const MAX_LIMIT: usize = 100;
/// Executions that are looked through at once.
const PAGE: usize = 100;
const MAX_COMMENT: usize = 4000;
const MAX_BY: usize = 255;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    execution_id: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Lists what waits for a person, oldest first.
pub(super) async fn list(State(service): State<Service>, uri: Uri) -> Result<Json<ApprovalList>, Rejection> {
    let Parameters { execution_id: id, limit, cursor } = query(&uri)?;
    let behind = cursor.map(|cursor| Cursor::<Place>::parse(&cursor)).transpose()?;
    let limit = limit.unwrap_or(LIMIT).clamp(1, MAX_LIMIT);
    let mut approvals = match id {
        Some(id) => service.engine().read(execution_id(&id)?).await?.approvals(),
        None => all(&service).await?,
    };
    approvals.sort_by_cached_key(place);
    if let Some(Cursor(behind)) = &behind {
        approvals.retain(|approval| place(approval) > *behind);
    }
    let has_more = approvals.len() > limit;
    approvals.truncate(limit);
    let next_cursor = approvals.last().filter(|_| has_more).map(|last| Cursor(place(last)).to_string());
    Ok(Json(ApprovalList { approvals, next_cursor, has_more }))
}

/// Where an approval stands among all: by time, then by execution and step.
type Place = (i64, String, String);

impl cursor::Place for Place {
    fn to_text(&self) -> String {
        format!("{}\n{}\n{}", self.0, self.1, self.2)
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '\n');
        Some((parts.next()?.parse().ok()?, parts.next()?.to_owned(), parts.next()?.to_owned()))
    }
}

fn place(approval: &Approval) -> Place {
    (approval.requested_at.as_micros(), approval.execution_id.to_string(), approval.step_path.clone())
}

async fn all(service: &Service) -> Result<Vec<Approval>, Rejection> {
    let mut approvals = Vec::new();
    let mut query = Query::newest(PAGE).statuses([ExecutionStatus::Running, ExecutionStatus::Paused]);
    loop {
        let page = service.engine().executions(&query).await?;
        for execution in &page.executions {
            approvals.extend(service.engine().read(execution.execution_id).await?.approvals());
        }
        match page.executions.last() {
            Some(last) if page.has_more => query = query.before(last.execution_id),
            _ => return Ok(approvals),
        }
    }
}

/// Answers one.
pub(super) async fn answer(
    State(service): State<Service>,
    Path((id, step_path)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ApprovalResult>, Rejection> {
    let (id, request, warnings): (_, ApprovalRequest, _) = asked(&service, &id, &headers, body).await?;
    let handle = driven(&service, id).await?;
    let is_long = |text: &Option<String>, most: usize| text.as_ref().is_some_and(|text| text.chars().count() > most);
    if is_long(&request.comment, MAX_COMMENT) || is_long(&request.by, MAX_BY) {
        return Err(Rejection::bad_request(format!(
            "`comment` has at most {MAX_COMMENT} characters, and `by` at most {MAX_BY}"
        )));
    }
    let answer = ApprovalAnswer {
        decision: match request.decision {
            Decision::Approve => ApprovalDecision::Approve,
            Decision::Reject => ApprovalDecision::Reject,
        },
        answer: request.answer,
        comment: request.comment,
        by: request.by,
    };
    if let Err(error) = handle.answer(&step_path, answer.clone()).await {
        return match answered(&service, handle.id(), &step_path).await? {
            // The first answer wins; the same again is no contradiction.
            Some((known, sequence)) if known.decision == answer.decision && known.answer == answer.answer => {
                let (execution_id, decision) = (handle.id(), request.decision);
                Ok(Json(ApprovalResult { execution_id, step_path, decision, sequence, warnings }))
            }
            Some((known, _)) => {
                let detail = format!("`{step_path}` was answered already: {}", known.decision.as_str());
                Err(Rejection::new(ProblemCode::Conflict, detail).about(handle.id()))
            }
            None => Err(unanswered(&service, handle.id(), &step_path, &answer.answer, error).await?),
        };
    }
    let known = answered(&service, handle.id(), &step_path).await?;
    let sequence = known.map_or(0, |(_, sequence)| sequence);
    let (execution_id, decision) = (handle.id(), request.decision);
    Ok(Json(ApprovalResult { execution_id, step_path, decision, sequence, warnings }))
}

/// Finds the answer that a step has got, and where the journal tells of it.
async fn answered(
    service: &Service,
    id: ExecutionId,
    step_path: &str,
) -> Result<Option<(ApprovalAnswer, u64)>, Rejection> {
    let snapshot = service.engine().snapshot(id).await?;
    let found = (1..).zip(snapshot.events()).find_map(|(sequence, event)| match &event.body {
        EventBody::ApprovalAnswered { activation, answer } => {
            let path = snapshot.state().step_path(snapshot.plan(), *activation)?;
            (path.as_str() == step_path).then(|| (ApprovalAnswer::clone(answer), sequence))
        }
        _ => None,
    });
    Ok(found)
}

/// Tells a step that waits for no approval from an answer that it does not take.
async fn unanswered(
    service: &Service,
    id: ExecutionId,
    step_path: &str,
    answer: &Value,
    error: RequestError,
) -> Result<Rejection, Rejection> {
    let open = service.engine().read(id).await?.approvals().into_iter().find(|open| open.step_path == step_path);
    let Some(open) = open else {
        return Ok(Rejection::new(ProblemCode::NotFound, format!("no approval waits at `{step_path}`")).about(id));
    };
    let validator = open.schema.and_then(|schema| JsonValidator::compile(&schema).ok());
    Ok(match validator.and_then(|validator| validator.validate(answer).err()) {
        Some(violations) => {
            let issues = violations.iter().map(|violation| issue("/answer", violation)).collect();
            Rejection::invalid("the answer does not fit the approval's schema", issues).about(id)
        }
        None => refused(id, error),
    })
}
