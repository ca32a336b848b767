//! What may stand at a place of a command line, for shells that ask: commands and flags, executions, steps, agents, and workflow files.
//!
//! The script of a shell, which `orchestr8 completions` prints, calls the program at each tab with [`VARIABLE`] set to the name of the shell and the
//! words behind `--`. Executions and steps are read from the store; where that takes too long, or fails, none are offered and nothing is said.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::{
    ArgValueCompleter, CompletionCandidate, PathCompleter,
    engine::ValueCompleter as _,
    env::{EnvCompleter, Shells},
};
use orchestr8_core::{
    Engine,
    store::{Query, Store as _},
};
use orchestr8_schema::{ExecutionId, config::JournalConfig};
use tokio::runtime::Builder;

use crate::{
    agents::Agents,
    args::Args,
    data::{DataDir, find_execution},
    execution_name::ExecutionName,
};

/// The variable that says which shell asks.
const VARIABLE: &str = "ORCHESTR8_COMPLETE";
/// How long the store may take to answer: a shell stands still meanwhile.
const PATIENCE: Duration = if cfg!(debug_assertions) {
    // What is not built to be quick is built to be tested.
    Duration::from_secs(5)
} else {
    Duration::from_millis(50)
};
/// The most executions that are offered.
const MOST_EXECUTIONS: usize = 50;
/// The most steps that are offered.
const MOST_STEPS: usize = 200;

/// Writes the script that has a shell ask the program.
///
/// # Errors
///
/// When the shell is unknown.
pub(crate) fn script(shell: &str) -> io::Result<String> {
    let mut script = Vec::new();
    let completer = completer(shell).ok_or_else(|| io::Error::other(format!("`{shell}` is no shell that is known")))?;
    completer.write_registration(VARIABLE, "orchestr8", "orchestr8", "orchestr8", &mut script)?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Answers a shell, if one asks.
pub(crate) fn answer(args: &[OsString], agents: &Agents) -> Option<ExitCode> {
    let shell = env::var_os(VARIABLE).filter(|shell| !shell.is_empty())?;
    let words: Vec<_> = args.iter().skip_while(|word| *word != "--").skip(1).cloned().collect();
    let told = tell(shell.to_str().unwrap_or_default(), words, agents).unwrap_or_default();
    // Nobody is left to be told when the stream is gone.
    let _ = io::stdout().write_all(&told);
    Some(ExitCode::SUCCESS)
}

fn tell(shell: &str, words: Vec<OsString>, agents: &Agents) -> Option<Vec<u8>> {
    let completer = completer(shell)?;
    let asked = Arc::new(Asked { words: words.clone(), agents: agents.clone() });
    let mut program = with_values(Args::command(), "", &asked);
    let mut told = Vec::new();
    completer.write_complete(&mut program, words, env::current_dir().ok().as_deref(), &mut told).ok()?;
    Some(told)
}

fn completer(shell: &str) -> Option<&'static dyn EnvCompleter> {
    let Shells(known) = Shells::builtins();
    known.iter().copied().find(|completer| completer.is(shell))
}

/// Has each argument of a command, and of those below it, offer what its name for its value stands for.
fn with_values(command: Command, parent: &str, asked: &Arc<Asked>) -> Command {
    let name = command.get_name().to_owned();
    let command = command.mut_args(|arg| of_value(arg, parent, asked));
    command.mut_subcommands(|part| with_values(part, &name, asked))
}

fn of_value(arg: Arg, parent: &str, asked: &Arc<Asked>) -> Arg {
    let Some(value) = arg.get_value_names().and_then(|names| names.first()).map(|name| name.as_str().to_owned()) else {
        return arg;
    };
    let asked = Arc::clone(asked);
    let completer = match (value.as_str(), arg.get_id().as_str()) {
        ("ID", "id") if parent == "agents" => ArgValueCompleter::new(move |word: &OsStr| asked.agents(word)),
        ("ID", "id") => ArgValueCompleter::new(move |word: &OsStr| asked.executions(word)),
        ("FILE|ID", _) => ArgValueCompleter::new(move |word: &OsStr| {
            let files = workflow_files().complete(word);
            files.into_iter().chain(asked.executions(word)).collect()
        }),
        ("STEP PATH", _) => ArgValueCompleter::new(move |word: &OsStr| asked.steps(word)),
        ("FILE", _) if arg.is_positional() => ArgValueCompleter::new(workflow_files()),
        _ => return arg,
    };
    arg.add(completer)
}

