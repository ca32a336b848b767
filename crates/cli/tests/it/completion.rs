//! What shells are offered, as their scripts ask for it.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::support::{Said, example, orchestr8, say};

/// Asks as bash does at a tab behind these words, the last of which has been begun.
fn asks(folder: &Path, words: &[&str]) -> Said {
    let mut command = orchestr8();
    command.current_dir(folder).env("ORCHESTR8_HOME", folder.join("data")).env("ORCHESTR8_COMPLETE", "bash");
    command.env("_CLAP_COMPLETE_INDEX", words.len().to_string()).env("_CLAP_IFS", "\n");
    say(command.args(["--", "orchestr8"]).args(words))
}

fn offers(folder: &Path, words: &[&str]) -> Vec<String> {
    let said = asks(folder, words);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{words:?}");
    said.stdout.lines().map(str::to_owned).collect()
}

const OTHER: &str = "\
version: 1.0.0
metadata: { id: other, name: Other }
steps: [{ id: only, agent: { id: \"@orchestr8/noop\" } }]
";

#[test]
fn executions_steps_agents_and_files_are_offered() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    for (name, text) in [("one.yaml", ""), ("two.json", ""), ("three.txt", "")] {
        std::fs::write(folder.join(name), text).expect("written");
    }
    std::fs::write(folder.join("other.yaml"), OTHER).expect("written");
    let run = |file: &Path| {
        let said = say(orchestr8().env("ORCHESTR8_HOME", folder.join("data")).args(["run", "--json"]).arg(file));
        let execution: Value = serde_json::from_str(&said.stdout).expect("JSON");
        execution["executionId"].as_str().expect("an id").to_owned()
    };
    let (older, newer) = (run(&example("vertical-slice.json")), run(&folder.join("other.yaml")));
    let short = |id: &str| id[id.len() - 8..].to_owned();

    assert_eq!(offers(folder, &["why", ""])[..3], ["@last".to_owned(), short(&newer), short(&older)]);
    assert_eq!(offers(folder, &["status", &short(&older)[..3]]), [short(&older)]);
    assert_eq!(offers(folder, &["status", &older[..13]]).len(), 1 + usize::from(older[..13] == newer[..13]));
    let execution: Value = serde_json::from_str(
        &say(orchestr8().env("ORCHESTR8_HOME", folder.join("data")).args(["status", "--json", &older])).stdout,
    )
    .expect("JSON");
    let paths = |execution: &Value| -> Vec<String> {
        let steps = execution["steps"].as_array().expect("steps");
        steps.iter().map(|step| step["stepPath"].as_str().expect("a path").to_owned()).collect()
    };
    let paths = paths(&execution);
    let offered = offers(folder, &["why", &short(&older), ""]);
    assert!(!paths.is_empty() && paths.iter().all(|path| offered.contains(path)), "{paths:?} {offered:?}");
    assert_eq!(offers(folder, &["inspect", &older, "--step", &paths[0]]), [paths[0].clone()]);
    assert_ne!(offers(folder, &["why", "@last", ""]), offered);

    assert_eq!(offers(folder, &["agents", "inspect", "@orchestr8/ech"]), ["@orchestr8/echo"]);
    let files = offers(folder, &["validate", ""]);
    assert!(files.contains(&"one.yaml".to_owned()) && files.contains(&"two.json".to_owned()), "{files:?}");
    assert!(!files.contains(&"three.txt".to_owned()), "{files:?}");
    let both = offers(folder, &["graph", ""]);
    assert!(both.contains(&"one.yaml".to_owned()) && both.contains(&short(&newer)), "{both:?}");
    assert_eq!(offers(folder, &["valid"]), ["validate"]);
    assert_eq!(offers(folder, &["run", "--det"]), ["--detach"]);
}

#[test]
fn where_nothing_can_be_read_nothing_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let nothing =
        |words: &[&str]| offers(folder.path(), words).into_iter().filter(|word| !word.starts_with('-')).count();
    assert_eq!(nothing(&["why", ""]), 0);
    assert!(!folder.path().join("data").exists(), "who only asks makes nothing");
    std::fs::create_dir(folder.path().join("data")).expect("made");
    std::fs::write(folder.path().join("data/orchestr8.db"), "no database").expect("written");
    assert_eq!(nothing(&["why", ""]), 0);
    assert_eq!(nothing(&["why", "@last", ""]), 0);
}

/// Bash itself, with the script that the program prints.
#[cfg(target_os = "linux")]
#[test]
fn bash_takes_the_script_and_asks() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = orchestr8();
    let place = Path::new(program.get_program()).parent().expect("a folder").to_owned();
    let line = "source <(orchestr8 completions bash)\n\
                COMP_WORDS=(orchestr8 valid); COMP_CWORD=1; COMP_TYPE=9; COMP_LINE='orchestr8 valid'; COMP_POINT=15\n\
                complete -p orchestr8 | grep -o '_[a-z_0-9]*' | head -1 > name; $(cat name) orchestr8 valid orchestr8\n\
                echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", line]).current_dir(&folder);
    for (name, value) in program.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        bash.env(name, value);
    }
    let said = say(bash.env("PATH", format!("{}:/usr/bin:/bin", place.display())));
    assert_eq!(said.stdout.trim(), "validate", "{}", said.stderr);
}
