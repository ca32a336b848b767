//! Names of tools as models take them: without colons and dots.

use std::collections::BTreeMap;

/// The names of a request's tools, there and back: `:` is written `__`, and `.` is written `_`.
///
/// ```
/// use orchestr8_agent_base::model::WireNames;
///
/// let names = WireNames::new(["fs:read.all", "search"]).unwrap();
/// assert_eq!(names.to_wire("fs:read.all"), "fs__read_all");
/// assert_eq!(names.from_wire("fs__read_all"), "fs:read.all");
/// assert_eq!(names.from_wire("unknown"), "unknown");
/// assert!(WireNames::new(["a.b", "a_b"]).is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireNames(BTreeMap<String, String>);

impl WireNames {
    /// Takes the names of all tools of a request.
    ///
    /// # Errors
    ///
    /// The two names that would be the same on the wire.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, (String, String)> {
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        for name in names {
            let other = known.insert(written(name), name.to_owned());
            if let Some(other) = other.filter(|other| other != name) {
                return Err((other, name.to_owned()));
            }
        }
        Ok(Self(known))
    }

    /// Returns a name as it is sent.
    #[must_use]
    pub fn to_wire(&self, name: &str) -> String {
        written(name)
    }

    /// Returns the name that is meant; one that nobody knows stays as it is.
    #[must_use]
    pub fn from_wire(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }
}

fn written(name: &str) -> String {
    name.replace(':', "__").replace('.', "_")
}
