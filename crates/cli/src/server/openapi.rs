//! `GET /v1/openapi.json`: what the server can be asked for, as an OpenAPI 3.1 document
//!
//! Made of the operations that the router is made of, and of the types that are written and read. Bodies of answers are described as they
//! are written, those of requests as they are read; types that are both look the same in either.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::LazyLock,
};

use axum::{
    body::Bytes,
    http::{HeaderName, HeaderValue, header},
};
use orchestr8_schema::api::Problem;
use schemars::{
    SchemaGenerator,
    generate::{Contract, SchemaSettings},
};
use serde_json::{Map, Value, json};

use super::{
    operation::{Answer, Body, JSON, Operation, Parameter},
    problem::ProblemCode,
    routes::operations,
};

const PROBLEM: &str = "application/problem+json";

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());

/// Shows the document.
pub(super) async fn read() -> ([(HeaderName, HeaderValue); 1], Bytes) {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT.clone())
}

/// Makes the document, which is also published as `docs/schema/openapi.json`.
#[must_use]
pub fn document() -> Value {
    let mut writing = generator(Contract::Serialize);
    let mut reading = generator(Contract::Deserialize);
    let problem = serde_json::to_value(writing.subschema_for::<Problem>()).unwrap_or_default();
    let mut paths = Map::new();
    for operation in operations() {
        let mut described = described(&operation, &mut writing, &mut reading, &problem);
        link(&mut described, &operation);
        let path = paths.entry(operation.path).or_insert_with(|| Value::Object(Map::new()));
        path[operation.method.as_str().to_ascii_lowercase()] = described;
    }
    // By name, since the order of operations says nothing about types.
    let schemas: BTreeMap<_, _> =
        reading.take_definitions(true).into_iter().chain(writing.take_definitions(true)).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "orchestr8",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs workflows of agents. Paths under `/v1` are answered without it, too. Every answer has `X-Correlation-ID`; \
                            every status of 400 or more has a problem of RFC 9457 as its body, whose `code` is also in `X-Error-Code`. A path \
                            that exists is answered 405 to other methods, any other path 404.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{}, { "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "If the server has a token." },
            },
        },
    })
}

fn generator(contract: Contract) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.contract = contract;
    });
    settings.into_generator()
}

fn described(
    operation: &Operation,
    writing: &mut SchemaGenerator,
    reading: &mut SchemaGenerator,
    problem: &Value,
) -> Value {
    let mut described = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
    });
    let in_path = operation.path.split(['{', '}']).skip(1).step_by(2).map(path_parameter);
    let parameters: Vec<_> = in_path.chain(operation.parameters.iter().map(parameter)).collect();
    if !parameters.is_empty() {
        described["parameters"] = Value::Array(parameters);
    }
    if !operation.takes.is_empty() {
        described["requestBody"] = json!({ "content": contents(&operation.takes, reading) });
        if let Some(example) = &operation.example {
            described["requestBody"]["content"][JSON]["example"] = example.clone();
        }
    }
    let mut responses = BTreeMap::new();
    for answer in &operation.answers {
        responses.insert(answer.status.as_u16().to_string(), self::answer(answer, writing));
    }
    for (status, codes) in by_status(&operation.all_problems()) {
        let problem = problem_answer(&codes, problem);
        match responses.entry(status.to_string()) {
            Entry::Vacant(place) => drop(place.insert(problem)),
            // The same status may have either body.
            Entry::Occupied(mut place) => {
                let answer = place.get_mut();
                answer["content"][PROBLEM] = problem["content"][PROBLEM].clone();
                let either =
                    [&answer["description"], &problem["description"]].map(|text| text.as_str().unwrap_or_default());
                answer["description"] = either.join(" Or ").into();
            }
        }
    }
    described["responses"] = json!(responses);
    if operation.is_open {
        described["security"] = json!([]);
    }
    if !operation.aliases.is_empty() {
        described["x-aliases"] = json!(operation.aliases);
    }
    described
}

