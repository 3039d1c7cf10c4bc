//! Our own pages: what people see when the application is not what answers.
//!
//! Pure functions: what happened in, an [`http::Response`] out. A page says what happened and what to do, in words a
//! stranger understands, and refuses to say more: no cookie value, token, claim or upstream address is on any page,
//! and text from outside is escaped and cut at 200 characters. What every answer of
//! ours says is added by the data plane (`proxy/src/answer/whole.rs`). Nothing here needs a script; one page has one, which
//! presses its only button.

mod languages;
mod me;
mod words;

use askama::Template;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use portcullis_config::Support;
use portcullis_proxy::RefusalKind;
use serde::Serialize;

pub(crate) use languages::Language;
pub(crate) use me::answer_me;
use words::{Action, PageWords};

/// The parts that a page's links are made of. All of it is configured, nothing comes from the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links<'a> {
    /// The app, as people know it: `Team Wiki`, or its host.
    pub(crate) app: &'a str,
    /// Its host, by which a browser knows its cookies.
    pub(crate) host: &'a str,
    /// The path of the app's front page: `/`, or `/wiki/`.
    pub(crate) home: &'a str,
    /// The path our endpoints are below, without a slash at its end: `/.portcullis`, or `/wiki/.portcullis`.
    pub(crate) ours: &'a str,
    /// True where a person can choose another sign-in service.
    pub(crate) has_choice: bool,
    /// The language of the page.
    pub(crate) language: Language,
    /// Where people find help.
    pub(crate) support: Option<&'a Support>,
}

