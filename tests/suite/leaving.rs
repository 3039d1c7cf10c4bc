//! The way out: what is in flight may end, removals are heard and enforced meanwhile, and nothing holds it up for ever.

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::rig::stage::Stage;
use crate::rig::visitor::Held;
use crate::rig::{until, wire};

const ALICE: &str = "alice@corp.test";
const MARK: &str = "written-after-the-answer";

/// Asks it to end, and waits until it says that it does.
async fn leaves(stage: &Stage) {
    stage.program.signal(Signal::TERM);
    until("/readyz to say that it drains", || async {
        let ready = wire::get(stage.program.settings.health, "localhost", "/readyz").await.unwrap();
        ready.status == 503 && ready.text().contains("draining")
    })
    .await;
}

async fn is_over(mut stage: Stage) {
    assert_eq!(stage.program.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_is_heard_and_enforced_until_the_last_exchange_is_gone() {
    let stage = Stage::seeded(|s| s.more = "stop_grace: 10m\n".to_owned(), &[ALICE]).await;
    let alice = stage.visitor(ALICE);
    let held = Held::open(&alice, &stage.app).await;
    leaves(&stage).await;
    until("the proxy's port to be closed", || async {
        TcpStream::connect(stage.program.proxy()).await.is_err()
    })
    .await;
    stage.directory.deactivate(stage.id(ALICE)).await;
    stage.app.mark(MARK).await;
    held.ends_without(MARK).await;
    is_over(stage).await; // nothing is left, so the ten minutes are not waited for
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_on_which_nothing_passes_hold_nothing_up() {
    let stage = Stage::seeded(|s| s.more = "stop_grace: 1h\n".to_owned(), &[ALICE]).await;
    let mut socket = stage.visitor(ALICE).socket("/ws").await.unwrap();
    socket.echo("here").await.unwrap();
    leaves(&stage).await;
    stage.program.logged(&["only streams were left"]).await;
    is_over(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_wait() {
    let stage = Stage::seeded(|s| s.more = "stop_grace: 1h\n".to_owned(), &[ALICE]).await;
    let _waits = stage.visitor(ALICE).waiting("/hold");
    until("the request at the application", || async { stage.app.count_of("/hold") == 1 }).await;
    leaves(&stage).await;
    stage.program.signal(Signal::INT);
    stage.program.logged(&["asked again to end"]).await;
    is_over(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_how_long_it_waits() {
    let mut stage = Stage::seeded(|s| s.more = "stop_grace: 1h\n".to_owned(), &[ALICE]).await;
    stage.program.reload(|s| s.more = "stop_grace: 0s\n".to_owned()).await;
    let _waits = stage.visitor(ALICE).waiting("/hold");
    until("the request at the application", || async { stage.app.count_of("/hold") == 1 }).await;
    stage.program.signal(Signal::TERM);
    stage.program.logged(&["exchanges were broken off"]).await;
    is_over(stage).await;
}
