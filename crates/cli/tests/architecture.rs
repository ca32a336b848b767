//! Holds the architecture: which crate may import which, and what must be absent where.
//!
//! The tests read manifests, sources and `cargo tree`; they need no network and none of our code.
//! `docs/src/architecture.md` says why each rule exists.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Dependency, DependencyKind, Metadata, MetadataCommand, Package};

/// What each crate of ours may import. A new arrow is a decision: argue it in the commit that adds it here.
const ARROWS: [(&str, &[&str]); 6] = [
    ("orchestr8-schema", &[]),
    ("orchestr8-resilience", &[]),
    ("orchestr8-agent-base", &["orchestr8-schema", "orchestr8-resilience"]),
    ("orchestr8-core", &["orchestr8-schema", "orchestr8-resilience", "orchestr8-agent-base"]),
    (TESTING, &["orchestr8-schema", "orchestr8-resilience", "orchestr8-agent-base", "orchestr8-core"]),
    ("orchestr8-cli", &["orchestr8-schema", "orchestr8-resilience", "orchestr8-agent-base", "orchestr8-core", TESTING]),
];

const TESTING: &str = "orchestr8-testing";

/// Members that are never published and may import everything.
const UNPUBLISHED: [&str; 2] = ["examples", "benches"];

/// What an embedder of the engine must not have to compile.
const ABSENT_FROM_CORE: [&str; 7] = ["axum", "clap", "granit-parser", "hyper", "opentelemetry", "reqwest", "rusqlite"];

/// What the machine may not even name: runtimes, clocks, chance, locks, logs.
const ABSENT_FROM_MACHINE: [&str; 10] =
    ["tokio", "async", "await", "tracing", "Mutex", "RwLock", "Instant", "SystemTime", "fastrand", "thread"];

#[test]
fn every_member_has_a_place_in_the_architecture() {
    for package in &workspace().packages {
        let name = package.name.as_str();
        assert!(
            allowed_imports(name).is_some() || UNPUBLISHED.contains(&name),
            "`{name}` is a member of the workspace but has no row in ARROWS: say what it may import"
        );
    }
}

#[test]
fn arrows_between_crates_hold() {
    let metadata = workspace();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some(allowed) = allowed_imports(&package.name) else {
            continue;
        };
        for dependency in our_dependencies(&metadata, package) {
            let name = dependency.name.as_str();
            let is_for_tests = dependency.kind == DependencyKind::Development;
            if allowed.contains(&name) || (is_for_tests && name == TESTING) {
                continue;
            }
            wrong.push(format!("{} -> {name} ({})", package.name, section(dependency.kind)));
        }
    }
    assert!(
        wrong.is_empty(),
        "these arrows point the wrong way; move the code to where it may be used, or argue the arrow in ARROWS:\n  {}",
        wrong.join("\n  ")
    );
}

#[test]
fn testing_is_reached_from_below_by_path_and_by_integration_tests_only() {
    let metadata = workspace();
    for package in &metadata.packages {
        let Some(allowed) = allowed_imports(&package.name) else {
            continue;
        };
        if package.name == TESTING || allowed.contains(&TESTING) {
            continue;
        }
        for dependency in our_dependencies(&metadata, package) {
            assert!(
                dependency.name != TESTING || dependency.req.to_string() == "*",
                "{} names a version of {TESTING}: below it, a crate could not be published for the cycle. \
                 Write `{TESTING} = {{ path = \"../testing\" }}` under [dev-dependencies]",
                package.name
            );
        }
        for file in files_below(&folder(package).join("src"), &["rs"]) {
            assert!(
                !read(&file).contains("orchestr8_testing"),
                "{} uses orchestr8_testing: there it would see a second copy of its own crate. Move the test to tests/",
                file.display()
            );
        }
    }
}

#[test]
fn resilience_never_says_agent() {
    for file in files_below(&root().join("crates/resilience"), &["rs", "toml", "md"]) {
        for (number, line) in (1..).zip(read(&file).lines()) {
            assert!(
                !line.to_lowercase().contains("agent"),
                "{}:{number} says \"agent\": resilience serves any tower service, and knows none in particular\n  {line}",
                file.display()
            );
        }
    }
}

#[test]
fn core_with_default_features_spares_the_embedder() {
    let packages = dependency_tree("orchestr8-core");
    for package in ABSENT_FROM_CORE {
        assert!(
            !packages.iter().any(|found| found == package || found.starts_with(&format!("{package}-"))),
            "orchestr8-core pulls in `{package}` with default features; put it behind a feature that is off. \
             Who brings it: cargo tree -p orchestr8-core -e normal -i {package}"
        );
    }
}

