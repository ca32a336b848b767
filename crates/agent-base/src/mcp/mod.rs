//! Tools of servers that speak the Model Context Protocol.
//!
//! An [`McpClient`] is one server's tools as a namespace of a [`ToolRegistry`](crate::tool::ToolRegistry): the tool `read_file` of the
//! server `files` is `files:read_file`. The server is started, or connected to, when somebody needs one of its tools.
//!
//! - It speaks revision 2026-07-28 with servers that answer `server/discover`, and shakes hands by `initialize` with all others, a program
//!   that says nothing for 5 s included.
//! - A server that is a program leads a process group of its own, sees of the environment `PATH`, `LANG` and what is given to it, and
//!   its standard error is logged. One that has ended is started again at the next use, at most [`McpClient::MAX_RESTARTS`] times within
//!   [`McpClient::RESTART_WINDOW`].
//! - A server that does not answer within [`McpClient::ANSWER_TIMEOUT`] fails those who need it with NETWORK.
//! - The list of tools is read page by page, kept, and read again when the server says that it has changed.
//! - What a server says of itself is not believed: arguments are checked against the schema of the tool, and so is what it gives back.
//!
//! We offer servers nothing: no sampling, no roots, no elicitation.

mod client;
mod connection;
mod endpoint;
mod probe;
mod result;
mod tools;

pub use self::{
    client::McpClient,
    endpoint::{Endpoint, Expand},
};
