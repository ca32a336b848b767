//! Input that nobody means well with: it is refused with a diagnostic, and never with a panic, a hang or a large bill.
#![cfg(feature = "yaml")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

mod common;
#[path = "common/generate.rs"]
mod generate;

use common::workflow;
use generate::{Document, any_workflow, options, to_yaml};
use orchestr8_schema::{
    Diagnostic, InvalidWorkflow, ValidWorkflow,
    jmespath::JmesPath,
    source::{Format, Options, load, load_value, parse},
};
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

fn diagnostics(result: Result<ValidWorkflow, InvalidWorkflow>) -> Vec<Diagnostic> {
    match result {
        Ok(valid) => valid.warnings().to_vec(),
        Err(invalid) => invalid.into_diagnostics(),
    }
}

/// The first problem of a text, as `code message`.
fn first(text: impl AsRef<[u8]>) -> String {
    match diagnostics(load(text, &options().file_name("w"))).first() {
        Some(found) => format!("{} {}", found.code, found.message),
        None => "valid".to_owned(),
    }
}

/// A step in YAML, with some lines.
fn yaml(lines: &str) -> String {
    format!(
        "version: 1.0.0\nmetadata: {{ id: w, name: W }}\nsteps:\n  - id: a\n    agent: {{ id: \"@acme/agent\" }}\n{lines}"
    )
}

/// A step in JSON, with some fields.
fn json_text(fields: &str) -> String {
    format!(
        "{{\"version\":\"1.0.0\",\"metadata\":{{\"id\":\"w\",\"name\":\"W\"}},\"steps\":[{{\"id\":\"a\",\"agent\":{{\"id\":\"@acme/agent\"}}{fields}}}]}}"
    )
}

