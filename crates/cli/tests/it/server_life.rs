//! A server as people start, find and stop it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Said, example, orchestr8, running_server::RunningServer, say};

/// A data directory whose server, if there is one, ends with the test.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = orchestr8();
        command.env("ORCHESTR8_HOME", self.data()).args(args);
        command
    }

    fn say(&self, args: &[&str]) -> Said {
        say(&mut self.command(args))
    }

    fn file(&self) -> Option<Value> {
        Some(serde_json::from_slice(&fs::read(self.data().join("server.json")).ok()?).expect("JSON"))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.say(&["stop", "--force"]);
    }
}

fn slow() -> String {
    example("slow.yaml").to_str().expect("UTF-8").to_owned()
}

/// Takes numbers out that differ from run to run.
fn steady(text: &str, file: &Value) -> String {
    let (pid, port) = (file["pid"].to_string(), file["port"].to_string());
    text.replace(&format!("pid {pid}"), "pid [pid]").replace(&format!(":{port}"), ":[port]")
}

#[test]
fn a_server_is_started_once_found_by_its_file_and_stopped() {
    let home = Home::new();
    let absent = home.say(&["status"]);
    assert_eq!((absent.code, absent.stdout.as_str()), (Some(3), "Server: not running\n"));
    let nothing = home.say(&["stop"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), "Not running\n"));

    let started = home.say(&["start", "--port", "0"]);
    assert_eq!(started.code, Some(0), "{}", started.stderr);
    let file = home.file().expect("it says where it listens");
    assert_eq!(steady(&started.stdout, &file), "Started · http://127.0.0.1:[port] · pid [pid]\n");
    let keys: Vec<_> = file.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["pid", "startedAt", "port", "host", "version", "platform", "cwd", "command"]);
    assert_eq!(file["version"], env!("CARGO_PKG_VERSION"));
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&home.data().join("server.json")), 0o600);
    assert_eq!(mode(&home.data()), 0o700);

    let again = home.say(&["start"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(steady(&again.stdout, &file), "Running already · http://127.0.0.1:[port] · pid [pid]\n");
    let status = home.say(&["status"]);
    assert_eq!(status.code, Some(0));
    let expected = "Server: running, healthy · http://127.0.0.1:[port] · pid [pid] · up ";
    assert!(steady(&status.stdout, &file).starts_with(expected), "{}", status.stdout);

    let restarted = home.say(&["restart"]);
    let after = home.file().expect("it says where it listens");
    assert_eq!(steady(&restarted.stdout, &after), "Restarted · pid [pid]\n", "{}", restarted.stderr);
    assert_eq!(after["port"], file["port"]);
    assert_ne!(after["pid"], file["pid"]);

    let stopped = home.say(&["stop"]);
    assert_eq!((stopped.code, stopped.stdout.as_str()), (Some(0), "Stopped\n"));
    assert_eq!(home.file(), None);
}

#[test]
fn of_several_who_start_at_once_one_does() {
    let home = Home::new();
    let told: Vec<Said> = thread::scope(|scope| {
        let starters: Vec<_> = (0..4).map(|_| scope.spawn(|| home.say(&["start", "--port", "0"]))).collect();
        starters.into_iter().map(|starter| starter.join().expect("it says something")).collect()
    });
    assert!(told.iter().all(|said| said.code == Some(0)), "{told:?}");
    assert_eq!(told.iter().filter(|said| said.stdout.starts_with("Started · ")).count(), 1, "{told:?}");
    let file = home.file().expect("it says where it listens");
    assert!(told.iter().all(|said| said.stdout.ends_with(&format!("pid {}\n", file["pid"]))), "{told:?}");
}

#[test]
fn another_program_at_the_port_is_never_used() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port().to_string();
    // It speaks HTTP, and claims to be healthy.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut line = String::new();
            // Who only looks whether anybody listens says nothing.
            if BufReader::new(&stream).read_line(&mut line).is_ok_and(|length| length > 0) {
                let body = r#"{"healthy":true,"name":"another"}"#;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all((head + body).as_bytes());
            }
        }
    });
    let at_port = |args: &[&str]| say(home.command(args).env("ORCHESTR8_SERVER_PORT", &port));
    let status = at_port(&["status"]);
    assert_eq!((status.code, status.stdout.as_str()), (Some(3), "Server: port in use by another program\n"));
    let hello = example("vertical-slice.json");
    let hello = hello.to_str().expect("UTF-8");
    for args in [&["start"][..], &["run", "--detach", hello], &["run", "--server", hello]] {
        let refused = at_port(args);
        assert_eq!(refused.code, Some(3), "{args:?}");
        let said = format!("error: port {port} is in use by another program\nhint: orchestr8 start --port 0\n");
        assert_eq!(refused.stderr, said, "{args:?}");
    }
    // Who needs no server does without.
    assert_eq!(at_port(&["run", hello]).code, Some(0));
    assert_eq!(at_port(&["list", "--ids"]).stdout.lines().count(), 1);
    assert_eq!(at_port(&["stop"]).stdout, "Not running\n");
}

