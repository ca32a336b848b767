//! Who is kept out.

use reqwest::Method;

use crate::support::{
    assert_steady, orchestr8,
    running_server::{RunningServer, describe, transcript},
    say,
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn every_answer_carries_the_headers_of_security() {
    let server = RunningServer::start(&mut orchestr8());
    for path in ["/health", "/v2/nothing", "/v1/workflows/execute"] {
        let answer = server.get(path).header("x-correlation-id", "order-4711").send().expect("the server answers");
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin", "{path}");
        assert!(header("content-security-policy").starts_with("default-src 'self'; "), "{path}");
        assert_eq!(header("x-correlation-id"), "order-4711", "{path}");
        assert_eq!(header("cache-control"), "no-store", "{path}");
    }
    let answer = server.get("/health").header("x-correlation-id", "not one!").send().expect("the server answers");
    assert_eq!(answer.headers()["x-correlation-id"].len(), 36, "a bad id is replaced");
}

#[test]
fn pages_of_other_origins_are_kept_out() {
    let server = RunningServer::start(&mut orchestr8());
    let own = server.url.clone();
    let text = [
        transcript("a foreign host", server.get("/health").header("host", "evil.example")),
        transcript("a host that only begins well", server.get("/health").header("host", "127.0.0.1.evil.example")),
        transcript("a page of another origin", server.get("/health").header("origin", "http://evil.example")),
        transcript("a sandboxed page", server.get("/health").header("origin", "null")),
        transcript(
            "a preflight",
            server.client.request(Method::OPTIONS, format!("{own}/v1/workflows/execute")).header("origin", &own),
        ),
    ];
    assert_steady("server_origins", &text.concat());
    let answer = server.get("/health").header("origin", &own).send().expect("the server answers");
    assert_eq!(answer.status().as_u16(), 200);
}

#[test]
fn a_token_is_asked_of_everybody_but_probes() {
    let server = RunningServer::start(orchestr8().env("ORCHESTR8_TOKEN", TOKEN));
    let path = "/v1/executions/01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10";
    let status =
        |token: &str| server.get(path).bearer_auth(token).send().expect("the server answers").status().as_u16();
    assert_eq!(status(TOKEN), 404);
    assert_eq!(status(&TOKEN.replace('f', "e")), 401);
    let query = server.get(&format!("{path}?token={TOKEN}")).send().expect("the server answers");
    assert_steady("server_token", &describe("a token in the address", query));
    for probe in ["/health", "/ready"] {
        assert_eq!(server.get(probe).send().expect("the server answers").status().as_u16(), 200);
    }
}

#[test]
fn other_machines_are_served_only_on_purpose_and_with_a_token() {
    for (args, token) in [(&["--host", "0.0.0.0"][..], Some(TOKEN)), (&["--host", "0.0.0.0", "--allow-remote"], None)] {
        let said = say(orchestr8()
            .args(["server", "--port", "0"])
            .args(args)
            .envs(token.map(|token| ("ORCHESTR8_TOKEN", token))));
        assert_eq!(said.code, Some(2), "{}", said.stderr);
    }
    let short = say(orchestr8().args(["server", "--port", "0"]).env("ORCHESTR8_TOKEN", "guess me"));
    assert_eq!(short.code, Some(2));
    assert!(short.stderr.contains("at least 32 characters"), "{}", short.stderr);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = taken.local_addr().expect("a bound listener has an address").port().to_string();
    let said = say(orchestr8().args(["server", "--port", &port]));
    assert_eq!(said.code, Some(3));
    assert!(said.stderr.starts_with(&format!("error: port {port} is in use by another program\n")), "{}", said.stderr);
}
