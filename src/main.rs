//! Portcullis: a single-sign-on sidecar that takes people out the moment the directory removes them.

mod desk;
mod fetch;
mod flows;
mod health;
mod limits;
mod listen;
mod load;
mod lock;
mod log;
mod login;
mod logout;
mod metrics;
mod own;
mod pages;
mod refusals;
mod reload;
mod revocation;
mod run;
mod settings;
mod ticks;

#[cfg(feature = "demo")]
mod demo;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    /// The configuration file.
    #[arg(short = 'c', global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves.
    Run,
    #[cfg(feature = "demo")]
    Demo(demo::Args),
}

fn main() -> ExitCode {
    let limits = limits::set();
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Run => run::main(arguments.config, &limits),
        #[cfg(feature = "demo")]
        Command::Demo(args) => {
            let log = log::Log::start(log::Format::text(), tracing::level_filters::LevelFilter::WARN);
            drop(log);
            run::core_runtime().map_or(ExitCode::FAILURE, |core| core.block_on(demo::run(args)))
        }
    }
}
