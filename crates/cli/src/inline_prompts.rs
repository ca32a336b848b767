//! Prompts that stand in files of their own. They are written into the workflow when its file is read, so that an execution needs none of them:
//! a server that is given the workflow has them, and whoever goes on with it later goes on with the same.

use std::path::{Path, PathBuf};

use orchestr8_agent_base::{
    AgentError,
    prompt::{PromptFiles, PromptProblem, PromptSearch},
};
use orchestr8_schema::{
    Code, Diagnostic, Severity,
    source::{Options, parse},
};
use serde_json::Value;

/// Agents with a prompt in their configuration, and the key that it stands under.
const AGENTS: [(&str, &str); 2] = [("@orchestr8/llm", "prompt"), ("@orchestr8/research", "promptTemplate")];
/// Parts of a workflow that hold values, and no agents.
const VALUES: [&str; 8] = ["input", "inputs", "arguments", "variables", "context", "outputs", "output", "metadata"];
/// Levels of a workflow that are looked at; more it cannot have.
const MAX_DEPTH: u32 = 128;

/// Where prompts are looked for behind the folder of a workflow file: in folders of the settings, and in the data directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct InlinePrompts {
    folders: Vec<PathBuf>,
}

/// A workflow with its prompts.
#[derive(Default)]
pub(crate) struct Inlined {
    /// The document, if it is another one now.
    pub(crate) document: Option<Value>,
    /// Files that were looked for.
    pub(crate) wanted: Vec<PathBuf>,
    /// What cannot be found or used.
    pub(crate) problems: Vec<Diagnostic>,
    /// What is probably not meant so.
    pub(crate) warnings: Vec<Diagnostic>,
}

impl InlinePrompts {
    pub(crate) fn new(folders: Vec<PathBuf>) -> Self {
        Self { folders }
    }

    pub(crate) fn into_folders(self) -> Vec<PathBuf> {
        self.folders
    }

    /// Writes the prompts of a workflow into it. A text that is none comes back as it is, for others to tell.
    pub(crate) fn inline(&self, text: &[u8], name: &str) -> Inlined {
        let mut inlined = Inlined::default();
        // Most have none, and need not be read twice.
        if !text.windows(6).any(|part| part == b"prompt") {
            return inlined;
        }
        let Ok(mut document) = parse(text, &Options::new().file_name(name)) else { return inlined };
        let beside = Path::new(name).parent().unwrap_or(Path::new("")).to_owned();
        let files = PromptFiles::new([beside].into_iter().chain(self.folders.iter().cloned())).confined();
        walk(&mut document, &mut String::new(), MAX_DEPTH, &files, &mut inlined);
        if !inlined.wanted.is_empty() {
            inlined.document = Some(document);
        }
        inlined
    }
}

fn walk(value: &mut Value, path: &mut String, depth: u32, files: &PromptFiles, inlined: &mut Inlined) {
    let length = path.len();
    match value {
        _ if depth == 0 => {}
        Value::Object(map) => {
            for (key, value) in map {
                path.push('/');
                path.push_str(key);
                if key == "agent" {
                    write_out(value, path, files, inlined);
                } else if !VALUES.contains(&key.as_str()) {
                    walk(value, path, depth - 1, files, inlined);
                }
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter_mut().enumerate() {
                path.push('/');
                path.push_str(&index.to_string());
                walk(value, path, depth - 1, files, inlined);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Writes out the prompt of one agent.
fn write_out(agent: &mut Value, path: &str, files: &PromptFiles, inlined: &mut Inlined) {
    let id = agent.get("id").and_then(Value::as_str);
    let Some((_, key)) = AGENTS.iter().find(|(known, _)| id == Some(known)) else { return };
    let Some(prompt) = agent.get_mut("config").and_then(|config| config.get_mut(*key)) else { return };
    let mut search = PromptSearch::default();
    let written = match &*prompt {
        Value::String(template) if *key == "promptTemplate" => {
            files.inline_template(template, &mut search).map(Value::String)
        }
        other => files.inline(other, &mut search),
    };
    let path = format!("{path}/config/{key}");
    inlined.wanted.append(&mut search.wanted);
    inlined.warnings.extend(search.warnings.into_iter().map(|warning| located(warning, Severity::Warning, &path)));
    match written {
        Ok(written) => *prompt = written,
        Err(error) if search.problems.is_empty() => inlined.problems.push(problem(&error, path)),
        Err(_) => {
            let problems = search.problems.into_iter().map(|problem| located(problem, Severity::Error, &path));
            inlined.problems.extend(problems);
        }
    }
}

/// Tells of a prompt's file where it stands there, rather than where the workflow names it.
fn located(problem: PromptProblem, severity: Severity, path: &str) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(Code::Obstacle, path, problem.message);
    diagnostic.severity = severity;
    diagnostic.file = Some(problem.file.display().to_string());
    diagnostic.span = problem.span;
    diagnostic
}

fn problem(error: &AgentError, path: String) -> Diagnostic {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    Diagnostic::new(Code::Obstacle, path, message)
}
