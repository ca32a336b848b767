//! `GET /v1/executions`

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, Uri, header},
    response::{IntoResponse as _, Response},
};
use orchestr8_core::store::{Query, StoreError};
use orchestr8_schema::{
    ExecutionId,
    api::{ExecutionList, ExecutionStatus},
};
use serde::{Deserialize, de::value::Error as ValueError, de::value::StrDeserializer};

use super::{Service, cursor::Cursor, problem::Rejection, query::query};

const LIMIT: usize = 50;
const MAX_LIMIT: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    status: Option<String>,
    workflow_id: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Lists executions, newest first.
pub(super) async fn read(State(service): State<Service>, uri: Uri) -> Result<Response, Rejection> {
    let parameters: Parameters = query(&uri)?;
    let limit = parameters.limit.unwrap_or(LIMIT).clamp(1, MAX_LIMIT);
    let mut asked = Query::newest(limit);
    if let Some(names) = &parameters.status {
        asked = asked.statuses(names.split(',').map(|name| status(name.trim())).collect::<Result<Vec<_>, _>>()?);
    }
    if let Some(id) = &parameters.workflow_id {
        asked = asked.workflow(id);
    }
    if let Some(cursor) = &parameters.cursor {
        let Cursor(place) = Cursor::<String>::parse(cursor)?;
        let before: Result<ExecutionId, _> = place.parse();
        asked = asked.before(before.map_err(|_| Rejection::bad_request("`cursor` is none of this server's"))?);
    }
    let page = service.engine().executions(&asked).await?;
    let next_cursor =
        page.executions.last().filter(|_| page.has_more).map(|last| Cursor(last.execution_id.to_string()).to_string());
    let mut executions = Vec::with_capacity(page.executions.len());
    for listed in &page.executions {
        match service.engine().summary(listed).await {
            Ok(summary) => executions.push(summary),
            // It was dropped meanwhile.
            Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut headers = HeaderMap::new();
    if let Some(link) = next_cursor.as_ref().and_then(|cursor| link(&uri, cursor)) {
        headers.insert(header::LINK, link);
    }
    let list = ExecutionList { executions, next_cursor, has_more: page.has_more };
    Ok((headers, Json(list)).into_response())
}

fn status(name: &str) -> Result<ExecutionStatus, Rejection> {
    ExecutionStatus::deserialize(StrDeserializer::<ValueError>::new(name))
        .map_err(|error| Rejection::bad_request(format!("`status`: {error}")))
}

/// Makes the address of the next page: that of this one, with another cursor.
fn link(uri: &Uri, cursor: &str) -> Option<HeaderValue> {
    let others =
        uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty() && !part.starts_with("cursor="));
    let query: Vec<_> = others.map(str::to_owned).chain([format!("cursor={cursor}")]).collect();
    HeaderValue::from_str(&format!("</v1/executions?{}>; rel=\"next\"", query.join("&"))).ok()
}
