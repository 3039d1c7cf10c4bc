//! The rehearsal from the first port to the last process.

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use portcullis_keys::Random;
use portcullis_rig::provider::OidcClient;

use crate::app::DemoApp;
use crate::directory::{Directory, PushError, ScimTarget};
use crate::end::EndSignal;
use crate::idp::{IdpLinks, RehearsalIdp};
use crate::person::{LOGGED_OUT, LOGOUT};
use crate::places::{self, CLIENT, Folder, Secrets, TakenPorts};
use crate::program::{self, Program, ProgramFault};
use crate::screen::print_line;
use crate::script::{self, Stage};
use crate::step::StepMissed;

/// Reasons why the rehearsal failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RehearsalFault {
    #[error("no free port on 127.0.0.1")]
    Ports(#[source] io::Error),
    #[error("a listener on 127.0.0.1 could not be served")]
    Listen(#[source] io::Error),
    #[error("the configuration could not be written")]
    Write(#[source] io::Error),
    #[error(transparent)]
    Program(#[from] ProgramFault),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error("this step did not come out")]
    Script(#[from] StepMissed),
    #[error("signals cannot be waited for")]
    Signal(#[source] io::Error),
    #[error("it was ended before the script was over")]
    Interrupted,
}

/// Plays the script in a folder against a binary of the program and, if it stays, waits until it is to end.
///
/// # Errors
/// [`RehearsalFault`]; nothing that was started runs any more.
pub(crate) async fn rehearse_in(
    folder: &Folder,
    binary: &Path,
    mut random: Random,
    stays: bool,
) -> Result<(), RehearsalFault> {
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
    print_line(&format!("  the program                 {}", binary.display()));
    print_line(&format!("  the app, behind the proxy   {app_url}/"));
    print_line(&format!("  the rehearsal IdP           {idp_url}/directory"));
    print_line(&format!(
        "  SCIM, health                http://127.0.0.1:{}, http://127.0.0.1:{}",
        ports.scim, ports.health
    ));
    let fate = if folder.is_passing() { "removed at the end; --state DIR keeps one" } else { "kept" };
    print_line(&format!("  state folder                {} ({fate})", folder.path().display()));

    // Before there is a program that would be left behind.
    let mut end = EndSignal::watch().map_err(RehearsalFault::Signal)?;
    let mut program = Program::start(binary, &file)?;
    let (stage, state) = (Stage { ports, directory, app }, folder.state());
    let mut played = tokio::select! {
        played = play_until_end(&stage, &state) => played,
        fault = program.wait_fault() => Err(fault.into()),
        () = end.wait() => Err(RehearsalFault::Interrupted),
    };
    // A step may miss the program before its end is seen, which says more.
    if let Err(RehearsalFault::Push(_) | RehearsalFault::Script(_)) = played
        && let Some(fault) = program.find_fault().await
    {
        played = Err(fault.into());
    }
    if played.is_ok() && stays {
        print_line(&format!("Now you: open  {app_url}/  and sign in as alice."));
        print_line(
            "Open the clock, then deactivate alice in the company directory, and watch. Ctrl-C ends the rehearsal.",
        );
        tokio::select! {
            fault = program.wait_fault() => played = Err(fault.into()),
            () = end.wait() => {}
        }
    }
    let stopped = program.stop(&mut end).await;
    played?;
    Ok(stopped?)
}

async fn play_until_end(stage: &Stage, state: &Path) -> Result<(), RehearsalFault> {
    program::wait_ready(stage.ports.health, state).await?;
    stage.directory.push_all().await?;
    print_line("  people and groups           pushed by the IdP over SCIM");
    script::play_timeline(stage).await?;
    print_line("Every step came out as it should.");
    Ok(())
}

/// Serves a router on a listener of ours, as long as the rehearsal lives.
fn serve_router(listener: TcpListener, router: Router) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}
