//! Portcullis: a single-sign-on sidecar that takes people out the moment the directory removes them.

mod app_health;
mod application;
mod assertion_keys;
mod build_info;
mod certificates;
mod cli;
mod condition;
mod core;
mod fetch;
mod foreign;
mod ground;
mod handover;
#[cfg(feature = "saml")]
mod idp_key_orders;
#[cfg_attr(not(feature = "saml"), path = "without_idp_keys.rs")]
mod idp_keys;
mod import;
mod keyring;
mod lead;
mod limits;
mod listeners;
mod live;
mod load;
mod lock;
mod log;
mod metrics;
mod needs_restart;
mod notify;
mod operator;
mod order;
mod order_error;
mod own;
mod pages;
mod person;
mod process_figures;
mod refusals;
mod relink;
mod reload;
mod revocation;
mod run;
mod running;
#[cfg_attr(not(feature = "saml"), path = "without_saml.rs")]
mod saml;
mod scim_clients;
mod scim_rate;
mod settings;
mod standing;
mod start;
mod strangers;
mod terminal;
mod ticks;
mod token_orders;
mod tokens;
mod way_around;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let limits = limits::set_limits();
    let Cli { config, command } = Cli::parse();
    match command {
        Command::Run(run) => run::main(config.as_deref(), &limits, run.take_over).into(),
        Command::Ask(ask) => terminal::judge_output(ask.answer(config.as_deref())).into(),
    }
}
