//! The reference: what every command takes.

use std::fmt::Write as _;

use crate::support::{assert_steady, orchestr8, say};

#[test]
fn the_whole_help_is_as_it_was() {
    let mut reference = String::new();
    for command in [
        "", "run", "validate", "graph", "inspect", "test", "sim", "schema", "lsp", "server", "start", "stop",
        "restart", "list", "cancel", "resume", "fork", "version",
    ] {
        let said = say(orchestr8().args(command.split_whitespace()).arg("--help"));
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{command}");
        // What all commands share is shown once.
        let own = if command.is_empty() { said.stdout.as_str() } else { without_global_options(&said.stdout) };
        writeln!(reference, "# orchestr8 {command}\n\n{}\n{}", own.trim_end(), examples(&said.stdout, command))
            .expect("a string takes everything");
    }
    assert_steady("help", &reference);
}

fn without_global_options(help: &str) -> &str {
    help.split("Global options:").next().unwrap_or(help)
}

fn examples<'a>(help: &'a str, command: &str) -> &'a str {
    let start = help.find("\nExamples:").filter(|_| !command.is_empty());
    start.map_or("", |start| &help[start..])
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
