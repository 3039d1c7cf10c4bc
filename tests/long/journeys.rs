//! The journey with Keycloak, whose start takes a minute (`tests/journeys`).

use std::fs;

use crate::needs;
use crate::rig::journey::{Journey, Transcript};
use crate::rig::ports;
use crate::rig::settings::Settings;
use crate::rig_keycloak::{Keycloak, SECRET};

#[tokio::test(flavor = "multi_thread")]
async fn dashboards_that_know_people_by_a_header_and_keycloak() {
    needs!("curl");
    needs!("keycloak");
    // Only its origin is looked at: the client's addresses hang below it.
    let settings = Settings::new(ports::free());
    let keycloak = Keycloak::start(&settings).await;
    let mut journey = Journey::prepare(Transcript::load("headers-keycloak.md"), &[]);
    journey.swap("8080", &settings.proxy.port().to_string());
    journey.swap("http://127.0.0.1:9803", keycloak.issuer.strip_suffix("/realms/rig").unwrap());
    journey
        .follow(async |journey, action, words| match (action, words) {
            ("copy", [file]) => fs::write(journey.folder().join(file), SECRET).unwrap(),
            ("sign in", [name, password]) => {
                journey.fill(&[("username", name), ("password", password)]).await;
            }
            _ => panic!("nobody knows [{action}] {words:?}"),
        })
        .await;
}
