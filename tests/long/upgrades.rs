//! Two hand-overs under load: of 20,000 requests none fails.

use crate::rig::load::Clients;
use crate::rig::stage::Stage;

const ALICE: &str = "alice@corp.test";

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_thousand_requests_none_fails() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let clients = Clients::start(&stage.visitor(ALICE), &stage.directory);
    let mut replaced = Vec::new();
    for _ in 0..2 {
        clients.answered_within(7_000, LIMIT).await;
        replaced.push(stage.program.upgrade().await);
    }
    clients.answered_within(6_000, LIMIT).await;
    let again = clients.load.again.load(std::sync::atomic::Ordering::Relaxed);
    let (failed, answered) = clients.end().await;
    println!("{answered} requests, {} failed, {again} asked again over HTTP/2", failed.len());
    assert!(failed.is_empty() && answered >= 20_000, "{failed:#?}");
    for process in replaced {
        process.is_gone().await;
    }
    stage.program.assert_sound();
}

const LIMIT: std::time::Duration = std::time::Duration::from_secs(300);
