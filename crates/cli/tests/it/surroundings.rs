//! The program in surroundings that are not as usual: no home, a narrow terminal, no colours, streams that nobody reads, a data directory that
//! cannot be written, settings that cannot be used.

use std::{fs, process::Command};

#[cfg(target_os = "linux")]
use crate::support::Said;
use crate::support::{example, orchestr8, say};

#[test]
fn without_a_home_what_needs_none_works_and_the_rest_says_what_to_do() {
    let hello = example("vertical-slice.json");
    let homeless = |args: &[&str]| {
        let mut command = orchestr8();
        // A place below which there can be no folder.
        command.env_remove("ORCHESTR8_HOME").env("HOME", "/dev/null").args(args);
        say(command.arg(&hello))
    };
    for args in [&["validate"][..], &["graph"], &["sim", "--seeds", "2"]] {
        let said = homeless(args);
        assert_eq!(said.code, Some(0), "{args:?}: {}", said.stderr);
    }
    let run = homeless(&["run"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(3), ""));
    assert!(run.stderr.contains("\nerror: the store of executions cannot be opened: "), "{}", run.stderr);
    assert!(run.stderr.ends_with("hint: choose a folder that can be written with --data-dir\n"), "{}", run.stderr);
    let as_json = homeless(&["run", "--json"]);
    let problem: serde_json::Value = serde_json::from_str(&as_json.stderr).expect("one problem object");
    assert_eq!((as_json.code, &problem["code"]), (Some(3), &"UNREACHABLE".into()));
}

#[test]
fn twenty_columns_are_enough() {
    let run = |args: &[&str]| say(orchestr8().env("COLUMNS", "20").env("TERM", "xterm").args(args));
    let hello = example("vertical-slice.json");
    let hello = hello.to_str().expect("UTF-8");
    for args in [&["--help"][..], &["run", "--help"], &["run", hello], &["list"], &["graph", hello]] {
        let said = run(args);
        assert_eq!(said.code, Some(0), "{args:?}: {}", said.stderr);
    }
    assert_eq!(run(&["run", "nowhere.yaml"]).code, Some(2));
}

#[test]
fn colours_are_there_if_they_are_asked_for_and_never_else() {
    let hello = example("vertical-slice.json");
    let run = |args: &[&str]| say(orchestr8().args(args).arg("run").arg(&hello)).stderr;
    assert!(!run(&[]).contains('\u{1b}'));
    assert!(!run(&["--color", "never"]).contains('\u{1b}'));
    assert!(run(&["--color", "always"]).contains("\u{1b}[32m✓"));
}

/// Commands that read, execute and write, each with the exit code that it has where nothing is in its way.
const COMMANDS: [(&[&str], i32); 12] = [
    (&["validate", "hello.json"], 0),
    (&["run", "hello.json"], 0),
    (&["run", "hello.json", "--json"], 0),
    (&["run", "hello.json", "--events"], 0),
    (&["list"], 0),
    (&["status"], 3),
    (&["inspect", "@last"], 0),
    (&["logs", "@last"], 0),
    (&["graph", "@last"], 0),
    (&["config", "get"], 0),
    (&["agents", "list"], 0),
    (&["schema"], 0),
];

/// A folder with a workflow file and a data directory in which it was executed.
fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::copy(example("vertical-slice.json"), folder.path().join("hello.json")).expect("copied");
    let run = say(at(&folder).args(["run", "hello.json"]));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    folder
}

fn at(folder: &tempfile::TempDir) -> Command {
    let mut command = orchestr8();
    command.current_dir(folder).env("ORCHESTR8_HOME", folder.path().join("data"));
    command
}