/// The pages, each with what there is to tell. `reference` is the number that `portcullis ref` takes.
pub(crate) enum Page<'a> {
    /// The IdP's answer, or the person it names, was refused.
    LoginRefused { reference: &'a str },
    /// A login led back to where it began.
    LoginStuck { cause: Stuck, reference: &'a str },
    /// The IdP does not answer, so nobody new can sign in.
    IdpDown { idp: &'a str, return_to: &'a str, reference: &'a str },
    /// The login did not come to an end, for a reason that passes: the IdP is busy, or too many sign in at once.
    TryAgain { return_to: &'a str, reference: &'a str },
    /// A logout could not be stored.
    NotSignedOut { reference: &'a str },
    /// The session is over; `at_idp` says whether the one at the IdP is as well.
    SignedOut { at_idp: bool },
    /// Asks before it ends a session. `token` goes back with the button; `idp` is the origin the answer to the button
    /// may redirect to, as a browser holds a form's redirects to `form-action` too. The button's POST comes with
    /// `Origin: null`, because our pages send no referrer: `Sec-Fetch-Site` and the token say that it is ours.
    Logout { who: &'a str, token: &'a str, idp: Option<&'a str> },
    /// Asks before a login that the browser brought from a provider unasked replaces another person's session. `who` is the
    /// one who is signed in, where that is known.
    #[cfg_attr(not(feature = "saml"), expect(dead_code, reason = "no other protocol signs in unasked"))]
    Switch { who: &'a str, token: &'a str },
    /// Asks for the e-mail address, which says where a person signs in. `is_unknown` where the one that was given says
    /// nothing.
    ChooseIdp { return_to: &'a str, is_unknown: bool },
    /// Leads on to an address of ours by itself: a form's answer that redirected to an IdP would be stopped by the policy
    /// of the page it was on.
    Onward { to: &'a str },
    /// Sends a form on to an IdP by itself, or by its button where the browser runs no script.
    Forward { action: &'a str, fields: &'a [(&'static str, String)] },
    /// The data plane, or a page of ours, refused a request. `return_to` is where a login leads.
    Refused { kind: RefusalKind, who: &'a str, return_to: &'a str, reference: Option<&'a str> },
}

impl<'a> Page<'a> {
    /// A refusal about which nothing more is known.
    pub(crate) fn refused(kind: RefusalKind, reference: Option<&'a str>) -> Self {
        Self::Refused { kind, who: "", return_to: "", reference }
    }
}

/// Reasons why a login leads back to where it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// The IdP's answer came without the cookie of the login it belongs to: too late, twice, or the browser lost it.
    CookieLost,
    /// Three logins in a row were accepted and did not last.
    EndedAtOnce,
}

impl Page<'_> {
    /// The status the page is sent with.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::SignedOut { .. }
            | Self::Logout { .. }
            | Self::Switch { .. }
            | Self::ChooseIdp { .. }
            | Self::Onward { .. }
            | Self::Forward { .. } => StatusCode::OK,
            Self::LoginRefused { .. } | Self::LoginStuck { .. } => StatusCode::FORBIDDEN,
            Self::IdpDown { .. } | Self::TryAgain { .. } | Self::NotSignedOut { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Refused { kind, .. } => kind.status(),
        }
    }

    /// The number on it, where it has one.
    pub(crate) fn reference(&self) -> Option<&str> {
        match *self {
            Self::LoginRefused { reference }
            | Self::LoginStuck { reference, .. }
            | Self::IdpDown { reference, .. }
            | Self::TryAgain { reference, .. }
            | Self::NotSignedOut { reference } => Some(reference),
            Self::SignedOut { .. }
            | Self::Logout { .. }
            | Self::Switch { .. }
            | Self::ChooseIdp { .. }
            | Self::Onward { .. }
            | Self::Forward { .. } => None,
            // A form, a frame and an address that is not there have none to mention.
            Self::Refused { kind, reference, .. } => reference.filter(|_| words::mentions_number(kind)),
        }
    }

    fn framing(&self) -> Framing {
        match self {
            Self::Refused { kind: RefusalKind::FramedLogin, .. } => Framing::SameOrigin,
            _ => Framing::Nobody,
        }
    }

    fn forms(&self) -> Forms<'_> {
        match self {
            Self::Logout { idp, .. } => Forms::Ours { then: *idp },
            Self::ChooseIdp { .. } | Self::Switch { .. } => Forms::Ours { then: None },
            Self::Forward { action, .. } => Forms::Theirs { action },
            _ => Forms::Nowhere,
        }
    }

    fn retry_after(&self) -> Option<HeaderValue> {
        match self {
            Self::IdpDown { .. } => Some(HeaderValue::from_static("30")),
            Self::TryAgain { .. } => Some(HeaderValue::from_static("10")),
            Self::Refused { kind: RefusalKind::Unproven, .. } => Some(HeaderValue::from_static("2")),
            _ => None,
        }
    }
}

/// Renders a page with its status and all its headers.
pub(crate) fn render_page(page: &Page<'_>, place: &Links<'_>) -> Response<Bytes> {
    let shown =
        PageTemplate { words: words::words_of(page, place), place, version: env!("CARGO_PKG_VERSION") };
    let html = shown.render().unwrap_or_else(|_| shown.words.title.to_owned());
    let mut headers = answer_headers(HTML, page.framing(), page.forms());
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(place.language.tag()));
    if page.status() == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Portcullis"));
    }
    if let Some(seconds) = page.retry_after() {
        headers.insert(header::RETRY_AFTER, seconds);
    }
    build_answer(page.status(), headers, html.into())
}

/// A JSON answer of ours, with the headers of every other answer of ours.
pub(crate) fn json_answer(status: StatusCode, value: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    build_answer(status, answer_headers(JSON, Framing::Nobody, Forms::Nowhere), body.into())
}

/// The keys that applications check the signed header by (RFC 7517 §8.5). They may be kept for a while: a new one is shown
/// for longer than that before it signs.
pub(crate) fn keys_answer(keys: &str) -> Response<Bytes> {
    let kind = HeaderValue::from_static("application/jwk-set+json");
    let mut headers = answer_headers(kind, Framing::Nobody, Forms::Nowhere);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    build_answer(StatusCode::OK, headers, Bytes::copy_from_slice(keys.as_bytes()))
}

/// The files that pages refer to, by the name behind the prefix: `style.css`, `icon.svg`. The only answers of ours
/// that may be cached: pages name them with the version.
pub(crate) fn find_asset(name: &str) -> Option<Response<Bytes>> {
    let (kind, body) = match name {
        "style.css" => ("text/css; charset=utf-8", include_str!("style.css")),
        "icon.svg" => ("image/svg+xml", include_str!("icon.svg")),
        "forward.js" => ("text/javascript; charset=utf-8", include_str!("forward.js")),
        _ => return None,
    };
    let mut headers = answer_headers(HeaderValue::from_static(kind), Framing::Nobody, Forms::Nowhere);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    Some(build_answer(StatusCode::OK, headers, Bytes::from_static(body.as_bytes())))
}

/// The pages that may show an answer of ours in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Nobody.
    Nobody,
    /// Pages of the same origin: only for the page whose whole purpose is to be shown in a frame.
    SameOrigin,
}

/// The addresses that a form on the page may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forms<'a> {
    /// There is no form.
    Nowhere,
    /// To our own endpoints, whose answer may redirect to this origin.
    Ours {
        /// `https://login.example-idp.com`.
        then: Option<&'a str>,
    },
    /// To an IdP, which may send it on to addresses of its own; our script sends the form.
    Theirs {
        /// The whole address.
        action: &'a str,
    },
}

/// The headers in which pages differ: the type, who may frame it, where its forms go. What every answer of ours says is
/// added by the data plane (`proxy/src/answer/whole.rs`).
pub(crate) fn answer_headers(content_type: HeaderValue, framing: Framing, forms: Forms<'_>) -> HeaderMap {
    let (ancestors, options) = match framing {
        Framing::Nobody => ("'none'", "DENY"),
        Framing::SameOrigin => ("'self'", "SAMEORIGIN"),
    };
    let policy = |targets: &str| {
        format!(
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
             form-action {targets}; frame-ancestors {ancestors}"
        )
    };
    let policy = match forms {
        Forms::Nowhere => policy("'none'"),
        Forms::Ours { then: Some(origin) } if is_origin(origin) => policy(&format!("'self' {origin}")),
        Forms::Ours { .. } => policy("'self'"),
        Forms::Theirs { action } => {
            let origin = url::Url::parse(action).map(|url| url.origin().ascii_serialization());
            let origin = origin.ok().filter(|origin| is_origin(origin)).unwrap_or_default();
            format!("{}; script-src 'self'", policy(&format!("'self' https: {origin}")))
        }
    };
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(header::CONTENT_TYPE, content_type);
    // The text is ours and visible ASCII; were it not, the strictest policy is the right one.
    let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static(options));
    headers
}

/// The login that leads back to a path of the app; to its front page where none is given.
fn login_link(place: &Links<'_>, return_to: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let return_to = if return_to.is_empty() { place.home } else { return_to };
    format!("{}/login?return_to={}", place.ours, utf8_percent_encode(return_to, KEPT))
}

/// The page that asks for another address, where there is more than one sign-in service.
fn choice_link(place: &Links<'_>, return_to: &str) -> Option<String> {
    place.has_choice.then(|| format!("{}&choose", login_link(place, return_to)))
}

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

#[derive(Template)]
#[template(path = "page.html", config = "src/pages/askama.toml")]
struct PageTemplate<'a> {
    words: PageWords<'a>,
    place: &'a Links<'a>,
    version: &'static str,
}

