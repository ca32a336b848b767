//! `orchestr8 man`

use std::{fs, path::PathBuf};

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;

use crate::{Error, Exit, args, ui::Ui, wording::count};

/// Writes manual pages: one for the program, and one for each command.
///
/// They are made of the same texts as `--help`. Without a folder the page of the program is printed.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 man --out man/\n  orchestr8 man | man -l -")]
pub struct ManArgs {
    /// The folder to write to; it is made if it is missing
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn man(ui: Ui, args: &ManArgs) -> Result<Exit, Error> {
    let mut program = args::Args::command();
    program.build();
    let Some(folder) = &args.out else {
        ui.print(page(program)?.trim_end())?;
        return Ok(Exit::Success);
    };
    let failed = |error| Error::unreachable(format!("cannot write to `{}`", folder.display())).with_source(error);
    fs::create_dir_all(folder).map_err(failed)?;
    let mut todo = vec![("orchestr8".to_owned(), program)];
    let mut written = 0;
    while let Some((name, command)) = todo.pop() {
        let parts = command.get_subcommands().filter(|part| !part.is_hide_set() && part.get_name() != "help");
        todo.extend(parts.map(|part| (format!("{name}-{}", part.get_name()), part.clone())));
        let path = folder.join(format!("{name}.1"));
        fs::write(&path, page(command.display_name(name))?).map_err(failed)?;
        written += 1;
    }
    ui.print(&format!("wrote {} to {}", count(written, "page"), folder.display()))?;
    Ok(Exit::Success)
}

fn page(command: Command) -> Result<String, Error> {
    let mut text = Vec::new();
    Man::new(command).render(&mut text).map_err(|error| Error::internal("writing a manual page").with_source(error))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
