//! Installing into folders of every kind, with every kind of end.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::SystemTime,
};

use serde_json::{Value, json};

use super::{InstallOptions, InstallReport, ShippedAgent, Target, UninstallOptions, World, install, uninstall};
use crate::Error;

const SETTINGS: &str = ".claude/settings.json";
const MANIFEST: &str = ".claude/configs/research-agents.json";

static GO_ON: AtomicBool = AtomicBool::new(false);

fn world() -> World<'static> {
    World::new("2025-01-17T00:00:00Z".parse().expect("a time"), &GO_ON)
}

fn later(second: u32) -> World<'static> {
    World::new(format!("2025-01-17T00:00:{second:02}Z").parse().expect("a time"), &GO_ON)
}

fn options(agents: &[&str]) -> InstallOptions {
    let names: Vec<_> = agents.iter().map(|&name| name.to_owned()).collect();
    InstallOptions { agents: ShippedAgent::find(&names).expect("known"), ..InstallOptions::default() }
}

/// All files and folders with their contents.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).expect("a folder").flatten() {
            let path = entry.path();
            let is_folder = entry.file_type().expect("a type").is_dir();
            all.insert(path.clone(), (!is_folder).then(|| fs::read(&path).expect("readable")));
            if is_folder {
                open.push(path);
            }
        }
    }
    all
}

fn times(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let all = tree(folder).into_keys().chain([folder.to_owned()]);
    all.map(|path| (path.clone(), fs::metadata(&path).expect("there").modified().expect("a time"))).collect()
}

/// A repository, with these settings if there are any.
fn repository(settings: Option<&str>) -> (tempfile::TempDir, Target) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("README.md"), "mine").expect("written");
    if let Some(settings) = settings {
        write(folder.path(), SETTINGS, settings);
    }
    let target = Target::open(folder.path()).expect("a folder");
    (folder, target)
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
}

fn read(folder: &Path, path: &str) -> String {
    fs::read_to_string(folder.join(path)).expect("readable")
}

fn servers(folder: &Path) -> Value {
    serde_json::from_str::<Value>(&read(folder, SETTINGS)).expect("JSON")["mcpServers"].clone()
}

fn take_back(target: &Target) -> Result<InstallReport, Error> {
    uninstall(target, UninstallOptions::default(), &later(30))
}

/// Repositories in which there is something already.
const BEFORE: [Option<&str>; 4] = [
    None,
    Some("{}\n"),
    Some("{\r\n  \"permissions\": { \"allow\": [ \"a\" ] },\r\n  \"n\": 1.50e+2\r\n}\r\n"),
    Some("{\n  \"mcpServers\": {\n    \"zed\": {\"url\":\"https://x\"}\n  },\n  \"z\": \"\\u00e9\"\n}"),
];

#[test]
fn what_is_installed_is_there_and_taken_back_without_a_trace() {
    for before in BEFORE {
        let (folder, target) = repository(before);
        let was = tree(folder.path());
        let dry = InstallOptions { dry_run: true, ..options(&[]) };
        let report = install(&target, &dry, &world()).expect("it would work");
        assert_eq!(tree(folder.path()), was, "a dry run writes nothing");
        assert_eq!((report.would_install.len(), report.would_merge.len()), (6, 3));

        let report = install(&target, &options(&["tavily", "context7", "tavily"]), &world()).expect("installed");
        assert!(report.success && report.changes_anything());
        assert_eq!(report.checksums.len(), 5);
        let known = servers(folder.path());
        assert!(
            known["tavily"].is_object() && known["context7"].is_object() && known["firecrawl"].is_null(),
            "{known}"
        );
        assert!(folder.path().join(".claude/prompts/tavily-prompts.xml").is_file());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &str| fs::metadata(folder.path().join(path)).expect("there").permissions().mode() & 0o777;
            assert_eq!(
                (mode(".claude/agents/tavily.md"), mode(".claude/agents"), mode(MANIFEST)),
                (0o600, 0o700, 0o600)
            );
        }
        // Once more changes nothing, not even a time.
        let (there, stamps) = (tree(folder.path()), times(folder.path()));
        let again = install(&target, &options(&["context7", "tavily"]), &later(1)).expect("installed");
        assert_eq!(again.conclusion.as_deref(), Some("nothing to do"));
        assert_eq!((tree(folder.path()), times(folder.path())), (there, stamps));
        // A further one adds to it.
        install(&target, &options(&["firecrawl"]), &later(2)).expect("installed");
        assert_eq!(
            servers(folder.path()).as_object().map(|map| map.len()),
            Some(3 + usize::from(known["zed"].is_object()))
        );

        take_back(&target).expect("taken back");
        assert_eq!(tree(folder.path()), was);
        assert_eq!(take_back(&target).expect("nothing").conclusion.as_deref(), Some("nothing installed"));
    }
}

