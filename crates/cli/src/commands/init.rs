//! `orchestr8 init`

use std::{fs, path::PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::{Error, Exit, context::Context, wording::shell_word};

/// Writes a workflow that works at once, its test, and the settings of a project.
///
/// Nothing that is there is overwritten without --force.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 init demo\n  orchestr8 init --template review")]
pub struct InitArgs {
    /// The folder; it is made if it is missing
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
    /// What to begin with
    #[arg(long, value_enum, default_value_t, value_name = "TEMPLATE")]
    template: Template,
    /// Overwrite what is there
    #[arg(long)]
    force: bool,
}

/// What a project begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Template {
    /// One step
    #[default]
    Hello,
    /// Records that are cleaned, handled and added up
    Pipeline,
    /// Sources that are searched at once
    Research,
    /// Changes that a person signs off if they are large
    Review,
}

/// The settings of a project that is new: what may be set there, as it is by default.
const CONFIG: &str = "{\n  \"workflows\": {\n    \"paths\": [\".\"]\n  }\n}\n";

impl Template {
    fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Pipeline => "pipeline",
            Self::Research => "research",
            Self::Review => "review",
        }
    }

    /// The workflow and its test.
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Hello => {
                (include_str!("../templates/init/hello.yaml"), include_str!("../templates/init/hello.test.yaml"))
            }
            Self::Pipeline => {
                (include_str!("../templates/init/pipeline.yaml"), include_str!("../templates/init/pipeline.test.yaml"))
            }
            Self::Research => {
                (include_str!("../templates/init/research.yaml"), include_str!("../templates/init/research.test.yaml"))
            }
            Self::Review => {
                (include_str!("../templates/init/review.yaml"), include_str!("../templates/init/review.test.yaml"))
            }
        }
    }
}

pub(crate) fn init(cx: &Context<'_>, args: &InitArgs) -> Result<Exit, Error> {
    let name = args.template.name();
    let (workflow, test) = args.template.texts();
    let files = [
        (args.folder.join(format!("{name}.yaml")), workflow),
        (args.folder.join(format!("{name}.test.yaml")), test),
        (args.folder.join(".orchestr8/config.json"), CONFIG),
    ];
    // In the working directory itself files go by their own names.
    let files = files.map(|(path, text)| (path.strip_prefix(".").map(PathBuf::from).unwrap_or(path), text));
    write(&files, args.force)?;
    let paths = files.iter().map(|(path, _)| path.display().to_string());
    let paths: Vec<_> = paths.collect();
    let run = format!("orchestr8 run {name}.yaml");
    let next = match args.folder.to_str() {
        Some(".") => run,
        _ => format!("cd {} && {run}", shell_word(&args.folder.display().to_string())),
    };
    if cx.ui.is_json() {
        cx.ui.print_json(&json!({ "created": paths, "next": next }))?;
    } else {
        cx.ui.print(&format!("created {}", paths.join(", ")))?;
        cx.ui.print(&format!("next: {next}"))?;
    }
    Ok(Exit::Success)
}

/// Writes files, all or, if one is there that must not be overwritten, none.
pub(super) fn write(files: &[(PathBuf, impl AsRef<str>)], force: bool) -> Result<(), Error> {
    if let Some((path, _)) = files.iter().find(|(path, _)| !force && path.exists()) {
        return Err(Error::usage(format!("{} is there already", path.display())).with_hint("--force overwrites it"));
    }
    for (path, text) in files {
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        folder
            .and_then(|()| fs::write(path, text.as_ref()))
            .map_err(|error| Error::unreachable(format!("cannot write {}", path.display())).with_source(error))?;
    }
    Ok(())
}
