//! The language server's answers, one text at a time.

use std::fmt::Write as _;

use orchestr8_agent_base::{AgentContext, AgentError, AgentManifest, AgentRegistry, HelloWorld, agent_fn};
use orchestr8_cli::lsp::{
    Analysis, RenameError, Text,
    protocol::{Position, Range, TextEdit},
    syntax::Tree,
};
use orchestr8_schema::source::{self, Format, Options};
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};

fn agents() -> AgentRegistry {
    let manifest = AgentManifest::new("@acme/score", "1.2.0", "Scores a text")
        .expect("the manifest is well formed")
        .input_schema(json!({
            "type": "object",
            "required": ["text"],
            "properties": {
                "text": { "type": "string", "description": "What is scored." },
                "scale": { "enum": ["linear", "log"], "description": "How." },
                "options": { "type": "object", "properties": { "strict": { "type": "boolean" } } }
            }
        }))
        .output_schema(json!({
            "type": "object",
            "properties": {
                "value": { "type": "number", "description": "From 0 to 1." },
                "reasons": { "type": "array", "items": { "type": "object", "properties": { "text": { "type": "string" } } } }
            }
        }));
    let mut agents = AgentRegistry::new();
    agents.register(HelloWorld).expect("one of its name");
    let score = agent_fn(manifest, |input: Value, _: AgentContext, _| async move { Ok::<_, AgentError>(input) });
    agents.register(score).expect("one of its name");
    agents
}

/// Takes the `|` out of a text and returns its place.
fn marked(text: &str) -> (Text, Position) {
    let offset = text.find('|').expect("a place is marked");
    let text = Text::new(text.replacen('|', "", 1));
    let position = text.position(offset);
    (text, position)
}

fn complete(name: &str, text: &str) -> Vec<String> {
    let (text, position) = marked(text);
    let agents = agents();
    let items = Analysis::new(name, &text, &agents).completion(position);
    items.into_iter().map(|item| item.text_edit.new_text).collect()
}

const HEAD: &str = r#"version: 1.0.0
metadata: { id: w, name: W }
inputs: { type: object, properties: { files: { type: array }, user: { type: string, description: Who asks. } } }
context:
  variables: { limit: 3, reply: true }
  environment: { REGION: eu }
allowedEnvVars: [HOME]
steps:
  - id: score
    description: Scores what was fetched
    agent: { id: "@acme/score" }
    input: { text: hello }
  - id: each
    dependencies: [score]
    map:
      items: "${inputs.files}"
      as: file
      steps:
        - id: inner
          agent: { id: "@acme/score" }
"#;

