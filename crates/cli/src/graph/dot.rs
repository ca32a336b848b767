//! DOT, the language of Graphviz.
//!
//! Composites that are open are clusters. Edges for order are grey, soft ones dotted, fallbacks dashed.

use std::fmt::Write as _;

use orchestr8_schema::api::StepStatus;

use super::{EdgeKind, Graph, Node, Scope};

/// Draws a graph.
#[must_use]
pub fn draw(graph: &Graph) -> String {
    let mut out = String::from("digraph workflow {\n");
    line(&mut out, 1, format_args!("label={};", quoted(&graph.title)));
    line(&mut out, 1, format_args!("rankdir=TB; compound=true; fontname=\"sans-serif\";"));
    line(&mut out, 1, format_args!("node [shape=box, style=rounded, fontname=\"sans-serif\"];"));
    scope(&mut out, &graph.steps, 1);
    edges(&mut out, &graph.steps);
    out.push_str("}\n");
    out
}

fn scope(out: &mut String, scope: &Scope, depth: usize) {
    for node in &scope.nodes {
        if !node.is_group() {
            let label = quoted(&format!("{}\n{}", node.id, second_line(node)));
            let name = quoted(&node.path);
            line(out, depth, format_args!("{name} [label={label}{}];", style(node.status)));
            continue;
        }
        line(out, depth, format_args!("subgraph {} {{", quoted(&format!("cluster_{}", node.path))));
        let label = quoted(&format!("{} · {}", node.id, second_line(node)));
        line(out, depth + 1, format_args!("label={label};{}", cluster_style(node.status)));
        // What edges of the composite lead to and from.
        line(out, depth + 1, format_args!("{} [style=invis, shape=point, label=\"\"];", quoted(&node.path)));
        for (place, inner) in node.scopes.iter().enumerate() {
            let Some(case) = &inner.name else {
                self::scope(out, inner, depth + 1);
                continue;
            };
            line(out, depth + 1, format_args!("subgraph {} {{", quoted(&format!("cluster_{}.{place}", node.path))));
            line(out, depth + 2, format_args!("label={}; style=dashed;", quoted(case)));
            self::scope(out, inner, depth + 2);
            line(out, depth + 1, format_args!("}}"));
        }
        line(out, depth, format_args!("}}"));
    }
}

fn edges(out: &mut String, scope: &Scope) {
    for edge in &scope.edges {
        let (from, to) = (&scope.nodes[edge.from], &scope.nodes[edge.to]);
        let mut attributes = match edge.kind {
            EdgeKind::Data => Vec::new(),
            EdgeKind::Order => vec!["color=gray50".to_owned()],
            EdgeKind::Soft => vec!["style=dotted".to_owned()],
            EdgeKind::Fallback => vec!["style=dashed".to_owned(), "label=\"fallback\"".to_owned()],
        };
        let cluster = |node: &Node| quoted(&format!("cluster_{}", node.path));
        if from.is_group() {
            attributes.push(format!("ltail={}", cluster(from)));
        }
        if to.is_group() {
            attributes.push(format!("lhead={}", cluster(to)));
        }
        let attributes = if attributes.is_empty() { String::new() } else { format!(" [{}]", attributes.join(", ")) };
        line(out, 1, format_args!("{} -> {}{attributes};", quoted(&from.path), quoted(&to.path)));
    }
    for inner in scope.nodes.iter().filter(|node| node.is_group()).flat_map(|node| &node.scopes) {
        edges(out, inner);
    }
}

fn second_line(node: &Node) -> String {
    let progress = node.progress();
    let detail = node.kind_and_detail();
    if progress.is_empty() { detail } else { format!("{detail} · {progress}") }
}

fn color(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Pending => "#b08800",
        StepStatus::Running => "#1f6feb",
        StepStatus::Waiting => "#8250df",
        StepStatus::Completed => "#1a7f37",
        StepStatus::Failed => "#cf222e",
        StepStatus::Skipped => "#6e7781",
        StepStatus::Cancelled => "#57606a",
    }
}

fn style(status: Option<StepStatus>) -> String {
    match status {
        None => String::new(),
        Some(StepStatus::Skipped) => format!(", color=\"{}\", style=\"rounded,dashed\"", color(StepStatus::Skipped)),
        Some(status) => format!(", color=\"{}\", penwidth=2", color(status)),
    }
}

fn cluster_style(status: Option<StepStatus>) -> String {
    status.map_or_else(String::new, |status| format!(" color=\"{}\";", color(status)))
}

/// Writes a text as a DOT string; a line break stays one.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            character if character.is_control() => out.push(' '),
            character => out.push(character),
        }
    }
    out.push('"');
    out
}

fn line(out: &mut String, depth: usize, text: std::fmt::Arguments<'_>) {
    let written = writeln!(out, "{:1$}{text}", "", depth * 2);
    debug_assert!(written.is_ok(), "a string takes everything");
}