#[test]
fn each_trap_has_its_answer() {
    let table: Vec<(&str, String, &str)> = vec![
        ("lone surrogate", json_text(r#","name":"\ud800""#), "O8001"),
        ("lone low surrogate", json_text(r#","input":{"\udc00":1}"#), "O8001"),
        ("a pair is a character", json_text(r#","name":"\ud83d\ude00""#), "valid"),
        ("byte order mark", format!("\u{feff}{}", yaml("")), "valid"),
        ("byte order mark in the middle", yaml("    \u{feff}name: x\n"), "O8"),
        ("CRLF", yaml("    name: x\n").replace('\n', "\r\n"), "valid"),
        ("CR alone", json_text(",\r\"name\":\"x\""), "valid"),
        ("tabs as indentation", yaml("\tname: x\n"), "O8001 a tab cannot indent"),
        ("a tab after spaces", yaml("    \tname: x\n"), "O8001 a tab cannot indent"),
        ("tabs between tokens", json_text("\t,\t\"name\"\t:\t\"x\"\t"), "valid"),
        ("NUL in YAML", yaml("    name: a\0b\n"), "O8"),
        ("NUL in JSON", json_text(",\"name\":\"a\0b\""), "O8001"),
        ("escaped NUL", json_text(r#","name":"a\u0000b""#), "valid"),
        ("number beyond f64", json_text(r#","input":{"n":1e999}"#), "O8001"),
        ("number beyond f64 in YAML", yaml("    input: { n: 1e999 }\n"), "O8001 `1e999` is no number"),
        ("integer beyond u64", json_text(r#","input":{"n":99999999999999999999999}"#), "valid"),
        (
            "integer beyond i64 where one is meant",
            json_text(r#","policies":{"retry":{"maxAttempts":99999999999999999999}}"#),
            "O8501",
        ),
        ("negative", json_text(r#","policies":{"deadline":-1}"#), "O8501"),
        ("duration beyond u64", json_text(r#","policies":{"deadline":"99999999999999999999h"}"#), "O8103"),
        ("duration that overflows", json_text(r#","policies":{"deadline":"9999999999999999999h"}"#), "O8103"),
        ("NaN", yaml("    input: { n: .nan }\n"), "O8001 `.nan` is no number"),
        ("infinity", yaml("    input: { n: -.inf }\n"), "O8001"),
        ("NaN in JSON is text in YAML", json_text(r#","input":{"n":NaN}"#), "valid"),
        ("merge key", yaml("    <<: { name: x }\n"), "O8104 unknown key `<<`"),
        ("merge keys twice", yaml("    <<: { name: x }\n    <<: { name: y }\n"), "O8002 `<<` is given twice"),
        ("merged alias", format!("x-a: &a {{ name: x }}\n{}", yaml("    <<: *a\n    name: y\n")), "O8104"),
        ("alias as a key", format!("x-a: &a name\n{}", yaml("    *a : x\n    name: y\n")), "O8002"),
        ("anchor in itself", "a: &a [*a]".to_owned(), "O8001"),
        ("unknown alias", "a: *b".to_owned(), "O8001"),
        ("tag", yaml("    name: !!python/object:os.system x\n"), "O8001"),
        ("binary tag", yaml("    name: !!binary aGk=\n"), "O8001"),
        ("key `__proto__`", yaml("    __proto__: { x: 1 }\n"), "O8104"),
        ("data under `__proto__`", yaml("    input: { __proto__: { x: 1 } }\n"), "valid"),
        ("path through `__proto__`", yaml("    input: { x: \"${inputs['__proto__']}\" }\n"), "O8305"),
        ("variable `__proto__`", format!("context: {{ variables: {{ __proto__: 1 }} }}\n{}", yaml("")), "O8305"),
        ("capture as `constructor`", yaml("    output: { capture: [constructor] }\n"), "O8305"),
        ("two documents", format!("{}---\n{}", yaml(""), yaml("")), "O8001"),
        ("end of a document", format!("{}...\n", yaml("")), "valid"),
        ("key that is a list", "? [a]\n: 1".to_owned(), "O8001"),
        ("null for everything", "version:\nmetadata:\nsteps:\n".to_owned(), "O8101"),
        ("only white space", " \n\t\n".to_owned(), "O8001"),
        ("only a comment", "# nothing\n".to_owned(), "O8001"),
        ("a text", "hello".to_owned(), "O8007"),
        ("path with a huge index", yaml("    input: { x: \"${inputs.a[99999999999999999999]}\" }\n"), "O8301"),
        ("slice by nothing", yaml("    condition: { if: 'inputs.a[::0]' }\n"), "valid"),
        ("direction marks in an id", yaml("").replace("id: a", "id: \"a\u{202e}b\""), "O8103"),
    ];
    let wrong: Vec<_> = table
        .iter()
        .map(|(name, text, expected)| (name, first(text), expected))
        .filter(|(_, found, expected)| !found.starts_with(**expected))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn thousands_of_duplicates_at_a_long_place_do_not_add_up() {
    let text = format!("{{\"{}\":{{{}\"a\":1}}}}", "x".repeat(1 << 16), "\"a\":1,".repeat(5_000));
    for format in [Format::Json, Format::Yaml] {
        let invalid = parse(&text, &Options::new().format(format)).unwrap_err();
        assert_eq!(invalid.diagnostics().len(), 64);
    }
}

#[test]
fn a_tab_that_indents_is_shown_where_it_is() {
    for text in [yaml("\tname: x\n"), yaml("    name: x\n  \ttimeout: 1s\n"), "\tversion: 1.0.0\n".to_owned()] {
        let found = diagnostics(load(&text, &options()));
        let before = &text[..text.find('\t').unwrap()];
        let line = u32::try_from(before.matches('\n').count() + 1).unwrap();
        assert_eq!(found.first().and_then(|found| found.span).map(|span| span.line), Some(line), "{text}");
    }
}

#[test]
fn a_megabyte_in_one_place_is_answered_at_once() {
    let long = "x".repeat(1 << 20);
    let check = |step: Value| diagnostics(load_value(&workflow(json!([step])), &Options::new()));
    let code = |step: Value| check(step).first().map(|found| found.code.as_str());
    assert_eq!(code(json!({ "id": long })), Some("O8103"));
    assert_eq!(code(json!({ "id": "a", "name": long })), Some("O8103"));
    assert_eq!(code(json!({ "id": "a", "dependencies": [long] })), Some("O8103"));
    assert_eq!(code(json!({ "id": "a", "condition": { "if": long } })), Some("O8306"));
    assert_eq!(code(json!({ "id": "a", "input": { "v": format!("${{inputs.{long}}}") } })), None);
    assert_eq!(code(json!({ "id": "a", "input": { "v": format!("${{{long}}}") } })), Some("O8304"));
    assert_eq!(code(json!({ "id": "a", "input": { "v": format!("${{inputs.a ?? '{long}'}}") } })), Some("O8306"));
    assert_eq!(code(json!({ "id": "a", "input": { "v": "${".repeat(1 << 19) } })), Some("O8301"));
    assert_eq!(code(json!({ "id": "a", "input": { "v": "$".repeat(1 << 20) } })), None);
    assert_eq!(code(json!({ "id": "a", &long: 1 })), Some("O8104"));
    for found in check(json!({ "id": "a", &long: 1, "name": 5, "agent": { "id": long } })) {
        assert!(found.message.len() < 500, "a message does not repeat everything");
    }
    let many: Vec<Value> =
        (0..9_000).map(|index| json!({ "id": format!("s{index}"), "x": 1, "dependencies": ["no"] })).collect();
    assert!(diagnostics(load_value(&workflow(Value::Array(many)), &Options::new())).len() <= 1001);
}

#[test]
fn scopes_in_scopes_end_before_the_stack_does() {
    let nested = |depth: usize| {
        let mut step = json!({ "id": "leaf", "agent": { "id": "@acme/agent" } });
        for level in 0..depth {
            step = json!({ "id": format!("l{level}"), "parallel": { "steps": [step] } });
        }
        json!({ "version": "1.0.0", "metadata": { "id": "w", "name": "W" }, "steps": [step] })
    };
    let check = move || {
        assert_eq!(first(nested(20).to_string()), "valid");
        // As text the document's own depth ends it, as a value the steps'.
        assert!(first(nested(21).to_string()).starts_with("O8004"));
        assert!(load_value(&nested(21), &Options::new()).is_ok());
        let too_deep = diagnostics(load_value(&nested(400), &Options::new()));
        assert_eq!(too_deep[0].code.as_str(), "O8004");
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("(", ")"), ("!", ""), ("a.", ""), ("a || ", ""), ("&", "")]
        {
            let text = format!("{}inputs{}", open.repeat(10_000), close.repeat(10_000));
            let _ = JmesPath::compile(&text);
            let _ = load_value(&workflow(json!([{ "id": "a", "condition": { "if": text.clone() } }])), &Options::new());
            let template = format!("${{inputs.a ?? {text}}}");
            let _ = load_value(&workflow(json!([{ "id": "a", "input": { "x": template } }])), &Options::new());
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(check).unwrap().join().unwrap();
}

#[test]
fn bombs_and_towers_are_refused_before_anything_grows() {
    const DEEP: usize = 10_000;
    let check = || {
        let billion = |open: &str, between: &str, close: &str| {
            let layer = |level: usize| {
                let parts: Vec<_> = (0..9).map(|part| format!("{part}{between}*a{}", level - 1)).collect();
                let parts: Vec<_> = parts.iter().map(|part| if open == "[" { &part[2..] } else { part }).collect();
                format!("a{level}: &a{level} {open}{}{close}\n", parts.join(", "))
            };
            format!("a0: &a0 lol\n{}", (1..30).map(layer).collect::<String>())
        };
        let table = [
            ("lists of aliases", billion("[", "  ", "]"), "O8005"),
            ("objects of aliases", billion("{", ": ", "}"), "O8005"),
            (
                "aliases of a tower",
                format!("a: &a {}1{}\nb: {}*a{}\n", "[".repeat(60), "]".repeat(60), "[".repeat(10), "]".repeat(10)),
                "O8004",
            ),
            ("an anchor on each level", (0..DEEP).map(|level| format!("&a{level} [")).collect(), "O8004"),
            ("lists in JSON", format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP)), "O8004"),
            ("lists without end", "[".repeat(DEEP), "O8004"),
            ("objects in JSON", format!("{}1{}", "{\"a\":".repeat(DEEP), "}".repeat(DEEP)), "O8004"),
            ("objects and lists", format!("{}1{}", "{\"a\":[".repeat(DEEP), "]}".repeat(DEEP)), "O8004"),
            ("flow in YAML", format!("a: {}{}", "[".repeat(DEEP), "]".repeat(DEEP)), "O8004"),
            ("objects in YAML", format!("a: {}1{}", "{b: ".repeat(DEEP), "}".repeat(DEEP)), "O8004"),
            ("a staircase of dashes", format!("{}1", "- ".repeat(DEEP)), "O8004"),
            ("a staircase of keys", (0..200).map(|level| format!("{}a:\n", " ".repeat(level))).collect(), "O8004"),
            ("questions", "? ".repeat(DEEP), "O8"),
            ("a megabyte of text in YAML", yaml(&format!("    name: {}\n", "x".repeat(1 << 20))), "O8103"),
            ("a megabyte of text in quotes", yaml(&format!("    name: \"{}\"\n", "\\u0041".repeat(1 << 18))), "O8103"),
            ("a megabyte as a key", yaml(&format!("    {}: 1\n", "x".repeat(1 << 20))), "O8"),
            ("a megabyte in one block", yaml(&format!("    name: |\n{}", "      x\n".repeat(1 << 17))), "O8103"),
            ("a megabyte of commas", ",".repeat(1 << 20), "O8001"),
            ("a megabyte of digits", json_text(&format!(",\"input\":{{\"n\":{}}}", "9".repeat(1 << 20))), "O8"),
        ];
        let wrong: Vec<_> = table
            .iter()
            .map(|(name, text, expected)| (name, first(text), expected))
            .filter(|(_, found, expected)| !found.starts_with(**expected))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    };
    // A small stack shows what recurses.
    std::thread::Builder::new().stack_size(1 << 20).spawn(check).unwrap().join().unwrap();
}

/// What is put into documents: texts that mean something to one parser or another, and values at the ends of their types.
const PIECES: &[&str] = &[
    "${",
    "}",
    "$${",
    "??",
    "||",
    "'",
    "\"",
    "`",
    "\\",
    "\\ud800",
    "{",
    "[",
    "]",
    ":",
    ": ",
    "- ",
    "\n",
    "\r\n",
    "\t",
    " ",
    ",",
    "&a ",
    "*a",
    "!!str ",
    "|",
    ">",
    "#",
    "---\n",
    "null",
    "~",
    "true",
    ".nan",
    "1e999",
    "-1",
    "99999999999999999999",
    "0x",
    "steps.",
    "inputs",
    "item",
    "self",
    "loop.value",
    "@",
    "*",
    "__proto__",
    "\0",
    "\u{feff}",
    "\u{202e}",
    "ü",
    "😀",
    "<<",
    "steps",
    "agent",
    "map",
    "branch",
    "default",
    "dependencies",
    "condition",
    "if",
];

/// Changes a text in a few places: a piece put in, a part taken out, repeated, or moved.
fn garble(text: &str, edits: &[(u8, Index, Index)]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (kind, first, second) in edits {
        if bytes.is_empty() {
            break;
        }
        let start = first.index(bytes.len());
        let end = (start + second.index(40)).min(bytes.len());
        match kind % 5 {
            0 => drop(bytes.splice(start..start, PIECES[second.index(PIECES.len())].bytes())),
            1 => drop(bytes.drain(start..end)),
            2 => {
                let part = bytes[start..end].to_vec();
                drop(bytes.splice(start..start, part));
            }
            3 => bytes[start] = second.index(256) as u8,
            _ => {
                let part: Vec<u8> = bytes.drain(start..end).collect();
                let place = second.index(bytes.len() + 1);
                drop(bytes.splice(place..place, part));
            }
        }
    }
    bytes
}

fn any_edits() -> impl Strategy<Value = Vec<(u8, Index, Index)>> {
    proptest::collection::vec((any::<u8>(), any::<Index>(), any::<Index>()), 1..6)
}

fn any_value() -> impl Strategy<Value = Value> {
    let piece = proptest::sample::select(PIECES);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from)
        ],
        proptest::collection::vec(piece.clone(), 0..5).prop_map(|pieces| Value::from(pieces.concat())),
    ];
    leaf.prop_recursive(4, 20, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((piece.clone(), inner), 0..4).prop_map(|entries| Value::Object(
                entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

/// Puts values at places of a document, and renames keys.
fn rearrange(document: &mut Value, edits: &[(Index, Value, bool)]) {
    for (place, value, rename) in edits {
        let mut places = vec![String::new()];
        let mut next = 0;
        while next < places.len() {
            let at = places[next].clone();
            match document.pointer(&at) {
                Some(Value::Object(map)) => {
                    places.extend(map.keys().map(|key| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))));
                }
                Some(Value::Array(items)) => places.extend((0..items.len()).map(|index| format!("{at}/{index}"))),
                _ => {}
            }
            next += 1;
        }
        let Some(target) = document.pointer_mut(&places[place.index(places.len())]) else { continue };
        match target {
            Value::Object(map) if *rename && !map.is_empty() => {
                let key = map.keys().next().cloned().unwrap_or_default();
                let moved = map.shift_remove(&key).unwrap_or_default();
                map.insert(PIECES[place.index(PIECES.len())].to_owned(), moved);
            }
            target => target.clone_from(value),
        }
    }
}

/// What holds for every answer, whatever the question was.
fn is_sound(found: &[Diagnostic], text: &[u8]) -> Result<(), TestCaseError> {
    prop_assert!(found.len() <= 1001);
    let lines = text.iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
    for diagnostic in found {
        prop_assert!(!diagnostic.message.is_empty() && diagnostic.message.len() < 2000, "{diagnostic}");
        if let Some(span) = diagnostic.span.filter(|_| diagnostic.file.is_none()) {
            prop_assert!(span.line >= 1 && span.end_line <= lines && span.line <= span.end_line, "{diagnostic}");
            prop_assert!(
                span.column >= 1 && (span.line, span.column) < (span.end_line, span.end_column),
                "{diagnostic}"
            );
        }
    }
    Ok(())
}

/// More with `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 150 };
    ProptestConfig { failure_persistence: None, cases, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn garbled_text_is_answered(Document(document) in any_workflow(), edits in any_edits(), as_yaml in any::<bool>()) {
        let text = if as_yaml { to_yaml(&document).0 } else { document.to_string() };
        let text = garble(&text, &edits);
        is_sound(&diagnostics(load(&text, &options())), &text)?;
        let _ = parse(&text, &Options::new());
    }

    #[test]
    fn rearranged_documents_are_answered(Document(mut document) in any_workflow(), edits in proptest::collection::vec((any::<Index>(), any_value(), any::<bool>()), 1..5)) {
        rearrange(&mut document, &edits);
        is_sound(&diagnostics(load_value(&document, &options())), b"")?;
        let (yaml, _) = to_yaml(&document);
        is_sound(&diagnostics(load(&yaml, &options())), yaml.as_bytes())?;
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        is_sound(&diagnostics(load(&bytes, &options())), &bytes)?;
    }

    #[test]
    fn any_pieces_are_answered(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..60)) {
        let text = pieces.concat();
        is_sound(&diagnostics(load(&text, &options())), text.as_bytes())?;
        let places = json!([
            { "id": "a", "input": { "x": text }, "condition": { "if": text } },
            { "id": "b", "output": { "capture": { "v": text } }, "policies": { "idempotencyKey": text } }
        ]);
        is_sound(&diagnostics(load_value(&workflow(places), &options())), b"")?;
        if let Ok(path) = JmesPath::compile(&text) {
            let _ = path.evaluate(&json!({ "inputs": [1, "a", { "if": null }], "steps": { "a": [[]] } }));
        }
    }
}