#[test]
fn only_the_settings_are_touched_when_only_they_are_asked_for() {
    let (folder, target) = repository(None);
    let only = InstallOptions { config_only: true, ..options(&["context7"]) };
    install(&target, &only, &world()).expect("installed");
    assert!(!folder.path().join(".claude/agents").exists());
    assert!(servers(folder.path())["context7"].is_object());
}

#[test]
fn what_is_somebody_elses_is_a_conflict_until_forced() {
    let theirs = r#"{"mcpServers":{"context7":{"url":"https://mine"}}}"#;
    let (folder, target) = repository(Some(theirs));
    write(folder.path(), ".claude/agents/context7.md", "my own");
    let was = tree(folder.path());
    let report = install(&target, &options(&[]), &world()).expect("a report");
    let names: Vec<_> = report.conflicts.iter().map(|conflict| conflict.name.as_str()).collect();
    assert_eq!((report.success, names), (false, vec![".claude/agents/context7.md", "context7"]));
    assert_eq!(tree(folder.path()), was);
    let forced = InstallOptions { force: true, ..options(&[]) };
    install(&target, &forced, &world()).expect("forced");
    assert_eq!(read(folder.path(), ".claude/agents/context7.md.backup"), "my own");
    assert_eq!(read(folder.path(), ".claude/settings.json.backup"), theirs);
    assert!(servers(folder.path())["context7"]["command"].is_string());
}

#[test]
fn bad_targets_and_settings_are_refused_and_left_alone() {
    for malformed in ["{ half", "[]", "{\"a\":1,\"a\":2}", "{\"mcpServers\":7}"] {
        let (folder, target) = repository(Some(malformed));
        let was = tree(folder.path());
        let error = install(&target, &options(&[]), &world()).expect_err(malformed);
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(format!("{error} {source}").contains("line 1"), "{error} {source}");
        assert_eq!(tree(folder.path()), was);
    }
    assert!(ShippedAgent::find(&["context8".to_owned()]).is_err());
    assert!(Target::open(Path::new("/nowhere")).is_err());
    #[cfg(unix)]
    for link in [".claude", ".claude/agents", SETTINGS] {
        let (folder, target) = repository(None);
        let elsewhere = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(link);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::os::unix::fs::symlink(elsewhere.path(), path).expect("a link");
        assert!(install(&target, &options(&[]), &world()).is_err(), "{link}");
        assert_eq!(tree(elsewhere.path()), BTreeMap::new());
    }
}

#[test]
fn a_failure_after_any_change_leaves_everything_as_it_was() {
    for before in [BEFORE[0], BEFORE[3]] {
        let mut ends = 0;
        loop {
            let (folder, target) = repository(before);
            let was = tree(folder.path());
            let world = world();
            world.ends.set(Some(ends));
            if install(&target, &options(&[]), &world).is_ok() {
                break;
            }
            assert_eq!(tree(folder.path()), was, "after {ends} changes");
            install(&target, &options(&[]), &self::world()).expect("installed");
            let installed = tree(folder.path());
            world.ends.set(Some(ends));
            if uninstall(&target, UninstallOptions::default(), &world).is_err() {
                assert_eq!(tree(folder.path()), installed, "after {ends} removals");
            }
            ends += 1;
        }
        assert!(ends > 10, "{ends}");
    }
}

#[test]
fn whoever_comes_after_a_killed_one_completes_it_or_takes_it_back() {
    for before in [BEFORE[0], BEFORE[3]] {
        let mut ends = 0;
        loop {
            let mut is_over = true;
            for completes in [true, false] {
                let (folder, target) = repository(before);
                // What is made before anything can be noted is no more than an empty folder.
                fs::create_dir_all(folder.path().join(".claude/configs")).expect("made");
                let was = tree(folder.path());
                let mut world = world();
                world.ends.set(Some(ends));
                world.dies = true;
                is_over &= install(&target, &options(&[]), &world).is_ok();
                if completes {
                    install(&target, &options(&[]), &later(5)).expect("completed");
                    assert_eq!(servers(folder.path())["tavily"]["command"], "npx");
                    assert!(folder.path().join(MANIFEST).is_file());
                    let mut world = later(6);
                    world.ends.set(Some(ends));
                    world.dies = true;
                    let _ = uninstall(&target, UninstallOptions::default(), &world);
                }
                take_back(&target).expect("taken back");
                assert_eq!(tree(folder.path()), was, "killed after {ends} changes");
            }
            if is_over {
                break;
            }
            ends += 1;
        }
    }
}

