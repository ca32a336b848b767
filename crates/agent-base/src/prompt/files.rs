//! Finding prompts: inline, by path, or by name.

use std::{
    io::Read as _,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use orchestr8_schema::{
    prompt::AgentPrompt,
    source::{Format, Options, parse},
};
use serde_json::{Map, Value};

use super::{Layers, Prompt, front_matter::is_xml};
use crate::AgentError;

/// The largest file of a prompt.
const MAX_FILE: u64 = 1024 * 1024;

/// Where prompts are looked for: in these folders, the first hit wins.
#[derive(Clone, Debug, Default)]
pub struct PromptFiles {
    folders: Arc<[PathBuf]>,
    confined: bool,
}

impl PromptFiles {
    /// Looks into these folders, in this order: that of the workflow file, those of the settings, the data directory.
    #[must_use]
    pub fn new(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { folders: folders.into_iter().collect(), confined: false }
    }

    /// Reads nothing but what stands in the folder `prompts` of one of these folders, for whoever executes workflows of others.
    #[must_use]
    pub fn confined(mut self) -> Self {
        self.confined = true;
        self
    }

    /// Reads what stands under `prompt` in a configuration: a JSON prompt, the path of one, or layers, each inline text, a path, or the name
    /// of a file in `prompts/roles`, `prompts/personas`, `prompts/personalities` or `prompts/tasks`.
    ///
    /// # Errors
    ///
    /// VALIDATION if it is not well formed; NOT_FOUND, with every path that was tried, if it is not there.
    pub fn read(&self, prompt: &Value) -> Result<Prompt, AgentError> {
        self.find(prompt, &mut Vec::new())
    }

    /// Writes out what stands under `prompt` in a configuration, so that it stands for itself and no file is needed any more. What was looked for
    /// is added to `wanted`, also where there was nothing.
    ///
    /// ```
    /// use orchestr8_agent_base::prompt::PromptFiles;
    /// use serde_json::json;
    ///
    /// let folder = tempfile::tempdir()?;
    /// std::fs::create_dir_all(folder.path().join("prompts/roles"))?;
    /// std::fs::write(folder.path().join("prompts/roles/editor.yaml"), "role: { name: editor, system: You edit texts. }")?;
    /// let files = PromptFiles::new([folder.path().to_owned()]);
    /// let prompt = json!({ "role": "editor", "task": "Edit this: {{ input.text }}" });
    /// let inline = files.inline(&prompt, &mut Vec::new())?;
    /// assert_eq!(inline, json!({ "role": "You edit texts.", "task": "Edit this: {{ input.text }}" }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn inline(&self, prompt: &Value, wanted: &mut Vec<PathBuf>) -> Result<Value, AgentError> {
        let before = wanted.len();
        let found = self.find(prompt, wanted)?;
        if wanted.len() == before {
            return Ok(prompt.clone());
        }
        Ok(match found {
            Prompt::Agent(prompt) => serde_json::to_value(&*prompt).unwrap_or_default(),
            Prompt::Layers(layers) => {
                let Layers { role, persona, personality, task, model } = *layers;
                let texts = [("role", role), ("persona", persona), ("personality", personality), ("task", task)];
                let texts = texts.into_iter().filter_map(|(key, text)| Some((key, in_words(text?))));
                let model = model.map(|model| ("model", model));
                texts.chain(model).map(|(key, text)| (key.to_owned(), Value::String(text))).collect()
            }
        })
    }

    fn find(&self, prompt: &Value, wanted: &mut Vec<PathBuf>) -> Result<Prompt, AgentError> {
        match prompt {
            Value::String(path) => self.agent_prompt(&self.file(std::slice::from_ref(path), path, wanted)?),
            Value::Object(map) if map.contains_key("schemaVersion") => {
                self.agent_prompt(&serde_json::to_vec(map).unwrap_or_default())
            }
            Value::Object(map) => self.layers(map, wanted),
            _ => Err(AgentError::validation("`prompt` is neither an object nor the path of a prompt")),
        }
    }

    #[expect(clippy::unused_self, reason = "it stands beside `layers`")]
    fn agent_prompt(&self, text: &[u8]) -> Result<Prompt, AgentError> {
        refuse_xml(text)?;
        let prompt = AgentPrompt::read(text, &Options::new());
        let prompt =
            prompt.map_err(|error| AgentError::validation("the prompt is not well formed").with_source(error))?;
        Ok(Prompt::Agent(Box::new(prompt.value)))
    }

    /// Reads a [template](super::Template): its text, or the path of one, which ends in `.xml`.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    #[cfg(feature = "research")]
    pub fn template(&self, template: &str) -> Result<super::Template, AgentError> {
        super::Template::read(&self.inline_template(template, &mut Vec::new())?)
    }

    /// As [`inline`](Self::inline), of a [template](super::Template).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    #[cfg(feature = "research")]
    pub fn inline_template(&self, template: &str, wanted: &mut Vec<PathBuf>) -> Result<String, AgentError> {
        if is_xml(template) {
            return Ok(template.to_owned());
        }
        if template.contains(char::is_whitespace) || !template.ends_with(".xml") {
            return Err(AgentError::validation(
                "the template is neither XML behind front matter nor a path that ends in `.xml`",
            ));
        }
        let file = self.file(&[template.to_owned()], template, wanted)?;
        String::from_utf8(file)
            .map_err(|error| AgentError::validation(format!("the template {template}")).with_source(error))
    }

    fn layers(&self, map: &Map<String, Value>, wanted: &mut Vec<PathBuf>) -> Result<Prompt, AgentError> {
        const KEYS: [&str; 5] = ["role", "persona", "personality", "task", "model"];

        if let Some(key) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(AgentError::validation(format!("`{key}` is no layer of a prompt: {}", KEYS.join(", "))));
        }
        let mut layers = Layers::default();
        let mut role_name = None;
        if let Some(found) = self.layer(map, ("role", "roles", "system"), wanted)? {
            role_name = found.name;
            layers.role = Some(found.text);
        }
        if let Some(found) = self.layer(map, ("persona", "personas", "modifiers"), wanted)? {
            if let (Some(extended), Some(role)) = (&found.extends, &role_name)
                && extended != role
            {
                tracing::warn!(persona = found.name, extends = extended, role, "the persona extends another role");
            }
            layers.persona = Some(found.text);
        }
        layers.personality =
            self.layer(map, ("personality", "personalities", "modifiers"), wanted)?.map(|found| found.text);
        layers.task = self.layer(map, ("task", "tasks", "template"), wanted)?.map(|found| found.text);
        layers.model = map.get("model").and_then(Value::as_str).map(str::to_owned);
        if layers.role.is_none() && layers.persona.is_none() && layers.personality.is_none() && layers.task.is_none() {
            return Err(AgentError::validation("the prompt has no layers"));
        }
        Ok(Prompt::Layers(Box::new(layers)))
    }

    /// Reads one layer: text if it is more than a name or a path.
    fn layer(
        &self,
        map: &Map<String, Value>,
        (key, folder, field): (&str, &str, &str),
        wanted: &mut Vec<PathBuf>,
    ) -> Result<Option<Layer>, AgentError> {
        let Some(value) = map.get(key) else { return Ok(None) };
        let Some(text) = value.as_str() else {
            return Err(AgentError::validation(format!("`prompt.{key}` is no text")));
        };
        if !is_name(text) && !is_path(text) {
            return Ok(Some(Layer { text: text.to_owned(), name: None, extends: None }));
        }
        let candidates = if is_path(text) {
            vec![text.to_owned()]
        } else {
            ["yaml", "yml", "json"].map(|extension| format!("prompts/{folder}/{text}.{extension}")).to_vec()
        };
        let file = self.file(&candidates, &format!("{key} `{text}`"), wanted)?;
        Layer::read(&file, key, field).map(Some)
    }

    /// Reads the first of these files that is there.
    fn file(&self, candidates: &[String], what: &str, wanted: &mut Vec<PathBuf>) -> Result<Vec<u8>, AgentError> {
        if self.confined
            && let Some(outside) = candidates.iter().find(|candidate| !is_among_prompts(candidate))
        {
            return Err(AgentError::denied(format!(
                "`{outside}` is not in a folder `prompts`, and nothing else is read here"
            )));
        }
        let mut tried = Vec::new();
        let here = [PathBuf::new()];
        let folders = if self.folders.is_empty() { &here[..] } else { &self.folders };
        for folder in folders {
            for candidate in candidates {
                let path = folder.join(candidate);
                wanted.push(path.clone());
                match read(&path) {
                    Ok(text) => return Ok(text),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        tried.push(path.display().to_string());
                    }
                    Err(error) => {
                        let shown = path.display();
                        return Err(AgentError::validation(format!("{shown} cannot be read")).with_source(error));
                    }
                }
            }
        }
        Err(AgentError::not_found(format!("there is no {what}; tried {}", tried.join(", "))))
    }
}

