//! Settings: where they come from, which of them count, and how they are changed.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::support::{Said, orchestr8, say};

fn in_folder(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = orchestr8();
    command.current_dir(folder).env("HOME", folder.join("home")).env("ORCHESTR8_HOME", folder.join("home/.orchestr8"));
    command.args(arguments).env_remove("ORCHESTR8_SERVER_PORT");
    command
}

fn config(folder: &Path, arguments: &[&str]) -> Said {
    say(&mut in_folder(folder, &[&["config"], arguments].concat()))
}

#[test]
fn a_setting_is_set_shown_with_its_origin_and_set_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path();
    let get = |arguments: &[&str]| config(home, &[&["get", "execution.maxConcurrent"], arguments].concat()).stdout;
    assert_eq!(get(&[]), "10\n");
    assert_eq!(
        config(home, &["set", "execution.maxConcurrent", "20"]).stdout,
        "execution.maxConcurrent = 20 (user config)\n"
    );
    assert_eq!(config(home, &["set", "journal.retention", "3d"]).stdout, "journal.retention = 3d (user config)\n");
    assert_eq!(get(&["--show-origin"]), "20  user config\n");
    let by_variable = say(in_folder(home, &["config", "get", "execution.maxConcurrent", "--show-origin"])
        .env("ORCHESTR8_EXECUTION_MAX_CONCURRENT", "3"));
    assert_eq!(by_variable.stdout, "3  environment\n");
    assert_eq!(config(home, &["reset", "execution.maxConcurrent"]).stdout, "execution.maxConcurrent = 10 (default)\n");
    let file = fs::read_to_string(home.join("home/.orchestr8/config.json")).expect("the file is there");
    assert_eq!(serde_json::from_str::<Value>(&file).expect("JSON"), json!({ "journal": { "retention": "3d" } }));
    let all = config(home, &["reset"]);
    assert_eq!((all.code, all.stdout.as_str()), (Some(2), ""), "nobody can be asked: {}", all.stderr);
    assert!(config(home, &["reset", "--yes"]).stdout.ends_with("holds no settings now\n"));
    assert_eq!(config(home, &["get", "journal.retention"]).stdout, "7d\n");
}

#[test]
fn what_is_no_setting_or_no_value_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, said) in [
        (["set", "execution.maxConcurent", "20"], "did you mean `maxConcurrent`"),
        (["set", "execution.maxConcurrent", "many"], "`execution.maxConcurrent` cannot be set to that"),
        (["set", "execution.maxConcurrent", "0"], "`maxConcurrent` is not greater than 0"),
        (["set", "..", "1"], "`..` is no key of a setting"),
        (["get", "server.prot", "--show-origin"], "did you mean `port`"),
    ] {
        let said_so = config(folder.path(), &arguments);
        assert_eq!(said_so.code, Some(2), "{arguments:?}");
        assert!(said_so.stderr.contains(said), "{arguments:?}: {}", said_so.stderr);
    }
    assert!(!folder.path().join("home").exists());
}

#[test]
fn of_a_project_only_what_can_do_no_harm_counts_unless_it_is_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = folder.path().join("work/project");
    fs::create_dir_all(project.join(".orchestr8")).expect("a folder");
    fs::create_dir_all(project.join("deep/inside")).expect("a folder");
    let settings = json!({ "output": { "format": "json" }, "server": { "port": 9999 }, "dashboard": { "theme": "dark", "browser": "evil" } });
    fs::write(project.join(".orchestr8/config.json"), settings.to_string()).expect("written");
    let get = |key: &str, arguments: &[&str]| {
        let mut command = in_folder(folder.path(), &[&["config", "get", key, "--format", "human"], arguments].concat());
        say(command.current_dir(project.join("deep/inside")))
    };
    assert_eq!(get("dashboard.theme", &["--show-origin"]).stdout, "dark  project config\n");
    let port = get("server.port", &[]);
    assert_eq!(port.stdout, "8088\n");
    assert!(port.stderr.contains("server.port, dashboard.browser are ignored"), "{}", port.stderr);
    assert_eq!(get("server.port", &["--trust-project"]).stdout, "9999\n");
    let trusted = json!([project]).to_string();
    assert_eq!(config(folder.path(), &["set", "trustedProjects", &trusted]).code, Some(0));
    let port = get("server.port", &[]);
    assert_eq!((port.stdout.as_str(), port.stderr.as_str()), ("9999\n", ""));
}

#[test]
fn files_that_cannot_be_read_warn_and_count_as_absent_and_are_not_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("home/.orchestr8/config.json");
    fs::create_dir_all(file.parent().expect("it has one")).expect("a folder");
    fs::write(&file, "{ \"server\": ").expect("written");
    let port = config(folder.path(), &["get", "server.port"]);
    assert_eq!((port.code, port.stdout.as_str()), (Some(0), "8088\n"));
    assert!(port.stderr.contains("config.json counts as absent"), "{}", port.stderr);
    let set = config(folder.path(), &["set", "server.port", "9000"]);
    assert_eq!(set.code, Some(2), "{}", set.stderr);
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "{ \"server\": ");
    let wrong = say(in_folder(folder.path(), &["config", "get"]).env("ORCHESTR8_SERVER_PORT", "many"));
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("ORCHESTR8_SERVER_PORT: "), "{}", wrong.stderr);
}

#[test]
fn values_that_look_like_secrets_are_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    config(folder.path(), &["set", "providers.acme.kind", "anthropic"]);
    let set = config(folder.path(), &["set", "providers.acme.apiKey", "sk-very-secret-0123456789"]);
    let get = config(folder.path(), &["get"]);
    assert_eq!((set.code, get.code), (Some(0), Some(0)), "{}", set.stderr);
    assert!(get.stdout.contains("providers.acme.apiKey = [REDACTED]"), "{}", get.stdout);
    assert!(!(set.stdout + &get.stdout + &set.stderr).contains("very-secret"));
}
