//! The hand-over: one process takes the place of another, and nobody who asks for anything notices.
//!
//! `portcullis upgrade` has the process that serves start the next one, from the file that is there by then, with a line
//! to it. The next one reads its configuration, and asks. The one that serves stops to write and hands over its locks and
//! its sockets; the next one opens the database, serves on the same sockets, and says so. From there on it leads, and the
//! other one follows (`follow.rs`): it takes nothing new, carries what has begun to its end, and hears every removal
//! before that is answered (`predecessors.rs`; R5). Whatever goes wrong before is taken back (`hand_over.rs`), and
//! whatever goes wrong afterwards ends the one that was replaced: nobody is carried by a process that hears nothing.

mod follow;
mod hand_over;
mod line;
mod predecessors;
mod relay;
mod sockets;
mod strays;
mod successor;
mod turn;
mod upgrades;
mod words;

pub(crate) use self::hand_over::{HandOverError, ReplacedProcess, SuccessorProgram, hand_over};
pub(crate) use self::predecessors::{Predecessors, StillThere};
pub(crate) use self::relay::{SOCKET as RELAY_SOCKET, answer_in_turn, relay_request, relay_router};
pub(crate) use self::sockets::InheritedSockets;
pub(crate) use self::strays::{Stray, end_strays};
pub(crate) use self::successor::{Inheritance, Succession, TakeOverError};
pub(crate) use self::turn::Turn;
pub(crate) use self::upgrades::{UpgradeBegun, UpgradeState, Upgrades};
pub(crate) use self::words::Former;
