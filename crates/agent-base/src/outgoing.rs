//! Requests to servers that somebody has configured, rather than a workflow: their client, and the headers that are sent along.

use std::time::Duration;

use reqwest::{
    Client,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A header that cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("the header `{name}` cannot be sent")]
pub(crate) struct InvalidHeader {
    name: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Makes a client that goes straight to whom it is told to ask, and nowhere else: a proxy or a redirect would take what the headers hold
/// elsewhere. That reads the certificates which the system trusts, so it is worth to wait until it is needed.
pub(crate) fn client() -> Result<Client, reqwest::Error> {
    Client::builder().no_proxy().redirect(Policy::none()).connect_timeout(CONNECT_TIMEOUT).build()
}

/// Makes headers of what settings say. None of them is shown in any log.
pub(crate) fn headers<N: AsRef<str>, V: AsRef<str>>(
    told: impl IntoIterator<Item = (N, V)>,
) -> Result<HeaderMap, InvalidHeader> {
    let mut headers = HeaderMap::new();
    for (name, value) in told {
        let name = name.as_ref();
        let invalid =
            |source: Box<dyn std::error::Error + Send + Sync>| InvalidHeader { name: name.to_owned(), source };
        let key: HeaderName = name.parse().map_err(|error| invalid(Box::new(error)))?;
        let mut value = HeaderValue::from_str(value.as_ref()).map_err(|error| invalid(Box::new(error)))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}