/// Whoever writes XML is told what to write instead.
fn refuse_xml(text: &[u8]) -> Result<(), AgentError> {
    if std::str::from_utf8(text).is_ok_and(is_xml) {
        return Err(AgentError::validation("workflows and prompts are JSON or YAML, and this is XML"));
    }
    Ok(())
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.len() > MAX_FILE {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(text)
}

/// Whether a path stays in the folder `prompts`.
fn is_among_prompts(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    let is_first = parts.next().is_some_and(|first| first.as_os_str() == "prompts");
    is_first && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// Sees to it that a text is not taken for a name or a path.
fn in_words(mut text: String) -> String {
    if is_name(&text) || is_path(&text) {
        text.push('\n');
    }
    text
}

fn is_name(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn is_path(text: &str) -> bool {
    !text.contains(char::is_whitespace) && [".yaml", ".yml", ".json"].iter().any(|extension| text.ends_with(extension))
}

/// What a file of a layer says.
struct Layer {
    text: String,
    name: Option<String>,
    extends: Option<String>,
}

impl Layer {
    /// Reads `role: {name, system}`, `persona: {name, extends, modifiers}`, `personality: {name, modifiers}`, `task: {name, template}`, or a bare
    /// `content`.
    fn read(file: &[u8], key: &str, field: &str) -> Result<Self, AgentError> {
        refuse_xml(file)?;
        let document = parse(file, &Options::new().format(Format::Yaml));
        let document =
            document.map_err(|error| AgentError::validation(format!("the file of the {key}")).with_source(error))?;
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Array(lines) => {
                let lines: Option<Vec<_>> = lines.iter().map(Value::as_str).collect();
                lines.map(|lines| lines.join("\n"))
            }
            _ => None,
        };
        let of = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        if let Some(found) = document.get("content").and_then(text) {
            return Ok(Self { text: found, name: None, extends: None });
        }
        let layer = document.get(key);
        let found = layer.and_then(|layer| text(layer.get(field)?));
        let found = found
            .ok_or_else(|| AgentError::validation(format!("the file has neither `{key}.{field}` nor `content`")))?;
        let layer = layer.unwrap_or(&Value::Null);
        Ok(Self { text: found, name: of(layer, "name"), extends: of(layer, "extends") })
    }
}
