//! The journeys (`tests/journeys`): what an operator does from an empty folder to the first login, and to the first person
//! who is out, is done here word for word.

use std::fs;

use crate::needs;
use crate::rig::idp::{Client, Op};
use crate::rig::journey::{Journey, Transcript};

#[tokio::test(flavor = "multi_thread")]
async fn a_calendar_behind_portcullis_and_canaille_beside_it() {
    needs!("radicale");
    needs!("canaille");
    let mut journey = Journey::prepare(Transcript::load("radicale-canaille.md"), &["radicale", "canaille"]);
    journey.follow(async |_, action, words| panic!("nobody knows [{action}] {words:?}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_of_ones_own_for_whom_one_invites() {
    needs!("op");
    needs!("flask");
    let op = Op::start();
    let mut journey = Journey::prepare(Transcript::load("flask-invited.md"), &["flask"]);
    journey.swap("http://idp.localhost:9802", &op.issuer);
    journey
        .follow(async |journey, action, words| match (action, words) {
            ("register", [id, callback, file]) => {
                let client = Client { id: id.clone(), ..Client::drawn() };
                fs::write(journey.folder().join(file), &client.secret).unwrap();
                op.register_at(&client, callback).await;
            }
            _ => panic!("nobody knows [{action}] {words:?}"),
        })
        .await;
}
