//! The behaviour of a store, one file a promise. Every test opens a store of its own in a folder of its own, and knows
//! nothing of the engine but in `opening`, `failing` and `lanes`, which are about the file.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod cursors;
mod custom;
#[path = "../../../scim/tests/declared/mod.rs"]
mod declared;
mod failing;
mod filters;
mod groups;
mod idp_keys;
mod lanes;
mod linking;
mod logs;
mod master_key;
mod model;
mod names;
mod opening;
mod people;
mod relinking;
mod repeats;
mod rosters;
mod search;
mod sessions;
mod size;
mod standing;
mod support;
mod tidying;
mod tokens;
mod tombstones;
mod verify;
mod without_directory;
mod writes;
