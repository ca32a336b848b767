//! The server as a process of this machine: who it is, whether it lives, and how commands start and stop it.

#[cfg(feature = "server")]
mod announcement;
mod file;
#[cfg(feature = "server")]
mod launch;
mod process;
mod stop;

use std::{
    net::{IpAddr, TcpStream, ToSocketAddrs as _},
    time::Duration,
};

#[cfg(feature = "server")]
pub(crate) use self::{
    announcement::Announcement,
    launch::{Launch, launch},
};
pub(crate) use self::{file::ServerFile, process::How, stop::stop};
use crate::{
    Error,
    client::{Answerer, Client},
    data::DataDir,
};

/// How long a listener may take to accept a connection.
const CONNECT: Duration = Duration::from_millis(500);

/// What there is of a server.
#[derive(Debug)]
pub(crate) enum Found {
    /// It answers.
    Running(Box<Client>),
    /// Its process lives, and does not answer.
    Mute(ServerFile),
    /// Another program listens where it would.
    Foreign(u16),
    /// There is none.
    Absent,
}

/// Looks for the server of a data directory where its file says; else for one at the place where it would listen.
///
/// # Errors
///
/// When the place is no address.
pub(crate) fn find(data: Option<&DataDir>, host: &str, port: u16) -> Result<Found, Error> {
    let file = data.and_then(ServerFile::read);
    if let Some(file) = &file
        && listens(&file.host, file.port)
        && let Answerer::Server(client) = Client::probe(&file.url(), token())?
        && client.health().pid == file.pid
    {
        return Ok(Found::Running(client));
    }
    if listens(host, port) {
        match Client::probe(&url(host, port), token())? {
            Answerer::Server(client) => return Ok(Found::Running(client)),
            Answerer::Foreign if !file.as_ref().is_some_and(|file| file.port == port && file.is_alive()) => {
                return Ok(Found::Foreign(port));
            }
            Answerer::Foreign | Answerer::Nobody => {}
        }
    }
    Ok(match file {
        Some(file) if file.is_alive() && cfg!(target_os = "linux") => Found::Mute(file),
        _ => Found::Absent,
    })
}

/// Finds the server that a process of this machine is, if it is the one of a data directory. It blocks while it asks.
pub(crate) fn of_process(data: &DataDir, process: u32) -> Option<Client> {
    let file = ServerFile::read(data).filter(|file| file.pid == process)?;
    let client = Client::connect(&file.url(), token()).ok()?;
    (client.health().pid == process).then_some(client)
}

/// Says that another program listens where the server would.
pub(crate) fn foreign(port: u16) -> Error {
    Error::unreachable(format!("port {port} is in use by another program")).with_hint("orchestr8 start --port 0")
}

/// Says that a server does not answer.
pub(crate) fn mute(file: &ServerFile) -> Error {
    Error::unreachable(format!("the server (process {}) does not answer at {}", file.pid, file.url()))
        .with_hint("orchestr8 stop --force")
}

/// The token that commands show to a server.
pub(crate) fn token() -> Option<String> {
    std::env::var("ORCHESTR8_TOKEN").ok().filter(|token| !token.is_empty())
}

/// Writes the address by which programs of this machine reach a listener.
pub(crate) fn url(host: &str, port: u16) -> String {
    format!("http://{}:{port}", reachable(host))
}

/// Names the host of a listener; who listens everywhere is reached on this machine.
fn reachable(host: &str) -> String {
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1".to_owned(),
        Ok(IpAddr::V6(address)) if address.is_unspecified() => "[::1]".to_owned(),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        Ok(IpAddr::V4(_)) | Err(_) => host.to_owned(),
    }
}

/// Whether anybody accepts connections there: a quick look, before anything is said over HTTP.
fn listens(host: &str, port: u16) -> bool {
    let host = reachable(host);
    let addresses = (host.trim_matches(['[', ']']), port).to_socket_addrs();
    addresses.is_ok_and(|mut found| found.any(|address| TcpStream::connect_timeout(&address, CONNECT).is_ok()))
}
