//! `orchestr8 create`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::init::write;
use crate::{
    Error, Exit,
    context::Context,
    wording::{count, shell_word},
};

/// Writes a crate with an agent of one's own, and the whole program with that agent in it.
///
/// In its folder `cargo test` tests the agent, and `cargo run -- run workflow.yaml` runs a workflow that calls it. It depends on the
/// crates that this program was built from: those of the clone, if it was one and is still there, else the published ones.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  orchestr8 create @acme/summarizer")]
pub struct CreateArgs {
    /// The agent: `name` or `@scope/name`, of letters, digits and hyphens
    #[arg(value_name = "AGENT")]
    id: String,
    /// Overwrite what is there
    #[arg(long)]
    force: bool,
}

const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("../templates/create/Cargo.toml.txt")),
    ("README.md", include_str!("../templates/create/README.md.txt")),
    ("src/agent.rs", include_str!("../templates/create/agent.rs.txt")),
    ("src/main.rs", include_str!("../templates/create/main.rs.txt")),
    ("workflow.yaml", include_str!("../templates/create/workflow.yaml.txt")),
];

pub(crate) fn create(cx: &Context<'_>, args: &CreateArgs) -> Result<Exit, Error> {
    let name = name(&args.id)?;
    // An agent without a scope belongs to nobody in particular.
    let id = if args.id.starts_with('@') { args.id.clone() } else { format!("@local/{name}") };
    let fill = |text: &str| {
        text.replace("{{name}}", &name)
            .replace("{{id}}", &id)
            .replace("{{type}}", &type_name(&name))
            .replace("{{agent-base}}", &dependency("agent-base"))
            .replace("{{cli}}", &dependency("cli"))
            .replace("{{testing}}", &dependency("testing"))
    };
    let files = FILES.map(|(path, text)| (PathBuf::from(&name).join(path), fill(text)));
    write(&files, args.force)?;
    let next = format!("cd {} && cargo test", shell_word(&name));
    if cx.ui.is_json() {
        let paths: Vec<_> = files.iter().map(|(path, _)| path.display().to_string()).collect();
        cx.ui.print_json(&json!({ "created": paths, "next": next }))?;
    } else {
        cx.ui.print(&format!("created {name}/ ({})", count(files.len(), "file")))?;
        cx.ui.print(&format!("next: {next}"))?;
    }
    Ok(Exit::Success)
}

/// Writes how a crate of ours is depended on. A published crate has no other of ours beside it.
fn dependency(folder: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let crates =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().filter(|crates| crates.join("agent-base/Cargo.toml").is_file());
    match crates.map(|crates| crates.join(folder)).as_deref().and_then(Path::to_str) {
        // What quotes a text in JSON does so in TOML.
        Some(path) => format!(r#"{{ version = "{version}", path = {} }}"#, json!(path)),
        None => format!(r#""{version}""#),
    }
}

/// Reads the name out of `name` or `@scope/name`. It becomes a crate, and so begins with a letter.
fn name(id: &str) -> Result<String, Error> {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_alphanumeric())
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let name = match id.strip_prefix('@') {
        None => Some(id),
        Some(scoped) => scoped.split_once('/').filter(|(scope, _)| is_word(scope)).map(|(_, name)| name),
    };
    let name = name.filter(|name| is_word(name) && name.starts_with(|first: char| first.is_ascii_lowercase()));
    name.map(str::to_owned).ok_or_else(|| {
        Error::usage(format!(
            "`{id}` is no name of an agent: it is `name` or `@scope/name`, in small letters, digits and hyphens"
        ))
        .with_hint("orchestr8 create @acme/summarizer")
    })
}

/// `text-summarizer` → `TextSummarizer`
fn type_name(name: &str) -> String {
    let words = name.split('-').filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}
