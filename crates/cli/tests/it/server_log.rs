//! The log of a server.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
};

use serde_json::Value;

use crate::support::{orchestr8, running_server::RunningServer, say};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_server_logs_to_files_of_its_data_directory_and_the_log_is_shown() {
    let home = tempfile::tempdir().expect("a folder");
    let command = |args: &[&str]| {
        let mut command = orchestr8();
        command.env("ORCHESTR8_HOME", home.path()).env("ORCHESTR8_TOKEN", TOKEN).args(args);
        command
    };
    let logs = home.path().join("logs");
    fs::create_dir_all(&logs).expect("a folder");
    fs::write(logs.join("server-2020-01-01.000.log"), "{}\n").expect("written");
    // In the background nobody sees its standard error.
    let started = say(&mut command(&["start", "--port", "0"]));
    assert_eq!(started.code, Some(0), "{}", started.stderr);
    let url = started.stdout.split(" · ").nth(1).expect("it says where it listens").trim().to_owned();
    let ask = |id: &str| {
        let client = reqwest::blocking::Client::builder().no_proxy().build().expect("a client");
        let request = client.get(format!("{url}/v1/executions?secret=hidden")).bearer_auth(TOKEN);
        assert_eq!(request.header("x-correlation-id", id).send().expect("the server answers").status().as_u16(), 200);
    };

    let mut following = command(&["logs", "--server", "--follow", "--json"]);
    let mut following = following.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    ask("order-4711");
    let lines = BufReader::new(following.stdout.take().expect("a pipe")).lines();
    let mut lines = lines.map(|line| serde_json::from_str::<Value>(&line.expect("UTF-8")).expect("JSON"));
    let is_it = |line: &Value| line["span"]["orchestr8.correlation_id"] == "order-4711";
    let line = lines.find(is_it).expect("it is logged");
    following.kill().expect("our child");
    following.wait().expect("our child");
    assert_eq!((&line["message"], &line["status"], &line["level"]), (&"answered".into(), &200.into(), &"INFO".into()));
    assert_eq!(line["span"]["http.route"], "/v1/executions");

    let shown = say(&mut command(&["logs", "--server"]));
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let text = shown.stdout.lines().find(|line| line.contains("order-4711")).expect("it is shown");
    assert!(text.get(12..).is_some_and(|text| text.starts_with(" info  answered  status=200 duration_ms=")), "{text}");
    assert_eq!(say(&mut command(&["logs", "--server", "--level", "error"])).stdout, "");
    assert_eq!(say(&mut command(&["stop"])).code, Some(0));

    let files: Vec<_> =
        fs::read_dir(&logs).expect("it is there").map(|entry| entry.expect("an entry").path()).collect();
    assert!(!files.iter().any(|file| file.ends_with("server-2020-01-01.000.log")), "a week is kept");
    for file in files {
        let text = fs::read_to_string(&file).expect("read");
        assert!(!text.contains(TOKEN) && !text.contains("hidden"), "{text}");
        let is_log = file.extension().is_some_and(|ending| ending == "log");
        assert!(is_log || text.is_empty(), "{}: {text}", file.display());
        assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(say(&mut command(&["logs"])).code, Some(2));
    assert_eq!(say(&mut command(&["logs", "--server=http://127.0.0.1:1"])).code, Some(2));
}

#[test]
fn a_server_in_the_foreground_logs_to_files_too() {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = orchestr8();
    let server = RunningServer::start(command.env("ORCHESTR8_HOME", home.path()));
    server.get("/health").send().expect("the server answers");
    assert_eq!(server.terminate(), Some(0));
    let folder =
        fs::read_dir(home.path().join("logs")).expect("it is there").next().expect("a file").expect("an entry");
    assert!(fs::read_to_string(folder.path()).expect("read").contains("\"http.route\":\"/health\""));
}
