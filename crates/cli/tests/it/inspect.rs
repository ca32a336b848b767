//! `orchestr8 inspect`, against a running server.

use std::fs;

use serde_json::Value;

use crate::support::{Said, assert_steady, example, orchestr8, running_server::RunningServer, say};

const NOBODY: &str = "01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10";

fn execute(server: &RunningServer, file: &str) -> String {
    let document = fs::read_to_string(example(file)).expect("the example is there");
    let answer = server.post_yaml("/v1/workflows/execute?mode=sync", document).send().expect("the server answers");
    let answer: Value = serde_json::from_str(&answer.text().expect("a body")).expect("JSON");
    answer["executionId"].as_str().expect("an id").to_owned()
}

fn inspect(server: &RunningServer, id: &str, args: &[&str]) -> Said {
    say(orchestr8().args(["inspect", id, "--port", server.port()]).args(args))
}

#[test]
fn a_journal_is_shown_in_columns_lines_and_documents() {
    let server = RunningServer::start(&mut orchestr8());
    let id = execute(&server, "flaky.yaml");

    let table = inspect(&server, &id, &[]);
    assert_eq!((table.code, table.stderr.as_str()), (Some(0), ""));
    // The width of the column depends on how long everything took.
    let lines: Vec<_> =
        table.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join("  ")).collect();
    assert_steady("inspect", &(lines.join("\n") + "\n"));

    let warnings = inspect(&server, &id, &["--level", "warn", "--step", "greet", "--ndjson"]);
    let kinds: Vec<String> = warnings
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON lines")["type"].to_string())
        .collect();
    assert_eq!(
        kinds,
        [r#""attempt.finished""#, r#""retry.scheduled""#, r#""attempt.finished""#, r#""retry.scheduled""#]
    );

    let folder = tempfile::tempdir().expect("a folder for the export");
    let path = folder.path().join("journal.json");
    let said = inspect(&server, &id, &["--export", path.to_str().expect("the path is UTF-8"), "--quiet"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""));
    let export: Value = serde_json::from_str(&fs::read_to_string(path).expect("it was written")).expect("JSON");
    assert_eq!((&export["status"], &export["summary"]["retries"]), (&"completed".into(), &2.into()));
}

#[test]
fn an_unknown_execution_is_exit_2_and_no_server_exit_3() {
    let server = RunningServer::start(&mut orchestr8());
    let unknown = inspect(&server, NOBODY, &[]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(2), ""));
    assert_eq!(unknown.stderr, format!("error: there is no execution {NOBODY}\n"));

    // Nobody can listen on port 1 of loopback without privileges that tests do not have.
    let absent = say(orchestr8().args(["inspect", NOBODY, "--server=http://127.0.0.1:1"]));
    assert_eq!(absent.code, Some(3));
    assert_eq!(absent.stderr, "error: no server answers at http://127.0.0.1:1\nhint: orchestr8 start\n");
}
