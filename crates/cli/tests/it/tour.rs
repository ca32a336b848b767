//! The whole tour, as somebody takes it who has never seen the program, recorded: real processes, one server, one data directory.

use std::{
    fs,
    io::Read,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Said, assert_steady, orchestr8, say};

/// What slow work is like: it can be paused, cancelled, and taken up again.
const NIGHTLY: &str = "\
version: 1.0.0
metadata: { id: nightly, name: Nightly }
steps:
  - id: fetch
    agent: { id: \"@orchestr8/echo\" }
    input: { rows: 3 }
  - id: crunch
    agent: { id: \"@orchestr8/delay\" }
    input: { duration: 1h }
    dependencies: [fetch]
  - id: publish
    agent: { id: \"@orchestr8/echo\" }
    input: { of: \"${steps.fetch.output.rows}\" }
    dependencies: [crunch]
";

/// What fails until a file is there.
const RELEASE: &str = "\
version: 1.0.0
metadata: { id: release, name: Release }
steps:
  - id: build
    agent: { id: \"@orchestr8/echo\" }
    input: { version: 1.2.0 }
  - id: notes
    agent: { id: \"@orchestr8/process\" }
    input: { program: test, args: [-e, FILE] }
    dependencies: [build]
  - id: publish
    agent: { id: \"@orchestr8/echo\" }
    input: { version: \"${steps.build.output.version}\" }
    dependencies: [notes]
outputs: { version: \"${steps.publish.output.version}\" }
";

/// What waits to be told something.
const PAYMENT: &str = "\
version: 1.0.0
metadata: { id: payment, name: Payment }
steps:
  - id: wait-payment
    wait: { signal: payment-received }
  - id: ship
    agent: { id: \"@orchestr8/echo\" }
    input: { paid: \"${steps.wait-payment.output.payload.amount}\" }
    dependencies: [wait-payment]
";

/// The same, repaired: nobody waits any more.
const REPAIRED: &str = "duration: 1ms";

struct Tour {
    folder: TempDir,
    told: String,
    /// Ids, by the names that the record gives them.
    names: Vec<(String, String)>,
}

impl Tour {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), told: String::new(), names: Vec::new() }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = orchestr8();
        command.current_dir(self.place()).env("ORCHESTR8_HOME", self.folder.path().join("home")).env("USER", "ada");
        command.args(words(line));
        command
    }

    /// Where the tour is: in the project as soon as there is one.
    fn place(&self) -> PathBuf {
        let demo = self.folder.path().join("demo");
        if demo.exists() { demo } else { self.folder.path().to_owned() }
    }

    /// Takes a step, and records what was said on either stream.
    fn step(&mut self, line: &str) -> Said {
        let said = say(&mut self.command(line));
        self.record(line, &said);
        said
    }

    fn record(&mut self, line: &str, said: &Said) {
        let code = said.code.filter(|code| *code != 0).map(|code| format!("[exit {code}]\n")).unwrap_or_default();
        self.told.push_str(&format!("$ orchestr8 {line}\n{}{}{code}\n", said.stdout, said.stderr));
    }

    /// Gives the newest execution a name.
    fn name_last(&mut self, name: &str) -> String {
        let id = say(&mut self.command("list --last 1 --ids")).stdout.trim().to_owned();
        // Whole where it stands whole, and else as people see it.
        self.names.extend([id.clone(), id[id.len() - 8..].to_owned()].map(|id| (id, name.to_owned())));
        id
    }

    /// Waits until an execution is as it is wanted; whoever holds the answer sees each change.
    fn until(&self, id: &str, is_wanted: impl Fn(&Value) -> bool) {
        loop {
            let said = say(&mut self.command(&format!("status {id} --json")));
            if is_wanted(&serde_json::from_str(&said.stdout).expect("JSON")) {
                return;
            }
        }
    }

    /// The record, with what differs from run to run under steady names.
    fn finish(&self) -> String {
        let mut text = self.told.clone();
        for (id, name) in &self.names {
            text = text.replace(id, &format!("[{name}]"));
        }
        let home = self.folder.path().display().to_string();
        text.replace(&home, "[home]")
    }
}

impl Drop for Tour {
    fn drop(&mut self) {
        // Wherever it ends, the server does, too.
        say(&mut self.command("stop --force"));
    }
}

/// Splits a line as a shell does where there are simple quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Lets a process that watches come to its end.
fn ended(mut watcher: Child) -> Said {
    let read = |stream: &mut dyn Read| {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("UTF-8");
        text
    };
    let stdout = read(watcher.stdout.as_mut().expect("a pipe"));
    let stderr = read(watcher.stderr.as_mut().expect("a pipe"));
    Said { code: watcher.wait().expect("our child").code(), stdout, stderr }
}

#[test]
fn the_tour_is_as_it_was() {
    let mut tour = Tour::new();
    // Somebody begins.
    tour.step("status");
    tour.step("init demo --template review");
    tour.step("validate review.yaml");
    tour.step("graph review.yaml");
    tour.step("test review.test.yaml");
    tour.step("run review.yaml");
    tour.name_last("small");

    // Something fails, is explained, and goes on where it failed.
    let notes = tour.place().join("notes.md");
    fs::write(tour.place().join("release.yaml"), RELEASE.replace("FILE", notes.to_str().expect("UTF-8")))
        .expect("written");
    tour.step("config set policy.process.allow '[\"test\"]'");
    tour.step("run release.yaml");
    tour.name_last("release");
    tour.step("why @last publish");
    fs::write(notes, "1.2.0").expect("written");
    tour.step("resume @last");

    // A server, and something that waits for a person while somebody watches.
    tour.step("start --port 0");
    tour.step("status");
    let line = "run review.yaml --var limit=10";
    let watcher = tour.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let large = loop {
        let ids = say(&mut tour.command("list --last 1 --status running --ids")).stdout;
        if let Some(id) = ids.lines().next() {
            break id.to_owned();
        }
    };
    tour.name_last("large");
    tour.until(&large, |execution| execution["waitingFor"].is_array());
    tour.step("approve");
    tour.step("why @last sign-off");
    tour.step("approve @last --comment 'looks right'");
    let watched = ended(watcher);
    tour.record(line, &watched);
    tour.step("inspect @last --step sign-off");

    // Work that takes an hour: paused, resumed, cancelled, and gone on with in a better form.
    fs::write(tour.place().join("nightly.yaml"), NIGHTLY).expect("written");
    tour.step("run nightly.yaml --detach");
    let nightly = tour.name_last("nightly");
    tour.until(&nightly, |execution| execution["progress"]["running"] == 1);
    tour.step("status @last");
    tour.step("pause @last --reason 'the cluster is busy'");
    tour.step("status @last");
    tour.step("resume @last --detach");
    tour.step("cancel @last --reason 'wrong branch'");
    tour.until(&nightly, |execution| execution["status"] == "cancelled");
    tour.step("why @last publish");
    tour.step("logs @last --level warn");
    fs::write(tour.place().join("repaired.yaml"), NIGHTLY.replace("duration: 1h", REPAIRED)).expect("written");
    tour.step("fork @last --from crunch --with repaired.yaml");
    tour.name_last("repaired");
    tour.step("logs @last --step publish");

    // Something that waits to be told, and is.
    fs::write(tour.place().join("payment.yaml"), PAYMENT).expect("written");
    tour.step("run payment.yaml --detach");
    let payment = tour.name_last("payment");
    tour.until(&payment, |execution| execution["waitingFor"].is_array());
    tour.step("signal @last payment-received --payload '{\"amount\":12}'");
    tour.until(&payment, |execution| execution["status"] == "completed");
    tour.step("logs @last --follow");
    tour.step("graph @last");
    tour.step("graph review.yaml --to dot");

    // The end, with something still to do.
    tour.step("run nightly.yaml --detach");
    let last = tour.name_last("last");
    tour.until(&last, |execution| execution["progress"]["running"] == 1);
    tour.step("list");
    tour.step("stop --force");
    tour.step("list --status running,paused");
    tour.step("status");
    tour.step("cancel @last --force --wait");
    tour.step("stop");
    let mut settings = insta::Settings::clone_current();
    for (pattern, name) in [
        (r"\d{4}-\d\d-\d\d", "[date]"),
        (r"pid \d+", "pid [pid]"),
        (r"up \d+\w+", "up [time]"),
        (r"(now|\d+[smh] ago)", "[ago]"),
        (r"\d\d:\d\d:\d\d\.\d{3}", "[time]"),
        (r"\b\d+(\.\d+)?(ms|s)\b", "[took]"),
        (r"  +", "  "),
    ] {
        settings.add_filter(pattern, name);
    }
    let told = tour.finish();
    settings.bind(|| assert_steady("tour", &told));
}
