//! `orchestr8 graph`

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use orchestr8_schema::source::Options;

use crate::{
    Error, Exit,
    context::Context,
    execution_name::ExecutionName,
    graph::{Graph, dot, mermaid, svg},
    server_address::ServerAddress,
    ui::Ui,
    workflow_file::WorkflowFile,
};

/// Draws the graph of a workflow file, or of an execution.
///
/// Arrows lead from a step to those that wait for it. In SVG, pale ones are for order only, dotted ones wait for whatever becomes
/// of a step, dashed ones lead to fallbacks. For an execution, steps show their status. The same input always
/// gives the same bytes.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  orchestr8 graph review.yaml\n  orchestr8 graph review.yaml --to svg --expand \
                             -o review.svg\n  orchestr8 graph 01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10 --to svg -o now.svg"
)]
pub struct GraphArgs {
    /// A workflow file in JSON or YAML, or an execution: its id, at least 6 digits from its beginning or end, or `@last`; `-` is standard
    /// input
    #[arg(value_name = "FILE|ID")]
    source: PathBuf,
    /// In which language
    #[arg(long, value_enum, default_value_t, value_name = "LANGUAGE")]
    to: Language,
    /// Draw the steps inside of composites, too
    #[arg(long)]
    expand: bool,
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    #[command(flatten)]
    server: ServerAddress,
}

/// The languages that graphs are drawn in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Language {
    /// For README files and chats
    #[default]
    Mermaid,
    /// For Graphviz
    Dot,
    /// A picture, light or dark as its surroundings
    Svg,
}

pub(crate) fn graph(cx: &Context<'_>, args: &GraphArgs) -> Result<Exit, Error> {
    let ui = cx.ui;
    let drawing = match execution(&args.source) {
        Some(name) => of_execution(cx, args, &name)?,
        None => of_file(ui, args)?,
    };
    match &args.output {
        None => ui.print(drawing.trim_end())?,
        Some(path) => {
            fs::write(path, format!("{}\n", drawing.trim_end()))
                .map_err(|error| Error::unreachable(format!("cannot write `{}`", path.display())).with_source(error))?;
            ui.say(&format!("wrote {}", path.display()));
        }
    }
    Ok(Exit::Success)
}

/// Reads the name of an execution, unless there is a file of that name.
fn execution(source: &Path) -> Option<ExecutionName> {
    let name = source.to_str()?.parse().ok()?;
    (!source.exists()).then_some(name)
}

fn of_file(ui: Ui, args: &GraphArgs) -> Result<String, Error> {
    let file = WorkflowFile::read(&args.source)?;
    // Who draws a workflow need not have its agents.
    let workflow = file.check(Options::new()).map_err(Error::invalid_file)?;
    let mut graph = Graph::new(&workflow);
    graph.set_open(args.expand);
    if ui.is_json() {
        return serde_json::to_string(&graph.to_body())
            .map_err(|error| Error::internal("writing JSON").with_source(error));
    }
    Ok(match args.to {
        Language::Mermaid => mermaid::draw(&graph),
        Language::Dot => dot::draw(&graph),
        Language::Svg => svg::draw(&graph, svg::Style::Embedded),
    })
}

fn of_execution(cx: &Context<'_>, args: &GraphArgs, name: &ExecutionName) -> Result<String, Error> {
    let language = match args.to {
        _ if cx.ui.is_json() => "json",
        Language::Mermaid => "mermaid",
        Language::Dot => "dot",
        Language::Svg => "svg",
    };
    let client = args.server.client(cx)?;
    client.graph(client.find(name)?, language, args.expand)
}
