//! `orchestr8 server`

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::pin,
    time::Duration,
};

use clap::Args;
use orchestr8_core::{
    Engine,
    store::{Holder, SqliteStore},
};
use orchestr8_schema::Millis;
use serde_json::json;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    Error, Exit,
    agents::Agents,
    data::{self, DataDir},
    interrupt::{Interrupts, Urgency},
    server::{Access, Ended, Service, Token, serve},
    ui::Ui,
    wording::count,
};

/// Serves executions over HTTP, in the foreground.
///
/// Listens on this machine only. Other addresses need --allow-remote and a token of at least 32 characters in ORCHESTR8_TOKEN,
/// which clients send as `Authorization: Bearer <token>`. Ctrl-C takes no more executions and waits for those that run; a second
/// one leaves at once.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 server --port 9000\n  \
                             curl -H 'Content-Type: application/yaml' --data-binary @greet.yaml localhost:9000/v1/workflows/execute")]
pub struct ServerArgs {
    /// Port: 1024 to 65535, or 0 for a free one [env: ORCHESTR8_SERVER_PORT, PORT] [default: 8088]
    #[arg(long, value_parser = port)]
    port: Option<u16>,
    /// Address: `localhost` or an IP address
    #[arg(long, env = "ORCHESTR8_SERVER_HOST", default_value = "127.0.0.1", value_parser = address, hide_env_values = true)]
    host: IpAddr,
    /// Allow an address that other machines reach
    #[arg(long)]
    allow_remote: bool,
    /// Accept a further name in `Host`
    #[arg(long, value_name = "NAME")]
    allowed_host: Vec<String>,
    /// How long running executions may take to end when the server is asked to
    #[arg(
        long,
        value_name = "DURATION",
        env = "ORCHESTR8_SERVER_SHUTDOWN_TIMEOUT",
        default_value = "10s",
        hide_env_values = true
    )]
    shutdown_timeout: Millis,
    /// Leave executions alone whose process died
    #[arg(long)]
    no_recover: bool,
}

/// What looks for executions that nobody drives, and drops those that ended long ago.
#[derive(Debug)]
struct Keeper {
    engine: Engine,
    store: SqliteStore,
}

impl Keeper {
    /// How often old executions are dropped, in rounds of looking for those that nobody drives.
    const ROUNDS_BETWEEN_PRUNES: u32 = 360;

    fn of(engine: Engine, store: SqliteStore) -> Self {
        Self { engine, store }
    }

    /// Looks once, and tells how many executions go on here.
    async fn recover(&self) -> usize {
        match self.engine.recover().await {
            Ok(recovery) => {
                for (id, error) in &recovery.failed {
                    tracing::error!(execution_id = %id, error = error as &dyn std::error::Error, "an execution cannot go on");
                }
                recovery.taken_up.len()
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "looking for executions that nobody drives");
                0
            }
        }
    }

    async fn keep(self) {
        let mut rounds = 0;
        loop {
            if rounds % Self::ROUNDS_BETWEEN_PRUNES == 0 {
                data::prune(&self.store, &self.engine).await;
            }
            rounds += 1;
            tokio::time::sleep(Holder::RENEWAL).await;
            self.recover().await;
        }
    }
}

const DEFAULT_PORT: u16 = 8088;

pub(crate) fn server(ui: Ui, args: &ServerArgs, data: &DataDir, agents: &Agents) -> Result<Exit, Error> {
    let access = args.access()?;
    let address = SocketAddr::new(args.host, args.port()?);
    if std::env::var_os("BIND_ADDRESS").is_some() {
        ui.warn("BIND_ADDRESS is ignored; use --host");
    }
    let store = data.open_store()?;
    let engine = Engine::builder()
        .registry(agents.registry()?)
        .store(store.clone())
        .metrics(true)
        .build()
        .map_err(|error| Error::internal("making the engine").with_source(error))?;
    let runtime = Runtime::new().map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let exit = runtime.block_on(async {
        let recovery = (!args.no_recover).then(|| Keeper::of(engine.clone(), store));
        listen(ui, address, Service::new(engine, access), recovery, args.shutdown_timeout.as_duration()).await
    });
    // After a second Ctrl-C somebody may still be busy, and nobody waits for it.
    runtime.shutdown_background();
    exit
}