#[test]
fn the_file_of_a_server_that_was_killed_misleads_nobody() {
    let home = Home::new();
    assert_eq!(home.say(&["start", "--port", "0"]).code, Some(0));
    let before = home.file().expect("it says where it listens");
    assert_eq!(home.say(&["stop", "--force"]).stdout, "Stopped\n");
    // As it would be left behind by a crash; the process may be anybody's by now.
    let mut left = before;
    left["pid"] = json!(std::process::id());
    fs::write(home.data().join("server.json"), left.to_string()).expect("written");
    assert_eq!(home.say(&["status"]).stdout, "Server: not running\n");
    assert_eq!(home.say(&["stop", "--force"]).stdout, "Not running\n");
    assert!(home.say(&["start", "--port", "0"]).stdout.starts_with("Started · "));
}

#[test]
fn a_server_that_is_told_to_end_takes_its_file_away() {
    let home = Home::new();
    let server = RunningServer::of(&mut home.command(&["server", "--port", "0"]));
    assert!(home.file().is_some());
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(home.file(), None);
}

#[test]
fn a_server_that_cannot_start_is_exit_3_with_the_reason() {
    let home = Home::new();
    fs::write(home.data(), "a file in the place of the folder").expect("written");
    let said = home.say(&["start", "--port", "0"]);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(said.stderr.contains("server.lock"), "{}", said.stderr);
    fs::remove_file(home.data()).expect("removed");
    fs::create_dir(home.data()).expect("a folder");
    fs::write(home.data().join("orchestr8.db"), "no database").expect("written");
    let said = home.say(&["start", "--port", "0"]);
    assert_eq!(said.code, Some(3));
    assert!(said.stderr.starts_with("error: the server did not start: the store of executions"), "{}", said.stderr);
}

#[test]
fn a_running_server_executes_what_is_run_and_prints_the_same() {
    let home = Home::new();
    let file = example("measure-files.yaml");
    let files = r#"files=[{"path": "a.md", "text": "alpha"}]"#;
    let run = |more: &[&str]| home.say(&[&["run", file.to_str().expect("UTF-8"), "-i", files], more].concat());
    let alone = run(&[]);
    assert_eq!(alone.code, Some(0), "{}", alone.stderr);
    assert_eq!(home.say(&["start", "--port", "0"]).code, Some(0));
    let served = run(&[]);
    assert_eq!((served.code, &served.stdout), (alone.code, &alone.stdout), "{}", served.stderr);
    let lines = |said: &Said| said.stderr.lines().count();
    assert_eq!(lines(&served), lines(&alone), "{}\n{}", served.stderr, alone.stderr);
    // All three are there, whoever is asked.
    let local = run(&["--local"]);
    assert_eq!(local.stdout, alone.stdout);
    assert_eq!(home.say(&["list", "--ids"]).stdout.lines().count(), 3);
    // The same key starts one execution.
    let keyed: Vec<Value> = (0..2)
        .map(|_| run(&["--json", "--idempotency-key", "once", "--correlation-id", "the-cause"]))
        .map(|said| serde_json::from_str(&said.stdout).expect("JSON"))
        .collect();
    assert_eq!(keyed[0], keyed[1]);
    assert_eq!(keyed[0]["correlationId"], "the-cause");
}

#[test]
fn what_a_server_left_unfinished_is_counted_and_goes_on() {
    let home = Home::new();
    let refused = home.say(&["run", "--detach", &slow()]);
    assert_eq!(refused.code, Some(3), "nobody may be started where nobody sits: {}", refused.stderr);
    let mut server = home.command(&["server", "--port", "0", "--shutdown-timeout", "10ms"]);
    let server = RunningServer::of(&mut server);
    let detached = home.say(&["run", "--detach", &slow()]);
    assert_eq!(detached.code, Some(0), "{}", detached.stderr);
    let id = detached.stdout.trim();
    assert_eq!(home.say(&["status", "--json", id]).code, Some(0));
    let stopped = home.say(&["stop"]);
    assert_eq!(stopped.stdout, "Stopped · 1 execution will continue at the next start\n", "{}", stopped.stderr);
    drop(server);
    assert_eq!(home.say(&["start", "--port", "0"]).code, Some(0));
    let cancelled = home.say(&["cancel", id, "--force", "--wait", "--json"]);
    let cancelled: Value = serde_json::from_str(&cancelled.stdout).expect("JSON");
    assert_eq!(cancelled["status"], "cancelled");
}

#[test]
fn a_signal_cancels_what_a_server_executes() {
    let home = Home::new();
    assert_eq!(home.say(&["start", "--port", "0"]).code, Some(0));
    let mut child = home
        .command(&["run", "--events", &slow()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the built program starts");
    let mut last = Value::Null;
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        last = serde_json::from_str(&line.expect("UTF-8")).expect("JSON lines");
        if last["type"] == "step.started" {
            let kill = format!("kill -INT {}", child.id());
            Command::new("sh").args(["-c", &kill]).status().expect("a shell can send signals");
        }
    }
    assert_eq!(child.wait().expect("our child").code(), Some(130));
    assert_eq!(last["status"], "cancelled");
}
