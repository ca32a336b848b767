//! `orchestr8 schema`

use std::{fs, path::PathBuf};

use clap::{Args, ValueEnum};
use orchestr8_schema::{canonical, json_schema::PublishedSchema};

use crate::{Error, Exit, ui::Ui};

/// Prints the JSON Schema of a format, for editors and checks.
///
/// The schema is JSON Schema 2020-12.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  orchestr8 schema > workflow.schema.json\n  orchestr8 schema workflow --hash\n  orchestr8 schema event -o event.schema.json"
)]
pub struct SchemaArgs {
    /// Which format
    #[arg(value_enum, default_value_t, hide_default_value = true)]
    name: SchemaName,
    /// Print the SHA-256 of the schema's canonical JSON (RFC 8785) instead
    #[arg(long)]
    hash: bool,
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

/// The formats that have a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SchemaName {
    /// Workflow files
    #[default]
    Workflow,
    /// Workflow test files
    Test,
    /// Configuration files
    Config,
    /// Prompts of agents
    Prompt,
    /// Events, as streams and journals show them
    Event,
    /// Error answers of the REST interface
    Problem,
    /// All bodies of the REST interface
    Api,
}

pub(crate) fn schema(ui: Ui, args: &SchemaArgs) -> Result<Exit, Error> {
    let published = match args.name {
        SchemaName::Workflow => PublishedSchema::Workflow,
        SchemaName::Test => PublishedSchema::Test,
        SchemaName::Config => PublishedSchema::Config,
        SchemaName::Prompt => PublishedSchema::Prompt,
        SchemaName::Event => PublishedSchema::Event,
        SchemaName::Problem => PublishedSchema::Problem,
        SchemaName::Api => PublishedSchema::Api,
    };
    let schema = published.schema();
    let text = if args.hash {
        canonical::digest(&schema)
    } else if ui.is_json() {
        schema.to_string()
    } else {
        format!("{schema:#}")
    };
    match &args.output {
        None => ui.print(&text)?,
        Some(path) => {
            fs::write(path, format!("{text}\n"))
                .map_err(|error| Error::unreachable(format!("cannot write `{}`", path.display())).with_source(error))?;
            ui.say(&format!("wrote {}", path.display()));
        }
    }
    Ok(Exit::Success)
}