fn workflow_files() -> PathCompleter {
    let ends = |path: &Path, ending: &str| path.extension().is_some_and(|found| found == ending);
    PathCompleter::file()
        .filter(move |path| path.is_dir() || ["yaml", "yml", "json"].iter().any(|ending| ends(path, ending)))
}

/// What a shell asks about.
struct Asked {
    words: Vec<OsString>,
    agents: Agents,
}

impl Asked {
    fn agents(&self, word: &OsStr) -> Vec<CompletionCandidate> {
        let Ok(registry) = self.agents.without_models() else { return Vec::new() };
        let known = registry.list().map(|agent| {
            let manifest = agent.manifest();
            (manifest.id.to_string(), manifest.description.clone())
        });
        beginning_with(word, known)
    }

    /// The newest executions, as people name them: by the end of an id, unless its beginning was typed.
    fn executions(&self, word: &OsStr) -> Vec<CompletionCandidate> {
        let found = in_time(self.data(), async |data| {
            let store = data.open_store().ok()?;
            Some(store.list(&Query::newest(MOST_EXECUTIONS)).await.ok()?.executions)
        });
        let found = found.unwrap_or_default();
        let about = |id: String, index: usize| (id, format!("{} · {}", found[index].workflow_id, found[index].status));
        let short = beginning_with(word, (0..found.len()).map(|index| about(found[index].execution_id.short(), index)));
        let last = found.first().map(|_| ("@last".to_owned(), "the newest".to_owned()));
        match (short.len(), word.is_empty()) {
            (0, false) => {
                let whole = (0..found.len()).map(|index| about(found[index].execution_id.to_string(), index));
                beginning_with(word, last.into_iter().chain(whole))
            }
            _ => beginning_with(word, last).into_iter().chain(short).collect(),
        }
    }

    /// The steps of the execution that stands before, or of the newest.
    fn steps(&self, word: &OsStr) -> Vec<CompletionCandidate> {
        let named = self.words.iter().filter(|named| *named != word).filter_map(|named| named.to_str());
        let named = named.filter(|named| named.parse::<ExecutionName>().is_ok()).map(str::to_owned).next();
        let execution = named.unwrap_or_else(|| "@last".to_owned());
        let start = word.to_str().unwrap_or_default().to_owned();
        let agents = self.agents.clone();
        let found = in_time(self.data(), async move |data| {
            let registry = agents.without_models().ok()?;
            let engine = Engine::builder().registry(registry).store(data.open_store().ok()?).build().ok()?;
            let id: ExecutionId = find_execution(&engine, &execution).await.ok()?;
            let reading = engine.read(id).await.ok()?;
            let steps = reading.steps().map(|(step, _)| (step.step_path, step.status));
            Some(steps.filter(|(path, _)| path.starts_with(&start)).take(MOST_STEPS).collect::<Vec<_>>())
        });
        beginning_with(word, found.unwrap_or_default())
    }

    /// The data directory that the words name, if there is a store in it: asking makes none.
    fn data(&self) -> Option<DataDir> {
        let mut words = self.words.iter().filter_map(|word| word.to_str());
        let told = words.find_map(|word| word.strip_prefix("--data-dir=").map(PathBuf::from)).or_else(|| {
            let flag = self.words.iter().position(|word| word == "--data-dir")?;
            self.words.get(flag + 1).map(PathBuf::from)
        });
        let data = DataDir::find(told.as_deref(), JournalConfig::default()).ok()?;
        data.file("orchestr8.db").is_file().then_some(data)
    }
}

/// Offers those of some values, with what they are, that begin as it was typed.
fn beginning_with(word: &OsStr, values: impl IntoIterator<Item = (String, String)>) -> Vec<CompletionCandidate> {
    let start = word.to_str().unwrap_or_default();
    let fitting = values.into_iter().filter(|(value, _)| value.starts_with(start));
    fitting.map(|(value, help)| CompletionCandidate::new(value).help(Some(help.into()))).collect()
}

/// Reads from a store, on a thread that nobody waits for when time is up.
fn in_time<T: Send + 'static, F>(data: Option<DataDir>, read: impl FnOnce(DataDir) -> F + Send + 'static) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let data = data?;
    let (tell, hear) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        // The shell may have been told already.
        tell.send(runtime.block_on(read(data))).ok()
    });
    hear.recv_timeout(PATIENCE).ok().flatten()
}
