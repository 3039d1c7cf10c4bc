//! `portcullis demo`: a rehearsal of the whole product on one machine, with nothing to install.
//!
//! It stands up a rehearsal IdP and a small legacy app, writes a configuration as an operator would, starts the very
//! program that `run` starts, and plays a scripted timeline against it with real clients. Then, on a terminal, it
//! stays, so that one can play on in a browser. It listens on loopback only, makes its secrets afresh each time, and
//! opens no door into the program that an operator would not have.

mod app;
mod browser;
mod directory;
mod held;
mod idp;
mod person;
mod places;
mod provider;
mod push;
mod script;
mod step;
mod wire;

use std::io::{self, IsTerminal as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use portcullis_keys::Random;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tracing::level_filters::LevelFilter;

use crate::log::{Format, Log, error_chain};
use app::DemoApp;
use directory::{Directory, ScimTarget};
use idp::{IdpLinks, RehearsalIdp};
use person::{LOGGED_OUT, LOGOUT};
use places::{CLIENT, Folder, Secrets, TakenPorts};
use provider::OidcClient;
use script::{Stage, print_line};

/// Plays a scripted rehearsal on this machine, then stays for your browser.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Args {
    /// Ends after the script, also on a terminal, with exit code 0 if every step came out as it should.
    #[arg(long)]
    pub(crate) script: bool,
    /// Stays after the script until Ctrl-C or SIGTERM, also without a terminal.
    #[arg(long, conflicts_with = "script")]
    pub(crate) stay: bool,
    /// Keeps configuration, store and logs in this folder, which must be new or empty. Without it they lie in the
    /// temporary folder and go at the end.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// Runs the rehearsal: 0 when the script came out and, on a terminal, Ctrl-C was pressed; else 1.
pub(crate) async fn run_rehearsal(args: Args) -> ExitCode {
    // The access log goes to a file; what a person should look at belongs on the screen. A log that runs already stays.
    let _ = Log::start(Format::text(), LevelFilter::WARN);
    let mut random = Random::system();
    let folder = match Folder::open(args.state.as_deref(), &mut random) {
        Ok(folder) => folder,
        Err(cause) => {
            let named = args.state.unwrap_or_else(std::env::temp_dir);
            print_fault(&format!(
                "the folder {} cannot be used: {cause}. Name a new one with --state.",
                named.display()
            ));
            return ExitCode::FAILURE;
        }
    };
    let stays = args.stay || (!args.script && io::stdout().is_terminal());
    match rehearse_in(&folder, random, stays).await {
        Ok(()) => {
            folder.leave();
            ExitCode::SUCCESS
        }
        Err(fault) => {
            print_fault(&error_chain(&fault).to_string());
            print_fault(&format!("configuration, store and logs are kept in {}", folder.path().display()));
            ExitCode::FAILURE
        }
    }
}

/// Reasons why the rehearsal failed.
#[derive(Debug, thiserror::Error)]
enum RehearsalFault {
    #[error("no free port on 127.0.0.1")]
    Ports(#[source] io::Error),
    #[error("a listener on 127.0.0.1 could not be served")]
    Listen(#[source] io::Error),
    #[error("the configuration could not be written")]
    Write(#[source] io::Error),
    #[error("the program did not start")]
    Start(#[source] crate::start::StartError),
    #[error(transparent)]
    Push(#[from] directory::PushError),
    #[error("this step did not come out")]
    Script(#[from] step::StepMissed),
    #[error("signals cannot be waited for")]
    Signal(#[source] io::Error),
    #[error("it was ended before the script was over")]
    Interrupted,
}

async fn rehearse_in(folder: &Folder, mut random: Random, stays: bool) -> Result<(), RehearsalFault> {
    let TakenPorts { ports, idp: idp_listener, app: app_listener } =
        places::take_ports().map_err(RehearsalFault::Ports)?;
    let secrets = Secrets::fresh(&mut random);
    let (app_url, idp_url) = (ports.app_url(), ports.idp_url());
    let file = places::furnish_folder(folder, &ports, &secrets).map_err(RehearsalFault::Write)?;

    let app = DemoApp::new(&format!("{idp_url}/directory"));
    serve_router(app_listener, app.router()).map_err(RehearsalFault::Listen)?;
    let directory = Arc::new(Directory::new(ScimTarget { port: ports.scim, token: secrets.scim }));
    let client = OidcClient {
        id: CLIENT.to_owned(),
        secret: secrets.client,
        redirect_uri: format!("{app_url}/.portcullis/callback/rehearsal"),
        post_logout_uri: format!("{app_url}{LOGGED_OUT}"),
    };
    let links = IdpLinks {
        issuer: idp_url.clone(),
        port: ports.idp,
        app_url: format!("{app_url}/"),
        logout_url: format!("{app_url}{LOGOUT}"),
    };
    serve_router(idp_listener, RehearsalIdp::new(links, client, directory.clone(), random).router())
        .map_err(RehearsalFault::Listen)?;

    print_line("Portcullis, rehearsed on this machine alone (127.0.0.1):\n");
    print_line(&format!("  the app, behind the proxy   {app_url}/"));
    print_line(&format!("  the rehearsal IdP           {idp_url}/directory"));
    print_line(&format!(
        "  SCIM, health                http://127.0.0.1:{}, http://127.0.0.1:{}",
        ports.scim, ports.health
    ));
    let fate = if folder.is_passing() { "removed at the end; --state DIR keeps one" } else { "kept" };
    print_line(&format!("  state folder                {} ({fate})", folder.path().display()));

    let running = crate::start::start_file(&file).await.map_err(RehearsalFault::Start)?;
    let mut end = EndSignal::watch().map_err(RehearsalFault::Signal)?;
    let stage = Stage { ports, directory, app };
    let played = tokio::select! {
        played = play_until_end(&stage) => played,
        () = end.wait() => Err(RehearsalFault::Interrupted),
    };
    if played.is_ok() && stays {
        print_line(&format!("Now you: open  {app_url}/  and sign in as alice."));
        print_line(
            "Open the clock, then deactivate alice in the company directory, and watch. Ctrl-C ends the rehearsal.",
        );
        end.wait().await;
    }
    let (_patient, never) = tokio::sync::watch::channel(false);
    // A browser may still hold a connection open; the rehearsal does not wait for it for ever.
    let _ = timeout(GRACE, running.shutdown(never)).await;
    played
}

/// The time that the program may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// Ctrl-C, or the signal by which one program asks another to end.
struct EndSignal {
    interrupt: Signal,
    terminate: Signal,
}

impl EndSignal {
    fn watch() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn play_until_end(stage: &Stage) -> Result<(), RehearsalFault> {
    stage.directory.push_all().await?;
    print_line("  people and groups           pushed by the IdP over SCIM");
    script::play_timeline(stage).await?;
    print_line("Every step came out as it should.");
    Ok(())
}

/// Serves a router on a listener of ours, as long as the program lives.
fn serve_router(listener: TcpListener, router: Router) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}

fn print_fault(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(io::stderr().lock(), "portcullis demo: {line}");
}
