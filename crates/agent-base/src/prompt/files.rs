//! Finding prompts: inline, by path, or by name.

use std::{
    io::Read as _,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use orchestr8_schema::{
    Diagnostic,
    prompt::AgentPrompt,
    source::{Format, Options, parse},
};
use serde_json::{Map, Value};

use super::{
    Layers, Prompt, PromptProblem, PromptSearch,
    front_matter::is_xml,
    layers::{self, TaskProblem},
    search::place_of,
};
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
        let mut search = PromptSearch::default();
        let found = self.find(prompt, &mut search);
        search.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        found
    }

    /// Writes out what stands under `prompt` in a configuration, so that it stands for itself and no file is needed any more. `search` is told
    /// which files were looked for, and what is to be said of them.
    ///
    /// ```
    /// use orchestr8_agent_base::prompt::{PromptFiles, PromptSearch};
    /// use serde_json::json;
    ///
    /// let folder = tempfile::tempdir()?;
    /// std::fs::create_dir_all(folder.path().join("prompts/roles"))?;
    /// std::fs::write(folder.path().join("prompts/roles/editor.yaml"), "role: { name: editor, system: You edit texts. }")?;
    /// let files = PromptFiles::new([folder.path().to_owned()]);
    /// let prompt = json!({ "role": "editor", "task": "Edit this: {{ input.text }}" });
    /// let inline = files.inline(&prompt, &mut PromptSearch::default())?;
    /// assert_eq!(inline, json!({ "role": "You edit texts.", "task": "Edit this: {{ input.text }}" }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn inline(&self, prompt: &Value, search: &mut PromptSearch) -> Result<Value, AgentError> {
        let before = search.wanted.len();
        let found = self.find(prompt, search)?;
        if search.wanted.len() == before {
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

    fn find(&self, prompt: &Value, search: &mut PromptSearch) -> Result<Prompt, AgentError> {
        match prompt {
            Value::String(path) => {
                let Found { path, text } = self.file(std::slice::from_ref(path), path, search)?;
                agent_prompt(&text, Some((&path, search)))
            }
            Value::Object(map) if map.contains_key("schemaVersion") => {
                agent_prompt(&serde_json::to_vec(map).unwrap_or_default(), None)
            }
            Value::Object(map) => self.layers(map, search),
            _ => Err(AgentError::validation("`prompt` is neither an object nor the path of a prompt")),
        }
    }

    /// Reads a [template](super::Template): its text, or the path of one, which ends in `.xml`.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    #[cfg(feature = "research")]
    pub fn template(&self, template: &str) -> Result<super::Template, AgentError> {
        super::Template::read(&self.inline_template(template, &mut PromptSearch::default())?)
    }

    /// As [`inline`](Self::inline), of a [template](super::Template).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    #[cfg(feature = "research")]
    pub fn inline_template(&self, template: &str, search: &mut PromptSearch) -> Result<String, AgentError> {
        if is_xml(template) {
            return Ok(template.to_owned());
        }
        if template.contains(char::is_whitespace) || !template.ends_with(".xml") {
            return Err(AgentError::validation(
                "the template is neither XML behind front matter nor a path that ends in `.xml`",
            ));
        }
        let Found { path, text } = self.file(&[template.to_owned()], template, search)?;
        let text = String::from_utf8(text)
            .map_err(|error| AgentError::validation(format!("the template {}", path.display())).with_source(error))?;
        super::Template::read(&text)
            .map_err(|error| AgentError::validation(format!("the template {}", path.display())).with_source(error))?;
        Ok(text)
    }

    fn layers(&self, map: &Map<String, Value>, search: &mut PromptSearch) -> Result<Prompt, AgentError> {
        const KEYS: [&str; 5] = ["role", "persona", "personality", "task", "model"];

        if let Some(key) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(AgentError::validation(format!("`{key}` is no layer of a prompt: {}", KEYS.join(", "))));
        }
        let mut layers = Layers::default();
        let mut role_name = None;
        if let Some(found) = self.layer(map, ("role", "roles", "system"), search)? {
            role_name = found.name;
            layers.role = Some(found.text);
        }
        if let Some(found) = self.layer(map, ("persona", "personas", "modifiers"), search)? {
            if let (Some(extended), Some(role), Some(file)) = (&found.extends, &role_name, &found.file)
                && extended != role
            {
                let line = file.content.lines().position(|line| line.contains("extends")).map_or(0, |index| index + 1);
                let place = place_of(&file.content, &file.content, line);
                let message = format!("the persona extends the role `{extended}`, and the prompt's is `{role}`");
                search.warnings.push(PromptProblem::new(&file.path, place, message));
            }
            layers.persona = Some(found.text);
        }
        layers.personality =
            self.layer(map, ("personality", "personalities", "modifiers"), search)?.map(|found| found.text);
        if let Some(found) = self.layer(map, ("task", "tasks", "template"), search)? {
            found.check_task(search)?;
            layers.task = Some(found.text);
        }
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
        search: &mut PromptSearch,
    ) -> Result<Option<Layer>, AgentError> {
        let Some(value) = map.get(key) else { return Ok(None) };
        let Some(text) = value.as_str() else {
            return Err(AgentError::validation(format!("`prompt.{key}` is no text")));
        };
        if !is_name(text) && !is_path(text) {
            return Ok(Some(Layer { text: text.to_owned(), name: None, extends: None, file: None }));
        }
        let candidates = if is_path(text) {
            vec![text.to_owned()]
        } else {
            ["yaml", "yml", "json"].map(|extension| format!("prompts/{folder}/{text}.{extension}")).to_vec()
        };
        let found = self.file(&candidates, &format!("{key} `{text}`"), search)?;
        Layer::read(&found, key, field, search).map(Some)
    }

    /// Reads the first of these files that is there.
    fn file(&self, candidates: &[String], what: &str, search: &mut PromptSearch) -> Result<Found, AgentError> {
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
                search.wanted.push(path.clone());
                match read(&path) {
                    Ok(text) => return Ok(Found { path, text }),
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

/// A file that was found.
struct Found {
    path: PathBuf,
    text: Vec<u8>,
}

/// Reads a JSON prompt. Of one that stands in a file it is told what is wrong with it, and where.
fn agent_prompt(text: &[u8], file: Option<(&Path, &mut PromptSearch)>) -> Result<Prompt, AgentError> {
    refuse_xml(text, file.as_ref().map(|(path, _)| *path))?;
    let read = AgentPrompt::read(text, &Options::new());
    if let Some((path, search)) = file {
        let told = |diagnostic: &Diagnostic| PromptProblem::of(path, diagnostic);
        match &read {
            Ok(prompt) => search.warnings.extend(prompt.warnings.iter().map(told)),
            Err(invalid) => {
                let (errors, warnings) = invalid.diagnostics().iter().partition::<Vec<_>, _>(|found| found.is_error());
                search.problems.extend(errors.into_iter().map(told));
                search.warnings.extend(warnings.into_iter().map(told));
            }
        }
    }
    let prompt = read.map_err(|error| AgentError::validation("the prompt is not well formed").with_source(error))?;
    Ok(Prompt::Agent(Box::new(prompt.value)))
}

/// Whoever writes XML is told what to write instead.
fn refuse_xml(text: &[u8], path: Option<&Path>) -> Result<(), AgentError> {
    if std::str::from_utf8(text).is_ok_and(is_xml) {
        let this = path.map_or_else(|| "this".to_owned(), |path| path.display().to_string());
        return Err(AgentError::validation(format!("workflows and prompts are JSON or YAML, and {this} is XML")));
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

/// What a layer says.
struct Layer {
    text: String,
    name: Option<String>,
    extends: Option<String>,
    /// Where it was read, if not in the prompt itself.
    file: Option<LayerFile>,
}

/// The file of a layer.
struct LayerFile {
    path: PathBuf,
    content: String,
}

impl Layer {
    /// Reads `role: {name, system}`, `persona: {name, extends, modifiers}`, `personality: {name, modifiers}`, `task: {name, template}`, or a bare
    /// `content`.
    fn read(found: &Found, key: &str, field: &str, search: &mut PromptSearch) -> Result<Self, AgentError> {
        let (path, shown) = (&found.path, found.path.display());
        refuse_xml(&found.text, Some(path))?;
        let document = parse(&found.text, &Options::new().format(Format::Yaml)).map_err(|error| {
            search.problems.extend(error.diagnostics().iter().map(|diagnostic| PromptProblem::of(path, diagnostic)));
            AgentError::validation(format!("the {key} in {shown}")).with_source(error)
        })?;
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Array(lines) => {
                let lines: Option<Vec<_>> = lines.iter().map(Value::as_str).collect();
                lines.map(|lines| lines.join("\n"))
            }
            _ => None,
        };
        let of = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let file = LayerFile { path: path.clone(), content: String::from_utf8_lossy(&found.text).into_owned() };
        if let Some(content) = document.get("content").and_then(text) {
            return Ok(Self { text: content, name: None, extends: None, file: Some(file) });
        }
        let layer = document.get(key);
        let Some(said) = layer.and_then(|layer| text(layer.get(field)?)) else {
            let message = format!("the file has neither `{key}.{field}` nor `content`");
            search.problems.push(PromptProblem::new(path, None, message.clone()));
            return Err(AgentError::validation(format!("{shown}: {message}")));
        };
        let layer = layer.unwrap_or(&Value::Null);
        Ok(Self { text: said, name: of(layer, "name"), extends: of(layer, "extends"), file: Some(file) })
    }

    /// Looks whether the template of a task that was read from a file is one. What stands in the prompt itself others look at.
    fn check_task(&self, search: &mut PromptSearch) -> Result<(), AgentError> {
        let Some(LayerFile { path, content }) = &self.file else { return Ok(()) };
        layers::check(&self.text).map_err(|TaskProblem { line, message }| {
            let place = line.and_then(|line| place_of(content, &self.text, line));
            let problem = PromptProblem::new(path, place, format!("the task: {message}"));
            let error = AgentError::validation(problem.to_string());
            search.problems.push(problem);
            error
        })
    }
}
