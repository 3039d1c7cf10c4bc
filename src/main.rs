//! Portcullis: a single-sign-on sidecar that takes people out the moment the directory removes them.

mod app_health;
mod cli;
mod core;
mod fetch;
mod foreign;
mod ground;
mod keyring;
mod limits;
mod listeners;
mod live;
mod load;
mod lock;
mod log;
mod metrics;
mod operator;
mod order;
mod order_error;
mod own;
mod pages;
mod person;
mod refusals;
mod relink;
mod reload;
mod revocation;
mod run;
mod running;
mod scim_clients;
mod settings;
mod standing;
mod start;
mod strangers;
mod terminal;
mod ticks;

#[cfg(feature = "demo")]
mod demo;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let limits = limits::set_limits();
    let Cli { config, command } = Cli::parse();
    match command {
        Command::Run => run::main(config.as_deref(), &limits).into(),
        #[cfg(feature = "demo")]
        Command::Demo(args) => run_demo(args),
        Command::Ask(ask) => ask.answer(config.as_deref()).into(),
    }
}

/// The rehearsal tells its own story; of the program's log it shows what a person should look at.
#[cfg(feature = "demo")]
fn run_demo(args: demo::Args) -> ExitCode {
    let started = log::Log::start(log::Format::text(), tracing::level_filters::LevelFilter::ERROR);
    match (started, run::core_runtime()) {
        (Ok(_), Ok(core)) => core.block_on(demo::run_rehearsal(args)),
        (Err(error), _) => fail_with(&error),
        (_, Err(error)) => fail_with(&error),
    }
}

#[cfg(feature = "demo")]
fn fail_with(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("portcullis: {}", log::error_chain(error));
    ExitCode::FAILURE
}