#[test]
fn what_is_offered_fits_the_place() {
    // What is written behind the head, and what must be and must not be offered.
    let table: &[(&str, &[&str], &[&str])] = &[
        ("  - id: a\n    |", &["agent:", "map:", "onError: ", "dependencies:"], &["id: ", "version: "]),
        ("  - id: a\n    agent: { id: \"@acme/score\" }\n    |", &["input:", "output: "], &["map:", "tool:", "agent:"]),
        (
            "  - id: a\n    tool: { name: x }\n    |\n    condition:\n",
            &["compensate:"],
            &["input:", "agent:", "condition:"],
        ),
        ("  - |", &["id: ", "agent:"], &["metadata:"]),
        ("  - id: a\n    dep|: [score]\n", &["dependencies"], &["id"]),
        ("  - id: a\n    onError: |\n", &["fail", "continue", "retry", "fallback"], &["id: "]),
        ("  - id: a\n    dependencies: [each, |]\n", &["score"], &["each", "a", "inner"]),
        ("  - id: a\n    dependencies:\n      - |\n", &["score", "each"], &["a"]),
        ("  - id: a\n    onError: fallback\n    fallbackStepId: s|\n", &["score"], &["inner"]),
        ("  - id: a\n    agent: { id: | }\n", &["\"@acme/score\"", "\"@orchestr8/hello-world\""], &[]),
        ("  - id: a\n    agent: { id: \"@acme/|\" }\n", &["\"@acme/score\""], &[]),
        ("  - id: a\n    agent: { id: \"@acme/score\", version: | }\n", &["^1.2.0"], &[]),
        ("  - id: a\n    agent: { id: \"@acme/score\", | }\n", &["version: ", "config: "], &["id: "]),
        (
            "  - id: a\n    agent: { id: \"@acme/score\" }\n    input:\n      |\n",
            &["text: ", "scale: ", "mapping:"],
            &[],
        ),
        ("  - id: a\n    agent: { id: \"@acme/score\" }\n    input: { scale: | }\n", &["linear", "log"], &[]),
        ("  - id: a\n    agent: { id: \"@acme/score\" }\n    input: { options: { | } }\n", &["strict: "], &["text: "]),
        (
            "  - id: a\n    agent: { id: x }\n    input: { t: \"${|}\" }\n",
            &["steps", "inputs", "env"],
            &["loop", "file", "self"],
        ),
        ("  - id: a\n    agent: { id: x }\n    input: { t: \"${steps.|\" }\n", &["score", "each"], &["inner", "a"]),
        ("  - id: a\n    agent: { id: x }\n    input: { t: ${steps.score.| }\n", &["output", "status"], &["case"]),
        (
            "  - id: a\n    agent: { id: x }\n    input: { t: \"${steps.score.output.|}\" }\n",
            &["value", "reasons"],
            &["text"],
        ),
        (
            "  - id: a\n    agent: { id: x }\n    input: { t: \"${steps.score.output.reasons[0].|}\" }\n",
            &["text"],
            &["value"],
        ),
        ("  - id: a\n    agent: { id: x }\n    input: { t: \"${inputs.us|er ?? 'x'}\" }\n", &["user", "files"], &[]),
        ("  - id: a\n    agent: { id: x }\n    input: { t: \"${variables.|}\" }\n", &["limit", "reply"], &[]),
        ("  - id: a\n    agent: { id: x }\n    input: { t: \"${env.|}\" }\n", &["REGION", "HOME"], &[]),
        ("  - id: a\n    condition: { if: \"steps.|\" }\n", &["score", "each"], &[]),
        ("  - id: a\n    condition:\n      if: steps.score.output.|\n", &["value"], &[]),
        (
            "        - id: second\n          agent: { id: x }\n          input: { t: \"${|}\" }\n",
            &["file", "index", "steps"],
            &["item"],
        ),
        (
            "        - id: second\n          agent: { id: x }\n          input: { t: \"${steps.|}\" }\n",
            &["inner", "score"],
            &["each"],
        ),
        (
            "  - id: a\n    agent: { id: \"@acme/score\" }\n    dependencies: [each]\n    input: { text: \"${steps.each.output[0].|}\" }\n",
            &["inner"],
            &["value"],
        ),
        (
            "  - id: a\n    agent: { id: \"@acme/score\" }\n    dependencies: [each]\n    input: { text: \"${steps.each.output[0].inner.|}\" }\n",
            &["value", "reasons"],
            &["inner"],
        ),
        (
            "  - id: m\n    dependencies: [score]\n    map:\n      items: \"${steps.score.output.reasons ?? []}\"\n      as: reason\n      steps:\n        - id: deep\n          agent: { id: \"@acme/score\" }\n          input: { text: \"${reason.|}\" }\n",
            &["text"],
            &["value"],
        ),
        ("outputs:\n  a: \"${steps.|}\"\n", &["score", "each"], &["inner"]),
        ("policies:\n  |", &["timeout:", "resilience:"], &["id: "]),
        ("policies:\n  timeout: { | }\n", &["global: ", "perStep: "], &[]),
        ("ou|", &["outputs:", "policies:"], &["steps:"]),
    ];
    for (text, wanted, unwanted) in table {
        let offered = complete("w.yaml", &format!("{HEAD}{text}"));
        for wanted in *wanted {
            assert!(offered.iter().any(|item| item == wanted), "{text}\n`{wanted}` is not in {offered:?}");
        }
        for unwanted in *unwanted {
            assert!(!offered.iter().any(|item| item == unwanted), "{text}\n`{unwanted}` is in {offered:?}");
        }
    }
}

