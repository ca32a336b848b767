//! What the topics share: the program, its output, and what varies in it from run to run.

#[cfg(feature = "otel")]
pub(crate) mod collector;
#[cfg(feature = "server")]
pub(crate) mod described;
pub(crate) mod own_program;
pub(crate) mod provider;
#[cfg(feature = "server")]
pub(crate) mod running_server;
#[cfg(target_os = "linux")]
pub(crate) mod terminal;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// The program, without anything of the environment that changes what it does.
pub(crate) fn orchestr8() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestr8"));
    command.stdin(Stdio::null()).env("NO_COLOR", "1");
    let prefixes = ["ORCHESTR8_", "OTEL_", "CLICOLOR"];
    let names = ["RUST_LOG", "PORT", "BIND_ADDRESS", "COLUMNS", "CI"];
    for (name, _) in std::env::vars() {
        let is_proxy = name.to_ascii_lowercase().ends_with("_proxy");
        if is_proxy || prefixes.iter().any(|prefix| name.starts_with(prefix)) || names.contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    // Each command keeps its executions to itself.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let home = format!("home/{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    command.env("ORCHESTR8_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join(home));
    command.env("ORCHESTR8_JOURNAL_DURABILITY", "process");
    // Nobody listens there, whatever else this machine serves.
    command.env("ORCHESTR8_SERVER_PORT", "1");
    command
}

pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/workflows").join(name)
}

/// What the program said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("the program writes UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("the program writes UTF-8"),
        }
    }
}

pub(crate) fn say(command: &mut Command) -> Said {
    command.output().expect("the built program starts").into()
}

/// Names what differs from run to run: how long things took, ids, addresses, and what waits for jitter.
pub(crate) fn steady(text: &str) -> Vec<String> {
    let word = |word: &str| {
        let bare = word.trim_matches([':', ',']);
        let took = bare.trim_start_matches('+').trim_end_matches(['m', 's']);
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if bare.len() > took.len() && took.parse::<f64>().is_ok() {
            "[took]".to_owned()
        } else if bare.starts_with("http://127.0.0.1:") {
            "[url]".to_owned()
        } else if is_hex(bare) && (bare.len() == 36 || bare.len() == 8) {
            word.replace(bare, "[id]")
        } else {
            word.to_owned()
        }
    };
    let mut lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")).collect();
    for line in &mut lines {
        if let Some((before, _)) = line.split_once(" pid ") {
            *line = format!("{before} pid [number]");
        }
        if let Some((before, _)) = line.split_once(" (virtual ") {
            *line = format!("{before} (virtual [took])");
        }
        // What chance does in a simulation may change from version to version.
        if let Some(((seeds, _), (_, verdict))) = line.split_once(" · ").zip(line.rsplit_once(" simulated · ")) {
            *line = format!("{seeds} · {verdict}");
        }
        if line.ends_with(" cancelled, 0 waiting") {
            "[counts]".clone_into(line);
        }
    }
    lines
}

/// Asserts a snapshot in which ids, times and durations are replaced by their names.
pub(crate) fn assert_steady(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "[uuid]");
    settings.add_filter(r"orchestr8 (why|inspect|fork) [0-9a-f]{8}", "orchestr8 $1 [short]");
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "[time]");
    settings
        .add_filter(r#""(elapsedMs|deltaMs|duration|delayMs|elapsedTime|uptime|pid)": ?\d+"#, r#""$1": "[number]""#);
    settings.add_filter(r#"(etag: (?:W/)?)"[0-9a-f]{16}""#, "$1[tag]");
    settings.add_filter(r"last-modified: .*", "last-modified: [date]");
    settings.add_filter(r"(\+?)\b\d+(?:\.\d)?(?:ms|s)(  |\n| ·| \(virtual)", "$1[took]$2");
    settings.add_filter(r"( in )\d+ms", "$1[took]");
    settings.add_filter(r"127\.0\.0\.1:\d+", "127.0.0.1:[port]");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("../snapshots");
    settings.bind(|| insta::assert_snapshot!(name, text));
}
