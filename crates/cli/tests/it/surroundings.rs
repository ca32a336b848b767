//! The program in surroundings that are not as usual: no home, a narrow terminal, no colours.

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
