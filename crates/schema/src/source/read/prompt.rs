//! JSON prompts.

use serde_json::Value;

use super::{Field, Object, Reader};
use crate::{
    Code,
    json_schema::{JsonValidator, PublishedSchema},
    problem::{Problems, quote},
    prompt::{
        AgentPrompt, Enforcement, Guardrail, GuardrailKind, PromptExample, PromptOnError, PromptStep, PromptTool,
    },
    validate::compile_schema,
};

const MAX_ROLE: usize = 500;
const MAX_GOALS: usize = 10;
const MAX_CONSTRAINTS: usize = 20;

/// Reads a prompt; `None` if a part without which it means nothing is missing.
pub(crate) fn prompt(document: &Value, strict: bool, problems: &mut Problems) -> Option<AgentPrompt> {
    let mut reader = Reader::new(problems);
    let root = reader.root(document)?;
    let schema_version = reader.version(&root, "schemaVersion");
    if let Some(version) = schema_version.as_deref().filter(|version| !version.starts_with("1.")) {
        let message = format!("version {} is not supported", quote(version.split('.').next().unwrap_or_default()));
        reader
            .problems
            .report(Code::SchemaVersion, root.at.key("schemaVersion"), message)
            .help("use schemaVersion 1.0.0");
    }
    let version = reader.version(&root, "version");
    let schema_hash = reader.schema_hash(&root, strict);
    let role = reader.required(&root, "role", "who answers");
    let role = reader.bounded_text(role, MAX_ROLE);
    let goals = reader.required(&root, "goals", "what is wanted, as a list");
    let goals = goals.map(|goals| reader.bounded_list(goals, 1, MAX_GOALS));
    let constraints = root.get("constraints").map(|field| reader.bounded_list(field, 0, MAX_CONSTRAINTS));
    let tools = reader.each(root.get("tools"), Reader::prompt_tool);
    let steps = reader.required(&root, "steps", "what is done, as a list");
    let steps = steps.and_then(|steps| reader.filled(steps, "a prompt needs a step", Reader::prompt_step));
    reader.ascending(root.get("steps"));
    let (input_schema, input) = reader.compiled(root.get("inputSchema"));
    let (output_schema, output) = reader.compiled(root.get("outputSchema"));
    let guardrails = reader.each(root.get("guardrails"), Reader::guardrail);
    let examples =
        reader.each(root.get("examples"), |reader, field| reader.example(field, input.as_ref(), output.as_ref()));
    let known = [
        "schemaVersion",
        "version",
        "schemaHash",
        "role",
        "goals",
        "constraints",
        "tools",
        "steps",
        "inputSchema",
        "outputSchema",
        "guardrails",
        "examples",
        "$schema",
    ];
    reader.unknown_keys(&root, &known);
    Some(AgentPrompt {
        schema_version: schema_version?,
        version: version?,
        schema_hash,
        role: role?,
        goals: goals?,
        constraints: constraints.unwrap_or_default(),
        tools,
        steps: steps?,
        input_schema,
        output_schema,
        guardrails,
        examples,
    })
}

