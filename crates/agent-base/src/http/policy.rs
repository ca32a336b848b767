//! What a policy says of one host.

use std::net::IpAddr;

use orchestr8_schema::config::HttpPolicy;
use reqwest::Url;
use serde_json::json;
use url::Host;

use super::address::is_public;
use crate::{AgentError, pattern};

/// Why something may not be asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} is denied by {setting}")]
pub(super) struct Denied {
    what: String,
    setting: &'static str,
}

impl Denied {
    fn by_allow(what: String) -> Self {
        Self { what, setting: "policy.http.allow" }
    }

    fn by_deny(what: String) -> Self {
        Self { what, setting: "policy.http.deny" }
    }

    pub(super) fn into_error(self) -> AgentError {
        AgentError::denied(self.to_string()).with_context(json!({ "setting": self.setting }))
    }
}

/// Checks what is asked before anything is connected to: the scheme, the host, and its address if it is written as one.
pub(super) fn check_url(policy: &HttpPolicy, url: &Url) -> Result<(), AgentError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(AgentError::validation(format!("`{}` is no scheme of HTTP", url.scheme())));
    }
    let host = url.host().ok_or_else(|| AgentError::validation("the URL has no host"))?;
    let (name, address) = match host {
        Host::Domain(name) => (without_root(name).to_owned(), None),
        Host::Ipv4(address) => (address.to_string(), Some(IpAddr::V4(address))),
        Host::Ipv6(address) => (address.to_string(), Some(IpAddr::V6(address))),
    };
    let checked = check_name(policy, &name).and_then(|()| match address {
        Some(address) => check_address(policy, &name, address),
        None => Ok(()),
    });
    checked.map_err(Denied::into_error)
}

fn check_name(policy: &HttpPolicy, name: &str) -> Result<(), Denied> {
    if is_listed(&policy.deny, name) {
        return Err(Denied::by_deny(format!("the host `{name}`")));
    }
    if policy.allow.as_ref().is_some_and(|allowed| !is_listed(allowed, name)) {
        return Err(Denied::by_allow(format!("the host `{name}`")));
    }
    Ok(())
}

/// Checks an address that a host has. A host whose name is listed as it is, without `*`, may have any.
pub(super) fn check_address(policy: &HttpPolicy, name: &str, address: IpAddr) -> Result<(), Denied> {
    let text = address.to_canonical().to_string();
    if is_listed(&policy.deny, &text) {
        return Err(Denied::by_deny(format!("the address {text} of the host `{name}`")));
    }
    let name = without_root(name);
    let is_named = policy.allow.iter().flatten().any(|allowed| bare(allowed).eq_ignore_ascii_case(name));
    if is_named || is_public(address) {
        return Ok(());
    }
    Err(Denied::by_allow(format!(
        "the address {text} of the host `{name}`, which is not public and not listed by name,"
    )))
}

fn is_listed(list: &[String], name: &str) -> bool {
    list.iter().any(|listed| pattern::matches(&bare(listed).to_ascii_lowercase(), name))
}

/// The host as it is compared: without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// A name means the same with and without the dot of the root.
fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}
