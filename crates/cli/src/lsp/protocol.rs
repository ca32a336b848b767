//! The part of the Language Server Protocol (3.17) that is spoken here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A place in a text; both count from 0, characters in units of UTF-16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The place in the line.
    pub character: u32,
}

/// A part of a text; the end is behind the last character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Where it begins.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
}

/// A replacement of a part of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TextEdit {
    /// What is replaced.
    pub range: Range,
    /// By what.
    pub new_text: String,
}

/// A problem.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnostic {
    /// Where.
    pub range: Range,
    /// 1 error, 2 warning.
    pub severity: u8,
    /// The stable code, such as `O8303`.
    pub code: String,
    /// `orchestr8`.
    pub source: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
}

/// Something that may be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CompletionItem {
    /// What people see.
    pub label: String,
    /// What it is; the numbers are the protocol's.
    pub kind: CompletionKind,
    /// Its type.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What it means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documentation: Option<Markup>,
    /// Its place among the others.
    pub sort_text: String,
    /// What is compared with what has been typed.
    pub filter_text: String,
    /// What is written.
    pub text_edit: TextEdit,
}

/// What a completion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionKind {
    /// A name in an expression.
    Field,
    /// A root of expressions.
    Variable,
    /// An agent.
    Module,
    /// A key.
    Property,
    /// One of several values.
    Value,
    /// A step.
    Reference,
}

impl Serialize for CompletionKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(match self {
            Self::Field => 5,
            Self::Variable => 6,
            Self::Module => 9,
            Self::Property => 10,
            Self::Value => 12,
            Self::Reference => 18,
        })
    }
}

/// Text in Markdown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Markup {
    kind: &'static str,
    /// The text.
    pub value: String,
}

impl Markup {
    /// Makes a text in Markdown.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self { kind: "markdown", value: value.into() }
    }
}

/// What is known of a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hover {
    /// What it says.
    pub contents: Markup,
    /// What it is about.
    pub range: Range,
}

/// A place in a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Location {
    /// Which document.
    pub uri: String,
    /// Where.
    pub range: Range,
}

/// What can be renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Renamable {
    /// Where it stands.
    pub range: Range,
    /// Its present name.
    pub placeholder: String,
}

/// Changes of documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkspaceEdit {
    /// By document.
    pub changes: BTreeMap<String, Vec<TextEdit>>,
}

/// A message from the client: a request if it has an id, else a notification, or an answer, which has no method.
#[derive(Debug, Deserialize)]
pub(super) struct Incoming {
    #[serde(default)]
    pub(super) id: Option<Value>,
    #[serde(default)]
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) params: Value,
}

/// An answer.
#[derive(Debug, Serialize)]
pub(super) struct Response {
    pub(super) jsonrpc: &'static str,
    pub(super) id: Value,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Result(Value),
    Error(ResponseError),
}

/// Why a request has no answer.
#[derive(Debug, Serialize)]
pub(super) struct ResponseError {
    pub(super) code: i32,
    pub(super) message: String,
}

impl ResponseError {
    pub(super) const PARSE: i32 = -32700;
    pub(super) const INVALID_REQUEST: i32 = -32600;
    pub(super) const NO_SUCH_METHOD: i32 = -32601;
    pub(super) const INVALID_PARAMS: i32 = -32602;
    pub(super) const INTERNAL: i32 = -32603;
    pub(super) const NOT_INITIALIZED: i32 = -32002;
    pub(super) const REQUEST_FAILED: i32 = -32803;

    pub(super) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// A message that wants no answer.
#[derive(Debug, Serialize)]
pub(super) struct Notification {
    pub(super) jsonrpc: &'static str,
    pub(super) method: &'static str,
    pub(super) params: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DidOpen {
    pub(super) text_document: OpenedDocument,
}

#[derive(Debug, Deserialize)]
pub(super) struct OpenedDocument {
    pub(super) uri: String,
    pub(super) version: i64,
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DidChange {
    pub(super) text_document: VersionedDocument,
    pub(super) content_changes: Vec<Change>,
}

#[derive(Debug, Deserialize)]
pub(super) struct VersionedDocument {
    pub(super) uri: String,
    pub(super) version: i64,
}

/// A change of a document: of a part, or of all of it.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    #[serde(default)]
    pub(super) range: Option<Range>,
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DidClose {
    pub(super) text_document: Identifier,
}

#[derive(Debug, Deserialize)]
pub(super) struct Identifier {
    pub(super) uri: String,
}

/// A place in a document, and the new name if there is one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct At {
    pub(super) text_document: Identifier,
    pub(super) position: Position,
    #[serde(default)]
    pub(super) new_name: Option<String>,
}
