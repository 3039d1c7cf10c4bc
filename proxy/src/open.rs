//! Open: the leave to forward one request, and the place in the register that stands on it.

use std::sync::Arc;

use portcullis_policy::{Pass, Principal, Timestamp};
use portcullis_session::{Ended, Enrolment, Session, Stranger};

use crate::rules::Place;

/// Leave to forward, and what it stands on. Dropping it leaves the register.
#[derive(Debug)]
pub struct Open {
    place: Place,
    pass: Pass,
    standing: Standing,
}

/// A place in the register that stands on its pass.
#[derive(Debug)]
pub(crate) enum Standing {
    /// A person's, on the pass of who they are.
    Person(Arc<Principal>, Enrolment),
    /// A stranger's, under a public rule.
    Nobody(Stranger),
}

impl Open {
    pub(crate) fn new(place: Place, pass: Pass, standing: Standing) -> Self {
        Self { place, pass, standing }
    }

    /// The configuration it was decided under, and the app.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The leave.
    pub fn pass(&self) -> &Pass {
        &self.pass
    }

    /// Whose identity goes up; `None` under a public rule.
    pub fn who(&self) -> Option<&Principal> {
        match &self.standing {
            Standing::Person(who, _) => Some(who),
            Standing::Nobody(_) => None,
        }
    }

    /// Whose session it is; `None` under a public rule.
    pub(crate) fn session(&self) -> Option<&Arc<Session>> {
        match &self.standing {
            Standing::Person(_, enrolment) => Some(enrolment.session()),
            Standing::Nobody(_) => None,
        }
    }

    /// Bytes came from the client.
    pub(crate) fn took(&self) {
        match &self.standing {
            Standing::Person(_, enrolment) => enrolment.touch(Timestamp::now()),
            Standing::Nobody(stranger) => stranger.touch(Timestamp::now),
        }
    }

    /// Bytes go to the client. They keep no session awake.
    pub(crate) fn gave(&self) {
        if let Standing::Nobody(stranger) = &self.standing {
            stranger.touch(Timestamp::now);
        }
    }

    /// The answer's head is about to be passed on.
    ///
    /// # Errors
    /// Why it must be cut instead (rule R8).
    pub(crate) fn answered(&self, is_stream: bool) -> Result<(), Ended> {
        match &self.standing {
            Standing::Person(_, enrolment) if is_stream => enrolment.stream(),
            Standing::Person(..) => Ok(()),
            Standing::Nobody(stranger) => stranger.answered(Timestamp::now()),
        }
    }
}
