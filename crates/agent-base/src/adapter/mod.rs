//! Putting an agent where others can call it.

mod microservice;

pub use self::microservice::Microservice;
