//! The routes of the server in this process, for commands that find no server.
//!
//! What a command prints is then the same to the byte, since the same code makes the bodies. Nothing listens, and only what a command changes is driven here.

use std::{
    fmt,
    io::{self, Read},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream, Bytes},
    http,
};
use futures_util::StreamExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use orchestr8_core::Engine;
use reqwest::header;
use tokio::runtime::{Handle, Runtime};

use super::transport::{Answer, Request, Transport};
use crate::{
    Error,
    server::{Access, Service},
};

/// Answers requests in this process.
pub(super) struct InProcess {
    /// Absent only while it is dropped.
    runtime: Option<Runtime>,
    engine: Engine,
    router: TowerToHyperService<axum::Router>,
}

impl InProcess {
    pub(super) fn new(engine: Engine) -> Result<Self, Error> {
        let runtime = Runtime::new().map_err(|error| Error::internal("starting the runtime").with_source(error))?;
        let router = TowerToHyperService::new(Service::new(engine.clone(), Access::local()).router());
        Ok(Self { runtime: Some(runtime), engine, router })
    }

    fn runtime(&self) -> &Handle {
        let Some(runtime) = &self.runtime else { unreachable!("it is absent only while it is dropped") };
        runtime.handle()
    }
}

impl Transport for InProcess {
    fn send(&self, request: Request) -> Result<Answer, Error> {
        let Request { method, url, headers, body, timeout: _ } = request;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let uri = format!("{}{query}", url.path());
        let mut asked = http::Request::new(Body::from(body.unwrap_or_default()));
        *asked.method_mut() = method;
        *asked.uri_mut() = uri.parse().map_err(|error| Error::internal("asking for an address").with_source(error))?;
        *asked.headers_mut() = headers;
        asked.headers_mut().insert(header::HOST, header::HeaderValue::from_static("127.0.0.1"));
        let Ok(response) = self.runtime().block_on(self.router.call(asked));
        let (head, body) = response.into_parts();
        let body = Incoming { runtime: self.runtime().clone(), stream: body.into_data_stream(), chunk: Bytes::new() };
        Ok(Answer { status: head.status, headers: head.headers, body: Box::new(body) })
    }

    fn is_here(&self) -> bool {
        true
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        // What was taken up for a request is left to whoever goes on with it.
        runtime.block_on(self.engine.shutdown(Duration::ZERO));
        runtime.shutdown_background();
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// A body while it is made.
struct Incoming {
    runtime: Handle,
    stream: BodyDataStream,
    chunk: Bytes,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(chunk) => self.chunk = chunk.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        buffer[..length].copy_from_slice(&self.chunk.split_to(length));
        Ok(length)
    }
}
