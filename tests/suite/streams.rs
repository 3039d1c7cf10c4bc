//! What is open stays open: streams of people who may stay are left alone, however many there are and however still.

use crate::rig::stage::Stage;
use crate::rig::until;

const ALICE: &str = "alice@corp.test";

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_sockets_of_one_person_stay_open() {
    let stage = Stage::seeded(|s| s.level = "trace", &[ALICE]).await;
    let alice = stage.visitor(ALICE);
    let mut sockets = Vec::new();
    for _ in 0..300 {
        sockets.push(alice.socket("/ws").await.unwrap());
    }
    stage.app.has_open(300).await;
    let mut lost = 0;
    for socket in &mut sockets {
        lost += usize::from(socket.echo("still there").await.is_err());
    }
    assert_eq!(lost, 0, "sockets that ended by themselves");
    until("the count of exchanges", || async {
        stage.program.metric("portcullis_exchanges_enrolled").await == Some(300.0)
    })
    .await;
    drop(sockets);
    stage.app.has_open(0).await;
    until("the end of all exchanges", || async {
        stage.program.metric("portcullis_exchanges_enrolled").await == Some(0.0)
    })
    .await;
}
