//! The whole `orchestr8` program, with one more agent.

mod agent;

use std::process::ExitCode;

use agent::Summarizer;

fn main() -> ExitCode {
    orchestr8_cli::Program::new().agent(Summarizer).main()
}