fn build_answer(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Bytes> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

/// Tells whether it can stand in a policy without saying anything else there: a blank or `;` would begin another
/// word.
fn is_origin(text: &str) -> bool {
    (text.starts_with("https://") || text.starts_with("http://"))
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:/[]".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Links<'_> = Links {
        app: "Team Wiki",
        host: "wiki.example.com",
        home: "/",
        ours: "/.portcullis",
        has_choice: false,
        language: Language::English,
        support: None,
    };
    const REF: &str = "7Q2M-X4KD";

    fn refused(kind: RefusalKind) -> Page<'static> {
        Page::Refused { kind, who: "alice@example.com", return_to: "/board", reference: Some(REF) }
    }

    fn all() -> Vec<Page<'static>> {
        let idp = Some("https://idp.example.com");
        vec![
            Page::LoginRefused { reference: REF },
            Page::LoginStuck { cause: Stuck::CookieLost, reference: REF },
            Page::LoginStuck { cause: Stuck::EndedAtOnce, reference: REF },
            Page::IdpDown { idp: "okta", return_to: "/a b?c=d&e", reference: REF },
            Page::TryAgain { return_to: "/a?b", reference: REF },
            Page::NotSignedOut { reference: REF },
            Page::SignedOut { at_idp: false },
            Page::SignedOut { at_idp: true },
            Page::Logout { who: "alice@example.com", token: "dG9rZW4", idp },
            Page::Switch { who: "alice@example.com", token: "dG9rZW4" },
            Page::Switch { who: "", token: "dG9rZW4" },
            Page::ChooseIdp { return_to: "/board", is_unknown: false },
            Page::ChooseIdp { return_to: "/board", is_unknown: true },
            Page::Onward { to: "/.portcullis/login?idp=okta&return_to=%2Fboard" },
            Page::Forward { action: "https://idp.example.com/sso", fields: forward_fields() },
            refused(RefusalKind::FormNotSent),
            refused(RefusalKind::FramedLogin),
            refused(RefusalKind::NotAllowed),
            Page::refused(RefusalKind::NotAllowed, Some(REF)),
            refused(RefusalKind::OtherSite),
            refused(RefusalKind::NotFound),
            refused(RefusalKind::Unreadable),
            refused(RefusalKind::Method),
            Page::refused(RefusalKind::Method, None),
            refused(RefusalKind::Unreachable),
            refused(RefusalKind::Slow),
            refused(RefusalKind::Unproven),
        ]
    }

    fn forward_fields() -> &'static [(&'static str, String)] {
        static FIELDS: std::sync::LazyLock<Vec<(&'static str, String)>> = std::sync::LazyLock::new(|| {
            vec![("SAMLRequest", "PHg+".to_owned()), ("RelayState", "\"><b>".to_owned())]
        });
        &FIELDS
    }

    fn text(answer: &Response<Bytes>) -> &str {
        std::str::from_utf8(answer.body()).unwrap()
    }

    fn header<'a>(answer: &'a Response<Bytes>, name: &str) -> &'a str {
        answer.headers().get(name).map(|v| v.to_str().unwrap()).unwrap_or_default()
    }

    #[test]
    fn every_page_has_every_header() {
        for page in all() {
            let answer = render_page(&page, &PLACE);
            let policy = header(&answer, "content-security-policy");
            let begins =
                "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action ";
            assert!(policy.starts_with(begins), "{policy}");
            let framed = matches!(page, Page::Refused { kind: RefusalKind::FramedLogin, .. });
            assert_eq!(policy.contains("frame-ancestors 'none'"), !framed, "{policy}");
            assert_eq!(policy.contains("script-src"), matches!(page, Page::Forward { .. }), "{policy}");
            assert_eq!(header(&answer, "x-frame-options"), if framed { "SAMEORIGIN" } else { "DENY" });
            assert_eq!(header(&answer, "content-type"), "text/html; charset=utf-8");
            let unauthorized = answer.status() == StatusCode::UNAUTHORIZED;
            assert_eq!(header(&answer, "www-authenticate"), if unauthorized { "Portcullis" } else { "" });
        }
    }

    #[test]
    fn every_page_can_be_read_by_anybody() {
        for page in all() {
            let answer = render_page(&page, &PLACE);
            let html = text(&answer);
            assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"), "{html}");
            for once in ["<h1>", "<main", "<title>", "name=\"viewport\""] {
                assert_eq!(html.matches(once).count(), 1, "{once} in {html}");
            }
            for never in ["<script", "style=\"", "onclick", "javascript:", "&lt;"] {
                let is_meant = never == "<script" && matches!(page, Page::Forward { .. });
                assert_eq!(html.contains(never), is_meant, "{never} in {html}");
            }
        }
    }

    #[test]
    fn a_refused_login_says_whom_to_ask_and_what_to_mention() {
        let answer = render_page(&Page::LoginRefused { reference: REF }, &PLACE);
        let html = text(&answer);
        assert!(html.contains("<h1>You could not be signed in</h1>"), "{html}");
        let sentence = "Ask your administrator and mention <strong class=\"reference\">7Q2M-X4KD</strong>.";
        assert!(html.contains(sentence), "{html}");
    }

    /// Every page in every language, and what is put into a sentence is not looked through again.
    #[test]
    fn every_page_is_there_in_every_language() {
        for language in Language::ALL {
            let place = Links { language, app: "Wiki {who}", ..PLACE };
            for (page, in_english) in all().iter().zip(all()) {
                let answer = render_page(page, &place);
                let html = text(&answer);
                assert!(html.contains(&format!("<html lang=\"{}\">", language.tag())), "{html}");
                assert_eq!(header(&answer, "content-language"), language.tag());
                let left: Vec<&str> = html.match_indices(['{', '}']).map(|(at, _)| &html[at..]).collect();
                assert!(left.iter().all(|rest| rest.starts_with("{who}") || rest.starts_with('}')), "{html}");
                assert_eq!(html.matches(REF).count(), usize::from(page.reference().is_some()), "{html}");
                let title =
                    |html: &str| html.split_once("<h1>").unwrap().1.split_once("</h1>").unwrap().0.to_owned();
                let english = render_page(&in_english, &Links { language: Language::English, ..place });
                let is_english = title(html) == title(text(&english));
                assert_eq!(is_english, language == Language::English, "{html}");
            }
        }
    }

    /// Where something went wrong, and nowhere else; what the file says is text.
    #[test]
    fn pages_of_trouble_say_where_help_is() {
        let link = Support::Link { href: "https://help.test/?a=1&b=\"".into(), text: "help.test".into() };
        let words = Support::Text("Call <4711>".into());
        for page in all() {
            let went_wrong = text(&render_page(&page, &PLACE)).contains("class=\"trouble\"");
            let with =
                |support| text(&render_page(&page, &Links { support: Some(support), ..PLACE })).to_owned();
            let (linked, said) = (with(&link), with(&words));
            let anchor =
                "Help: <a href=\"https://help.test/?a=1&#38;b=&#34;\" rel=\"noopener\">help.test</a>";
            assert_eq!(linked.contains(anchor), went_wrong, "{linked}");
            assert_eq!(said.contains("Help: Call &#60;4711&#62;</p>"), went_wrong, "{said}");
            assert!(!text(&render_page(&page, &PLACE)).contains("Help:"));
        }
    }

    #[test]
    fn where_there_is_a_choice_pages_of_a_login_that_failed_lead_to_it() {
        let choosing = Links { has_choice: true, ..PLACE };
        for page in all() {
            let is_offered = |place| text(&render_page(&page, place)).contains("choose");
            let failed = matches!(
                page,
                Page::LoginRefused { .. }
                    | Page::LoginStuck { .. }
                    | Page::IdpDown { .. }
                    | Page::TryAgain { .. }
            );
            assert_eq!((is_offered(&choosing), is_offered(&PLACE)), (failed, false));
        }
    }

    #[test]
    fn foreign_text_is_escaped_and_cut() {
        let long = format!("<b>\"'&\u{202e}\n{}", "x".repeat(5000));
        for page in [
            Page::Refused {
                kind: RefusalKind::NotAllowed,
                who: &long,
                return_to: "",
                reference: Some(&long),
            },
            Page::Logout { who: &long, token: "\"><script>", idp: Some("https://x; script-src *") },
            Page::IdpDown { idp: &long, return_to: "\"><b>", reference: REF },
            Page::Switch { who: &long, token: "\"><script>" },
            Page::ChooseIdp { return_to: "\"><b>", is_unknown: true },
        ] {
            let answer = render_page(&page, &PLACE);
            let html = text(&answer);
            assert!(!html.contains("<b>") && !html.contains("<script"), "{html}");
            assert!(!html.contains('\u{202e}') && !html.contains(&"x".repeat(200)), "{html}");
            assert!(!header(&answer, "content-security-policy").contains("script-src"));
        }
    }

    #[test]
    fn the_way_back_is_one_parameter() {
        assert_eq!(
            login_link(&PLACE, "/a b?c=d&e=ü#f"),
            "/.portcullis/login?return_to=/a%20b%3Fc%3Dd%26e%3D%C3%BC%23f"
        );
        assert_eq!(login_link(&PLACE, ""), "/.portcullis/login?return_to=/");
    }

    #[test]
    fn only_four_pages_have_a_form_and_each_goes_where_it_must() {
        for page in all() {
            let answer = render_page(&page, &PLACE);
            let policy = header(&answer, "content-security-policy");
            let choice = matches!(page, Page::ChooseIdp { .. } | Page::Switch { .. });
            let logout = matches!(page, Page::Logout { .. });
            let forward = matches!(page, Page::Forward { .. });
            assert_eq!(policy.contains("form-action 'none'"), !(logout || choice || forward));
            assert_eq!(policy.contains("form-action 'self' https: https://idp.example.com;"), forward);
            assert_eq!(policy.contains("form-action 'self' https://idp.example.com;"), logout);
            assert_eq!(policy.contains("form-action 'self';"), choice);
            assert_eq!(text(&answer).contains("<form"), logout || choice || forward);
        }
    }

    #[test]
    fn only_the_page_that_leads_on_leads_anywhere_by_itself() {
        for page in all() {
            let answer = render_page(&page, &PLACE);
            let leads = text(&answer).contains("http-equiv=\"refresh\"");
            assert_eq!(leads, matches!(page, Page::Onward { .. }));
        }
        let answer = render_page(&Page::Onward { to: "/x?a=b&c=\"><b>" }, &PLACE);
        assert!(
            text(&answer).contains("content=\"0; url=/x?a=b&#38;c=&#34;&#62;&#60;b&#62;\""),
            "{}",
            text(&answer)
        );
    }

    #[test]
    fn what_pages_refer_to_is_there() {
        let html = render_page(&Page::refused(RefusalKind::NotFound, None), &PLACE);
        let forward =
            render_page(&Page::Forward { action: "https://i.test/", fields: forward_fields() }, &PLACE);
        assert!(text(&forward).contains("value=\"&#34;&#62;&#60;b&#62;\""), "{}", text(&forward));
        assert!(text(&forward).contains("/.portcullis/forward.js?") && find_asset("forward.js").is_some());
        for name in ["style.css", "icon.svg"] {
            assert!(text(&html).contains(&format!("/.portcullis/{name}?{}", env!("CARGO_PKG_VERSION"))));
            let file = find_asset(name).unwrap();
            assert!(!file.body().is_empty());
        }
        assert!(find_asset("../Cargo.toml").is_none());
    }
}
