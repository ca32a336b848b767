//! Research agents in other repositories, through the program. What may go wrong on the way is tested where it is built.

use std::fs;

use serde_json::Value;

use crate::support::{Said, orchestr8, say};

#[test]
fn agents_are_installed_checked_and_taken_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let agents = |arguments: &[&str]| -> Said {
        say(orchestr8().env_remove("TAVILY_API_KEY").current_dir(folder.path()).arg("agents").args(arguments))
    };
    let dry = agents(&["install", "--agents", "context7,tavily", "--dry-run"]);
    for line in [
        "+ .claude/agents/context7.md",
        "+ .claude/prompts/tavily-prompts.xml",
        "+ .claude/settings.json",
        "dry run: nothing was written",
        "to be set: TAVILY_API_KEY",
    ] {
        assert!(dry.stdout.lines().any(|said| said == line), "{line}: {}", dry.stdout);
    }
    assert_eq!((dry.code, fs::read_dir(folder.path()).expect("a folder").count()), (Some(0), 0));

    assert_eq!(agents(&["install", "--check"]).code, Some(1));
    let done = agents(&["install", "--json"]);
    let report: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!((done.code, &report["success"], &report["dryRun"]), (Some(0), &Value::Bool(true), &Value::Bool(false)));
    assert_eq!(report["checksums"].as_object().map(|sums| sums.len()), Some(7));
    assert_eq!(agents(&["install"]).stdout.lines().rev().nth(1), Some("nothing to do"));
    let checked = agents(&["install", "--check"]);
    assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), ""));

    let unknown = agents(&["install", "--agents", "context8"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("context7, firecrawl, tavily"), "{}", unknown.stderr);
    assert_eq!(agents(&["install", "--target", "nowhere"]).code, Some(2));

    assert_eq!(agents(&["uninstall"]).code, Some(0));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    assert_eq!(agents(&["uninstall"]).stdout, "nothing installed\n");
}

#[cfg(unix)]
#[test]
fn under_another_name_the_program_is_only_about_agents() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = folder.path().join("research-agents");
    let program = orchestr8();
    std::os::unix::fs::symlink(program.get_program(), &name).expect("a link");
    let mut command = std::process::Command::new(name);
    let said = say(command.current_dir(folder.path()).env("ORCHESTR8_HOME", folder.path()).args(["uninstall"]));
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), "nothing installed\n"), "{}", said.stderr);
}