/// Says where an answer leads: what has started is read and told things by its id.
fn link(described: &mut Value, operation: &Operation) {
    if !operation.answers.iter().any(|answer| answer.headers.contains(&"Location")) {
        return;
    }
    let of_an_execution = operations().into_iter().filter(|other| other.path.starts_with("/v1/executions/{id}"));
    let links = of_an_execution.filter(|other| !other.path.contains("{signal}")).map(|other| {
        let mut parameters = json!({ "id": "$response.body#/executionId" });
        if other.path.contains("{stepPath}") {
            parameters["stepPath"] = json!("greet");
        }
        (other.id.to_owned(), json!({ "operationId": other.id, "parameters": parameters }))
    });
    described["responses"]["202"]["links"] = Value::Object(links.collect());
}

fn contents(bodies: &[(&str, Body)], generator: &mut SchemaGenerator) -> Value {
    let content = bodies.iter().map(|(kind, body)| ((*kind).to_owned(), json!({ "schema": body(generator) })));
    Value::Object(content.collect())
}

fn answer(answer: &Answer, generator: &mut SchemaGenerator) -> Value {
    let mut described = json!({ "description": answer.description, "headers": headers(answer.headers) });
    if !answer.bodies.is_empty() {
        described["content"] = contents(&answer.bodies, generator);
    }
    described
}

fn headers(others: &[&str]) -> Value {
    let names = ["X-Correlation-ID"].iter().chain(others);
    let headers = names.map(|name| {
        let schema = if *name == "Retry-After" {
            json!({ "type": "integer", "minimum": 0 })
        } else {
            json!({ "type": "string" })
        };
        ((*name).to_owned(), json!({ "required": true, "schema": schema }))
    });
    Value::Object(headers.collect())
}

fn by_status(codes: &[ProblemCode]) -> BTreeMap<u16, Vec<&'static str>> {
    let mut by_status = BTreeMap::<_, Vec<_>>::new();
    for code in codes {
        let (name, status) = (code.name(), code.status().as_u16());
        let names = by_status.entry(status).or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    by_status
}

fn problem_answer(codes: &[&str], problem: &Value) -> Value {
    let listed: Vec<_> = codes.iter().map(|code| format!("`{code}`")).collect();
    let schema = json!({ "allOf": [problem, { "properties": { "code": { "enum": codes } } }] });
    json!({
        "description": listed.join(", "),
        "headers": headers(&["X-Error-Code"]),
        "content": { (PROBLEM): { "schema": schema } },
    })
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": parameter.schema,
    })
}

fn path_parameter(name: &str) -> Value {
    let (schema, description) = match name {
        "id" => (json!({ "type": "string", "format": "uuid" }), "The id of an execution."),
        "stepPath" => {
            (json!({ "type": "string", "minLength": 1 }), "A step path, percent-encoded: `refine%232.critic`.")
        }
        "workflowId" => (json!({ "type": "string", "minLength": 1 }), "The id of a workflow of the catalogue."),
        "signal" => (json!({ "type": "string", "pattern": "^[A-Za-z0-9_.-]{1,128}$" }), "The name of a signal."),
        "scope" => (json!({ "type": "string", "minLength": 1 }), "The scope of an agent, without `@`."),
        "file" => (
            json!({ "type": "string", "pattern": "^[a-z]+\\.json$" }),
            "The name of a schema, such as `workflow.json`.",
        ),
        _ => (json!({ "type": "string", "minLength": 1 }), "A name."),
    };
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
}

#[cfg(test)]
mod tests {
    use super::{Contract, contents, generator, operations};

    #[test]
    fn types_that_are_written_and_read_look_the_same() {
        let (mut writing, mut reading) = (generator(Contract::Serialize), generator(Contract::Deserialize));
        for operation in operations() {
            contents(&operation.takes, &mut reading);
            for answer in &operation.answers {
                contents(&answer.bodies, &mut writing);
            }
        }
        let (written, read) = (writing.take_definitions(true), reading.take_definitions(true));
        for (name, schema) in &read {
            assert!(written.get(name).is_none_or(|other| other == schema), "{name}: {schema:#} {:#}", written[name]);
        }
    }
}
