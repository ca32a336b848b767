//! `orchestr8 bench`

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::support::{Said, example, orchestr8, say};

fn bench(home: &Path, arguments: &[&str]) -> Said {
    let mut command: Command = orchestr8();
    command.env("ORCHESTR8_HOME", home).args(["bench", "--samples", "5", "--warmup", "1"]);
    say(command.args(arguments))
}

fn report(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).expect("JSON")
}

/// Makes a baseline in which everything took so long.
fn baseline(home: &Path, millis: f64) {
    let percentiles = json!({ "p50Ms": millis, "p95Ms": millis, "p99Ms": millis });
    let workloads = json!({ "single": percentiles, "sequential": percentiles });
    let baselines = json!({ "9.9.9": { "single": percentiles }, "0.0.7": workloads });
    fs::write(home.join("baselines.json"), baselines.to_string()).expect("written");
}

#[test]
fn what_is_measured_is_told_in_percentiles_and_kept_by_version() {
    let home = tempfile::tempdir().expect("a folder");
    let said = bench(home.path(), &["--json", "--save"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let report = report(&said);
    let workloads = report["workloads"].as_object().expect("an object");
    assert_eq!(workloads.keys().collect::<Vec<_>>(), ["single", "sequential", "parallel", "complex"]);
    for (name, measured) in workloads {
        assert_eq!(measured["durationsUs"].as_array().map(Vec::len), Some(5), "{name}: without the warm-up");
        let [p50, p95, p99] = ["p50Ms", "p95Ms", "p99Ms"].map(|key| measured[key].as_f64().expect("a number"));
        assert!(0.0 < p50 && p50 <= p95 && p95 <= p99, "{name}: {measured}");
    }
    let path = home.path().join("baselines.json");
    let kept: Value = serde_json::from_str(&fs::read_to_string(&path).expect("it is kept")).expect("JSON");
    assert_eq!(kept[env!("CARGO_PKG_VERSION")]["single"]["p95Ms"], report["workloads"]["single"]["p95Ms"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
    }
    let said = bench(home.path(), &["--compare"]);
    let line = said.stdout.lines().next().expect("a line");
    assert!(line.starts_with("single ") && line.contains("  p50 ") && line.ends_with(" vs 0.1.0)"), "{line}");
}

#[test]
fn a_95th_percentile_that_is_a_fifth_longer_fails() {
    let home = tempfile::tempdir().expect("a folder");
    baseline(home.path(), 0.0001);
    let slower = bench(home.path(), &["--compare"]);
    assert_eq!(slower.code, Some(1), "{}", slower.stdout);
    assert!(slower.stderr.contains("single: the 95th percentile is "), "{}", slower.stderr);
    // What was saved last counts, and what is not in it is not compared.
    assert!(
        slower.stdout.contains(" vs 0.0.7)") && slower.stdout.contains("(not in the baseline of 0.0.7)"),
        "{}",
        slower.stdout
    );

    baseline(home.path(), 10_000.0);
    let faster = bench(home.path(), &["--compare", "--json"]);
    assert_eq!(faster.code, Some(0), "{}", faster.stderr);
    let ratio = &report(&faster)["workloads"]["single"]["ratio"];
    assert!(ratio["p95"].as_f64().is_some_and(|ratio| 0.0 < ratio && ratio < 1.0), "{ratio}");
}

#[test]
fn another_program_is_measured_in_turns_with_this_one() {
    let home = tempfile::tempdir().expect("a folder");
    let greeting = example("vertical-slice.json");
    let itself = format!("--compare={}", env!("CARGO_BIN_EXE_orchestr8"));
    let arguments = ["--json", "--workflow", greeting.to_str().expect("UTF-8"), &itself];
    // Which of the two is quicker this time is chance.
    let report = report(&bench(home.path(), &arguments));
    assert_eq!(report["baseline"], env!("CARGO_PKG_VERSION"));
    let (_, measured) = report["workloads"].as_object().expect("an object").iter().next().expect("one");
    assert_eq!(measured["durationsUs"].as_array().map(Vec::len), Some(5));
    assert!(measured["ratio"]["p50"].as_f64() > Some(0.0), "{measured}");

    let absent = bench(home.path(), &["--compare=./no-such-program"]);
    assert_eq!(absent.code, Some(3), "{}", absent.stderr);
}

#[test]
fn what_cannot_be_measured_or_compared_is_told_with_what_to_do() {
    let home = tempfile::tempdir().expect("a folder");
    let nothing = bench(home.path(), &["--compare"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(2), ""));
    assert!(nothing.stderr.contains("hint: orchestr8 bench --save"), "{}", nothing.stderr);
    fs::write(home.path().join("baselines.json"), "[]").expect("written");
    let garbage = bench(home.path(), &["--save"]);
    assert_eq!(garbage.code, Some(2));
    assert!(garbage.stderr.contains("baselines.json` holds no baselines"), "{}", garbage.stderr);

    let failing = home.path().join("failing.yaml");
    let text = "version: 1.0.0\nmetadata: { id: f, name: F }\nsteps: [{ id: f, agent: { id: '@orchestr8/fail' }, input: { code: INTERNAL, message: broken } }]\n";
    fs::write(&failing, text).expect("written");
    let failed = bench(home.path(), &["--workflow", failing.to_str().expect("UTF-8")]);
    assert_eq!(failed.code, Some(1));
    assert!(
        failed.stderr.contains("failing.yaml` does not complete") && failed.stderr.contains("broken"),
        "{}",
        failed.stderr
    );
}
