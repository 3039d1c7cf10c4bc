//! What our pages say, a file for each language, and which of them somebody wants (RFC 9110 §12.5.4).
//!
//! In braces stands what is put in: `{app}`, `{host}`, `{who}`, `{idp}`, `{reference}`.

mod de;
mod en;
mod es;
mod fr;
mod ja;

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

/// A language of our pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Language {
    #[default]
    English,
    German,
    French,
    Spanish,
    Japanese,
}

macro_rules! words {
    ($($name:ident,)*) => {
        /// Every word of our pages in one language. Those that end in `title` stand above a page, the others say what they say.
        pub(in crate::pages) struct Words {
            $(pub(in crate::pages) $name: &'static str,)*
        }

        #[cfg(test)]
        impl Words {
            fn all(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

words! {
    sign_in_refused_title,
    login_lost_title,
    login_lost,
    login_loops_title,
    login_loops,
    login_loops_cookie,
    idp_down_title,
    idp_down,
    in_minutes,
    not_yet_title,
    idp_busy,
    in_a_moment,
    not_signed_out_title,
    not_signed_out,
    not_signed_out_what,
    signed_out_title,
    left_both,
    left_app,
    sign_out_title,
    signed_in_as,
    stay,
    sign_out,
    switch_title,
    somebody_else,
    switch_unasked,
    use_other,
    sign_in,
    address_unknown,
    address_says,
    email,
    go_on,
    one_moment_title,
    sent_on,
    try_again,
    sign_in_again,
    other_address,
    form_lost_title,
    form_lost,
    form_lost_what,
    new_window,
    framed_title,
    framed,
    not_allowed_title,
    not_allowed,
    not_allowed_as,
    other_site_title,
    other_site,
    not_found_title,
    not_found,
    unreadable_title,
    unreadable,
    method_title,
    method,
    unreachable_title,
    unreachable,
    slow_title,
    slow,
    unproven_title,
    unproven,
    front_page,
    ask,
    tell,
    need,
    help,
}

impl Language {
    pub(crate) const ALL: [Self; 5] =
        [Self::English, Self::German, Self::French, Self::Spanish, Self::Japanese];

    /// The tag (RFC 5646).
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
            Self::Spanish => "es",
            Self::Japanese => "ja",
        }
    }

    pub(in crate::pages) fn words(self) -> &'static Words {
        match self {
            Self::English => &en::WORDS,
            Self::German => &de::WORDS,
            Self::French => &fr::WORDS,
            Self::Spanish => &es::WORDS,
            Self::Japanese => &ja::WORDS,
        }
    }

    /// The one that `Accept-Language` likes best, the first of those that it likes alike; English where it names none that we
    /// have. Of a tag the first part counts. What cannot be read is left out.
    pub(crate) fn asked_for(headers: &HeaderMap) -> Self {
        let fields = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|field| field.to_str().ok());
        let mut best = (Self::default(), 0);
        for range in fields.flat_map(|field| field.split(',')) {
            let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
            let Some(weight) = read_weight(weight) else { continue };
            let primary = tag.trim().split('-').next().unwrap_or_default();
            let known = Self::ALL.into_iter().find(|known| known.tag().eq_ignore_ascii_case(primary));
            if let Some(known) = known
                && weight > best.1
            {
                best = (known, weight);
            }
        }
        best.0
    }
}

/// `q=0.8` in thousandths (RFC 9110 §12.4.2).
fn read_weight(text: &str) -> Option<u16> {
    let (name, value) = text.split_once('=')?;
    let (whole, rest) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    if !name.trim().eq_ignore_ascii_case("q") || rest.len() > 3 || !rest.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{rest:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_the_one_that_is_liked_best() {
        for (field, wanted) in [
            ("", "en"),
            ("*", "en"),
            ("de", "de"),
            ("de-CH, fr;q=0.9", "de"),
            ("DE-at", "de"),
            ("fr;q=0.8, es;q=0.9, en;q=0.7", "es"),
            ("fr;q=0.8,ja;q=0.8", "fr"),
            ("pl, cs;q=0.9, ja;q=0.1", "ja"),
            ("pl, *;q=0.5", "en"),
            ("de;q=0, fr;q=0.001", "fr"),
            ("de;q=0", "en"),
            ("de;q=1.5, fr;q=0.5", "fr"),
            ("de;q=0.1234, fr;q=0.5", "fr"),
            ("de;q=, fr ; Q=0.5", "fr"),
            ("de;level=1, fr;q=0.2", "fr"),
            (",,de;;q=1, ;q=1", "en"),
            ("deutsch, en;q=0.1", "en"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, field.parse().unwrap());
            assert_eq!(Language::asked_for(&headers).tag(), wanted, "{field}");
        }
        let mut two = HeaderMap::new();
        two.append(ACCEPT_LANGUAGE, "fr;q=0.5".parse().unwrap());
        two.append(ACCEPT_LANGUAGE, "de;q=0.6".parse().unwrap());
        assert_eq!(Language::asked_for(&two).tag(), "de");
        assert_eq!(Language::asked_for(&HeaderMap::new()).tag(), "en");
    }

    proptest::proptest! {
        /// Whatever a browser says, there is a language, and one that is named without a weight is not passed over for less.
        #[test]
        fn odd_fields_are_read_without_a_fault(before in "\\PC{0,40}", weight in 0_u16..1000, after in "[ -~]{0,40}") {
            let read = |text: &str| {
                let mut headers = HeaderMap::new();
                if let Ok(value) = http::HeaderValue::from_str(text) {
                    headers.insert(ACCEPT_LANGUAGE, value);
                }
                Language::asked_for(&headers)
            };
            let _ = read(&before);
            let _ = read(&format!("de;q={after}"));
            proptest::prop_assert_eq!(read(&format!("fr;q=0.{weight:03},de")), Language::German);
            let first = if weight > 500 { Language::French } else { Language::German };
            proptest::prop_assert_eq!(read(&format!("de;q=0.5, fr;q=0.{weight:03}")), first);
        }
    }

    fn holes(text: &str) -> Vec<&str> {
        let mut found: Vec<&str> =
            text.split('{').skip(1).map(|rest| rest.split_once('}').unwrap().0).collect();
        found.sort_unstable();
        found
    }

    /// The same is put into every language's sentence; none is left out, and none is still English.
    #[test]
    fn every_language_says_everything() {
        let english = Language::English.words().all();
        for language in Language::ALL {
            for ((name, text), (_, in_english)) in language.words().all().into_iter().zip(&english) {
                assert_eq!(holes(text), holes(in_english), "{name} in {language:?}");
                assert!(!text.trim().is_empty() && text == text.trim(), "{name} in {language:?}");
                assert!(!text.contains(['<', '>', '&']), "{name} in {language:?}");
                assert!(language == Language::English || text != *in_english, "{name} in {language:?}");
            }
        }
    }
}