#[test]
fn what_was_edited_since_stays_and_the_rest_goes() {
    let before = "{\n  \"theme\": \"dark\"\n}\n";
    let (folder, target) = repository(Some(before));
    install(&target, &options(&[]), &world()).expect("installed");
    write(folder.path(), ".claude/agents/tavily.md", "edited");
    let edited = read(folder.path(), SETTINGS).replace("\"dark\"", "\"light\"").replace("tavily-mcp", "my-mcp");
    write(folder.path(), SETTINGS, &edited);
    let restore = UninstallOptions { restore: true, ..UninstallOptions::default() };
    assert!(uninstall(&target, restore, &later(1)).is_err(), "edits would be lost");
    let report = take_back(&target).expect("taken back");
    assert_eq!(report.kept, [".claude/agents/tavily.md", "tavily"]);
    let left: Value = serde_json::from_str(&read(folder.path(), SETTINGS)).expect("JSON");
    assert_eq!((&left["theme"], left["mcpServers"].as_object().map(|map| map.len())), (&json!("light"), Some(1)));
    assert!(!folder.path().join(MANIFEST).exists());

    let (folder, target) = repository(Some(before));
    install(&target, &options(&[]), &world()).expect("installed");
    uninstall(&target, restore, &later(1)).expect("restored");
    assert_eq!(read(folder.path(), SETTINGS), before);
    for broken in [None, Some("{ half")] {
        let (folder, target) = repository(Some(before));
        install(&target, &options(&[]), &world()).expect("installed");
        let backup = folder.path().join(".claude/settings.json.backup");
        match broken {
            None => fs::remove_file(&backup).expect("removed"),
            Some(text) => fs::write(&backup, text).expect("written"),
        }
        let error = uninstall(&target, restore, &later(1)).expect_err("no backup");
        assert!(error.to_string().contains(".claude/settings.json.backup"), "{error}");
        take_back(&target).expect("taken back without it");
        assert_eq!(read(folder.path(), SETTINGS), before);
    }
}

#[test]
fn what_is_restored_is_the_state_before_the_first_install() {
    let restore = UninstallOptions { restore: true, ..UninstallOptions::default() };
    // Settings that an install has made have no state before.
    let (folder, target) = repository(None);
    let was = tree(folder.path());
    install(&target, &options(&["context7"]), &world()).expect("installed");
    install(&target, &options(&["tavily"]), &later(1)).expect("installed");
    uninstall(&target, restore, &later(2)).expect("restored");
    assert_eq!(tree(folder.path()), was);

    // A copy that nobody knows of is not it.
    let before = "{ \"theme\": \"dark\" }";
    let (folder, target) = repository(Some(before));
    write(folder.path(), ".claude/settings.json.backup", "{ \"theme\": \"of long ago\" }");
    install(&target, &options(&["context7"]), &world()).expect("installed");
    uninstall(&target, restore, &later(1)).expect("restored");
    assert_eq!(read(folder.path(), SETTINGS), before);

    // One that is gone is not made of what came later.
    install(&target, &options(&["context7"]), &later(2)).expect("installed");
    fs::remove_file(folder.path().join(".claude/settings.json.backup")).expect("removed");
    install(&target, &options(&["tavily"]), &later(3)).expect("installed");
    let error = uninstall(&target, restore, &later(4)).expect_err("it is gone");
    assert!(error.to_string().contains("settings.json.backup is missing"), "{error}");
    take_back(&target).expect("taken back");
    assert_eq!(read(folder.path(), SETTINGS), before);
}

#[test]
fn every_copy_of_what_is_replaced_by_force_stays() {
    let (folder, target) = repository(None);
    let forced = InstallOptions { force: true, ..options(&["context7"]) };
    for (second, text) in [(0, "first"), (1, "second"), (2, "second")] {
        write(folder.path(), ".claude/agents/context7.md", text);
        let report = install(&target, &forced, &later(second)).expect("forced");
        assert!(report.operation_log.iter().any(|operation| operation.target.contains("context7.md.backup")));
    }
    let copies = [".backup", ".backup.20250117T000001Z"].map(|end| format!(".claude/agents/context7.md{end}"));
    assert_eq!(copies.map(|copy| read(folder.path(), &copy)), ["first", "second"]);
}

#[test]
fn whoever_edits_the_settings_meanwhile_loses_nothing() {
    let theirs = "{ \"theme\": \"light\" }";
    let mut refused = 0;
    for place in 0..20 {
        let (folder, target) = repository(Some("{ \"theme\": \"dark\" }"));
        let (settings, changes) = (folder.path().join(SETTINGS), std::cell::Cell::new(0));
        let edit = || {
            if changes.replace(changes.get() + 1) == place {
                fs::write(&settings, theirs).expect("written");
            }
        };
        let world = World { meanwhile: Some(&edit), ..world() };
        let done = install(&target, &options(&[]), &world);
        let has_come = changes.get() > place;
        let now: Value = serde_json::from_str(&read(folder.path(), SETTINGS)).expect("JSON");
        assert_eq!(now["theme"], if has_come { "light" } else { "dark" }, "edited before change {place}");
        if done.is_err() {
            refused += 1;
            assert_eq!(now["mcpServers"], Value::Null);
            assert!(!folder.path().join(MANIFEST).exists() && !folder.path().join(".claude/agents").exists());
        } else if !has_come {
            break;
        }
    }
    assert!(refused > 5, "{refused}");
}