#[test]
fn json_is_completed_in_quotes() {
    let table: &[(&str, &[&str])] = &[
        (r#"{ | }"#, &["\"version\": ", "\"steps\": "]),
        (r#"{ "|" }"#, &["\"version\": "]),
        (r#"{ "ver|": "1.0.0" }"#, &["\"version\""]),
        (r#"{ "steps": [{ "id": "a", "onError": | }] }"#, &["\"fail\""]),
        (r#"{ "steps": [{ "id": "a", "onError": "|" }] }"#, &["\"fail\""]),
        ("{ \"steps\": [{ \"id\": \"a\" }, { \"id\": \"b\", \"dependencies\": [\"|\n", &["\"a\""]),
        ("{ \"steps\": [{ \"id\": \"a\" }, { \"id\": \"b\", \"agent\": {}, \"input\": { \"x\": \"${steps.|\n", &["a"]),
        ("{ \"steps\": [{\n  \"id\": \"a\",\n  |\n  \"agent\": {}\n}] }", &["\"onError\": ", "\"input\": "]),
    ];
    for (text, wanted) in table {
        let offered = complete("w.json", text);
        for wanted in *wanted {
            assert!(offered.iter().any(|item| item == wanted), "{text}\n`{wanted}` is not in {offered:?}");
        }
    }
}

#[test]
fn what_stands_there_is_explained() {
    let text = format!(
        "{HEAD}  - id: report\n    dependencies: [score, each]\n    onError: continue\n    agent: {{ id: \"@acme/score\" }}\n    \
         input: {{ text: \"${{steps.score.output.value}} ${{inputs.user}} ${{inputs}}\", scale: log }}\n    \
         condition: {{ unless: \"steps.each.status == 'failed'\" }}\n"
    );
    let text = Text::new(text);
    let agents = agents();
    let analysis = Analysis::new("w.yaml", &text, &agents);
    let mut said = String::new();
    // The last occurrence of each, and the place in it.
    for (word, inside) in [
        ("dependencies:", 3),
        ("[score, each]", 3),
        ("continue", 0),
        ("@acme/score", 4),
        ("text:", 1),
        ("log", 1),
        ("steps.score", 8),
        ("output.value", 9),
        ("inputs.user", 9),
        ("{inputs}", 3),
        ("steps.each", 8),
        ("each.status", 7),
        ("unless", 2),
        ("maxIterations", 0),
    ] {
        let place = text.as_str().rfind(word).map(|start| text.position(start + inside));
        let hover = place.and_then(|place| analysis.hover(place));
        let hover = hover.map_or("nothing".to_owned(), |hover| hover.contents.value.replace("\n\n", " — "));
        writeln!(said, "{word}: {hover}").expect("a string takes everything");
    }
    insta::assert_snapshot!("hover", said);
}

#[test]
fn a_step_is_found_from_wherever_it_is_named() {
    let text = format!(
        "{HEAD}  - id: report\n    dependencies: [score]\n    agent: {{ id: x }}\n    onError: fallback\n    \
         fallbackStepId: each\n    input: {{ a: \"${{steps['score'].output}}\", b: '${{ steps.each.output ?? null }}' }}\n    \
         condition: {{ if: 'steps.\"score\".status' }}\n"
    );
    let text = Text::new(text);
    let agents = agents();
    let analysis = Analysis::new("w.yaml", &text, &agents);
    let line = |position: Position| text.as_str().lines().nth(position.line as usize).unwrap_or_default().trim();
    for (word, inside, defined) in [
        ("[score]", 2, "- id: score"),
        ("fallbackStepId: each", 17, "- id: each"),
        ("['score']", 4, "- id: score"),
        ("steps.each.output", 7, "- id: each"),
        ("\"score\"", 2, "- id: score"),
    ] {
        let place = text.position(text.as_str().rfind(word).expect("it is there") + inside);
        let range = analysis.definition(place).unwrap_or_else(|| panic!("`{word}` leads nowhere"));
        assert_eq!(line(range.start), defined, "{word}");
    }
    assert_eq!(analysis.definition(Position { line: 0, character: 2 }), None);
}

fn apply(text: &Text, edits: &[TextEdit]) -> String {
    let mut sorted: Vec<&TextEdit> = edits.iter().collect();
    sorted.sort_by_key(|edit| std::cmp::Reverse(edit.range.start));
    let mut text = text.clone();
    for edit in sorted {
        text.replace(edit.range, &edit.new_text);
    }
    text.as_str().to_owned()
}

fn rename(text: &str, id: &str, name: &str) -> Result<String, RenameError> {
    let text = Text::new(text.to_owned());
    let place = text.position(text.as_str().find(id).expect("it is there"));
    let agents = agents();
    let edits = Analysis::new("w.yaml", &text, &agents).rename(place, name)?;
    Ok(apply(&text, &edits))
}

#[test]
fn a_step_is_renamed_everywhere_and_nothing_else_is() {
    let text = r#"version: 1.0.0
metadata: { id: fetch, name: "fetch ${steps.fetch.output}" }
steps:
  - id: fetch # fetch
    agent: { id: "@acme/fetch", config: { hint: "${steps.fetch.output}" } }
  - id: "fetch-2"
    dependencies: [ 'fetch' ]
    agent: { id: "@acme/fetch" }
    input:
      a: "${steps.fetch.output.fetch ?? 'steps.fetch.output'}"
      b: >
        first ${steps.fetch.output}
        and ${steps['fetch'].status}
      c: "\u0024{steps.fetch.output}"
    condition:
      if: "steps.fetch.status == 'steps.fetch' && inputs.steps.fetch && length(steps.\"fetch\".output) > `0`"
"#;
    let renamed = rename(text, "fetch #", "get-it").expect("it can be renamed");
    insta::assert_snapshot!("renamed", renamed);
    assert_eq!(rename(&renamed, "get-it #", "fetch").as_deref(), Ok(text));
    assert_eq!(rename(text, "fetch #", "fetch-2"), Err(RenameError::Used("fetch-2".to_owned())));
    assert_eq!(rename(text, "fetch #", "not an id"), Err(RenameError::InvalidId("not an id".to_owned())));
    assert_eq!(rename(text, "1.0.0", "x"), Err(RenameError::NoStep));
    assert_eq!(rename(&format!("{text}x: @y\n"), "fetch #", "x"), Err(RenameError::Unreadable));
    // A number would be one.
    let numbered = rename(text, "fetch #", "42").expect("it can be renamed");
    assert!(numbered.contains("- id: \"42\" # fetch") && numbered.contains("['42'].status"), "{numbered}");
}

#[test]
fn places_are_counted_in_units_of_utf_16() {
    let text = Text::new("a: 🦀é\r\nb: 𝕏y\n".to_owned());
    for (line, character, offset) in
        [(0, 3, 3), (0, 4, 3), (0, 5, 7), (0, 6, 9), (0, 99, 9), (1, 0, 11), (1, 5, 18), (9, 0, 20)]
    {
        assert_eq!(text.offset(Position { line, character }), offset, "{line}:{character}");
    }
    // The crab stands before the problem on its line.
    let text = Text::new("version: 1.0.0\nmetadata: { id: 🦀, nome: W, name: W }\nsteps: [{ id: a, agent: { id: \"@orchestr8/hello-world\" } }]\n".to_owned());
    let agents = agents();
    let found = Analysis::new("w.yaml", &text, &agents).diagnostics();
    let [problem] = &*found else { panic!("{found:?}") };
    assert_eq!((problem.range.start, problem.range.end), (at(1, 20), at(1, 24)));
}

fn at(line: u32, character: u32) -> Position {
    Position { line, character }
}

// === properties ===

/// A document as YAML in block style, with every way to write a text.
fn yaml(value: &Value, indent: usize, styles: &mut impl Iterator<Item = u8>) -> String {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut out = String::new();
            for (key, value) in map {
                write!(out, "\n{pad}{}:", quoted(key, styles.next().unwrap_or(0))).expect("a string takes everything");
                out.push_str(&nested(value, indent, styles));
            }
            out
        }
        Value::Array(items) if !items.is_empty() => {
            let mut out = String::new();
            for item in items {
                let inner = nested(item, indent, styles);
                // The first key may stand behind the dash.
                let inner = match inner.trim_start_matches(['\n', ' ']) {
                    text if styles.next().unwrap_or(0).is_multiple_of(2)
                        && item.is_object()
                        && !inner.starts_with(" {") =>
                    {
                        format!(" {text}")
                    }
                    _ => inner,
                };
                write!(out, "\n{pad}-{inner}").expect("a string takes everything");
            }
            out
        }
        _ => String::new(),
    }
}

fn nested(value: &Value, indent: usize, styles: &mut impl Iterator<Item = u8>) -> String {
    let style = styles.next().unwrap_or(0);
    match value {
        Value::Object(map) if !map.is_empty() && !style.is_multiple_of(4) => yaml(value, indent + 2, styles),
        Value::Array(items) if !items.is_empty() && !style.is_multiple_of(4) => yaml(value, indent + 2, styles),
        Value::String(text) if style.is_multiple_of(5) && is_block(text) => {
            let pad = " ".repeat(indent + 2);
            let lines =
                text.split('\n').map(|line| if line.is_empty() { String::new() } else { format!("{pad}{line}") });
            format!(
                " |-{}\n{}",
                if style.is_multiple_of(2) { " # text" } else { "" },
                lines.collect::<Vec<_>>().join("\n")
            )
        }
        Value::String(text) => {
            format!(" {}{}", quoted(text, style), if style.is_multiple_of(7) { " # comment: no" } else { "" })
        }
        other => format!(" {other}"),
    }
}

fn is_block(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with([' ', '\n'])
        && !text.ends_with('\n')
        && text.chars().all(|c| c == '\n' || !c.is_control())
        && text.lines().all(|line| !line.starts_with(' '))
}

fn quoted(text: &str, style: u8) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let is_other = ["true", "false", "null"].contains(&text);
    match style % 3 {
        0 if is_word && !is_other => text.to_owned(),
        1 if text.chars().all(|c| !c.is_control()) => format!("'{}'", text.replace('\'', "''")),
        _ => Value::from(text).to_string(),
    }
}

fn documents() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z]{1,6}",
        "\\PC{0,12}",
        Just("two\nlines: a\n- b".to_owned()),
        Just("${steps.a.output.b ?? 'x'}".to_owned()),
        Just("# no comment".to_owned()),
        Just("🦀 \"q\" 's' \\ \t".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let key = prop_oneof!["[a-z]{1,8}", "\\PC{1,6}", Just("a: b".to_owned())];
    let tree = leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((key.clone(), inner), 0..5).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    });
    vec(("[a-z]{1,8}", tree), 1..5).prop_map(|pairs| Value::Object(pairs.into_iter().collect()))
}

