//! Prompts in files: what is wrong with them is told where it stands.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{Said, orchestr8, say};

/// A folder with settings, a workflow that asks a model with this prompt, and files of prompts.
fn place(prompt: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    };
    let settings = json!({
        "providers": { "scripted": { "kind": "fake", "script": "script.json" } },
        "models": { "default": "scripted/any" }
    });
    write("settings.json", &settings.to_string());
    write("script.json", r#"[{ "text": "Well." }]"#);
    write(
        "ask.yaml",
        &format!(
            "version: 1.0.0\nmetadata: {{ id: ask, name: Ask }}\nsteps:\n  - id: ask\n    retires: 3\n    agent:\n      \
             id: \"@orchestr8/llm\"\n      config: {{ prompt: {prompt} }}\n    input: {{ name: Ada }}\n"
        ),
    );
    files.iter().for_each(|(path, text)| write(path, text));
    folder
}

fn program(folder: &Path, arguments: &[&str]) -> Said {
    let mut command = orchestr8();
    say(command.current_dir(folder).env("ORCHESTR8_HOME", folder).args(["--config", "settings.json"]).args(arguments))
}

const TASK: &str = "task:\n  name: greet\n  template: |\n    Greet {{ input.name }}.\n";

#[test]
fn what_is_wrong_with_the_file_of_a_prompt_is_drawn_from_that_file() {
    let json = r#"{ "schemaVersion": "1.0.0", "version": "1.0.0", "role": 7, "goals": ["g"], "steps": [] }"#;
    for (prompt, file, text, place, message) in [
        (
            "{ task: greet }",
            "prompts/tasks/greet.yaml",
            format!("{TASK}    By {{{{ nobody }}}}\n"),
            "5:5",
            "there is no `nobody`",
        ),
        (
            "{ task: greet }",
            "prompts/tasks/greet.yaml",
            format!("{TASK}    {{{{ input.\n"),
            "5:5",
            "unexpected end of input",
        ),
        ("{ role: poet }", "prompts/roles/poet.yaml", "role: [".to_owned(), "1:7", "unclosed bracket"),
        ("prompts/poet.json", "prompts/poet.json", json.to_owned(), "1:57", "expected text, found a number (/role)"),
    ] {
        let folder = self::place(prompt, &[(file, &text)]);
        for command in [&["validate"][..], &["run", "--local"]] {
            let said = program(folder.path(), &[command, &["ask.yaml"]].concat());
            assert_eq!(said.code, Some(2), "{} {}", said.stdout, said.stderr);
            assert!(
                said.stderr.contains(&format!("{file}:{place}")) && said.stderr.contains(message),
                "{}",
                said.stderr
            );
        }
    }
    let folder = place("{ role: poet }", &[("prompts/roles/poet.yaml", "role: { name: poet }")]);
    let said = program(folder.path(), &["validate", "ask.yaml"]);
    assert!(said.stderr.contains("neither `role.system` nor `content`"), "{}", said.stderr);
    assert!(said.stderr.contains("--> prompts/roles/poet.yaml"), "{}", said.stderr);

    // What stands in the workflow itself is looked at, too, before anything runs.
    let folder = place("{ task: \"Greet {{ nobody }}\" }", &[]);
    let said = program(folder.path(), &["validate", "ask.yaml"]);
    assert_eq!(said.code, Some(2), "{}", said.stdout);
    assert!(said.stderr.contains("the task of the prompt in line 1: there is no `nobody`"), "{}", said.stderr);
}

#[test]
fn warnings_keep_their_places_when_prompts_are_written_into_the_workflow() {
    let files = [
        ("prompts/roles/editor.yaml", "role: { name: editor, system: You edit. }"),
        ("prompts/personas/strict.yaml", "persona:\n  name: strict\n  extends: poet\n  modifiers: Be strict.\n"),
        ("prompts/tasks/greet.yaml", TASK),
    ];
    let folder = place("{ role: editor, persona: strict, task: greet }", &files);
    for command in [&["validate"][..], &["run", "--local"]] {
        let said = program(folder.path(), &[command, &["ask.yaml"]].concat());
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        for part in [
            "unknown key `retires`",
            "--> ask.yaml:5:5",
            "5 |     retires: 3",
            "the persona extends the role `poet`, and the prompt's is `editor`",
            "--> prompts/personas/strict.yaml:3:3",
            "3 |   extends: poet",
        ] {
            assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
        }
    }
    let verdict = program(folder.path(), &["validate", "ask.yaml", "--json"]);
    let verdict: Value = serde_json::from_str(&verdict.stdout).expect("JSON");
    let found = &verdict["files"][0]["diagnostics"];
    assert_eq!(found.as_array().map(Vec::len), Some(2), "{found:#}");
    assert_eq!((&found[0]["span"]["line"], &found[1]["span"]["line"]), (&json!(5), &json!(3)));
    assert_eq!(found[1]["file"], "prompts/personas/strict.yaml");
}
