//! `orchestr8 server`

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use clap::Args;
use orchestr8_core::{
    Engine,
    store::{Holder, SqliteStore},
};
use orchestr8_schema::{Millis, config::ServerConfig};
use serde_json::json;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    Error, Exit,
    context::Context,
    data::DataDir,
    interrupt::{Interrupts, Urgency},
    server::{Access, Ended, Service, Token, serve},
    server_process::Announcement,
    telemetry::MetricExport,
    ui::Ui,
    wording::count,
};

/// Serves executions over HTTP, in the foreground.
///
/// Listens on this machine only. Other addresses need --allow-remote and a token of at least 32 characters in ORCHESTR8_TOKEN,
/// which clients send as `Authorization: Bearer <token>`. Ctrl-C takes no more executions and waits for those that run; a second
/// one leaves at once.
#[derive(Debug, Default, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 server --port 9000\n  \
                             curl -H 'Content-Type: application/yaml' --data-binary @greet.yaml localhost:9000/v1/workflows/execute")]
pub struct ServerArgs {
    #[command(flatten)]
    listen: Listen,
    /// Allow an address that other machines reach
    #[arg(long)]
    allow_remote: bool,
    /// Accept a further name in `Host`
    #[arg(long, value_name = "NAME")]
    allowed_host: Vec<String>,
    /// How long running executions may take to end when the server is asked to [default: server.shutdownTimeout of the settings, 10s]
    #[arg(long, value_name = "DURATION")]
    shutdown_timeout: Option<Millis>,
    /// Offer the workflow files in this folder by their ids [default: workflows.paths of the settings]
    #[arg(long, value_name = "FOLDER")]
    workflows: Vec<PathBuf>,
    /// Leave executions alone whose process died
    #[arg(long)]
    no_recover: bool,
    /// Print nothing; the log is in the folder `logs` of the data directory
    #[arg(long)]
    pub(crate) silent: bool,
}

/// Where a server listens.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Listen {
    /// Port: 1024 to 65535, or 0 for a free one [default: server.port of the settings, 8088]
    #[arg(long, value_parser = port)]
    pub(crate) port: Option<u16>,
    /// Address: `localhost` or an IP address [default: server.host of the settings, 127.0.0.1]
    #[arg(long, value_parser = address)]
    pub(crate) host: Option<IpAddr>,
}

/// What looks for executions that nobody drives, and drops those that ended long ago.
#[derive(Debug)]
struct Keeper {
    engine: Engine,
    store: SqliteStore,
    data: DataDir,
}

impl Keeper {
    /// How often old executions are dropped, in rounds of looking for those that nobody drives.
    const ROUNDS_BETWEEN_PRUNES: u32 = 360;

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
                self.data.prune(&self.store, &self.engine).await;
            }
            rounds += 1;
            tokio::time::sleep(Holder::RENEWAL).await;
            self.recover().await;
        }
    }
}

pub(crate) fn server(cx: &Context<'_>, args: &ServerArgs) -> Result<Exit, Error> {
    let (config, data) = (cx.settings.config(), cx.data()?);
    let ui = Ui { quiet: cx.ui.quiet || args.silent, ..cx.ui };
    let address = args.listen.address(&config.server)?;
    let access = args.access(address.ip(), &config.server)?;
    let grace = args.shutdown_timeout.unwrap_or(config.server.shutdown_timeout).as_duration();
    let store = data.open_store()?;
    let offered = Arc::new(OnceLock::new());
    let engine = cx.serving_engine_on(store.clone(), Arc::clone(&offered))?;
    let catalogue = cx.catalogue(&args.workflows, engine.agents())?;
    let catalogue = offered.get_or_init(|| catalogue).clone();
    // So that the log tells at once of files that cannot be used.
    let _ = catalogue.look();
    let runtime = Runtime::new().map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let exit = runtime.block_on(async {
        let keeper = (!args.no_recover).then(|| Keeper { engine: engine.clone(), store, data: data.clone() });
        let service = Service::new(engine, access).theme(config.dashboard.theme).workflows(catalogue);
        let service = if config.mcp.enabled { service.mcp(config.mcp.expose_workflows) } else { service };
        let metrics = MetricExport::start(&config.telemetry, &service);
        let exit = listen(ui, args.silent, &data, address, service, keeper, grace).await;
        if let Some(metrics) = metrics {
            metrics.finish().await;
        }
        exit
    });
    // After a second Ctrl-C somebody may still be busy, and nobody waits for it.
    runtime.shutdown_background();
    exit
}

impl Listen {
    /// Says where that is, with what the settings say where nothing was said.
    ///
    /// # Errors
    ///
    /// When the settings name no address.
    pub(crate) fn address(&self, config: &ServerConfig) -> Result<SocketAddr, Error> {
        let host = match self.host {
            Some(host) => host,
            None => address(&config.host).map_err(|message| Error::usage(format!("server.host: {message}")))?,
        };
        let port = match self.port {
            Some(port) => port,
            None => {
                port(&config.port.to_string()).map_err(|message| Error::usage(format!("server.port: {message}")))?
            }
        };
        Ok(SocketAddr::new(host, port))
    }
}

impl ServerArgs {
    /// A server in the foreground.
    pub(super) fn foreground(listen: Listen) -> Self {
        Self { listen, ..Self::default() }
    }

    /// Decides who may ask, and refuses to serve strangers without a token.
    fn access(&self, host: IpAddr, config: &ServerConfig) -> Result<Access, Error> {
        let token = match std::env::var("ORCHESTR8_TOKEN") {
            Ok(token) if !token.is_empty() => Some(
                Token::new(token).map_err(|error| Error::usage("ORCHESTR8_TOKEN cannot be used").with_source(error))?,
            ),
            _ => None,
        };
        let allow_remote = self.allow_remote || config.allow_remote;
        if !(host.is_loopback() || allow_remote && token.is_some()) {
            return Err(Error::usage(format!(
                "{host} is reached by other machines, which needs --allow-remote and a token"
            ))
            .with_hint("export ORCHESTR8_TOKEN=$(openssl rand -hex 32)"));
        }
        let access = self.allowed_host.iter().fold(Access::local(), Access::allow_host);
        Ok(match token {
            Some(token) => access.token(token),
            None => access,
        })
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
    is_silent: bool,
    data: &DataDir,
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
    // Until it ends, in whatever way.
    let _announcement = Announcement::write(data, address)?;
    let recovered = match &keeper {
        Some(keeper) => keeper.recover().await,
        None => 0,
    };
    let _keeping = keeper.map(|keeper| AbortOnDropHandle::new(tokio::spawn(keeper.keep())));
    if is_silent {
        // Nobody reads it.
    } else if ui.is_json() {
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