#[test]
fn machine_names_no_runtime_clock_chance_lock_or_log() {
    let folder = root().join("crates/core/src/machine");
    let files = files_below(&folder, &["rs"]);
    assert!(!files.is_empty(), "no sources in {}: if the machine moved, this test moves with it", folder.display());
    for file in files {
        for (number, line) in (1..).zip(read(&file).lines()) {
            let code = line.split("//").next().unwrap_or(line);
            let found =
                code.split(|c: char| !c.is_alphanumeric() && c != '_').find(|word| ABSENT_FROM_MACHINE.contains(word));
            assert!(
                found.is_none(),
                "{}:{number} says `{}`: the machine decides and does nothing; what varies enters as an event\n  {line}",
                file.display(),
                found.unwrap_or_default()
            );
        }
    }
}

#[test]
fn versions_stand_only_in_the_workspace_manifest() {
    for package in &workspace().packages {
        let manifest = package.manifest_path.as_std_path();
        for (number, line) in dependency_lines(&read(manifest)) {
            assert!(
                !names_a_source(&line),
                "{}:{number} chooses a version or a source of its own; \
                 put it in [workspace.dependencies] and write `workspace = true`\n  {line}",
                manifest.display()
            );
        }
    }
}

#[test]
fn lints_hold_in_every_crate() {
    let workspace_manifest = read(&root().join("Cargo.toml"));
    let lints = table(&workspace_manifest, "[workspace.lints.rust]");
    assert!(
        lints.iter().any(|line| line.replace(' ', "") == r#"unsafe_code="forbid""#),
        "[workspace.lints.rust] no longer says unsafe_code = \"forbid\""
    );
    assert!(
        !workspace_manifest.replace(' ', "").contains(r#"panic="abort""#),
        "a profile aborts on panic: the engine must catch the panic of an agent, so profiles unwind"
    );
    for package in &workspace().packages {
        let manifest = package.manifest_path.as_std_path();
        let inherits = table(&read(manifest), "[lints]").iter().any(|line| line.replace(' ', "") == "workspace=true");
        assert!(
            inherits,
            "{} does not inherit the lints of the workspace: add [lints] with `workspace = true`",
            manifest.display()
        );
    }
}

// === packages ===

fn workspace() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo reads the manifests of the workspace it is building")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("this crate stands in crates/cli").to_owned()
}

fn folder(package: &Package) -> &Path {
    package.manifest_path.parent().expect("a manifest stands in a folder").as_std_path()
}

fn allowed_imports(package: &str) -> Option<&'static [&'static str]> {
    ARROWS.iter().find(|(name, _)| *name == package).map(|(_, allowed)| *allowed)
}

fn our_dependencies<'a>(metadata: &'a Metadata, package: &'a Package) -> impl Iterator<Item = &'a Dependency> {
    package
        .dependencies
        .iter()
        .filter(|dependency| metadata.packages.iter().any(|member| member.name == dependency.name))
}

fn section(kind: DependencyKind) -> &'static str {
    match kind {
        DependencyKind::Development => "[dev-dependencies]",
        DependencyKind::Build => "[build-dependencies]",
        _ => "[dependencies]",
    }
}

/// The names of all packages that `package` compiles for its users. The workspace's metadata would not do: there,
/// features are those of all members together.
fn dependency_tree(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}", "--package", package])
        .output()
        .expect("the cargo that built this test can be started");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let names: Vec<String> =
        stdout.lines().filter_map(|line| line.split_whitespace().next()).map(String::from).collect();
    assert!(
        output.status.success() && names.iter().any(|name| name == package),
        "cargo tree -p {package} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    names
}

// === manifests ===

/// The lines of all dependency tables of a manifest, with their numbers and without comments.
fn dependency_lines(manifest: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut is_inside = false;
    for (number, line) in (1..).zip(manifest.lines()) {
        let line = line.split('#').next().unwrap_or(line).trim();
        if line.starts_with('[') && line.ends_with(']') {
            is_inside = line.contains("dependencies");
        } else if is_inside && line.contains('=') {
            lines.push((number, line.to_owned()));
        }
    }
    lines
}

/// Whether a line of a dependency table says where a package comes from. A path alone, to a neighbour, is allowed.
fn names_a_source(line: &str) -> bool {
    line.split(['{', ',']).filter_map(|part| part.split_once('=')).any(|(key, value)| {
        let key = key.trim().rsplit('.').next().unwrap_or(key);
        let is_source = matches!(key, "version" | "git" | "registry");
        let is_bare_version = value.trim().starts_with('"') && !matches!(key, "path" | "package");
        is_source || is_bare_version
    })
}

/// The lines of one table of a manifest.
fn table<'a>(manifest: &'a str, header: &str) -> Vec<&'a str> {
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .collect()
}

// === files ===

fn files_below(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("the repository can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .and_then(|extension| extension.to_str())
                .is_some_and(|extension| extensions.contains(&extension))
            {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).expect("the repository's sources are readable UTF-8")
}
