//! From the name of a host to the addresses that may be connected to.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use async_trait::async_trait;
use orchestr8_schema::config::HttpPolicy;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::policy;

/// Finds the addresses of a host. Tests put a table in its place.
#[async_trait]
pub trait Lookup: fmt::Debug + Send + Sync + 'static {
    /// Finds all addresses of a host.
    ///
    /// # Errors
    ///
    /// When it has none, or nobody can be asked.
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// Asks the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Gives the client those addresses only that the policy lets it connect to.
#[derive(Debug)]
pub(super) struct CheckedResolver {
    pub(super) policy: Arc<HttpPolicy>,
    pub(super) lookup: Arc<dyn Lookup>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, lookup) = (Arc::clone(&self.policy), Arc::clone(&self.lookup));
        Box::pin(async move {
            let mut denied = None;
            let mut allowed = Vec::new();
            for address in lookup.addresses(name.as_str()).await? {
                match policy::check_address(&policy, name.as_str(), address) {
                    Ok(()) => allowed.push(SocketAddr::new(address, 0)),
                    Err(reason) => denied = Some(reason),
                }
            }
            match denied {
                Some(reason) if allowed.is_empty() => Err(reason.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}
