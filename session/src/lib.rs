//! Who is in right now: accounts, sessions and exchanges in flight; mark, drop, cut
