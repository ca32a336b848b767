//! Agents outside of workflows: as a service over HTTP, and as a part of another program. Both call the agent in the same way.

mod microservice;
mod outside;
mod sub_agent;

pub use self::{
    microservice::Microservice,
    sub_agent::{RequestContext, SubAgent},
};
