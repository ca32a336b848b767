//! What the book says of the language: its examples are valid, its tables evaluate to what they say, its errors are all errors.
#![cfg(feature = "yaml")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

use std::path::{Path, PathBuf};

mod common;
#[path = "common/mistakes.rs"]
#[allow(dead_code, reason = "its registry is used, its table is not")]
mod mistakes;

use common::Shown;
use orchestr8_schema::{
    Code, ErrorKind, ValidWorkflow,
    source::{Options, load},
    validate::{LoadError, WorkflowLoader},
};
use serde_json::{Value, json};

/// Every file that is referred to, the same.
struct Greeting;

impl WorkflowLoader for Greeting {
    fn resolve(&self, reference: &str, _: Option<&str>) -> Result<String, LoadError> {
        Ok(reference.to_owned())
    }

    fn read(&self, _: &str) -> Result<Vec<u8>, LoadError> {
        Ok(file("- { id: leaf, agent: { id: \"@orchestr8/hello-world\" } }").into_bytes())
    }
}

/// Puts steps into a file.
fn file(steps: &str) -> String {
    let indented: String = steps.lines().map(|line| format!("  {line}\n")).collect();
    format!("version: 1.0.0\nmetadata: {{ id: w, name: W }}\nsteps:\n{indented}")
}

#[test]
fn every_example_is_valid() {
    let pages = [
        include_str!("../../../docs/src/workflow-language.md"),
        include_str!("../../../docs/src/resilience.md"),
        include_str!("../../../docs/src/compensation.md"),
        include_str!("../../../docs/src/effects.md"),
    ];
    let examples = pages.iter().flat_map(|page| page.split("```yaml\n").skip(1));
    let examples: Vec<&str> = examples.map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert!(examples.len() >= 16, "the pages have examples");
    for example in examples {
        let text = if example.starts_with("- ") { file(example) } else { example.to_owned() };
        match load(&text, &Options::new().strict(true).workflows(&Greeting).file_name("example.yaml")) {
            Ok(valid) => assert_eq!(valid.warnings(), [], "{text}"),
            Err(invalid) => panic!("{:#?}\n{text}", invalid.diagnostics()),
        }
    }
}

/// The rows of all tables of a page below a heading row, cell by cell, without the quotes of code.
fn rows<'p>(page: &'p str, heading: &str) -> Vec<Vec<&'p str>> {
    let tables = page.split(heading).skip(1);
    let lines = tables.flat_map(|table| table.lines().skip(2).take_while(|line| line.starts_with('|')));
    let cell = |cell: &'p str| {
        let cell = cell.trim();
        let inner =
            cell.strip_prefix("`` ").or_else(|| cell.strip_prefix("``")).and_then(|cell| cell.strip_suffix("``"));
        let inner = inner.or_else(|| cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')));
        inner.map_or(cell, str::trim)
    };
    lines
        .map(|line| {
            // A bar within quotes of code is part of it.
            let mut cells = vec![];
            let (mut start, mut is_code) = (1, false);
            for (at, byte) in line.bytes().enumerate().skip(1) {
                match byte {
                    b'`' => is_code = !is_code,
                    b'|' if !is_code => {
                        cells.push(cell(&line[start..at]));
                        start = at + 1;
                    }
                    _ => {}
                }
            }
            cells
        })
        .collect()
}

#[test]
fn expressions_and_conditions_give_what_the_guide_says() {
    let page = include_str!("../../../docs/src/expressions.md");
    let shown = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let roots: Value = serde_json::from_str(shown).unwrap();
    let with = |reader: Value| {
        let mut workflow = common::workflow(json!([{ "id": "fetch" }, { "id": "search" }, reader]));
        workflow["context"] = json!({ "variables": roots["variables"] });
        ValidWorkflow::from_value(&workflow).unwrap_or_else(|invalid| panic!("{:#?}", invalid.diagnostics()))
    };
    let templates = rows(page, "| template | gives |");
    for row in &templates {
        let [template, gives] = &row[..] else { panic!("{row:?}") };
        let workflow = with(json!({ "id": "reader", "dependencies": ["fetch"], "input": { "value": template } }));
        let value = workflow.steps()[2].input.resolve(&Shown { workflow: &workflow, roots: roots.clone() });
        match *gives {
            "fails" => assert!(value.is_err(), "{template}"),
            gives => {
                let gives: Value = serde_json::from_str(gives).unwrap();
                assert_eq!(value.unwrap()["value"], gives, "{template}");
            }
        }
    }
    let conditions = rows(page, "| condition | |").into_iter().map(|row| (json!({ "if": row[0] }), row[1]));
    let compared = rows(page, "| expression | operator | value | |").into_iter().map(|row| {
        let value: Value = serde_json::from_str(row[2]).unwrap();
        (json!({ "expression": row[0], "operator": row[1], "value": value }), row[3])
    });
    let conditions: Vec<_> = conditions.chain(compared).collect();
    for (condition, holds) in &conditions {
        let workflow = with(json!({ "id": "reader", "dependencies": ["fetch"], "condition": condition }));
        let scope = Shown { workflow: &workflow, roots: roots.clone() };
        let result = workflow.steps()[2].condition.as_ref().unwrap().holds(&scope).unwrap();
        assert_eq!(result.to_string(), *holds, "{condition}");
    }
    assert!(templates.len() > 20 && conditions.len() > 15, "the page has tables");
}

