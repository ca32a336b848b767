//! Configuration: what is asked of the program beside its arguments, and where each setting comes from.
//!
//! A setting is looked for in the environment, in the project's `.orchestr8/config.json`, in the user's `config.json`, and has a
//! default at last. Flags lie over all of them; each command reads its own. A file that cannot be read warns and counts as absent.

mod environment;
mod file;
mod key;
mod project;

use std::{
    env,
    path::{Path, PathBuf},
};

use orchestr8_schema::config::{Config, ConfigLayer, LogLevel, Provider};

pub(crate) use self::{
    file::SettingsFile,
    key::{Key, flatten},
};
use crate::{Error, data::DataDir, telemetry::Verbosity};

/// The name of a file of settings.
const FILE: &str = "config.json";
/// The name of a file of tools, beside it.
const TOOLS: &str = "tools.yaml";

/// The settings of one run of the program.
#[derive(Debug)]
pub struct Settings {
    layers: Vec<(Origin, ConfigLayer)>,
    config: Config,
    warnings: Vec<String>,
    user: Option<PathBuf>,
    project: Option<PathBuf>,
}

/// Where settings come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Environment,
    Project,
    User,
    Default,
}

/// Where to look for settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources<'a> {
    /// The user's file, if it is another than usual.
    pub(crate) config: Option<&'a Path>,
    /// The data directory, if it is another than usual.
    pub(crate) data_dir: Option<&'a Path>,
    /// Whether the project's file counts in full.
    pub(crate) trust_project: bool,
    /// Whether they are those of a server, whom hosts tell its port by `PORT`.
    pub(crate) is_server: bool,
}

impl Settings {
    /// Reads everything that there is.
    ///
    /// # Errors
    ///
    /// When a variable of the environment has a value that its setting cannot have.
    pub(crate) fn load(sources: &Sources<'_>) -> Result<Self, Error> {
        let mut warnings = Vec::new();
        let user_file = match sources.config {
            Some(path) => Some(path.to_owned()),
            // Without a home there are no settings of a user.
            None => DataDir::place(sources.data_dir).ok().map(|home| home.join(FILE)),
        };
        if let Some(path) = sources.config.filter(|path| !path.exists()) {
            warnings.push(format!("{} is not there and counts as absent", path.display()));
        }
        let user = user_file.as_deref().and_then(|path| file::read(path, &mut warnings)).unwrap_or_default();
        let folder = env::current_dir().ok().and_then(|folder| project::find(&folder, env::home_dir().as_deref()));
        let project_file = folder.as_ref().map(|folder| folder.join(project::FOLDER).join(FILE));
        let mut project = project_file.as_deref().and_then(|path| file::read(path, &mut warnings)).unwrap_or_default();
        let tools = |file: Option<&PathBuf>, beside: &ConfigLayer, warnings: &mut Vec<String>| {
            let file = file.and_then(|file| file.parent()).map(|folder| folder.join(TOOLS));
            file.and_then(|file| file::read_tools(&file, beside, warnings)).unwrap_or_default()
        };
        let user_tools = tools(user_file.as_ref(), &user, &mut warnings);
        let mut project_tools = ConfigLayer::default();
        if let Some(folder) = folder.filter(|folder| !sources.trust_project && !project::is_trusted(folder, &user)) {
            project = project::harmless(&project, &folder, &mut warnings);
            let file = folder.join(project::FOLDER).join(TOOLS);
            if file.is_file() {
                let (file, folder) = (file.display(), folder.display());
                warnings
                    .push(format!("{file} is ignored, since {folder} is not trusted; --trust-project makes it count"));
            }
        } else {
            project_tools = tools(project_file.as_ref(), &project, &mut warnings);
        }
        let environment = environment::layer(env::vars_os(), sources.is_server, &mut warnings)?;
        let layers = vec![
            (Origin::Environment, environment),
            (Origin::Project, project),
            (Origin::Project, project_tools),
            (Origin::User, user),
            (Origin::User, user_tools),
        ];
        let config = Config::from_layers(layers.iter().map(|(_, layer)| layer));
        Ok(Self { layers, config, warnings, user: user_file, project: project_file })
    }

    /// Returns what all sources say together.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Returns what was odd about the sources, for people.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Tells where a setting comes from: the first source that says something of it.
    pub(crate) fn origin(&self, key: &Key) -> Origin {
        let says = |(_, layer): &&(Origin, ConfigLayer)| key.of(layer.settings()).is_some();
        self.layers.iter().find(says).map_or(Origin::Default, |(origin, _)| *origin)
    }

    /// The file of the user, or of the project; where there is no project yet, the one of the working directory.
    ///
    /// # Errors
    ///
    /// When there is no home directory, or no working directory.
    pub(crate) fn file(&self, of_project: bool) -> Result<SettingsFile, Error> {
        let path = match (of_project, &self.project, &self.user) {
            (true, Some(path), _) | (false, _, Some(path)) => path.clone(),
            (true, None, _) => env::current_dir()
                .map_err(|error| Error::unreachable("there is no working directory").with_source(error))?
                .join(project::FOLDER)
                .join(FILE),
            (false, _, None) => DataDir::place(None)?.join(FILE),
        };
        Ok(SettingsFile::new(path))
    }

    /// Makes the paths of a setting whole: what is relative stands where it was written, beside the file of the user or in the folder of the
    /// project; of the environment, in the working directory. `~/` is the home directory.
    pub(crate) fn paths(&self, key: &str, paths: &[String]) -> Vec<PathBuf> {
        let origin = Key::parse(key).map_or(Origin::Default, |key| self.origin(&key));
        let base = match origin {
            Origin::User => self.user.as_deref().and_then(Path::parent),
            Origin::Project => self.project.as_deref().and_then(|file| file.parent()?.parent()),
            Origin::Environment | Origin::Default => None,
        };
        let base = base.map_or_else(|| env::current_dir().unwrap_or_default(), Path::to_owned);
        let whole = |path: &String| match path.strip_prefix("~/").zip(env::home_dir()) {
            Some((rest, home)) => home.join(rest),
            None => base.join(path),
        };
        paths.iter().map(whole).collect()
    }

    /// Returns what all sources say together, with the paths of prompts and of providers' files made whole.
    pub(crate) fn with_whole_paths(&self) -> Config {
        let mut config = self.config.clone();
        let whole = |key: &str, paths: &[String]| -> Vec<String> {
            self.paths(key, paths).iter().map(|path| path.display().to_string()).collect()
        };
        config.prompts.paths = whole("prompts.paths", &config.prompts.paths);
        for (name, provider) in &mut config.providers.named {
            let Provider { script, cassette, record, .. } = provider;
            for (key, path) in [("script", script), ("cassette", cassette), ("record", record)] {
                *path = path.take().and_then(|path| whole(&format!("providers.{name}.{key}"), &[path]).pop());
            }
        }
        config
    }

    /// How much is logged, if anybody says so.
    pub(crate) fn verbosity(&self) -> Option<Verbosity> {
        let key = Key::parse("execution.logLevel").ok()?;
        (self.origin(&key) != Origin::Default).then_some(match self.config.execution.log_level {
            LogLevel::Error => Verbosity::Errors,
            LogLevel::Warn => Verbosity::Warnings,
            LogLevel::Info => Verbosity::Info,
            LogLevel::Debug => Verbosity::Debug,
            LogLevel::Trace => Verbosity::Trace,
        })
    }
}

impl Origin {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Project => "project config",
            Self::User => "user config",
            Self::Default => "default",
        }
    }
}
