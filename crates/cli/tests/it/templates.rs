//! What `init` and `create` write works at once.

use std::{fs, path::Path};

use crate::support::{Said, orchestr8, say};

fn in_folder(folder: &Path, args: &[&str]) -> Said {
    say(orchestr8().current_dir(folder).args(args))
}

#[test]
fn every_template_is_valid_passes_its_test_and_runs() {
    for template in ["hello", "pipeline", "research", "review"] {
        let folder = tempfile::tempdir().expect("a folder");
        let made = in_folder(folder.path(), &["init", "demo", "--template", template]);
        let (workflow, test) = (format!("{template}.yaml"), format!("{template}.test.yaml"));
        assert_eq!(
            made.stdout,
            format!(
                "created demo/{workflow}, demo/{test}, demo/.orchestr8/config.json\n\
                 next: cd demo && orchestr8 run {workflow}\n"
            ),
            "{}",
            made.stderr
        );
        let demo = folder.path().join("demo");
        let valid = in_folder(&demo, &["validate", "--strict", &workflow]);
        assert_eq!((valid.code, valid.stderr.as_str()), (Some(0), ""), "{template}: {}", valid.stdout);
        let passed = in_folder(&demo, &["test", &test]);
        assert_eq!(passed.code, Some(0), "{template}: {}{}", passed.stdout, passed.stderr);
        let ran = in_folder(&demo, &["run", &workflow]);
        assert_eq!(ran.code, Some(0), "{template}: {}", ran.stderr);
        assert!(ran.stderr.contains("Completed in "), "{template}: {}", ran.stderr);
    }
}

#[test]
fn init_overwrites_nothing_unless_it_is_forced() {
    let folder = tempfile::tempdir().expect("a folder");
    let init = |args: &[&str]| in_folder(folder.path(), &[&["init"], args].concat());
    assert_eq!(init(&[]).stdout.lines().last(), Some("next: orchestr8 run hello.yaml"));
    fs::write(folder.path().join("hello.yaml"), "mine").expect("written");
    let refused = init(&[]);
    assert_eq!(
        (refused.code, refused.stderr.as_str()),
        (Some(2), "error: hello.yaml is there already\nhint: --force overwrites it\n")
    );
    assert_eq!(fs::read_to_string(folder.path().join("hello.yaml")).expect("it is there"), "mine");
    assert_eq!(init(&["--force"]).code, Some(0));
    assert_ne!(fs::read_to_string(folder.path().join("hello.yaml")).expect("it is there"), "mine");
}

#[test]
fn a_crate_is_created_that_the_workspace_compiles_as_an_example() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = in_folder(folder.path(), &["create", "@acme/summarizer"]);
    assert_eq!(made.stdout, "created summarizer/ (5 files)\nnext: cd summarizer && cargo test\n", "{}", made.stderr);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/summarizer");
    for file in ["src/agent.rs", "src/main.rs", "workflow.yaml", "README.md"] {
        let created = fs::read_to_string(folder.path().join("summarizer").join(file)).expect("it was written");
        if std::env::var_os("ORCHESTR8_RENEW").is_some() {
            fs::create_dir_all(example.join(file).parent().expect("it has one")).expect("a folder");
            fs::write(example.join(file), &created).expect("written");
        }
        let compiled = fs::read_to_string(example.join(file)).unwrap_or_default();
        assert_eq!(created, compiled, "{file}: ORCHESTR8_RENEW=1 renews it");
    }
    let manifest = fs::read_to_string(folder.path().join("summarizer/Cargo.toml")).expect("it was written");
    // As long as they are not published, the clone is where they are.
    let (version, path) = (env!("CARGO_PKG_VERSION"), env!("CARGO_MANIFEST_DIR"));
    let dependency = format!(r#"orchestr8-cli = {{ version = "{version}", path = "{path}" }}"#);
    assert!(manifest.contains(&dependency), "{manifest}");
}

#[test]
fn what_is_no_name_of_an_agent_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["", "@acme", "@/x", "@acme/", "a/b", "../x", "a b", "Ää", "1st", "@a/b/c"] {
        let refused = in_folder(folder.path(), &["create", "--", name]);
        assert_eq!(refused.code, Some(2), "{name}: {}", refused.stdout);
    }
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
}
