//! Open: the leave to forward one request, and the place in the register that stands on it.

use std::sync::Arc;

use portcullis_policy::{Pass, Principal, Timestamp};
use portcullis_session::{Ended, Enrolment, InFlight, Session, Sessions, Stranger};

use crate::rules::AppRules;
use crate::striped::own_stripe;
use crate::upstream::Upstream;

/// Leave to forward, and what it stands on. Dropping it leaves the register.
#[derive(Debug)]
pub struct Open {
    place: AppRules,
    pass: Pass,
    standing: RegisterPlace,
}

/// A place in the register that stands on its pass.
#[derive(Debug)]
enum RegisterPlace {
    /// A person's, on the pass of who they are.
    Person(Arc<Principal>, Enrolment),
    /// A stranger's, under a public rule.
    Nobody(Stranger),
}

impl Open {
    /// Puts what was allowed on its pass, in the register: a person's exchange was enrolled to be checked, anybody
    /// else's is here. `None` where roles or rules have moved meanwhile (rule R4).
    pub(crate) fn put_on_pass(
        sessions: &Sessions,
        place: AppRules,
        pass: Pass,
        person: Option<(Enrolment, Arc<Principal>)>,
        exchange: &InFlight,
    ) -> Option<Self> {
        let standing = match person {
            Some((enrolment, who)) => {
                enrolment.stands_on(&pass, &who).then(|| RegisterPlace::Person(who, enrolment))
            }
            None => sessions.admit_stranger(own_stripe(), exchange, &pass).map(RegisterPlace::Nobody),
        };
        Some(Self { place, pass, standing: standing? })
    }

    /// The configuration it was decided under, and the app.
    pub fn place(&self) -> &AppRules {
        &self.place
    }

    /// The leave.
    pub fn pass(&self) -> &Pass {
        &self.pass
    }

    /// The application that it goes to.
    pub(crate) fn upstream(&self) -> &Upstream {
        self.place.upstream(&self.pass)
    }

    /// The person whose identity goes up; `None` under a public rule.
    pub fn who(&self) -> Option<&Arc<Principal>> {
        match &self.standing {
            RegisterPlace::Person(who, _) => Some(who),
            RegisterPlace::Nobody(_) => None,
        }
    }

    /// The session it stands on; `None` under a public rule.
    pub(crate) fn session(&self) -> Option<&Arc<Session>> {
        match &self.standing {
            RegisterPlace::Person(_, enrolment) => Some(enrolment.session()),
            RegisterPlace::Nobody(_) => None,
        }
    }

    /// Notes that bytes came from the client.
    pub(crate) fn note_received(&self) {
        match &self.standing {
            RegisterPlace::Person(_, enrolment) => enrolment.touch(Timestamp::now()),
            RegisterPlace::Nobody(stranger) => stranger.touch(Timestamp::now),
        }
    }

    /// Notes that bytes go to the client. They keep no session awake.
    pub(crate) fn note_sent(&self) {
        if let RegisterPlace::Nobody(stranger) = &self.standing {
            stranger.touch(Timestamp::now);
        }
    }

    /// The answer's head is about to be passed on.
    ///
    /// # Errors
    /// Why it must be cut instead (rule R8).
    pub(crate) fn begin_answer(&self, is_stream: bool) -> Result<(), Ended> {
        match &self.standing {
            RegisterPlace::Person(_, enrolment) if is_stream => enrolment.become_stream(),
            RegisterPlace::Person(..) => Ok(()),
            RegisterPlace::Nobody(stranger) => stranger.begin_answer(Timestamp::now()),
        }
    }
}