#[test]
fn who_stops_reading_ends_a_command_without_a_word() {
    let folder = place();
    for (args, code) in COMMANDS {
        // Nobody ever reads, or there is no stream at all.
        for closing in [r#""$0" "$@" | true; exit "${PIPESTATUS[0]}""#, r#""$0" "$@" >&-"#] {
            let program = at(&folder);
            let mut bash = Command::new("bash");
            bash.args(["-c", closing]).arg(program.get_program()).args(args).current_dir(&folder);
            for (name, value) in program.get_envs().filter_map(|(name, value)| Some((name, value?))) {
                bash.env(name, value);
            }
            let said = say(&mut bash);
            // Whoever has gone before the last word does not learn of the code.
            let is_known = said.code == Some(code) || said.code == Some(0) && closing.contains('|');
            assert!(is_known, "{args:?} {closing}: {:?} {}", said.code, said.stderr);
            assert!(!said.stderr.contains("panicked") && !said.stderr.contains("error"), "{args:?}: {}", said.stderr);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_stream_that_takes_nothing_is_an_error() {
    let folder = place();
    for (args, _) in COMMANDS {
        let full = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
        let said: Said = at(&folder).args(args).stdout(full).output().expect("it starts").into();
        assert_eq!(said.code, Some(1), "{args:?}: {}", said.stderr);
        assert!(
            said.stderr.contains("writing to standard output: No space left on device"),
            "{args:?}: {}",
            said.stderr
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_data_directory_that_cannot_be_written_is_named_with_what_to_do() {
    let folder = place();
    // Not even root can make anything there.
    let at = |args: &[&str]| say(at(&folder).args(args).args(["--data-dir", "/proc/nowhere"]));
    for args in [
        &["run", "hello.json"][..],
        &["list"],
        &["inspect", "@last"],
        &["approve"],
        &["resume", "@last"],
        #[cfg(feature = "server")]
        &["server", "--port", "0"],
        #[cfg(feature = "server")]
        &["start", "--port", "0"],
    ] {
        let said = at(args);
        assert_eq!((said.code, said.stdout.as_str()), (Some(3), ""), "{args:?}: {}", said.stderr);
        assert!(said.stderr.contains("/proc/nowhere/"), "{args:?}: {}", said.stderr);
        let hint = "hint: choose a folder that can be written with --data-dir\n";
        assert!(said.stderr.ends_with(hint), "{args:?}: {}", said.stderr);
    }
    let set = at(&["config", "set", "server.port", "9000"]);
    assert_eq!(set.code, Some(3), "{}", set.stderr);
    assert!(set.stderr.starts_with("error: cannot write /proc/nowhere/config.json"), "{}", set.stderr);
    // What needs none works.
    for args in [&["validate", "hello.json"][..], &["graph", "hello.json"], &["config", "get"], &["agents", "list"]] {
        let said = at(args);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn settings_that_cannot_be_used_warn_with_their_place_and_count_as_absent() {
    let folder = place();
    let file = folder.path().join("data/config.json");
    for (text, said) in [
        ("", "counts as absent: the document is empty"),
        ("{", "counts as absent: line 1: the text ends too early"),
        ("[]", "counts as absent: line 1: expected an object, found a list"),
        (
            "{\n  \"server\": { \"port\": \"x\" }\n}",
            "counts as absent: line 2, `server.port`: expected an integer, found text",
        ),
        ("{ \"a\": 1, \"a\": 2 }", "counts as absent: line 1, `a`: `a` is given twice"),
        ("{ \"server\": {\n\"prt\": 1 } }", ": line 2, `server.prt`: unknown key `prt`; did you mean `port`?"),
    ] {
        fs::write(&file, text).expect("written");
        let list = say(at(&folder).arg("list"));
        assert_eq!(list.code, Some(0), "{text:?}: {}", list.stderr);
        let separator = if said.starts_with(':') { "" } else { " " };
        let warning = format!("warning: {}{separator}{said}", file.display());
        assert!(list.stderr.starts_with(&warning), "{text:?}: {}", list.stderr);
        assert!(list.stdout.contains("vertical") || list.stdout.contains("vs-test"), "{text:?}: {}", list.stdout);
    }
    fs::remove_file(&file).expect("removed");
    let list = say(at(&folder).args(["list", "--config", "nowhere.json"]));
    assert_eq!(
        (list.code, list.stderr.as_str()),
        (Some(0), "warning: nowhere.json is not there and counts as absent\n")
    );
}
