//! Who may ask: the rules that keep web pages and strangers away from a server of this machine.
//!
//! A page of another origin reaches `127.0.0.1` by a name of its own (DNS rebinding) or by a request of its own (`fetch`). The
//! first betrays itself by `Host`, the second by `Origin`.

use std::fmt;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Uri, header},
    middleware::Next,
    response::Response,
};
use orchestr8_schema::canonical::sha256_hex;

use super::{
    Service,
    problem::{ProblemCode, Rejection},
};

/// Who may ask a server.
#[derive(Clone, Debug, Default)]
pub struct Access {
    hosts: Vec<String>,
    token: Option<Token>,
}

impl Access {
    /// Admits whoever names the server `localhost`, `127.0.0.1` or `[::1]`, without a token.
    #[must_use]
    pub fn local() -> Self {
        Self::default()
    }

    /// Admits requests to a further name, without port.
    #[must_use]
    pub fn allow_host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// Demands a token of everybody; health, readiness and the dashboard's own files excepted.
    #[must_use]
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    fn admits_host(&self, host: &str) -> bool {
        let name = without_port(host);
        ["localhost", "127.0.0.1", "[::1]"].contains(&name.to_ascii_lowercase().as_str())
            || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

/// What a client must show, as `Authorization: Bearer <token>`.
#[derive(Clone)]
pub struct Token(String);

/// The error of a token that is easily guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token has at least {} characters", Token::MIN_LENGTH)]
pub struct InvalidToken(());

impl Token {
    /// The fewest characters of a token.
    pub const MIN_LENGTH: usize = 32;

    /// Takes a token.
    ///
    /// # Errors
    ///
    /// [`InvalidToken`] if it has fewer than [`Token::MIN_LENGTH`] characters.
    pub fn new(token: impl Into<String>) -> Result<Self, InvalidToken> {
        let token = token.into();
        if token.chars().count() < Self::MIN_LENGTH { Err(InvalidToken(())) } else { Ok(Self(token)) }
    }

    /// Compares in a time that does not depend on how much is right: digests differ everywhere or nowhere.
    fn is(&self, shown: &str) -> bool {
        let (mine, shown) = (sha256_hex(&self.0), sha256_hex(shown));
        mine.bytes().zip(shown.bytes()).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Lets a request through, or answers 403 or 401.
pub(super) async fn check(State(service): State<Service>, request: Request, next: Next) -> Result<Response, Rejection> {
    let access = service.access();
    admit(access, request.uri(), request.headers())?;
    // The page asks its reader for the token, so it is shown without.
    let path = request.uri().path();
    let is_open = matches!(path, "/" | "/health" | "/ready") || path.starts_with("/assets/");
    let is_shown = |token: &Token| bearer(request.headers()).is_some_and(|shown| token.is(shown));
    if !is_open && !access.token.as_ref().is_none_or(is_shown) {
        let rejection = Rejection::new(ProblemCode::Unauthorized, "send `Authorization: Bearer <token>`");
        return Err(rejection.header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
    }
    Ok(next.run(request).await)
}

fn admit(access: &Access, uri: &Uri, headers: &HeaderMap) -> Result<(), Rejection> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_single = hosts.next().is_none();
    let absolute = uri.authority().is_none_or(|authority| access.admits_host(authority.as_str()));
    if !is_single || !absolute || !access.admits_host(host) {
        return Err(Rejection::new(ProblemCode::Forbidden, "the `Host` of the request is not this server"));
    }
    match headers.get(header::ORIGIN) {
        Some(origin) if origin.as_bytes() != format!("http://{host}").as_bytes() => {
            Err(Rejection::new(ProblemCode::Forbidden, "the request comes from a page of another origin"))
        }
        _ => Ok(()),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Cuts the port off: `[::1]:8088` → `[::1]`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() && !name.ends_with(':') =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::Access;

    #[test]
    fn only_names_of_this_machine_are_admitted() {
        let access = Access::local().allow_host("build.example");
        for host in ["localhost", "LOCALHOST:8088", "127.0.0.1:1", "[::1]", "[::1]:8088", "build.example:80"] {
            assert!(access.admits_host(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8088", "[::2]", "::1", "localhost:x"]
        {
            assert!(!access.admits_host(host), "{host}");
        }
    }
}
