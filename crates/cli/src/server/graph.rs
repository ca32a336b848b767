//! `GET /v1/executions/{id}/graph`

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;

use super::{
    Service,
    problem::Rejection,
    query::{execution_id, query},
};
use crate::graph::{Graph, dot, mermaid, svg};

#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    format: Format,
    /// Whether all others are closed, however few steps there are.
    #[serde(default)]
    collapse: bool,
    #[serde(default)]
    style: Style,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Svg,
    Mermaid,
    Dot,
}

/// Where the style of an SVG comes from.
#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Style {
    /// From itself.
    #[default]
    Embedded,
    /// From the page that it is put into, whose policy may forbid any other.
    Page,
}

/// Shows the graph of an execution, each step with its status.
pub(super) async fn read(
    State(service): State<Service>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Rejection> {
    let Parameters { format, collapse, style } = query(&uri)?;
    let all: Vec<(String, String)> = query(&uri)?;
    let reading = service.engine().read(execution_id(&id)?).await?;
    let mut graph = Graph::new(reading.plan().workflow());
    if collapse {
        graph.set_open(false);
    }
    for (_, path) in all.iter().filter(|(name, _)| name == "expand") {
        if !graph.open(path) {
            return Err(Rejection::bad_request(format!("no composite `{path}`")));
        }
    }
    let steps: Vec<_> = reading.steps().map(|(step, _)| step).collect();
    let has_ended = reading.status().is_terminal();
    drop(reading);
    graph.set_statuses(&steps, has_ended);
    let (content_type, text) = match format {
        Format::Json => return Ok(Json(graph.to_body()).into_response()),
        Format::Svg => {
            let style = match style {
                Style::Embedded => svg::Style::Embedded,
                Style::Page => svg::Style::FromPage,
            };
            ("image/svg+xml", svg::draw(&graph, style))
        }
        Format::Mermaid => ("text/vnd.mermaid; charset=utf-8", mermaid::draw(&graph)),
        Format::Dot => ("text/vnd.graphviz; charset=utf-8", dot::draw(&graph)),
    };
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], text).into_response())
}
