//! Every code: the smallest document that has it, and the place that is named.
#![cfg(feature = "yaml")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

mod common;

#[path = "common/mistakes.rs"]
mod mistakes;

use mistakes::{one, options, table};
use orchestr8_schema::{
    Code, Diagnostic,
    source::{Options, load},
};

#[test]
fn each_code_names_its_place() {
    let mut seen = Vec::new();
    let mut wrong = Vec::new();
    for (code, marked) in table() {
        let text = marked.replace('‸', "");
        let name = if text.starts_with('{') { "workflow.json" } else { "workflow.yaml" };
        let diagnostics = match load(&text, &options().file_name(name)) {
            Ok(valid) => valid.warnings().to_vec(),
            Err(invalid) => invalid.into_diagnostics(),
        };
        let mark = marked.find('‸').map(|mark| {
            let before = &marked[..mark];
            let line = before.matches('\n').count() + 1;
            (line as u32, before.rsplit('\n').next().unwrap().chars().count() as u32 + 1)
        });
        let is_there = |found: &&Diagnostic| {
            found.code == code && mark.is_none_or(|mark| found.span.map(|span| (span.line, span.column)) == Some(mark))
        };
        if !diagnostics.iter().any(|found| is_there(&found)) {
            let found: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
            wrong.push(format!("no {code} at {mark:?}, but {found:#?} in\n{}", text.get(..2000).unwrap_or(&text)));
        }
        seen.push(code);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let missing: Vec<_> = Code::ALL.iter().filter(|code| !seen.contains(code)).collect();
    assert!(missing.is_empty(), "untested: {missing:?}");
}

#[test]
fn the_example_has_no_problems_in_either_format() {
    for name in ["slice.json", "slice.yaml", "-"] {
        let valid = load(common::VERTICAL_SLICE, &options_without_agents().file_name(name)).unwrap();
        assert_eq!(valid.warnings(), []);
        assert_eq!((valid.steps().len(), valid.depth()), (2, 2));
    }
}

fn options_without_agents() -> Options<'static> {
    Options::new().strict(true)
}

#[test]
fn encodings_and_lengths_are_checked_first() {
    let message = |bytes: &[u8]| load(bytes, &options()).unwrap_err().diagnostics()[0].to_string();
    assert_eq!(message(b""), "error[O8001]: the document is empty");
    assert_eq!(message(b"\xff\xfea\0"), "error[O8001]: the text is UTF-16");
    assert_eq!(message(b"a: 1\nb: \xc3"), "error[O8001]: byte 8 is no UTF-8 (line 2, column 4)");
    assert!(message(&vec![b' '; 10_000_001]).starts_with("error[O8003]"));
    let with_mark = format!("\u{feff}{}", common::VERTICAL_SLICE);
    assert!(load(with_mark, &options_without_agents()).is_ok());
}

#[test]
fn no_depth_exhausts_a_small_stack() {
    let documents = [
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
        format!("a: {}", "[".repeat(100_000)),
        format!("a: {}", "{a: ".repeat(100_000)),
        format!("a:\n {}1", "- ".repeat(100_000)),
        (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
    ];
    let check = move || {
        for document in documents {
            let invalid = load(document, &options()).unwrap_err();
            assert_eq!(invalid.diagnostics()[0].code, Code::TooDeep);
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(check).unwrap().join().unwrap();
}

#[test]
fn problems_come_in_the_order_of_the_document() {
    let text = "{ \"steps\": [ { \"id\": \"a b\", \"agent\": { \"id\": \"x\" }, \"colour\": 1 } ],\n \"version\": 1 }";
    let invalid = load(text, &Options::new()).unwrap_err();
    let found: Vec<_> = invalid.diagnostics().iter().map(|found| (found.code.as_str(), found.path.as_str())).collect();
    let expected = [
        ("O8101", ""),
        ("O8103", "/steps/0/id"),
        ("O8103", "/steps/0/agent/id"),
        ("O8104", "/steps/0/colour"),
        ("O8102", "/version"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_long_prompt_in_a_block_has_an_exact_place() {
    let text = one(&["input:", "  prompt: |", "    Dear ${inputs.name},", "    see ${steps.b.output}."]);
    let invalid = load(&text, &options_without_agents()).unwrap_err();
    let span = invalid.diagnostics()[0].span.unwrap();
    assert_eq!((span.line, span.column, span.end_column), (9, 15, 29), "{text}");
}
