//! Names and identifiers, each a type of its own.
//!
//! A workflow's author chooses [`StepId`], [`AgentId`] and the workflow's id; the engine makes an [`ExecutionId`] for each
//! execution; a [`CorrelationId`] comes from whoever asked. Every type checks its form where it is made, so the rest of the
//! program needs no check.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// The error of a text that does not have the form of the identifier it was to become.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}")]
pub struct InvalidId {
    what: &'static str,
    text: String,
}

impl InvalidId {
    fn new(what: &'static str, text: &str) -> Self {
        // A hostile text must not fill the message.
        let text = text.chars().take(80).collect();
        Self { what, text }
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $pattern:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The regular expression that the text matches as a whole.
            pub const PATTERN: &'static str = $pattern;

            /// Returns the identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(InvalidId::new($what, text)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": Self::PATTERN })
            }
        }
    };
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

text_id! {
    /// The id of a step: 1–128 letters, digits, `-` and `_`; unique in the whole workflow file.
    ///
    /// ```
    /// use orchestr8_schema::StepId;
    ///
    /// let id: StepId = "fetch-repos".parse()?;
    /// assert_eq!(id.as_str(), "fetch-repos");
    /// assert!("fetch repos".parse::<StepId>().is_err());
    /// # Ok::<(), orchestr8_schema::id::InvalidId>(())
    /// ```
    StepId, "step id", "^[A-Za-z0-9_-]{1,128}$",
    |text| (1..=128).contains(&text.len()) && text.bytes().all(is_word)
}

text_id! {
    /// The id of an agent: `@scope/name`, both of letters, digits and hyphens.
    ///
    /// ```
    /// use orchestr8_schema::AgentId;
    ///
    /// let id: AgentId = "@orchestr8/hello-world".parse()?;
    /// assert_eq!((id.scope(), id.name()), ("orchestr8", "hello-world"));
    /// assert!("hello-world".parse::<AgentId>().is_err());
    /// # Ok::<(), orchestr8_schema::id::InvalidId>(())
    /// ```
    AgentId, "agent id", "^@[A-Za-z0-9-]{1,126}/[A-Za-z0-9-]{1,127}$",
    |text| {
        let part = |part: &str, most: usize| {
            (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        text.strip_prefix('@')
            .and_then(|rest| rest.split_once('/'))
            .is_some_and(|(scope, name)| part(scope, 126) && part(name, 127))
    }
}

impl AgentId {
    /// Returns the part between `@` and `/`.
    #[must_use]
    pub fn scope(&self) -> &str {
        self.halves().0
    }

    /// Returns the part behind `/`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.halves().1
    }

    fn halves(&self) -> (&str, &str) {
        self.0[1..].split_once('/').unwrap_or_default()
    }
}

text_id! {
    /// What ties an execution to the request that caused it, across programs: 1–256 letters, digits, `-` and `_`.
    ///
    /// It travels in the header `X-Correlation-ID`, stands in every event, log line and span, and is made anew where a caller
    /// gives none.
    CorrelationId, "correlation id", "^[A-Za-z0-9_-]{1,256}$",
    |text| (1..=256).contains(&text.len()) && text.bytes().all(is_word)
}

text_id! {
    /// The key under which a request may be repeated without starting a second execution: 1–255 letters, digits, `-` and `_`.
    IdempotencyKey, "idempotency key", "^[A-Za-z0-9_-]{1,255}$",
    |text| (1..=255).contains(&text.len()) && text.bytes().all(is_word)
}

text_id! {
    /// The name of a tool: letters, digits, `.`, `_` and `-`, with a namespace before `:` where it comes from a server.
    ///
    /// ```
    /// use orchestr8_schema::id::ToolName;
    ///
    /// let name: ToolName = "github:create_issue".parse()?;
    /// assert_eq!(name.namespace(), Some("github"));
    /// assert!("http get".parse::<ToolName>().is_err());
    /// # Ok::<(), orchestr8_schema::id::InvalidId>(())
    /// ```
    ToolName, "tool name", "^([A-Za-z0-9][A-Za-z0-9._-]{0,63}:)?[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
    |text| {
        let part = |part: &str| {
            (1..=64).contains(&part.len())
                && part.as_bytes()[0].is_ascii_alphanumeric()
                && part.bytes().all(|byte| is_word(byte) || byte == b'.')
        };
        text.split_once(':').map_or_else(|| part(text), |(namespace, name)| part(namespace) && part(name))
    }
}

impl ToolName {
    /// Returns the part before `:`, if there is one.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.0.split_once(':').map(|(namespace, _)| namespace)
    }
}

