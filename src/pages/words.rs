//! What the pages say. One function, so that all of it can be read in one place, aloud.

use portcullis_policy::shown;
use portcullis_proxy::RefusalKind;

use super::{Links, Page, Stuck, choice_link, login_link};

/// The words of one page.
pub(super) struct PageWords<'a> {
    pub(super) title: &'static str,
    pub(super) lines: Vec<String>,
    /// The advice whom to ask, and the number to mention.
    pub(super) reference: Option<(&'static str, String)>,
    pub(super) action: Action<'a>,
    /// A quieter way out: text and address.
    pub(super) beside: Option<(&'static str, String)>,
    /// True where our script presses the button.
    pub(super) sends_itself: bool,
    /// The address that the page leads on to by itself.
    pub(super) onward: Option<String>,
    /// True where something went wrong, which colours the page's edge.
    pub(super) trouble: bool,
}

/// The one thing to press.
pub(super) enum Action<'a> {
    Nothing,
    Link { text: &'static str, href: String, target: Option<&'static str> },
    Form { text: &'static str, href: String, hidden: Vec<(&'static str, &'a str)>, asks_address: bool },
}

pub(super) fn words_of<'a>(page: &Page<'a>, place: &Links<'_>) -> PageWords<'a> {
    let way = match *page {
        Page::LoginRefused { .. } | Page::LoginStuck { .. } => Some(place.home),
        Page::IdpDown { return_to, .. } | Page::TryAgain { return_to, .. } => Some(return_to),
        _ => None,
    };
    let words = page_words(page, place);
    match way.and_then(|way| choice_link(place, way)) {
        Some(href) => words.beside("Sign in with another address", href),
        None => words,
    }
}

/// The words of a page where there is one sign-in service.
fn page_words<'a>(page: &Page<'a>, place: &Links<'_>) -> PageWords<'a> {
    let (app, host) = (place.app, place.host);
    match page {
        Page::LoginRefused { reference } => {
            PageWords::trouble("You could not be signed in").ask(reference).beside("Try again", login_link(place, place.home))
        }
        Page::LoginStuck { cause: Stuck::CookieLost, reference } => PageWords::trouble("Your login got lost")
            .with_line(format!(
                "Your browser came back without the cookie it was given when the login began. Either that was \
                 longer than ten minutes ago, or it does not accept cookies of {host}."
            ))
            .tell(reference)
            .with_link("Try again", login_link(place, place.home), None),
        Page::LoginStuck { cause: Stuck::EndedAtOnce, reference } => {
            PageWords::trouble("Signing in does not come to an end")
                .with_line("You were signed in three times in a row, and each time you came back signed out.")
                .with_line(format!(
                    "Your browser may be dropping the cookie of {host}: allow it, and close other windows of \
                     this site. If that does not help, a clock or a setting on our side is wrong."
                ))
                .ask(reference)
                .beside("Try again", login_link(place, place.home))
        }
        Page::IdpDown { idp, return_to, reference } => PageWords::trouble("Signing in does not work right now")
            .with_line(format!(
                "The sign-in service “{}” does not answer. Whoever is signed in already is not affected.",
                shown(idp)
            ))
            .with_line("Try again in a few minutes.")
            .tell(reference)
            .with_link("Try again", login_link(place, return_to), None),
        Page::TryAgain { return_to, reference } => PageWords::trouble("Not signed in yet")
            .with_line("Too much is going on at the sign-in service at the moment. Nothing is wrong with your account.")
            .with_line("Try again in a moment.")
            .tell(reference)
            .with_link("Try again", login_link(place, return_to), None),
        Page::NotSignedOut { reference } => PageWords::trouble("You may still be signed in")
            .with_line("Your sign-out could not be written down just now.")
            .with_line("Try again in a moment. On a computer that others use, close the browser until it has worked.")
            .tell(reference)
            .with_link("Try again", format!("{}/logout", place.ours), None),
        Page::SignedOut { at_idp } => PageWords::calm("You are signed out")
            .with_line(if *at_idp {
                format!("You have left {app} and the sign-in service.")
            } else {
                format!(
                    "You have left {app}. The sign-in service may still know you: on a computer that others \
                     use, sign out there as well, or close the browser."
                )
            })
            .with_link("Sign in again", login_link(place, place.home), None),
        Page::Logout { who, token, .. } => {
            let mut words = PageWords::calm("Sign out?")
                .with_line(format!("You are signed in to {app} as {}.", shown(who)))
                .beside("Stay signed in", place.home.to_owned());
            let (text, href, hidden) = ("Sign out", format!("{}/logout", place.ours), vec![("token", *token)]);
            words.action = Action::Form { text, href, hidden, asks_address: false };
            words
        }
        Page::Switch { who, token } => {
            let before = match *who {
                "" => format!("Somebody else is signed in to {app} with this browser."),
                who => format!("You are signed in to {app} as {}.", shown(who)),
            };
            let mut words = PageWords::calm("Sign in as somebody else?")
                .with_line(before)
                .with_line(
                    "Your sign-in service has just sent a sign-in of another account. If you did not ask for that, stay as \
                     you are.",
                )
                .beside("Stay signed in", place.home.to_owned());
            let (text, href, hidden) =
                ("Use the other account", format!("{}/arrived", place.ours), vec![("token", *token)]);
            words.action = Action::Form { text, href, hidden, asks_address: false };
            words
        }
        Page::ChooseIdp { return_to, is_unknown } => {
            let mut words = PageWords::calm("Sign in").with_line(if *is_unknown {
                "Nobody signs in here with that address. See whether it is mistyped; if it is not, ask your \
                 administrator."
            } else {
                "Your e-mail address at work says which sign-in service you are sent to."
            });
            let (text, href, hidden) = ("Continue", format!("{}/login", place.ours), vec![("return_to", *return_to)]);
            words.action = Action::Form { text, href, hidden, asks_address: true };
            words
        }
        Page::Forward { action, fields } => {
            let hidden = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let mut words = PageWords { sends_itself: true, ..PageWords::calm("One moment") }
                .with_line("You are being sent to your sign-in service.");
            words.action =
                Action::Form { text: "Go on", href: (*action).to_owned(), hidden, asks_address: false };
            words
        }
        Page::Onward { to } => PageWords { onward: Some((*to).to_owned()), ..PageWords::calm("One moment") }
            .with_line("You are being sent to your sign-in service.")
            .with_link("Go on", (*to).to_owned(), None),
        Page::Refused { kind, who, return_to, reference } => {
            let words = refusal_words(*kind, who, return_to, place);
            match *reference {
                Some(reference) => words.numbered(*kind, reference),
                None => words,
            }
        }
    }
}

/// The words of a refusal, without its number.
fn refusal_words<'a>(kind: RefusalKind, who: &str, return_to: &str, place: &Links<'_>) -> PageWords<'a> {
    let app = place.app;
    let home = |words: PageWords<'a>| words.with_link("Go to the front page", place.home.to_owned(), None);
    match kind {
        RefusalKind::FormNotSent => PageWords::trouble("What you sent was not passed on")
            .with_line(format!("You are not signed in any more, so {app} did not get it."))
            .with_line("Sign in in a new window. Then come back to this one, go back a page, and send it again.")
            .with_link("Sign in in a new window", login_link(place, place.home), Some("_blank")),
        RefusalKind::FramedLogin => PageWords::calm("Please sign in")
            .with_line("This part of the page is only for people who are signed in.")
            .with_link("Sign in", login_link(place, return_to), Some("_top")),
        RefusalKind::NotAllowed => home(PageWords::trouble("This page is not open to you").with_line(match who {
            "" => "You are signed in, but your account may not open it.".to_owned(),
            who => format!("You are signed in as {}, and that account may not open it.", shown(who)),
        }))
        .beside("Sign out", format!("{}/logout", place.ours)),
        RefusalKind::OtherSite => home(
            PageWords::trouble("This request came from another site")
                .with_line(format!("It was not passed on. Open {app} in a window of its own and do it there.")),
        ),
        RefusalKind::NotFound => home(
            PageWords::calm("There is nothing here")
                .with_line("The address may be mistyped, or what was here is gone."),
        ),
        RefusalKind::Unreadable => PageWords::trouble("This request was not passed on")
            .with_line("It is too large, or its address could be read in more than one way."),
        RefusalKind::Method => home(
            PageWords::trouble("That cannot be done here").with_line("This address does not take what was sent to it."),
        ),
        RefusalKind::Unreachable => PageWords::trouble("The application does not answer")
            .with_line(format!("{app} cannot be reached at the moment. Try again in a few minutes.")),
        RefusalKind::Slow => PageWords::trouble("The application takes too long").with_line(format!(
            "{app} did not answer in time. What you asked for may still be under way: look before you repeat it."
        )),
        RefusalKind::Unproven => PageWords::trouble("Not now").with_line(
            "Whether you may come in could not be checked just now, so nothing was passed on. Try again in a \
             moment.",
        ),
    }
}

