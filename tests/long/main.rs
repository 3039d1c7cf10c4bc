//! The long runs of `make test-long`: what costs minutes, on the same rig as the suite.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs)]
#![allow(dead_code, reason = "the suite's rig and model, of which this uses a part")]

#[path = "../suite/model.rs"]
mod model;
#[path = "../suite/play.rs"]
mod play;
#[path = "../suite/rig/mod.rs"]
mod rig;

mod containers;
mod crashes;
mod directory;
mod floods;
mod histories;
mod idle;
mod imports;
mod journeys;
mod keycloak;
mod packages;
mod presets;
mod rig_keycloak;
mod rig_products;
mod scimono;
mod unboundid;
mod upgrades;
