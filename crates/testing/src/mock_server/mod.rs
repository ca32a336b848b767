//! Servers on this machine that answer like a provider, or like one that is broken.
//!
//! A [`MockServer`] stands for Anthropic, OpenAI, GitHub or [anything](Provider::Anything). It answers as the provider does when all is
//! well, unless it was given [`Answer`]s of its own: those are given first, in their order. Each request is held against what the
//! provider takes: one that it would not take is answered as the provider answers it, and is *unexpected*. When the server is dropped,
//! unexpected requests fail the test if the variable `CI` is set, and are told on standard error otherwise.
//!
//! Everything goes over a socket that is written to byte by byte, since much of what a broken server does cannot be said through a
//! library for HTTP: connections that are reset, answers of which half comes, answers that are none.
//!
//! A paused clock jumps to the next timer as soon as only sockets are pending, so a test with a mock server does not pause: it runs in
//! real time, with short policies.
//!
//! ```
//! use std::time::Duration;
//!
//! use orchestr8_testing::mock_server::{Answer, MockServer, anthropic};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let server = MockServer::anthropic().await?;
//! server.answer(anthropic::error(429).header("retry-after", "1"));
//! server.answer(Answer::reset_connection());
//! server.answer(anthropic::text("Better late than never.").slow(Duration::from_millis(20)));
//! // … give `server.url()` to a client as the address of its provider …
//! assert!(server.requests().is_empty());
//! # server.forget_answers();
//! # Ok(())
//! # }
//! ```

mod answer;
pub mod anthropic;
pub mod github;
pub mod openai;
mod wire;

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{net::TcpListener, task::AbortHandle};

pub use self::{answer::Answer, wire::Request};

/// Whom a server stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provider {
    /// `POST /v1/messages`.
    Anthropic,
    /// `POST /v1/chat/completions`.
    OpenAi,
    /// `GET /repos/{owner}/{repo}/releases` and `POST /repos/{owner}/{repo}/pulls`.
    GitHub,
    /// Takes every request, and answers `{}`.
    Anything,
}

/// A server on this machine, for one test. It stops when it is dropped.
#[derive(Debug)]
pub struct MockServer {
    url: String,
    shared: Arc<Shared>,
    listening: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    provider: Provider,
    scene: Mutex<Scene>,
}

#[derive(Debug, Default)]
struct Scene {
    answers: VecDeque<Answer>,
    requests: Vec<Request>,
    unexpected: Vec<String>,
}

impl MockServer {
    /// Starts a server that stands for Anthropic.
    ///
    /// # Errors
    ///
    /// If no port is to be had.
    pub async fn anthropic() -> io::Result<Self> {
        Self::start(Provider::Anthropic).await
    }

    /// Starts a server that stands for OpenAI, and for those that are compatible with it.
    ///
    /// # Errors
    ///
    /// If no port is to be had.
    pub async fn openai() -> io::Result<Self> {
        Self::start(Provider::OpenAi).await
    }

    /// Starts a server that stands for GitHub.
    ///
    /// # Errors
    ///
    /// If no port is to be had.
    pub async fn github() -> io::Result<Self> {
        Self::start(Provider::GitHub).await
    }

    /// Starts a server that stands for a provider.
    ///
    /// # Errors
    ///
    /// If no port is to be had.
    pub async fn start(provider: Provider) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared { provider, scene: Mutex::default() });
        let known = Arc::clone(&shared);
        let listening = tokio::spawn(async move {
            // Connections end with the server.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(wire::serve(stream, Arc::clone(&known)));
            }
        });
        Ok(Self { url, shared, listening: listening.abort_handle() })
    }

    /// Returns where the server is, without a `/` at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Adds an answer to those that are given first, each to one request, in this order.
    pub fn answer(&self, answer: Answer) {
        self.shared.scene().answers.push_back(answer);
    }

    /// Returns the requests so far, in the order in which they came.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.scene().requests.clone()
    }

    /// Returns what was wrong with requests that the provider would not take.
    #[must_use]
    pub fn unexpected(&self) -> Vec<String> {
        self.shared.scene().unexpected.clone()
    }

    /// Forgets what was unexpected, for tests that mean it. Returns it.
    pub fn forgive(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.scene().unexpected)
    }

    /// Forgets the answers that have not been given. Returns how many there were.
    pub fn forget_answers(&self) -> usize {
        std::mem::take(&mut self.shared.scene().answers).len()
    }

    /// Forgets everything: answers, requests, and what was unexpected.
    pub fn reset(&self) {
        *self.shared.scene() = Scene::default();
    }
}

impl Drop for MockServer {
    fn drop(&mut self) {
        self.listening.abort();
        let scene = std::mem::take(&mut *self.shared.scene());
        if scene.unexpected.is_empty() || std::thread::panicking() {
            return;
        }
        let message = format!(
            "the mock server for {:?} was asked what it does not answer:\n  {}",
            self.shared.provider,
            scene.unexpected.join("\n  ")
        );
        assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty()), "{message}");
        eprintln!("warning: {message}");
    }
}

impl Shared {
    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides what a request is answered.
    fn answer_to(&self, request: Request) -> Answer {
        let refusal = match self.provider {
            Provider::Anthropic => anthropic::refusal_of(&request),
            Provider::OpenAi => openai::refusal_of(&request),
            Provider::GitHub => github::refusal_of(&request),
            Provider::Anything => None,
        };
        let mut scene = self.scene();
        let usual = match self.provider {
            Provider::Anthropic => anthropic::usual(&request),
            Provider::OpenAi => openai::usual(&request),
            Provider::GitHub => github::usual(&request),
            Provider::Anything => Answer::json(200, &serde_json::json!({})),
        };
        let told = format!("{} {}", request.method, request.path);
        scene.requests.push(request);
        match refusal {
            Some((why, answer)) => {
                scene.unexpected.push(format!("{told}: {why}"));
                answer
            }
            None => scene.answers.pop_front().unwrap_or(usual),
        }
    }
}
