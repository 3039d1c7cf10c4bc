//! The decision about a request, in the word that log and metrics have for it.

/// The decision about a request, as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoggedDecision {
    /// A signed-in person's request went up.
    Allow,
    /// A request of a public rule went up.
    Public,
    /// One of our own pages.
    Own,
    /// Nobody is signed in.
    Login,
    /// Not allowed.
    Deny,
    /// It was no request we read.
    Bad,
    /// We or the application could not.
    Fault,
}

impl LoggedDecision {
    /// Every decision, in order.
    pub const ALL: [LoggedDecision; 7] =
        [Self::Allow, Self::Public, Self::Own, Self::Login, Self::Deny, Self::Bad, Self::Fault];

    /// The word of the access log and of metrics.
    pub fn log_word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Public => "public",
            Self::Own => "own",
            Self::Login => "login",
            Self::Deny => "deny",
            Self::Bad => "bad",
            Self::Fault => "fault",
        }
    }
}
