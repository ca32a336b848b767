//! The reference: what every command takes.

use std::{fmt::Write as _, fs, path::Path};

use clap::{Command, CommandFactory as _};

use crate::support::{orchestr8, say};

/// What stands above the commands.
const HEAD: &str = "\
# Commands

This page is made of the same texts as `--help`; a test holds it up to date. What all commands share is shown once, at the beginning.
";

#[test]
fn the_reference_is_the_help_of_every_command() {
    let mut program = orchestr8_cli::args::Args::command();
    program.build();
    let mut reference = HEAD.to_owned();
    write_down(&mut reference, program, "orchestr8");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/commands.md");
    if std::env::var_os("ORCHESTR8_RENEW").is_some() {
        fs::write(&path, &reference).expect("written");
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert!(published == reference, "docs/src/commands.md is not what `--help` says: ORCHESTR8_RENEW=1 renews it");
}

/// Writes a command down, and those that it has.
fn write_down(reference: &mut String, mut command: Command, name: &str) {
    // As wide as a page, whatever the terminal of whoever tests.
    command = command.term_width(100);
    let help = command.render_long_help().to_string();
    let own = if name == "orchestr8" { help } else { without_global_options(&help) };
    writeln!(reference, "\n## {name}\n\n```text\n{}\n```", own.trim_end()).expect("a string takes everything");
    for part in command.get_subcommands().filter(|part| part.get_name() != "help") {
        write_down(reference, part.clone(), &format!("{name} {}", part.get_name()));
    }
}

/// Takes the options away that every command has.
fn without_global_options(help: &str) -> String {
    let own = help.split("Global options:").next().unwrap_or(help);
    let examples = help.find("\nExample").map_or("", |start| &help[start..]);
    if own.contains(examples) { own.to_owned() } else { format!("{}\n{examples}", own.trim_end()) }
}

#[test]
fn the_help_that_is_printed_is_that_of_the_reference() {
    let published = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/commands.md"));
    let published = published.expect("it is there");
    for command in ["run", "fork", "server", "config set"] {
        let said = say(orchestr8().args(command.split_whitespace()).arg("--help").env("COLUMNS", "100"));
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{command}");
        let first = said.stdout.lines().next().expect("it says something");
        assert!(published.contains(&format!("## orchestr8 {command}\n\n```text\n{first}")), "{command}: {first}");
    }
}

#[test]
fn wrong_use_is_exit_2_with_the_nearest_name() {
    let said = say(orchestr8().arg("valdate"));
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("'validate'"), "{}", said.stderr);

    let said = say(orchestr8().args(["--json", "run"]));
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""));
    let problem: serde_json::Value = serde_json::from_str(&said.stderr).expect("a problem object");
    assert_eq!(problem["code"], "BAD_REQUEST");
}

#[test]
fn the_version_answers() {
    let said = say(orchestr8().arg("--version"));
    assert_eq!(said.stdout, format!("orchestr8 {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_schema_and_its_hash_agree() {
    let schema = say(orchestr8().args(["schema", "workflow"]));
    let schema: serde_json::Value = serde_json::from_str(&schema.stdout).expect("a schema is JSON");
    let hash = say(orchestr8().args(["schema", "--hash"]));
    assert_eq!(hash.stdout.trim(), orchestr8_schema::canonical::digest(&schema));
}
