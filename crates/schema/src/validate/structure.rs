//! Rules about the root's own values: forms and lengths.

use crate::{
    Code, Workflow,
    expression::compile::is_forbidden,
    problem::{At, Problems, quote},
    source::Options,
    workflow::Metadata,
};

/// Checks the root's own fields.
pub(super) fn root(workflow: &Workflow, options: &Options<'_>, problems: &mut Problems) {
    let at = At::ROOT;
    if !is_version(&workflow.version) {
        let message = format!("`{}` is no version", quote(&workflow.version));
        problems.report(Code::WrongForm, at.key("version"), message).help("versions look like 1.0.0");
    }
    if let Some(version) = &workflow.schema_version {
        if !is_version(version) {
            let message = format!("`{}` is no version", quote(version));
            problems.report(Code::WrongForm, at.key("schemaVersion"), message).help("versions look like 1.0.0");
        } else if version.split('.').next() != Some("1") {
            let message = format!("version {} of the format is not supported", quote(version));
            problems.report(Code::SchemaVersion, at.key("schemaVersion"), message).help("use schemaVersion 1.0.0");
        }
    }
    if let Some(hash) = &workflow.schema_hash {
        if hash.len() != 64 || !hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            problems
                .report(Code::SchemaHashForm, at.key("schemaHash"), "the hash must be SHA-256")
                .help("64 lowercase hex digits, or omit it");
        } else if options.strict && *hash != crate::json_schema::schema_hash() {
            problems.report(Code::SchemaHash, at.key("schemaHash"), "the schema was modified").help("omit schemaHash");
        }
    }
    metadata(&workflow.metadata, problems);
    let context = at.key("context");
    for name in workflow.context.variables.keys().filter(|name| is_forbidden(name)) {
        let variables = context.key("variables");
        problems.report(Code::ForbiddenName, variables.key(name), format!("`{name}` is not allowed")).on_key();
    }
    for (index, secret) in workflow.context.secret_refs.iter().enumerate() {
        let valid = secret.strip_prefix("secret://").is_some_and(|path| {
            !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte))
        });
        if !valid {
            let message = format!("`{}` is no reference to a secret", quote(secret));
            problems
                .report(Code::WrongForm, context.key("secretRefs").index(index), message)
                .help("they look like secret://provider/key");
        }
    }
    for (index, name) in workflow.allowed_env_vars.iter().enumerate() {
        let mut bytes = name.bytes();
        let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !(first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')) {
            let message = format!("`{}` is no name of a process variable", quote(name));
            problems
                .report(Code::WrongForm, at.key("allowedEnvVars").index(index), message)
                .help("letters, digits and `_`");
        }
    }
}

fn metadata(metadata: &Metadata, problems: &mut Problems) {
    let root = At::ROOT;
    let at = root.key("metadata");
    for (name, text) in [("id", &metadata.id), ("name", &metadata.name)] {
        if !(1..=255).contains(&text.chars().count()) {
            problems.report(Code::WrongForm, at.key(name), format!("`{name}` has 1 to 255 characters"));
        }
    }
    length(metadata.description.as_deref(), 1000, &at.key("description"), problems);
}

pub(super) fn length(text: Option<&str>, most: usize, at: &At<'_>, problems: &mut Problems) {
    if text.is_some_and(|text| text.chars().count() > most) {
        problems.report(Code::WrongForm, at, format!("at most {most} characters are allowed"));
    }
}

fn is_version(text: &str) -> bool {
    let mut parts = 0;
    text.split('.').all(|part| {
        parts += 1;
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
    }) && parts == 3
}