impl Reader<'_> {
    fn version(&mut self, root: &Object<'_>, name: &'static str) -> Option<String> {
        let field = self.required(root, name, "three numbers, such as \"1.0.0\"")?;
        let text = self.text(Some(field))?;
        let is_version = text.split('.').count() == 3
            && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_version {
            let message = format!("`{}` is no version", quote(text));
            self.problems.report(Code::WrongForm, field.at, message).help("versions look like 1.0.0");
            return None;
        }
        Some(text.to_owned())
    }

    fn schema_hash(&mut self, root: &Object<'_>, strict: bool) -> Option<String> {
        let field = root.get("schemaHash")?;
        let text = self.text(Some(field))?;
        let is_hash = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hash {
            self.problems
                .report(Code::SchemaHashForm, field.at, "the hash must be SHA-256")
                .help("64 hex digits in lower case, or omit it");
        } else if strict && text != crate::canonical::digest(&PublishedSchema::Prompt.schema()) {
            self.problems.report(Code::SchemaHash, field.at, "the schema was modified").help("omit schemaHash");
        }
        Some(text.to_owned())
    }

    fn bounded_text(&mut self, field: Option<Field<'_>>, most: usize) -> Option<String> {
        let field = field?;
        let text = self.text(Some(field))?;
        let length = text.chars().count();
        if length == 0 || length > most {
            let message = format!("`{}` has {length} characters, 1 to {most} are allowed", field.name);
            self.problems.report(Code::WrongForm, field.at, message);
        }
        Some(text.to_owned())
    }

    fn bounded_list(&mut self, field: Field<'_>, least: usize, most: usize) -> Vec<String> {
        let count = field.value.as_array().map_or(least, Vec::len);
        if count < least {
            self.problems.report(Code::Empty, field.at, format!("`{}` needs an element", field.name));
        } else if count > most {
            let message = format!("`{}` has {count} elements, at most {most} are allowed", field.name);
            self.problems.report(Code::WrongForm, field.at, message);
        }
        self.texts(Some(field))
    }

    fn each<T>(&mut self, field: Option<Field<'_>>, mut read: impl FnMut(&mut Self, Field<'_>) -> Option<T>) -> Vec<T> {
        let Some(list) = self.list(field) else { return Vec::new() };
        list.items().filter_map(|item| read(self, item)).collect()
    }

    fn prompt_tool(&mut self, field: Field<'_>) -> Option<PromptTool> {
        let object = self.object(Some(field))?;
        let name = self.required(&object, "name", "the tool's name");
        let name = self.owned(name);
        let description = self.required(&object, "description", "what the tool is for");
        let description = self.owned(description);
        let (parameters, _) = self.compiled(object.get("parameters"));
        let required = self.boolean(object.get("required")).unwrap_or_default();
        self.unknown_keys(&object, &["name", "description", "parameters", "required"]);
        Some(PromptTool { name: name?, description: description?, parameters, required })
    }

    fn prompt_step(&mut self, field: Field<'_>) -> Option<PromptStep> {
        let object = self.object(Some(field))?;
        let number = self.required(&object, "number", "1 for the first step");
        let number = self.integer(number);
        let description = self.required(&object, "description", "what the step is about");
        let description = self.owned(description);
        let action = self.required(&object, "action", "what is done");
        let action = self.owned(action);
        let validation = self.owned(object.get("validation"));
        let choices =
            [("fail", PromptOnError::Fail), ("continue", PromptOnError::Continue), ("retry", PromptOnError::Retry)];
        let on_error = self.choice(object.get("onError"), &choices).unwrap_or_default();
        self.unknown_keys(&object, &["number", "description", "action", "validation", "onError"]);
        Some(PromptStep { number: number?, description: description?, action: action?, validation, on_error })
    }

    /// Reports numbers of steps that do not rise.
    fn ascending(&mut self, steps: Option<Field<'_>>) {
        let mut last: Option<u64> = None;
        for item in steps.iter().flat_map(Field::items) {
            let Some(number) = item.value.get("number").and_then(Value::as_u64) else { continue };
            if let Some(before) = last.filter(|before| number <= *before) {
                let message = format!("step {number} stands behind step {before}");
                self.problems
                    .report(Code::WrongForm, item.at.key("number"), message)
                    .help("numbers rise, each by one or more");
            }
            last = last.max(Some(number));
        }
    }

    fn guardrail(&mut self, field: Field<'_>) -> Option<Guardrail> {
        let object = self.object(Some(field))?;
        let kinds = [
            ("content", GuardrailKind::Content),
            ("behavior", GuardrailKind::Behavior),
            ("output", GuardrailKind::Output),
        ];
        let kind = self.required(&object, "type", "content, behavior or output");
        let kind = self.choice(kind, &kinds);
        let rule = self.required(&object, "rule", "what must not happen");
        let rule = self.owned(rule);
        let choices = [("block", Enforcement::Block), ("warn", Enforcement::Warn), ("log", Enforcement::Log)];
        let enforcement = self.choice(object.get("enforcement"), &choices).unwrap_or_default();
        self.unknown_keys(&object, &["type", "rule", "enforcement"]);
        Some(Guardrail { kind: kind?, rule: rule?, enforcement })
    }

    fn example(
        &mut self,
        field: Field<'_>,
        input: Option<&JsonValidator>,
        output: Option<&JsonValidator>,
    ) -> Option<PromptExample> {
        let object = self.object(Some(field))?;
        let given = self.conforming(&object, "input", input);
        let answer = self.conforming(&object, "output", output);
        let description = self.owned(object.get("description"));
        self.unknown_keys(&object, &["input", "output", "description"]);
        Some(PromptExample { input: given?, output: answer?, description })
    }

    /// Reads a value that must satisfy a schema; null is a value.
    fn conforming(&mut self, object: &Object<'_>, name: &str, schema: Option<&JsonValidator>) -> Option<Value> {
        let Some(value) = object.map.get(name) else {
            self.problems.report(Code::Missing, object.at, format!("`{name}` is missing")).help("any value that fits");
            return None;
        };
        let at = object.at.key(name);
        for violation in schema.and_then(|schema| schema.validate(value).err()).into_iter().flatten() {
            let message = format!("the {name} breaks its schema: {}", violation.message());
            self.problems.report(Code::ConstantViolatesSchema, format_args!("{at}{}", violation.path()), message);
        }
        Some(value.clone())
    }

    fn compiled(&mut self, field: Option<Field<'_>>) -> (Option<Value>, Option<JsonValidator>) {
        let Some(field) = field else { return (None, None) };
        let Some(schema) = self.schema(Some(field)) else { return (None, None) };
        let compiled = compile_schema(&schema, &field.at, self.problems);
        (Some(schema), compiled)
    }
}
