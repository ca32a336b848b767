//! Asking HTTP servers, as an agent and as tools, as far as a policy allows it.
//!
//! | agent | tool | what it does |
//! |---|---|---|
//! | `@orchestr8/http` | `http.request` | any request |
//! | | `http.get` | a request that changes nothing |
//!
//! A [`ServiceAgent`] is an agent elsewhere, which settings name by its URL.
//!
//! [`Web`] is who asks: it holds the policy. A host that the policy does not name by its name is asked only at public addresses, and
//! nobody can change the address between the check and the connection: the addresses that were checked are those that are connected
//! to. That holds for each redirect as for the first request, and no proxy of the environment comes in between.
//!
//! ```
//! use orchestr8_agent_base::{AgentRegistry, http::{self, Web}};
//! use orchestr8_schema::config::HttpPolicy;
//!
//! let mut policy = HttpPolicy::default();
//! policy.allow = Some(vec!["*.example.org".to_owned(), "localhost".to_owned()]);
//! let mut registry = AgentRegistry::new();
//! http::register(&mut registry, &Web::new(policy))?;
//! assert!(registry.tools().get(&"http.get".parse()?).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod agents;
mod answer;
mod failure;
mod policy;
mod request;
mod resolver;
mod service_agent;
mod web;

pub use self::{
    agents::{Http, HttpGet, register},
    request::HttpInput,
    resolver::{Lookup, SystemLookup},
    service_agent::ServiceAgent,
    web::Web,
};
