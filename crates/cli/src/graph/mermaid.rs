//! Mermaid: `graph TD` as README files show it.
//!
//! Edges for data and order are plain, soft ones dotted, fallbacks dotted with a label.

use std::{collections::HashSet, fmt::Write as _};

use orchestr8_schema::api::StepStatus;

use super::{EdgeKind, Graph, Node, Scope};

/// Draws a graph.
#[must_use]
pub fn draw(graph: &Graph) -> String {
    let mut out = String::from("graph TD\n");
    let names = Names::new(&graph.steps);
    scope(&mut out, &names, &graph.steps, 1);
    edges(&mut out, &names, &graph.steps);
    for status in StepStatus::ALL {
        let mut steps = Vec::new();
        of_status(&graph.steps, status, &names, &mut steps);
        if !steps.is_empty() {
            line(&mut out, 1, format_args!("classDef {} {}", status.as_str(), style(status)));
            line(&mut out, 1, format_args!("class {} {}", steps.join(","), status.as_str()));
        }
    }
    out
}

fn scope(out: &mut String, names: &Names<'_>, scope: &Scope, depth: usize) {
    let joined = joined(scope);
    for (node, is_joined) in scope.nodes.iter().zip(joined) {
        if node.is_group() {
            line(out, depth, format_args!("subgraph {}[\"{}\"]", names.of(node), label(node)));
            for (place, inner) in node.scopes.iter().enumerate() {
                match &inner.name {
                    Some(case) => {
                        line(out, depth + 1, format_args!("subgraph {}.{place}[\"{}\"]", names.of(node), escape(case)));
                        self::scope(out, names, inner, depth + 2);
                        line(out, depth + 1, format_args!("end"));
                    }
                    None => self::scope(out, names, inner, depth + 1),
                }
            }
            line(out, depth, format_args!("end"));
        } else if node.kind != "agent" || node.status.is_some() || !is_joined || names.of(node) != node.id {
            line(out, depth, format_args!("{}[\"{}\"]", names.of(node), label(node)));
        }
    }
}

/// Returns of each step whether some edge mentions it, so that it needs no line of its own.
fn joined(scope: &Scope) -> Vec<bool> {
    let mut joined = vec![false; scope.nodes.len()];
    for place in scope.edges.iter().flat_map(|edge| [edge.from, edge.to]) {
        // A workflow's own steps only: elsewhere a line says which subgraph a step belongs to.
        joined[place] = scope.nodes[place].path == scope.nodes[place].id;
    }
    joined
}

fn edges(out: &mut String, names: &Names<'_>, scope: &Scope) {
    for edge in &scope.edges {
        let (from, to) = (names.of(&scope.nodes[edge.from]), names.of(&scope.nodes[edge.to]));
        match edge.kind {
            EdgeKind::Data | EdgeKind::Order => line(out, 1, format_args!("{from} --> {to}")),
            EdgeKind::Soft => line(out, 1, format_args!("{from} -.-> {to}")),
            EdgeKind::Fallback => line(out, 1, format_args!("{from} -. fallback .-> {to}")),
        }
    }
    for node in scope.nodes.iter().filter(|node| node.is_group()) {
        for inner in &node.scopes {
            edges(out, names, inner);
        }
    }
}

fn of_status(scope: &Scope, status: StepStatus, names: &Names<'_>, steps: &mut Vec<String>) {
    for node in &scope.nodes {
        if node.status == Some(status) {
            steps.push(names.of(node));
        }
        if node.is_group() {
            node.scopes.iter().for_each(|inner| of_status(inner, status, names, steps));
        }
    }
}

/// Colours that carry dark text in both of Mermaid's themes.
fn style(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Pending => "fill:#fff3bf,stroke:#b08800,color:#1c2330",
        StepStatus::Running => "fill:#d0e4ff,stroke:#1f6feb,color:#1c2330",
        StepStatus::Waiting => "fill:#e8dcff,stroke:#8250df,color:#1c2330",
        StepStatus::Completed => "fill:#d3f3dc,stroke:#1a7f37,color:#1c2330",
        StepStatus::Failed => "fill:#ffdcd8,stroke:#cf222e,color:#1c2330",
        StepStatus::Skipped => "fill:#ffffff,stroke:#6e7781,color:#1c2330,stroke-dasharray:4 3",
        StepStatus::Cancelled => "fill:#d8dee4,stroke:#57606a,color:#1c2330",
    }
}

/// Names that Mermaid reads as such, one for each step: its id where that will do.
///
/// Some words are Mermaid's own, some ids are not of its alphabet, and sub-workflows may hold ids that stand elsewhere, too. For
/// these the path is written in another form; a number in front keeps it from meeting an id.
struct Names<'g> {
    /// The ids that several steps have.
    shared: HashSet<&'g str>,
}

impl<'g> Names<'g> {
    fn new(scope: &'g Scope) -> Self {
        let mut names = Self { shared: HashSet::new() };
        names.count(scope, &mut HashSet::new());
        names
    }

    fn count(&mut self, scope: &'g Scope, seen: &mut HashSet<&'g str>) {
        for node in &scope.nodes {
            if !seen.insert(&node.id) {
                self.shared.insert(&node.id);
            }
            if node.is_group() {
                node.scopes.iter().for_each(|inner| self.count(inner, seen));
            }
        }
    }

    fn of(&self, node: &Node) -> String {
        if is_plain(&node.id) && !self.shared.contains(node.id.as_str()) {
            return node.id.clone();
        }
        let mut name = format!("{}_", node.path.len());
        for byte in node.path.bytes() {
            match byte {
                b'-' => name.push_str("_m"),
                b'_' => name.push_str("_u"),
                b'.' => name.push_str("_d"),
                byte => name.push(char::from(byte)),
            }
        }
        name
    }
}

fn is_plain(id: &str) -> bool {
    const WORDS: [&str; 13] = [
        "end",
        "graph",
        "subgraph",
        "flowchart",
        "class",
        "classdef",
        "click",
        "style",
        "linkstyle",
        "call",
        "href",
        "default",
        "direction",
    ];
    let mut characters = id.bytes();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && characters.all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        // Arrows begin so.
        && !id.contains("--")
        && !id.ends_with('-')
        && !WORDS.contains(&id.to_ascii_lowercase().as_str())
}

fn label(node: &Node) -> String {
    let mut label = escape(&node.id);
    let detail = node.kind_and_detail();
    if node.kind != "agent" {
        label = format!("{label} · {}", escape(&detail));
    }
    let progress = node.progress();
    if !progress.is_empty() {
        label = format!("{label} · {progress}");
    }
    label
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => out.push_str("#quot;"),
            '#' => out.push_str("#35;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '&' => out.push_str("#amp;"),
            character if character.is_control() => out.push(' '),
            character => out.push(character),
        }
    }
    out
}

fn line(out: &mut String, depth: usize, text: std::fmt::Arguments<'_>) {
    let written = writeln!(out, "{:1$}{text}", "", depth * 2);
    debug_assert!(written.is_ok(), "a string takes everything");
}
