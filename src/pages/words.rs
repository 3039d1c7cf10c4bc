//! What the pages say, of which words, in one function. The words themselves are in `languages/`.

use portcullis_policy::shown;
use portcullis_proxy::RefusalKind;

use super::languages::Words;
use super::{Links, Page, Stuck, choice_link, login_link};

/// The words of one page.
pub(super) struct PageWords<'a> {
    pub(super) title: &'static str,
    pub(super) lines: Vec<String>,
    /// The advice whom to ask, around the number to mention.
    pub(super) reference: Option<(&'static str, String, &'static str)>,
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
        Some(href) => words.beside(place.language.words().other_address, href),
        None => words,
    }
}

/// Puts what is known into a sentence. What is put in is not looked through again.
fn fill(text: &str, known: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        filled.push_str(known.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value));
        rest = after;
    }
    filled + rest
}

/// The words of a page where there is one sign-in service.
fn page_words<'a>(page: &Page<'a>, place: &Links<'_>) -> PageWords<'a> {
    let words = place.language.words();
    let with = |text: &str| fill(text, &[("app", place.app), ("host", place.host)]);
    let with_who = |text: &str, who: &str| fill(text, &[("app", place.app), ("who", &shown(who))]);
    let try_again = |way: &str| (words.try_again, login_link(place, way));
    match page {
        Page::LoginRefused { reference } => PageWords::trouble(words.sign_in_refused_title)
            .mention(words.ask, reference)
            .beside(words.try_again, login_link(place, place.home)),
        Page::LoginStuck { cause: Stuck::CookieLost, reference } => {
            PageWords::trouble(words.login_lost_title)
                .with_line(with(words.login_lost))
                .mention(words.tell, reference)
                .with_link(try_again(place.home), None)
        }
        Page::LoginStuck { cause: Stuck::EndedAtOnce, reference } => {
            PageWords::trouble(words.login_loops_title)
                .with_line(words.login_loops)
                .with_line(with(words.login_loops_cookie))
                .mention(words.ask, reference)
                .beside(words.try_again, login_link(place, place.home))
        }
        Page::IdpDown { idp, return_to, reference } => PageWords::trouble(words.idp_down_title)
            .with_line(fill(words.idp_down, &[("idp", &shown(idp))]))
            .with_line(words.in_minutes)
            .mention(words.tell, reference)
            .with_link(try_again(return_to), None),
        Page::TryAgain { return_to, reference } => PageWords::trouble(words.not_yet_title)
            .with_line(words.idp_busy)
            .with_line(words.in_a_moment)
            .mention(words.tell, reference)
            .with_link(try_again(return_to), None),
        Page::NotSignedOut { reference } => PageWords::trouble(words.not_signed_out_title)
            .with_line(words.not_signed_out)
            .with_line(words.not_signed_out_what)
            .mention(words.tell, reference)
            .with_link((words.try_again, format!("{}/logout", place.ours)), None),
        Page::SignedOut { at_idp } => PageWords::calm(words.signed_out_title)
            .with_line(with(if *at_idp { words.left_both } else { words.left_app }))
            .with_link((words.sign_in_again, login_link(place, place.home)), None),
        Page::Logout { who, token, .. } => {
            let mut page = PageWords::calm(words.sign_out_title)
                .with_line(with_who(words.signed_in_as, who))
                .beside(words.stay, place.home.to_owned());
            let (text, href, hidden) =
                (words.sign_out, format!("{}/logout", place.ours), vec![("token", *token)]);
            page.action = Action::Form { text, href, hidden, asks_address: false };
            page
        }
        Page::Switch { who, token } => {
            let before = match *who {
                "" => with(words.somebody_else),
                who => with_who(words.signed_in_as, who),
            };
            let mut page = PageWords::calm(words.switch_title)
                .with_line(before)
                .with_line(words.switch_unasked)
                .beside(words.stay, place.home.to_owned());
            let (text, href, hidden) =
                (words.use_other, format!("{}/arrived", place.ours), vec![("token", *token)]);
            page.action = Action::Form { text, href, hidden, asks_address: false };
            page
        }
        Page::ChooseIdp { return_to, is_unknown } => {
            let line = if *is_unknown { words.address_unknown } else { words.address_says };
            let mut page = PageWords::calm(words.sign_in).with_line(line);
            let (text, href, hidden) =
                (words.go_on, format!("{}/login", place.ours), vec![("return_to", *return_to)]);
            page.action = Action::Form { text, href, hidden, asks_address: true };
            page
        }
        Page::Forward { action, fields } => {
            let hidden = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let mut page = PageWords { sends_itself: true, ..PageWords::calm(words.one_moment_title) }
                .with_line(words.sent_on);
            page.action =
                Action::Form { text: words.go_on, href: (*action).to_owned(), hidden, asks_address: false };
            page
        }
        Page::Onward { to } => {
            PageWords { onward: Some((*to).to_owned()), ..PageWords::calm(words.one_moment_title) }
                .with_line(words.sent_on)
                .with_link((words.go_on, (*to).to_owned()), None)
        }
        Page::Refused { kind, who, return_to, reference } => {
            let page = refusal_words(*kind, who, return_to, place);
            match *reference {
                Some(reference) => page.numbered(words, *kind, reference),
                None => page,
            }
        }
    }
}