fn tolerant(text: &str) -> Value {
    let tree = Tree::new(text);
    tree.root().map_or(Value::Null, |root| tree.value(root))
}

/// A workflow that uses a bit of everything.
const WORKFLOW: &str = include_str!("lsp/everything.yaml");

fn ask_everything(name: &str, text: String, places: &[Index]) {
    let text = Text::new(text);
    let agents = agents();
    let analysis = Analysis::new(name, &text, &agents);
    let _ = analysis.diagnostics();
    for place in places {
        let position = text.position(place.index(text.as_str().len() + 1));
        let items = analysis.completion(position);
        for item in items {
            let Range { start, end } = item.text_edit.range;
            assert!(start <= position && position <= end && start.line == end.line, "an edit holds the cursor");
        }
        let _ = analysis.hover(position);
        let _ = analysis.definition(position);
        let _ = analysis.rename(position, "renamed-1");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_the_strict_reader_accepts_is_read_alike(value in documents(), styles in vec(any::<u8>(), 64)) {
        for json in [value.to_string(), format!("{value:#}")] {
            prop_assert_eq!(&tolerant(&json), &value, "{}", json);
        }
        let yaml = yaml(&value, 0, &mut styles.into_iter().cycle());
        let strict = source::parse(&yaml, &Options::new().format(Format::Yaml));
        prop_assert_eq!(strict.as_ref(), Ok(&value), "the test writes what it means: {}", yaml);
        prop_assert_eq!(&tolerant(&yaml), &value, "{}", yaml);
    }

    #[test]
    fn no_text_is_too_strange(text in any::<String>(), places in vec(any::<Index>(), 4)) {
        ask_everything("w.yaml", text.clone(), &places);
        ask_everything("w.json", text, &places);
    }

    #[test]
    fn no_edit_is_too_strange(
        edits in vec((any::<Index>(), 0_usize..12, "[-a-z:{}\\[\\],\"'|>&*!#$?. \n\t🦀]{0,6}"), 1..12),
        is_json in any::<bool>(),
        places in vec(any::<Index>(), 3),
    ) {
        let mut text = Text::new(if is_json {
            format!("{:#}", source::parse(WORKFLOW, &Options::new()).expect("it is valid"))
        } else {
            WORKFLOW.to_owned()
        });
        for (place, removed, inserted) in edits {
            let start = place.index(text.as_str().len() + 1);
            let range = text.range(&(start..(start + removed).min(text.as_str().len())));
            text.replace(range, &inserted);
        }
        ask_everything(if is_json { "w.json" } else { "w.yaml" }, text.as_str().to_owned(), &places);
    }

    #[test]
    fn places_and_offsets_agree(text in "[a-z🦀é𝕏\r\n]{0,40}", place in any::<Index>()) {
        let offset = place.index(text.len() + 1);
        let text = Text::new(text);
        let position = text.position(offset);
        let again = text.offset(position);
        prop_assert!(again <= offset && text.position(again) == position);
    }
}

#[test]
fn renaming_any_step_of_a_workflow_leaves_it_as_valid_as_before() {
    let agents = agents();
    let json = format!("{:#}", source::parse(WORKFLOW, &Options::new()).expect("it is readable"));
    for (name, text) in [("w.yaml", WORKFLOW), ("w.json", json.as_str())] {
        let options = Options::new().file_name(name);
        let before = orchestr8_schema::load(text, &options).expect("it is valid");
        let text = Text::new(text.to_owned());
        for step in before.steps() {
            let defined =
                [format!("id: {}\n", step.id), format!("id: {},", step.id), format!("\"id\": \"{}\"", step.id)];
            let place =
                defined.iter().find_map(|text_of| Some(text.as_str().find(text_of)? + text_of.find(step.id.as_str())?));
            let place = text.position(place.unwrap_or_else(|| panic!("{} is defined", step.id)));
            let edits = Analysis::new(name, &text, &agents).rename(place, "renamed-2").expect("it can be renamed");
            let renamed = apply(&text, &edits);
            let after = orchestr8_schema::load(&renamed, &options)
                .unwrap_or_else(|invalid| panic!("renaming `{}`: {invalid}\n{renamed}", step.id));
            let back = |text: &str| text.replace("renamed-2", step.id.as_str());
            let as_json = |workflow| serde_json::to_string(workflow).expect("it is JSON");
            assert_eq!(back(&as_json(&after)), as_json(&before), "{}", step.id);
            assert_eq!(
                after.steps().iter().map(|step| &step.dependencies).collect::<Vec<_>>(),
                before.steps().iter().map(|step| &step.dependencies).collect::<Vec<_>>()
            );
        }
    }
}
