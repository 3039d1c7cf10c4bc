//! What the tests stand on: the program, and those of its neighbours that only they have. The others are the rig's.

pub mod canaille;
pub mod chromium;
pub mod foreign;
pub mod front;
pub mod idp;
pub mod import_crash;
pub mod inspect;
pub mod journey;
pub mod load;
pub mod peer;
pub mod program;
pub mod rehearsal;
pub mod saml_idp;
pub mod seed;
pub mod served_provider;
pub mod settings;
pub mod shape;
pub mod shipped;
pub mod sqlite_lock;
pub mod stage;
pub mod visitor;
pub mod watch;

pub use portcullis_rig::*;