#[cfg(unix)]
#[test]
fn settings_that_only_their_owner_may_read_stay_so_and_what_cannot_be_written_is_a_bad_target() {
    use std::os::unix::fs::PermissionsExt as _;

    let (folder, target) = repository(Some("{}"));
    let mode = |path: &str| fs::metadata(folder.path().join(path)).expect("there").permissions().mode() & 0o777;
    fs::set_permissions(folder.path().join(SETTINGS), fs::Permissions::from_mode(0o400)).expect("changed");
    install(&target, &options(&["context7"]), &world()).expect("installed");
    assert_eq!((mode(SETTINGS), mode(".claude/settings.json.backup")), (0o400, 0o600));
    take_back(&target).expect("taken back");
    assert_eq!((mode(SETTINGS), read(folder.path(), SETTINGS)), (0o400, "{}".to_owned()));

    fs::set_permissions(folder.path().join(".claude"), fs::Permissions::from_mode(0o500)).expect("changed");
    // Root may write it all the same.
    if rustix::fs::access(folder.path().join(".claude"), rustix::fs::Access::WRITE_OK).is_err() {
        let error = install(&target, &options(&[]), &world()).expect_err("it cannot be written");
        assert!(error.kind() == crate::ErrorKind::Usage && error.to_string().contains("`.claude`"), "{error}");
    }
}

#[test]
fn what_a_killed_install_has_not_put_in_its_place_is_removed_and_nothing_else() {
    let (folder, target) = repository(Some("{}"));
    let ours = [
        ".claude/agents/context7.md.tmp.20250117T000000Z",
        ".claude/settings.json.tmp.rollback",
        ".claude/settings.json.backup.tmp.20250117T000000Z",
        ".claude/settings.json.backup.20250116T000000Z.tmp.20250117T000000Z",
        ".claude/configs/research-agents.json.tmp.20250117T000000Z",
    ];
    let theirs = [".claude/settings.json.tmp.mine", ".claude/agents/mine.md.tmp.20250117T000000Z"];
    ours.iter().chain(&theirs).for_each(|path| write(folder.path(), path, "half"));
    install(&target, &options(&["context7"]), &world()).expect("installed");
    let is_there = |path: &&&str| folder.path().join(path).exists();
    assert_eq!((ours.iter().filter(is_there).count(), theirs.iter().filter(is_there).count()), (0, 2));
}

#[test]
fn an_older_install_is_upgraded_and_a_manifest_that_is_none_is_left_alone() {
    let (folder, target) = repository(None);
    install(&target, &options(&["context7"]), &world()).expect("installed");
    write(folder.path(), ".claude/agents/context7.md", "an older one");
    let old = orchestr8_schema::canonical::sha256_hex("an older one");
    let mut manifest: Value = serde_json::from_str(&read(folder.path(), MANIFEST)).expect("JSON");
    manifest["files"][0]["sha256"] = old.into();
    write(folder.path(), MANIFEST, &manifest.to_string());
    let report = install(&target, &options(&["context7"]), &later(1)).expect("upgraded");
    assert!(report.success && report.changes_anything());
    assert_ne!(read(folder.path(), ".claude/agents/context7.md"), "an older one");

    manifest["schemaVersion"] = "2.0.0".into();
    for unknown in ["{ half", &manifest.to_string()] {
        write(folder.path(), MANIFEST, unknown);
        let was = tree(folder.path());
        assert!(take_back(&target).is_err() && install(&target, &options(&[]), &later(2)).is_err());
        assert_eq!(tree(folder.path()), was);
    }
}

#[test]
fn two_at_once_keep_out_of_each_others_way_and_three_copies_are_kept() {
    let (folder, target) = repository(Some("{}"));
    fs::create_dir_all(folder.path().join(".claude/configs")).expect("made");
    let held = super::lock::Lock::take(&target).expect("free");
    let error = install(&target, &options(&[]), &world()).expect_err("somebody has it");
    assert!(error.to_string().contains("under way"), "{error}");
    held.release();
    for second in 0..5 {
        install(&target, &options(&[]), &later(second)).expect("installed");
        let settings = read(folder.path(), SETTINGS).replace("\"context7\"", &format!("\"renamed{second}\""));
        write(folder.path(), SETTINGS, &settings);
    }
    assert_eq!(super::backup::timed(&target).len(), 3);
    assert_eq!(read(folder.path(), ".claude/settings.json.backup"), "{}", "the first one stays");
}
