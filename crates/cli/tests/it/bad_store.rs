//! A data directory that cannot be written, now or for ever.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::support::{orchestr8, say};

/// Steps that each store 100 KB of their own.
const STEPS: usize = 12;

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
    std::fs::write(folder.join("text"), "x".repeat(100_000)).expect("written");
    file.to_str().expect("UTF-8").to_owned()
}

/// Mounts a small file system that only its children see, fills most of it, and makes room once somebody says so. Where nothing may be
/// mounted it ends with 77.
const SMALL_DISK: &str = r#"
mount -t tmpfs -o size=2m none "$1" || exit 77
head -c 1200000 /dev/zero > "$1/filler"
disk=$1; shift
"$@" &
exec 2> /dev/null
read -r word
rm "$disk/filler"
wait $!
"#;

#[test]
fn a_full_disk_holds_an_execution_up_and_loses_nothing_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = workflow(folder.path());
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).expect("made");
    let (disk, text) = (disk.to_str().expect("UTF-8"), format!("text=@{}", folder.path().join("text").display()));
    let program = orchestr8();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, "sh", disk]);
    command.arg(program.get_program()).args(["--data-dir", disk, "run", &file, "-i", &text, "--local"]);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.expect("util-linux is there");
    let mut told = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let held_up = told.find(|line| line.contains("the disk is full"));
    if held_up.is_none() && child.wait().expect("our child").code() != Some(0) {
        // Whoever may not mount anything here has said so on the standard error that was just read.
        return;
    }
    let held_up = held_up.expect("it fills the disk");
    assert!(held_up.contains("trying again"), "{held_up}");
    writeln!(child.stdin.take().expect("a pipe"), "go on").expect("it listens");
    let rest: Vec<_> = told.collect();
    let output = child.wait_with_output().expect("our child");
    assert_eq!(output.status.code(), Some(0), "{rest:?}");
    assert!(rest.iter().any(|line| line.starts_with("Completed in")), "{rest:?}");
    let outputs: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(outputs["last"].as_str().map(str::len), Some(100_002));
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
