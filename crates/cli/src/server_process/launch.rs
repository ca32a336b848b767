//! Starting a server that outlives the command.

use std::{
    env,
    fs::{self, File},
    io,
    net::IpAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{Found, ServerFile, find, foreign, mute, token};
use crate::{
    Error,
    client::{Answerer, Client},
    data::DataDir,
    private_file,
    sleep::sleep,
};

/// How long a server may take until it answers.
const LIMIT: Duration = Duration::from_secs(30);
/// How long to wait before it is asked the first time; each further wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(25);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// How a server is started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// Where it listens.
    pub(crate) host: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    /// What is to be known of settings: flags of the command that starts it.
    pub(crate) global: Vec<std::ffi::OsString>,
    /// Whether a command needs it, rather than a person has asked for it.
    pub(crate) is_auto: bool,
}

/// Finds the server of a data directory, or starts one. Of several who do so at the same time, one starts it. True if it was started
/// here.
///
/// # Errors
///
/// When another program listens there, or the server does not come to answer.
pub(crate) fn launch(data: &DataDir, launch: &Launch, (host, port): (&str, u16)) -> Result<(Box<Client>, bool), Error> {
    let _turn = turn(data)?;
    match find(Some(data), host, port)? {
        Found::Running(client) => Ok((client, false)),
        Found::Foreign(port) => Err(foreign(port)),
        Found::Mute(file) => Err(mute(&file)),
        Found::Absent => Ok((await_answer(data, spawn(data, launch)?)?, true)),
    }
}

/// Waits until nobody else starts a server here.
fn turn(data: &DataDir) -> Result<File, Error> {
    let path = data.file("server.lock");
    let locked = private_file::create(&path).and_then(|file| file.lock().map(|()| file));
    locked.map_err(|error| {
        Error::unreachable(format!("cannot lock {}", path.display()))
            .with_source(error)
            .with_hint("choose a folder that can be written with --data-dir")
    })
}

/// Starts the server in a group of its own, so that no signal of the terminal reaches it.
fn spawn(data: &DataDir, launch: &Launch) -> Result<Child, Error> {
    let failed = |error: io::Error| Error::unreachable("the server cannot be started").with_source(error);
    let mut command = Command::new(env::current_exe().map_err(failed)?);
    command.arg("server").arg("--silent").args(&launch.global).arg("--data-dir").arg(data.path());
    if let Some(port) = launch.port {
        command.arg("--port").arg(port.to_string());
    }
    if let Some(host) = launch.host {
        command.arg("--host").arg(host.to_string());
    }
    if launch.is_auto {
        command.env("ORCHESTR8_CLI_MODE", "auto");
    }
    let errors = private_file::create(&data.file(ERRORS)).map_err(failed)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    #[cfg(windows)]
    std::os::windows::process::CommandExt::creation_flags(&mut command, DETACHED_PROCESS);
    command.spawn().map_err(failed)
}

/// What a server says that has no log yet.
const ERRORS: &str = "logs/start.err";
#[cfg(windows)]
const DETACHED_PROCESS: u32 = 0x8;

/// Waits until a server that was started has said where it listens, and answers there.
fn await_answer(data: &DataDir, mut child: Child) -> Result<Box<Client>, Error> {
    let (mut waited, mut pause) = (Duration::ZERO, FIRST_WAIT);
    loop {
        sleep(pause)?;
        waited += pause;
        pause = (pause * 2).min(LONGEST_WAIT);
        let said = ServerFile::read(data).filter(|file| file.pid == child.id());
        if let Some(file) = said
            && let Answerer::Server(client) = Client::probe(&file.url(), token())?
        {
            return Ok(client);
        }
        if child.try_wait().ok().flatten().is_some() {
            return Err(Error::unreachable(format!("the server did not start: {}", last_words(data))));
        }
        if waited > LIMIT {
            // Nobody would find it.
            let _ = child.kill();
            return Err(Error::unreachable(format!("the server did not answer within {} s", LIMIT.as_secs())));
        }
    }
}

/// Finds out why a server ended at once.
fn last_words(data: &DataDir) -> String {
    let text = fs::read_to_string(data.file(ERRORS)).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("error: ")).or(text.lines().last());
    line.unwrap_or("it said nothing").to_owned()
}