#[test]
fn every_error_is_explained() {
    let page = include_str!("../../../docs/src/errors.md");
    let entries: Vec<(&str, &str)> =
        page.split("\n### ").skip(1).map(|entry| entry.split_once('\n').unwrap()).collect();
    for code in Code::ALL {
        let severity = code.severity().to_string()[..1].to_uppercase();
        let heading = format!("{code} ({severity}): ");
        let found: Vec<_> = entries.iter().filter(|(title, _)| title.starts_with(&heading)).collect();
        let [(_, entry)] = &found[..] else { panic!("{heading} stands on the page {} times", found.len()) };
        let examples = entry.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
        for (number, example) in examples.enumerate() {
            let text = if example.starts_with("- ") { file(example) } else { example.to_owned() };
            let found = match load(&text, &mistakes::options().file_name("workflow.yaml")) {
                Ok(valid) => valid.warnings().to_vec(),
                Err(invalid) => invalid.into_diagnostics(),
            };
            let codes: Vec<Code> = found.iter().map(|diagnostic| diagnostic.code).collect();
            // The first has the mistake, the second does not.
            let expected = if number == 0 { vec![*code] } else { vec![] };
            assert_eq!(codes, expected, "{found:#?}\n{text}");
        }
    }
    for kind in ErrorKind::ALL {
        assert_eq!(entries.iter().filter(|(title, _)| *title == kind.code()).count(), 1, "{kind}");
    }
    let known = |title: &str| {
        let is_code = title.split(' ').next().is_some_and(|code| Code::ALL.iter().any(|known| known.as_str() == code));
        is_code || title.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    assert_eq!(
        entries.iter().map(|(title, _)| *title).filter(|title| !known(title)).collect::<Vec<_>>(),
        [] as [&str; 0]
    );
}

/// The anchor that a book gives to a heading.
fn anchor(heading: &str) -> String {
    let words = heading.trim().to_lowercase().replace(' ', "-");
    words.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

/// Everything between `](` and `)` of a page, code apart.
fn links(page: &str) -> Vec<&str> {
    let prose = page.split("```").step_by(2);
    prose.flat_map(|text| text.split("](").skip(1)).filter_map(|rest| rest.split(')').next()).collect()
}

/// All files below a folder that end in something.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if path.ends_with("node_modules") => {}
            true => files(&path, ending, found),
            false if path.to_string_lossy().ends_with(ending) => found.push(path),
            false => {}
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

#[test]
fn every_test_that_the_security_review_names_exists() {
    let crates = root().join("crates");
    let (mut sources, mut scripts) = (Vec::new(), Vec::new());
    files(&crates, ".rs", &mut sources);
    files(&crates, ".test.js", &mut scripts);
    let code: String = sources.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let page = include_str!("../../../docs/src/security.md");
    let shown: Vec<&str> = rows(page, "| threat | what stops it | shown by |").iter().map(|row| row[2]).collect();
    let names: Vec<&str> = shown.iter().flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`')).collect();
    for name in names.iter().filter(|name| !name.is_empty()) {
        let exists = scripts.iter().any(|path| path.ends_with(name)) || code.contains(&format!("fn {name}("));
        assert!(exists, "there is no test `{name}`");
    }
    assert!(names.len() > 30, "the page has tables");
}

#[test]
fn every_page_is_in_the_book_and_every_link_leads_somewhere() {
    let root = root();
    let mut all = Vec::new();
    files(&root.join("docs/src"), ".md", &mut all);
    let summary = std::fs::read_to_string(root.join("docs/src/SUMMARY.md")).unwrap();
    let listed: Vec<PathBuf> = links(&summary).into_iter().map(|link| root.join("docs/src").join(link)).collect();
    for page in &all {
        let is_listed = listed.contains(page) || page.ends_with("SUMMARY.md");
        assert!(is_listed, "{} is not in the summary", page.display());
    }
    all.extend(["README.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    for page in &all {
        let text = std::fs::read_to_string(page).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
            if !place.is_empty() {
                let target = std::fs::read_to_string(target).unwrap();
                let headings = target.lines().filter(|line| line.starts_with('#'));
                let found = headings.map(|line| anchor(line.trim_start_matches('#'))).any(|anchor| anchor == place);
                assert!(found, "{}: {link} names no heading", page.display());
            }
        }
    }
}
