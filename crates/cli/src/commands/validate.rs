//! `orchestr8 validate`

use std::path::PathBuf;

use clap::Args;
use orchestr8_schema::{Diagnostic, source::Options};
use serde::Serialize;

use crate::{
    Error, Exit,
    agents::Agents,
    ui::Ui,
    wording::{count, visible},
    workflow_file::WorkflowFile,
};

/// Checks workflow files without running them.
///
/// All problems of all files are reported at once, each with its place and what to do. Exits with 2 if one is an error.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  orchestr8 validate greet.yaml\n  orchestr8 validate workflows/*.yaml --strict --json"
)]
pub struct ValidateArgs {
    /// Workflow files in JSON or YAML; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Treat unknown keys as errors, and compare `schemaHash`
    #[arg(long)]
    strict: bool,
    /// Do not look agents up
    #[arg(long)]
    no_agents: bool,
    /// Most problems shown per file
    #[arg(long, value_name = "N", default_value_t = 50)]
    max_errors: usize,
}

#[derive(Serialize)]
struct Verdict {
    valid: bool,
    files: Vec<FileVerdict>,
}

#[derive(Serialize)]
struct FileVerdict {
    file: String,
    valid: bool,
    diagnostics: Vec<Diagnostic>,
}

pub(crate) fn validate(ui: Ui, args: &ValidateArgs, agents: &Agents) -> Result<Exit, Error> {
    let (registry, prompts) = (agents.registry()?, agents.inline_prompts());
    let mut options = Options::new().strict(args.strict);
    if !args.no_agents {
        options = options.agents(&registry);
    }
    let mut verdict = Verdict { valid: true, files: Vec::new() };
    let mut files = args.files.clone();
    files.sort();
    files.dedup();
    for path in &files {
        let (file, checked) = match WorkflowFile::read(path) {
            Ok(file) => {
                // Without agents nobody knows who has a prompt.
                let file = if args.no_agents { file } else { file.with_prompts(prompts.clone()) };
                let checked = file.check(options);
                (file, checked)
            }
            Err(error) if ui.is_json() => return Err(error),
            Err(error) => {
                ui.error(&error);
                verdict.valid = false;
                continue;
            }
        };
        let (valid, diagnostics) = match checked {
            Ok(workflow) => {
                let warnings = workflow.warnings().to_vec();
                if !ui.is_json() {
                    if !warnings.is_empty() {
                        ui.show(&file.report(warnings.clone()).max(args.max_errors));
                    }
                    ui.print(&format!(
                        "{}: valid · {} · depth {}",
                        visible(file.name()),
                        count(workflow.steps().len(), "step"),
                        workflow.depth()
                    ))?;
                }
                (true, warnings)
            }
            Err(report) => {
                let diagnostics = report.diagnostics().to_vec();
                if !ui.is_json() {
                    ui.error(&Error::invalid_file(report.max(args.max_errors)));
                }
                (false, diagnostics)
            }
        };
        verdict.valid &= valid;
        verdict.files.push(FileVerdict { file: file.name().to_owned(), valid, diagnostics });
    }
    if ui.is_json() {
        ui.print_json(&verdict)?;
    }
    Ok(if verdict.valid { Exit::Success } else { Exit::Invalid })
}
