//! Which versions of an agent will do.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// A range of agent versions: `x.y.z`, `^x.y.z`, `~x.y.z` or `latest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VersionRange {
    /// The highest version that is no pre-release.
    #[default]
    Latest,
    /// Exactly this version.
    Exact([u64; 3]),
    /// Compatible with this version, by the rules of semantic versioning.
    Caret([u64; 3]),
    /// This version or a later patch of it.
    Tilde([u64; 3]),
}

impl VersionRange {
    /// The regular expression that the text matches as a whole.
    pub const PATTERN: &'static str = r"^(latest|[\^~]?\d+\.\d+\.\d+)$";

    /// Whether a version, pre-releases aside, will do.
    ///
    /// ```
    /// use orchestr8_schema::workflow::VersionRange;
    ///
    /// let range: VersionRange = "^1.2.0".parse()?;
    /// assert!(range.matches([1, 3, 0]) && !range.matches([2, 0, 0]));
    /// assert!(!"^0.2.0".parse::<VersionRange>()?.matches([0, 3, 0]));
    /// # Ok::<(), orchestr8_schema::workflow::InvalidVersionRange>(())
    /// ```
    #[must_use]
    pub fn matches(&self, version: [u64; 3]) -> bool {
        match *self {
            Self::Latest => true,
            Self::Exact(exact) => version == exact,
            Self::Tilde(least) => version >= least && version[..2] == least[..2],
            // What must not change is everything up to the first number that is not 0.
            Self::Caret(least) => {
                let fixed = least.iter().position(|number| *number != 0).map_or(3, |place| place + 1);
                version >= least && version[..fixed] == least[..fixed]
            }
        }
    }
}

/// The error of a text that is no range of versions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version range")]
pub struct InvalidVersionRange(());

impl std::str::FromStr for VersionRange {
    type Err = InvalidVersionRange;

    fn from_str(text: &str) -> Result<Self, InvalidVersionRange> {
        fn triple(text: &str) -> Result<[u64; 3], InvalidVersionRange> {
            let mut parts = text.split('.').map(|part| {
                let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
                if digits { part.parse().ok() } else { None }
            });
            match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten(), parts.next()) {
                (Some(major), Some(minor), Some(patch), None) => Ok([major, minor, patch]),
                _ => Err(InvalidVersionRange(())),
            }
        }
        if text == "latest" {
            Ok(Self::Latest)
        } else if let Some(rest) = text.strip_prefix('^') {
            triple(rest).map(Self::Caret)
        } else if let Some(rest) = text.strip_prefix('~') {
            triple(rest).map(Self::Tilde)
        } else {
            triple(text).map(Self::Exact)
        }
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, [major, minor, patch]) = match self {
            Self::Latest => return f.write_str("latest"),
            Self::Exact(version) => ("", version),
            Self::Caret(version) => ("^", version),
            Self::Tilde(version) => ("~", version),
        };
        write!(f, "{sign}{major}.{minor}.{patch}")
    }
}

impl Serialize for VersionRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for VersionRange {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "VersionRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": Self::PATTERN })
    }
}
