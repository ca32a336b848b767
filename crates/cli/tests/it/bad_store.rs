//! A data directory that cannot be written, now or for ever.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::support::{orchestr8, say};

/// Steps that each store a text of their own.
const STEPS: usize = 20;
/// Its length in bytes.
const TEXT: usize = 60_000;

fn workflow(folder: &Path) -> String {
    let steps: Vec<_> = (0..STEPS)
        .map(|number| {
            let before = number.checked_sub(1).map(|before| format!("s{before}"));
            json!({
                "id": format!("s{number}"), "agent": { "id": "@orchestr8/echo" },
                "dependencies": before.into_iter().collect::<Vec<_>>(),
                "input": { "text": format!("{number}${{inputs.text}}") },
            })
        })
        .collect();
    let workflow = json!({
        "version": "1.0.0", "metadata": { "id": "large", "name": "Large" }, "steps": steps,
        "outputs": { "last": format!("${{steps.s{}.output.text}}", STEPS - 1) },
    });
    let file = folder.join("large.json");
    std::fs::write(&file, workflow.to_string()).expect("written");
    std::fs::write(folder.join("text"), "x".repeat(TEXT)).expect("written");
    file.to_str().expect("UTF-8").to_owned()
}

/// Mounts a small file system that only its children see, fills most of it, and makes room once somebody says so. Where nothing may be
/// mounted it ends with 77.
const SMALL_DISK: &str = r#"
mount -t tmpfs -o size=4m none "$1" || exit 77
head -c 3200000 /dev/zero > "$1/filler"
disk=$1; shift
"$@" &
exec 2> /dev/null
read -r word
rm "$disk/filler"
wait $!
"#;

/// Lets no file grow beyond half a megabyte or one, as shells count it, until somebody says so. That takes no privileges.
const SMALL_FILES: &str = r#"
shift
trap '' XFSZ
ulimit -S -f 1000
"$@" &
exec 2> /dev/null
read -r word
prlimit --pid $! --fsize=unlimited
wait $!
"#;

/// Runs a program in which the store cannot be written for a while. False if that cannot be had here.
fn hold_up(around: &[&str], script: &str, failure: &str) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let file = workflow(folder.path());
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).expect("made");
    let (disk, text) = (disk.to_str().expect("UTF-8"), format!("text=@{}", folder.path().join("text").display()));
    let program = orchestr8();
    let around = [around, &["sh", "-c", script, "sh", disk][..]].concat();
    let mut command = Command::new(around[0]);
    command.args(&around[1..]).arg(program.get_program());
    command.args(["--data-dir", disk, "run", &file, "-i", &text, "--local"]);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.expect("util-linux is there");
    let mut told = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut before = Vec::new();
    let held_up = told.find(|line| {
        before.push(line.clone());
        line.contains(failure)
    });
    let Some(held_up) = held_up else {
        let code = child.wait().expect("our child").code();
        assert!(code == Some(77) || before.iter().any(|line| line.starts_with("unshare:")), "{code:?}: {before:?}");
        return false;
    };
    assert!(held_up.contains("trying again"), "{held_up}");
    writeln!(child.stdin.take().expect("a pipe"), "go on").expect("it listens");
    let rest: Vec<_> = told.collect();
    let output = child.wait_with_output().expect("our child");
    assert_eq!(output.status.code(), Some(0), "{rest:?}");
    assert!(rest.iter().any(|line| line.starts_with("Completed in")), "{rest:?}");
    let outputs: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(outputs["last"].as_str().map(str::len), Some(TEXT + 2));
    true
}

#[test]
fn a_full_disk_holds_an_execution_up_and_loses_nothing_of_it() {
    // Nothing may be mounted in some containers; the other test runs there, too.
    hold_up(&["unshare", "--user", "--map-root-user", "--mount"], SMALL_DISK, "the disk is full");
}

#[test]
fn a_file_that_may_not_grow_holds_an_execution_up_and_loses_nothing_of_it() {
    assert!(hold_up(&[], SMALL_FILES, "the database file cannot be read or written"), "it takes no privileges");
}

#[test]
fn a_folder_that_cannot_be_written_is_told_by_name_with_what_to_do() {
    // Where nobody may write, whoever they are.
    for folder in ["/proc/self/orchestr8", "/proc/self"] {
        let said = say(orchestr8().args(["--data-dir", folder, "resume", "@last"]));
        assert_eq!(said.code, Some(3), "{}", said.stderr);
        assert!(said.stderr.contains(folder) && said.stderr.contains("--data-dir"), "{}", said.stderr);
    }
}