/// Tells whether its page has a number to mention: what a person mends alone has none.
pub(super) fn mentions_number(kind: RefusalKind) -> bool {
    !matches!(kind, RefusalKind::FormNotSent | RefusalKind::FramedLogin | RefusalKind::NotFound)
}

impl PageWords<'_> {
    fn calm(title: &'static str) -> Self {
        Self {
            title,
            lines: vec![],
            reference: None,
            action: Action::Nothing,
            beside: None,
            sends_itself: false,
            onward: None,
            trouble: false,
        }
    }

    fn trouble(title: &'static str) -> Self {
        Self { trouble: true, ..Self::calm(title) }
    }

    fn with_line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    fn ask(self, reference: &str) -> Self {
        self.mention("Ask your administrator and mention", reference)
    }

    fn tell(self, reference: &str) -> Self {
        self.mention("If it goes on, tell your administrator and mention", reference)
    }

    fn need(self, reference: &str) -> Self {
        self.mention("If you need it, ask your administrator and mention", reference)
    }

    fn numbered(self, kind: RefusalKind, reference: &str) -> Self {
        match kind {
            RefusalKind::NotAllowed => self.need(reference),
            kind if mentions_number(kind) => self.tell(reference),
            _ => self,
        }
    }

    fn mention(mut self, ask: &'static str, reference: &str) -> Self {
        self.reference = Some((ask, shown(reference).into_owned()));
        self
    }

    fn with_link(mut self, text: &'static str, href: String, target: Option<&'static str>) -> Self {
        self.action = Action::Link { text, href, target };
        self
    }

    fn beside(mut self, text: &'static str, href: String) -> Self {
        self.beside = Some((text, href));
        self
    }
}