impl ServerArgs {
    /// Decides who may ask, and refuses to serve strangers without a token.
    fn access(&self) -> Result<Access, Error> {
        let token = match std::env::var("ORCHESTR8_TOKEN") {
            Ok(token) if !token.is_empty() => Some(
                Token::new(token).map_err(|error| Error::usage("ORCHESTR8_TOKEN cannot be used").with_source(error))?,
            ),
            _ => None,
        };
        if !(self.host.is_loopback() || self.allow_remote && token.is_some()) {
            return Err(Error::usage(format!(
                "{} is reached by other machines, which needs --allow-remote and a token",
                self.host
            ))
            .with_hint("export ORCHESTR8_TOKEN=$(openssl rand -hex 32)"));
        }
        let access = self.allowed_host.iter().fold(Access::local(), Access::allow_host);
        Ok(match token {
            Some(token) => access.token(token),
            None => access,
        })
    }

    fn port(&self) -> Result<u16, Error> {
        if let Some(port) = self.port {
            return Ok(port);
        }
        for name in ["ORCHESTR8_SERVER_PORT", "PORT"] {
            if let Some(text) = std::env::var(name).ok().filter(|text| !text.is_empty()) {
                return port(&text).map_err(|message| Error::usage(format!("{name}: {message}")));
            }
        }
        Ok(DEFAULT_PORT)
    }
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port @ (0 | 1024..)) => Ok(port),
        _ => Err(format!("`{text}` is no port between 1024 and 65535, or 0 for a free one")),
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    text.trim_matches(['[', ']']).parse().map_err(|_| "expected `localhost` or an IP address".to_owned())
}

async fn listen(
    ui: Ui,
    address: SocketAddr,
    service: Service,
    keeper: Option<Keeper>,
    grace: Duration,
) -> Result<Exit, Error> {
    // Before anybody can connect, so that no signal finds the server unprepared.
    let mut interrupts = Interrupts::listen()?;
    let listener = TcpListener::bind(address).await.map_err(|error| unbound(address, error))?;
    let address =
        listener.local_addr().map_err(|error| Error::unreachable("asking for the port").with_source(error))?;
    let url = format!("http://{address}");
    let recovered = match &keeper {
        Some(keeper) => keeper.recover().await,
        None => 0,
    };
    let _keeping = keeper.map(|keeper| AbortOnDropHandle::new(tokio::spawn(keeper.keep())));
    if ui.is_json() {
        ui.print_json(&json!({ "url": url, "port": address.port(), "pid": std::process::id() }))?;
    } else if recovered == 0 {
        ui.print(&format!("Listening on {url}"))?;
    } else {
        ui.print(&format!("Listening on {url} · {} recovered", count(recovered, "execution")))?;
    }
    let draining = CancellationToken::new();
    let mut serving = pin!(serve(listener, service, draining.clone().cancelled_owned(), grace));
    loop {
        tokio::select! {
            ended = &mut serving => {
                match ended.map_err(|error| Error::unreachable("listening").with_source(error))? {
                    Ended::Idle => ui.say("Stopped"),
                    Ended::Unfinished => ui.say("Stopped · what was running will continue at the next start"),
                }
                return Ok(Exit::Success);
            }
            urgency = interrupts.next() => match urgency {
                Urgency::Graceful => {
                    ui.say("Stopping; executions that run may end (again to leave at once)");
                    draining.cancel();
                }
                Urgency::Forced | Urgency::Immediate => {
                    ui.warn("left at once; what was running will continue at the next start");
                    return Ok(Exit::Success);
                }
            },
        }
    }
}

fn unbound(address: SocketAddr, error: io::Error) -> Error {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => Error::unreachable(format!("port {port} is in use by another program"))
            .with_hint("orchestr8 server --port 0"),
        _ => Error::unreachable(format!("cannot listen on {address}")).with_source(error),
    }
}
