//! `orchestr8 version`

use clap::Args;
use serde_json::json;

use crate::{Error, Exit, context::Context, server_address::ServerAddress, server_process::Found};

/// Prints the version.
///
/// With --verbose also what the program was built with, where it keeps executions, and whether a server runs.
#[derive(Debug, Args)]
pub struct VersionArgs {}

const FEATURES: [(&str, bool); 2] = [("server", cfg!(feature = "server")), ("otel", cfg!(feature = "otel"))];

pub(crate) fn version(cx: &Context<'_>, _: &VersionArgs) -> Result<Exit, Error> {
    let ui = cx.ui;
    let version = env!("CARGO_PKG_VERSION");
    let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    let features: Vec<_> = FEATURES.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| *name).collect();
    if ui.is_json() {
        ui.print_json(&json!({ "name": "orchestr8", "version": version, "features": features, "platform": platform }))?;
    } else {
        ui.print(&format!("orchestr8 {version}"))?;
        if ui.verbose > 0 {
            ui.print(&format!("features: {}", features.join(", ")))?;
            ui.print(&format!("platform: {platform}"))?;
            let data = cx.data().map_or_else(|_| "none".to_owned(), |data| data.file("").display().to_string());
            ui.print(&format!("data directory: {}", data.trim_end_matches('/')))?;
            ui.print(&format!("server: {}", server(cx)?))?;
        }
    }
    Ok(Exit::Success)
}

/// Says whether a server runs, and where.
fn server(cx: &Context<'_>) -> Result<String, Error> {
    Ok(match ServerAddress::default().look(cx)? {
        Found::Running(client) => format!("running · {}", client.url_of_server()),
        Found::Mute(file) => format!("running, but does not answer · {}", file.url()),
        Found::Foreign(port) => format!("not running; port {port} is in use by another program"),
        Found::Absent => "not running".to_owned(),
    })
}
