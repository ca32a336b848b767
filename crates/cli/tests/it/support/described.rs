//! The description of the REST interface, and whether answers are as it says.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{LazyLock, Mutex},
};

use orchestr8_schema::json_schema::JsonValidator;
use serde_json::{Value, json};

static DOCUMENT: LazyLock<Value> = LazyLock::new(orchestr8_cli::server::openapi);

/// An answer, as far as it is described.
#[derive(Debug)]
pub(crate) struct Answered<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    pub(crate) media_type: Option<&'a str>,
    pub(crate) headers: Vec<&'a str>,
    pub(crate) body: &'a str,
}

/// All operations: method, template of the path, id and statuses.
pub(crate) fn operations() -> Vec<(String, String, String, BTreeSet<u16>)> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let operation = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().expect("methods").clone();
        let path = path.clone();
        methods.into_iter().map(move |(method, operation)| {
            let statuses = operation["responses"].as_object().expect("responses").keys();
            let statuses = statuses.map(|status| status.parse().expect("a number")).collect();
            let id = operation["operationId"].as_str().expect("an id").to_owned();
            (method.to_ascii_uppercase(), path.clone(), id, statuses)
        })
    };
    paths.iter().flat_map(operation).collect()
}

/// Sees whether an answer is as it is described, and returns the operation that gave it. What is asked for with a method that a path does not
/// have, or at no path at all, is only a problem.
pub(crate) fn check(answered: &Answered<'_>) -> Option<String> {
    let Answered { method, path, status, media_type, headers, body } = answered;
    if *status == 405 || operation(method, path).is_none() {
        assert!(matches!(status, 404 | 405 | 403 | 401), "{answered:?}");
        assert_eq!(*media_type, Some("application/problem+json"), "{answered:?}");
        validate(body, "Problem", &json!({ "$ref": "#/components/schemas/Problem" }));
        return None;
    }
    let (id, operation) = operation(method, path).expect("looked for above");
    let response = &operation["responses"][status.to_string()];
    assert!(response.is_object(), "{id} has no {status}: {body}");
    for (name, _) in response["headers"].as_object().into_iter().flatten() {
        assert!(headers.iter().any(|known| known.eq_ignore_ascii_case(name)), "{id} {status} has no {name}");
    }
    match response.get("content").and_then(Value::as_object) {
        None => assert_eq!(*body, "", "{id} {status}"),
        Some(contents) => {
            let media_type = media_type.unwrap_or_default().split(';').next().unwrap_or_default();
            assert!(contents.contains_key(media_type), "{id} {status} has no {media_type}");
            let content = &contents[media_type];
            match media_type {
                "application/x-ndjson" => {
                    let entry = json!({ "$ref": "#/components/schemas/Entry" });
                    body.lines().for_each(|line| validate(line, "Entry", &entry));
                }
                _ if media_type.ends_with("json") => {
                    validate(body, &format!("{id} {status} {media_type}"), &content["schema"]);
                }
                _ => {}
            }
        }
    }
    Some(id)
}

/// Finds the operation of a path: of several templates that fit, the one with the most that is literal.
fn operation(method: &str, path: &str) -> Option<(String, &'static Value)> {
    let path = path.split('?').next().unwrap_or_default();
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let mut fitting = Vec::new();
    for (template, methods) in paths {
        let Some(operation) = methods.get(method.to_ascii_lowercase()) else { continue };
        let aliases = operation["x-aliases"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for template in aliases.chain([template.as_str()]) {
            if let Some(literal) = fit(template, path) {
                fitting.push((literal, operation));
            }
        }
    }
    let (_, operation) = fitting.into_iter().max_by_key(|(literal, _)| *literal)?;
    Some((operation["operationId"].as_str().expect("an id").to_owned(), operation))
}

/// How many segments of a path are those of the template, if all fit.
fn fit(template: &str, path: &str) -> Option<usize> {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let fits = |(part, segment): (&&str, &&str)| part == segment || part.starts_with('{') && !segment.is_empty();
    let all = template.len() == path.len() && template.iter().zip(&path).all(fits);
    all.then(|| template.iter().zip(&path).filter(|(part, segment)| part == segment).count())
}

/// Sees whether the examples of the description are as it says, and returns how many there are.
pub(crate) fn check_examples() -> usize {
    let paths = DOCUMENT["paths"].as_object().expect("paths").values();
    let operations = paths.flat_map(|methods| methods.as_object().expect("methods").values());
    let contents = operations.filter_map(|operation| operation["requestBody"]["content"].as_object());
    let examples =
        contents.flat_map(|contents| contents.values()).filter_map(|content| Some((content, content.get("example")?)));
    let mut count = 0;
    for (content, example) in examples {
        validate(&example.to_string(), &format!("example {count}"), &content["schema"]);
        count += 1;
    }
    count
}

fn validate(body: &str, what: &str, schema: &Value) {
    static VALIDATORS: LazyLock<Mutex<HashMap<String, JsonValidator>>> = LazyLock::new(Mutex::default);
    let value = serde_json::from_str::<Value>(body);
    assert!(value.is_ok(), "{what}: {value:?}: {body}");
    let value = value.unwrap_or_default();
    let mut validators = VALIDATORS.lock().expect("no validator panics");
    let validator = validators.entry(what.to_owned()).or_insert_with(|| {
        let mut schema = schema.clone();
        schema["components"] = DOCUMENT["components"].clone();
        JsonValidator::compile(&schema).expect("the document holds schemas")
    });
    let found = validator.validate(&value);
    drop(validators);
    assert!(found.is_ok(), "{what} is not as described: {found:#?}\n{value:#}");
}
