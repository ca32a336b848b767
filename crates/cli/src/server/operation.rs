//! What the server can be asked for: each operation with its address, what it takes, what it answers, and who answers. Router and
//! description are made of the same ones, so that there is no route without a description.

use axum::{
    handler::Handler,
    http::{Method, StatusCode},
    routing::{MethodRouter, get, post},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use super::{Service, problem::ProblemCode};

/// Makes the schema of a body.
pub(super) type Body = fn(&mut SchemaGenerator) -> Schema;

pub(super) const JSON: &str = "application/json";

/// Something that the server can be asked for.
pub(super) struct Operation {
    pub(super) method: Method,
    /// The template of its path, the whole of it.
    pub(super) path: &'static str,
    /// Further paths that mean the same.
    pub(super) aliases: Vec<String>,
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) parameters: Vec<Parameter>,
    /// What may be sent, by media type.
    pub(super) takes: Vec<(&'static str, Body)>,
    /// Something that may be sent as JSON.
    pub(super) example: Option<Value>,
    pub(super) answers: Vec<Answer>,
    pub(super) problems: Vec<ProblemCode>,
    /// Whether it is answered to those without a token, too.
    pub(super) is_open: bool,
    pub(super) handler: MethodRouter<Service>,
}

/// A parameter of the query or a header.
pub(super) struct Parameter {
    pub(super) place: &'static str,
    pub(super) name: &'static str,
    pub(super) schema: Value,
    pub(super) description: &'static str,
}

/// An answer that is no problem.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) description: &'static str,
    /// The bodies that it may have, by media type.
    pub(super) bodies: Vec<(&'static str, Body)>,
    /// Headers that it has.
    pub(super) headers: &'static [&'static str],
}

impl Operation {
    pub(super) fn get<T: 'static>(path: &'static str, id: &'static str, handler: impl Handler<T, Service>) -> Self {
        Self::new(Method::GET, path, id, get(handler))
    }

    pub(super) fn post<T: 'static>(path: &'static str, id: &'static str, handler: impl Handler<T, Service>) -> Self {
        Self::new(Method::POST, path, id, post(handler)).sent()
    }

    fn new(method: Method, path: &'static str, id: &'static str, handler: MethodRouter<Service>) -> Self {
        // What stands under `/v1` is answered without it, too.
        let aliases = path.strip_prefix("/v1").map(str::to_owned).into_iter().collect();
        let problems = if path.contains('{') { vec![ProblemCode::BadRequest] } else { Vec::new() };
        Self {
            method,
            path,
            aliases,
            id,
            tag: "",
            summary: "",
            parameters: Vec::new(),
            takes: Vec::new(),
            example: None,
            answers: Vec::new(),
            problems,
            is_open: false,
            handler,
        }
    }

    /// Takes a body, which may be wrong in many ways.
    fn sent(mut self) -> Self {
        self.problems.extend([
            ProblemCode::BadRequest,
            ProblemCode::BodyTimeout,
            ProblemCode::PayloadTooLarge,
            ProblemCode::UnsupportedMediaType,
        ]);
        self
    }

    pub(super) fn alias(mut self, path: &str) -> Self {
        self.aliases.push(path.to_owned());
        self
    }

    pub(super) fn about(mut self, tag: &'static str, summary: &'static str) -> Self {
        (self.tag, self.summary) = (tag, summary);
        self
    }

    /// Has an answer of its own to `HEAD`, which otherwise is that to `GET` without its body.
    pub(super) fn head<T: 'static>(mut self, handler: impl Handler<T, Service>) -> Self {
        self.handler = self.handler.head(handler);
        self
    }

    pub(super) fn query(mut self, name: &'static str, schema: Value, description: &'static str) -> Self {
        self.parameters.push(Parameter { place: "query", name, schema, description });
        self.problem(ProblemCode::BadRequest)
    }

    pub(super) fn header(mut self, name: &'static str, schema: Value, description: &'static str) -> Self {
        self.parameters.push(Parameter { place: "header", name, schema, description });
        self
    }

    pub(super) fn takes<T: JsonSchema>(self) -> Self {
        self.takes_as(JSON, |generator| generator.subschema_for::<T>())
    }

    pub(super) fn takes_as(mut self, media_type: &'static str, body: Body) -> Self {
        self.takes.push((media_type, body));
        self
    }

    pub(super) fn example(mut self, example: Value) -> Self {
        self.example = Some(example);
        self
    }

    pub(super) fn answers<T: JsonSchema>(self, status: StatusCode, description: &'static str) -> Self {
        self.answers_as(status, description, vec![(JSON, |generator| generator.subschema_for::<T>())])
    }

    pub(super) fn answers_as(
        mut self,
        status: StatusCode,
        description: &'static str,
        bodies: Vec<(&'static str, Body)>,
    ) -> Self {
        self.answers.push(Answer { status, description, bodies, headers: &[] });
        self
    }

    /// Says which headers the last answer has.
    pub(super) fn with(mut self, headers: &'static [&'static str]) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers = headers;
        }
        self
    }

    pub(super) fn problem(mut self, code: ProblemCode) -> Self {
        if !self.problems.contains(&code) {
            self.problems.push(code);
        }
        self
    }

    pub(super) fn problems(self, codes: &[ProblemCode]) -> Self {
        codes.iter().fold(self, |operation, code| operation.problem(*code))
    }

    /// Has it answered to those without a token, too.
    pub(super) fn open(mut self) -> Self {
        self.is_open = true;
        self
    }

    /// Returns the problems that it may be answered with, those of every operation included.
    pub(super) fn all_problems(&self) -> Vec<ProblemCode> {
        let everywhere = [ProblemCode::Forbidden, ProblemCode::Internal];
        let token = (!self.is_open).then_some(ProblemCode::Unauthorized);
        self.problems.iter().copied().chain(token).chain(everywhere).collect()
    }
}

/// A body of which no more is said than what it is for.
pub(super) fn text(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "string" })
}
