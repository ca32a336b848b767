//! `orchestr8 version`

use clap::Args;
use serde_json::json;

use crate::{Error, Exit, ui::Ui};

/// Prints the version.
///
/// With --verbose also what the program was built with.
#[derive(Debug, Args)]
pub struct VersionArgs {}

const FEATURES: [(&str, bool); 2] = [("server", cfg!(feature = "server")), ("otel", cfg!(feature = "otel"))];

pub(crate) fn version(ui: Ui, _: &VersionArgs) -> Result<Exit, Error> {
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
        }
    }
    Ok(Exit::Success)
}
