//! Secrets: where they come from, and what agents are given.

use std::{collections::BTreeMap, fmt, fs::File, io::Read, path::PathBuf, sync::Arc};

use orchestr8_schema::config::AccessPolicy;
use zeroize::Zeroizing;

use crate::{AgentError, pattern};

/// A secret. It prints as `***`, is wiped from memory when it is dropped, and cannot be serialized.
#[derive(Clone)]
pub struct SecretString(Zeroizing<String>);

impl SecretString {
    /// Keeps a text as a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Returns the text, for whoever it is meant for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Puts `[REDACTED]` in its place wherever it stands in the texts of a value.
    #[cfg(any(feature = "adapter", feature = "model"))]
    pub(crate) fn hide_in(&self, value: &mut serde_json::Value) {
        use serde_json::Value;

        match value {
            Value::String(text) if text.contains(self.expose()) => *text = text.replace(self.expose(), "[REDACTED]"),
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide_in(item)),
            Value::Object(map) => map.values_mut().for_each(|value| self.hide_in(value)),
            _ => {}
        }
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The most bytes of a file of secrets that are read.
const MAX_FILE: u64 = 1024 * 1024;

/// Where secrets come from: the environment variable `ORCHESTR8_SECRET_<PATH>`, else a file.
///
/// `<PATH>` is the reference's path in upper case, every other character an underscore: `secret://openai/api-key` is found in
/// `ORCHESTR8_SECRET_OPENAI_API_KEY`. The file is a JSON object of paths and texts, `{"openai/api-key": "…"}`; on Unix it must be
/// readable by its owner alone. Both are read when a secret is asked for, and nothing is kept.
///
/// ```
/// use orchestr8_agent_base::Secrets;
///
/// let secrets = Secrets::none().with("mail/password", "opensesame");
/// assert_eq!(secrets.find("secret://mail/password")?.expose(), "opensesame");
/// assert!(secrets.find("secret://mail/user").is_err());
/// # Ok::<(), orchestr8_agent_base::AgentError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    given: Arc<BTreeMap<String, SecretString>>,
    reads_environment: bool,
    file: Option<PathBuf>,
    allow: Option<Arc<[String]>>,
}

impl Secrets {
    /// What references begin with.
    pub const SCHEME: &'static str = "secret://";

    /// Makes a source without any.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Makes a source of the process environment.
    #[must_use]
    pub fn environment() -> Self {
        Self { reads_environment: true, ..Self::default() }
    }

    /// Adds a secret at hand, before all others.
    #[must_use]
    pub fn with(mut self, path: impl Into<String>, text: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.given).insert(path.into(), SecretString::new(text));
        self
    }

    /// Sets the file that is looked into last. It need not exist.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Sets which paths workflows may ask for; everything by default.
    #[must_use]
    pub fn policy(mut self, policy: &AccessPolicy) -> Self {
        self.allow = policy.allow.as_deref().map(Arc::from);
        self
    }

    /// Whether workflows may ask for this reference, as far as the policy goes.
    ///
    /// # Errors
    ///
    /// DENIED, naming the setting.
    pub fn check(&self, reference: &str) -> Result<(), AgentError> {
        let path = path_of(reference)?;
        match &self.allow {
            Some(allow) if !allow.iter().any(|allowed| pattern::matches(allowed, path)) => {
                Err(AgentError::denied(format!("`{reference}` is not allowed by `policy.secrets.allow`")))
            }
            _ => Ok(()),
        }
    }

    /// Finds a secret, whoever asks.
    ///
    /// # Errors
    ///
    /// NOT_FOUND if there is none; DENIED if the file can be read by others; VALIDATION if the reference or the file is malformed.
    pub fn find(&self, reference: &str) -> Result<SecretString, AgentError> {
        let path = path_of(reference)?;
        if let Some(secret) = self.given.get(path) {
            return Ok(secret.clone());
        }
        let variable = variable_of(path);
        if self.reads_environment
            && let Ok(text) = std::env::var(&variable)
        {
            return Ok(SecretString::new(text));
        }
        if let Some(found) = self.find_in_file(path)? {
            return Ok(found);
        }
        let places = match (&self.file, self.reads_environment) {
            (Some(file), true) => format!(": neither in {variable} nor in {}", file.display()),
            (Some(file), false) => format!(" in {}", file.display()),
            (None, true) => format!(": {variable} is not set"),
            (None, false) => String::new(),
        };
        Err(AgentError::not_found(format!("there is no secret `{reference}`{places}")))
    }

    fn find_in_file(&self, path: &str) -> Result<Option<SecretString>, AgentError> {
        let Some(name) = &self.file else { return Ok(None) };
        let shown = name.display();
        let file = match File::open(name) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(AgentError::denied(format!("{shown} cannot be read")).with_source(error)),
        };
        refuse_wide_mode(&file, name)?;
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_FILE)
            .read_to_string(&mut text)
            .map_err(|error| AgentError::validation(format!("{shown} cannot be read")).with_source(error))?;
        // The error of the parser might show what stands there.
        let known: BTreeMap<String, Zeroizing<String>> = serde_json::from_str::<BTreeMap<String, String>>(&text)
            .map_err(|_| AgentError::validation(format!("{shown} is no JSON object of texts")))?
            .into_iter()
            .map(|(path, text)| (path, Zeroizing::new(text)))
            .collect();
        Ok(known.get(path).map(|text| SecretString(text.clone())))
    }
}

fn path_of(reference: &str) -> Result<&str, AgentError> {
    let is_fine = |path: &&str| {
        !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte))
    };
    reference.strip_prefix(Secrets::SCHEME).filter(is_fine).ok_or_else(|| {
        AgentError::validation("a secret is referred to as `secret://` followed by letters, digits, `-`, `_`, `/`")
    })
}

fn variable_of(path: &str) -> String {
    let upper = path.chars().map(|character| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' => character.to_ascii_uppercase(),
        _ => '_',
    });
    "ORCHESTR8_SECRET_".chars().chain(upper).collect()
}

#[cfg(unix)]
fn refuse_wide_mode(file: &File, name: &std::path::Path) -> Result<(), AgentError> {
    use std::os::unix::fs::PermissionsExt as _;

    let shown = name.display();
    let metadata =
        file.metadata().map_err(|error| AgentError::denied(format!("{shown} cannot be read")).with_source(error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o177 != 0 {
        let message = format!("{shown} has mode {mode:04o}, and others may read it: `chmod 600` it");
        return Err(AgentError::denied(message));
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_wide_mode(_: &File, _: &std::path::Path) -> Result<(), AgentError> {
    Ok(())
}