/// The words of a refusal, without its number.
fn refusal_words<'a>(kind: RefusalKind, who: &str, return_to: &str, place: &Links<'_>) -> PageWords<'a> {
    let words = place.language.words();
    let with = |text: &str| fill(text, &[("app", place.app)]);
    let home = |page: PageWords<'a>| page.with_link((words.front_page, place.home.to_owned()), None);
    match kind {
        RefusalKind::FormNotSent => PageWords::trouble(words.form_lost_title)
            .with_line(with(words.form_lost))
            .with_line(words.form_lost_what)
            .with_link((words.new_window, login_link(place, place.home)), Some("_blank")),
        RefusalKind::FramedLogin => PageWords::calm(words.framed_title)
            .with_line(words.framed)
            .with_link((words.sign_in, login_link(place, return_to)), Some("_top")),
        RefusalKind::NotAllowed => home(PageWords::trouble(words.not_allowed_title).with_line(match who {
            "" => words.not_allowed.to_owned(),
            who => fill(words.not_allowed_as, &[("who", &shown(who))]),
        }))
        .beside(words.sign_out, format!("{}/logout", place.ours)),
        RefusalKind::OtherSite => {
            home(PageWords::trouble(words.other_site_title).with_line(with(words.other_site)))
        }
        RefusalKind::NotFound => home(PageWords::calm(words.not_found_title).with_line(words.not_found)),
        RefusalKind::Unreadable => PageWords::trouble(words.unreadable_title).with_line(words.unreadable),
        RefusalKind::Method => home(PageWords::trouble(words.method_title).with_line(words.method)),
        RefusalKind::Unreachable => {
            PageWords::trouble(words.unreachable_title).with_line(with(words.unreachable))
        }
        RefusalKind::Slow => PageWords::trouble(words.slow_title).with_line(with(words.slow)),
        RefusalKind::Unproven => PageWords::trouble(words.unproven_title).with_line(words.unproven),
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

    fn numbered(self, words: &Words, kind: RefusalKind, reference: &str) -> Self {
        match kind {
            RefusalKind::NotAllowed => self.mention(words.need, reference),
            kind if mentions_number(kind) => self.mention(words.tell, reference),
            _ => self,
        }
    }

    fn mention(mut self, advice: &'static str, reference: &str) -> Self {
        let (before, after) = advice.split_once("{reference}").unwrap_or((advice, ""));
        self.reference = Some((before, shown(reference).into_owned(), after));
        self
    }

    fn with_link(mut self, (text, href): (&'static str, String), target: Option<&'static str>) -> Self {
        self.action = Action::Link { text, href, target };
        self
    }

    fn beside(mut self, text: &'static str, href: String) -> Self {
        self.beside = Some((text, href));
        self
    }
}