text_id! {
    /// The name of a signal: 1–128 letters, digits, `_`, `.` and `-`.
    SignalName, "signal name", "^[A-Za-z0-9_.-]{1,128}$",
    |text| (1..=128).contains(&text.len()) && text.bytes().all(|byte| is_word(byte) || byte == b'.')
}

text_id! {
    /// The root under which the body of a map sees its item or index: a letter or `_`, then at most 63 letters, digits, `_`
    /// and `-`.
    ItemName, "name for an item", "^[A-Za-z_][A-Za-z0-9_-]{0,63}$",
    |text| {
        (1..=64).contains(&text.len())
            && text.bytes().all(is_word)
            && !text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
    }
}

impl ItemName {
    /// Returns `item`, the default for items.
    #[must_use]
    pub fn item() -> Self {
        Self("item".into())
    }

    /// Returns `index`, the default for indices.
    #[must_use]
    pub fn index() -> Self {
        Self("index".into())
    }
}

/// The id of one execution: a UUID of version 7, so that ids sort by the time they were made.
///
/// ```
/// use orchestr8_schema::ExecutionId;
///
/// let id: ExecutionId = "01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10".parse()?;
/// assert_eq!(id.short().as_str(), "0f5b9a10");
/// # Ok::<(), orchestr8_schema::id::InvalidId>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExecutionId(Uuid);

impl ExecutionId {
    /// Builds an id from milliseconds since the Unix epoch and 10 bytes of randomness, as RFC 9562 lays out version 7.
    #[must_use]
    pub fn from_parts(unix_ms: u64, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
    }

    /// Returns the last 8 digits, which is how people see an id: the first ones change only once a minute.
    #[must_use]
    pub fn short(&self) -> String {
        let text = self.0.simple().to_string();
        text[text.len() - 8..].to_owned()
    }

    /// Makes an id of its 16 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns the id as its 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl FromStr for ExecutionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // Only the hyphenated form, so that one execution has one name.
        if text.len() == 36
            && let Ok(id) = Uuid::try_parse(text)
        {
            return Ok(Self(id));
        }
        Err(InvalidId::new("execution id", text))
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl JsonSchema for ExecutionId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ExecutionId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "uuid" })
    }
}

/// A dense index of a step: its place in the order of declaration, counted from 0 over the whole file.
///
/// Compiled workflows name steps by it; only people read ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepIndex(pub u32);

impl StepIndex {
    /// Returns the index for use with slices.
    #[must_use]
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// The structural name of a step instance: its place in the workflow, never the order in which things ran.
///
/// Segments are joined by `.`; in front of composites stand a map item's index or key, or a loop's iteration:
/// `fetch`, `reviews[3].score`, `reviews["a.md"].score`, `refine#2.critic`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct StepPath(Arc<str>);

impl StepPath {
    /// Returns the path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path of a step inside the item of a map, which is this path's: `reviews[3].score`.
    #[must_use]
    pub fn in_item(&self, index: u32, step: &StepId) -> Self {
        Self(format!("{self}[{index}].{step}").into())
    }

    /// Returns the path of a step inside an item that has a key: `reviews["a.md"].score`.
    #[must_use]
    pub fn in_keyed_item(&self, key: &str, step: &StepId) -> Self {
        Self(format!("{self}[{}].{step}", serde_json::Value::from(key)).into())
    }

    /// Returns the path of a step inside an iteration of a loop, which is this path's: `refine#2.critic`.
    #[must_use]
    pub fn in_iteration(&self, index: u32, step: &StepId) -> Self {
        Self(format!("{self}#{index}.{step}").into())
    }

    /// Returns the path of a step inside any other composite, which is this path's: `onboard.create-user`.
    #[must_use]
    pub fn inside(&self, step: &StepId) -> Self {
        Self(format!("{self}.{step}").into())
    }
}

impl From<&StepId> for StepPath {
    fn from(id: &StepId) -> Self {
        Self(Arc::clone(&id.0))
    }
}

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
