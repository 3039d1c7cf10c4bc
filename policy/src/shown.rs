//! Text from outside, made fit to be shown: on a page, in a log, in a record, on a terminal.
//!
//! There is one class of characters that are seen as themselves ([`is_seen`]) and one length ([`MOST`]), for every
//! place that repeats what somebody else wrote. What is not seen stands as an escape, so it can neither begin a second
//! line, nor move a terminal's cursor, nor turn a text around, nor hide in it; what is too long is cut.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// The most characters of one value from outside that are shown, logged or kept.
pub const MOST: usize = 200;

/// Tells whether a character is seen as itself.
///
/// Not seen are control characters, separators of lines and paragraphs, what turns the direction of a text (UAX #9),
/// and what a reader overlooks (`Default_Ignorable_Code_Point`). The joiners U+200C and U+200D and the selectors of a
/// variation count as seen: names of Persia, India and Japan are written with them, and they hide nothing.
pub fn is_seen(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
                | '\u{200b}' | '\u{200e}' | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e00ff}'
                | '\u{e01f0}'..='\u{e0fff}'
        )
}

/// Tells whether a character looks like a blank, in whatever script.
pub(crate) fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{2800}'
}

/// Tells whether a text has a blank of any script, or something unseen, at an end: it would look like another text.
pub fn has_hidden_end(text: &str) -> bool {
    // A joiner joins nothing there.
    let is_hidden = |c| is_blank(c) || !is_seen(c) || matches!(c, '\u{200c}' | '\u{200d}');
    text.starts_with(is_hidden) || text.ends_with(is_hidden)
}

fn is_odd_blank(c: char) -> bool {
    c != ' ' && is_blank(c)
}

/// The whole of a text on one line; what is not seen stands as an escape, such as `\n` or `\u{202e}`.
///
/// For sentences of our own that repeat values: each value in them was cut by [`shown`].
pub fn escaped(text: &str) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let mut rest = text;
        while let Some(at) = rest.find(|c| !is_seen(c)) {
            f.write_str(&rest[..at])?;
            let mut behind = rest[at..].chars();
            behind.next().map_or(Ok(()), |c| write!(f, "{}", c.escape_default()))?;
            rest = behind.as_str();
        }
        f.write_str(rest)
    })
}

/// One value from outside: on one line, at most [`MOST`] characters, the last of them `…` where it was cut. A blank at an
/// end that is not ASCII's stands as an escape too: it would make two names look as one. Shown twice it is the same.
pub fn shown(text: &str) -> Cow<'_, str> {
    // Most texts are short and ASCII: all bytes are looked at together.
    if text.len() <= MOST && text.bytes().fold(true, |all, byte| all & matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let behind = text.trim_start_matches(is_blank);
    let core = text.len() - behind.len()..text.trim_end_matches(is_blank).len();
    let is_plain = |at: usize, c: char| is_seen(c) && (core.contains(&at) || !is_odd_blank(c));
    // A text of no more bytes is of no more characters.
    let is_short = text.len() <= MOST || text.chars().nth(MOST).is_none();
    if is_short && text.char_indices().all(|(at, c)| is_plain(at, c)) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut length) = (String::new(), 0);
    let mut whole = None; // how much of it may stand before the mark of a cut
    for (at, c) in text.char_indices() {
        let width = if is_plain(at, c) { 1 } else { c.escape_default().count() };
        if length + width >= MOST && whole.is_none() {
            whole = Some(out.len());
        }
        length += width;
        if length > MOST {
            out.truncate(whole.unwrap_or_default());
            out.push('…');
            break;
        }
        let _ = if is_plain(at, c) { out.write_char(c) } else { write!(out, "{}", c.escape_default()) };
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_would_be_acted_on_stands_as_an_escape() {
        for (text, expected) in [
            ("Åsa", "Åsa"),
            ("a\r\nSet-Cookie: b", "a\\r\\nSet-Cookie: b"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\u{202e}b\u{2066}c\u{2069}", "a\\u{202e}b\\u{2066}c\\u{2069}"),
            (
                "\u{61c}\u{200f}\u{2028}\u{feff}\u{200b}\u{e0041}\u{ad}",
                "\\u{61c}\\u{200f}\\u{2028}\\u{feff}\\u{200b}\\u{e0041}\\u{ad}",
            ),
            ("\u{85}\u{9b}\u{7f}", "\\u{85}\\u{9b}\\u{7f}"),
        ] {
            assert_eq!(shown(text), expected);
            assert_eq!(escaped(text).to_string(), expected);
        }
    }

    #[test]
    fn names_of_all_scripts_are_seen() {
        for name in
            ["علی\u{200c}رضا", "葛\u{e0100}城", "क\u{94d}\u{200d}ष", "👩\u{200d}🚒", "❤\u{fe0f}", "a\u{301}"]
        {
            assert_eq!(shown(name), name);
        }
    }

    #[test]
    fn a_blank_that_hides_at_an_end_is_shown() {
        for (text, expected) in [
            ("admins\u{a0}", "admins\\u{a0}"),
            ("\u{3000} admins \u{2003}", "\\u{3000} admins \\u{2003}"),
            ("\u{2800}", "\\u{2800}"),
            ("山田\u{3000}太郎", "山田\u{3000}太郎"),
            (" é ", " é "),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn a_value_is_cut_at_200_characters_and_says_so() {
        assert_eq!(shown(&"ü".repeat(200)), "ü".repeat(200));
        assert_eq!(shown(&"ü".repeat(201)), format!("{}…", "ü".repeat(199)));
        assert_eq!(shown(&"x".repeat(100_000)), format!("{}…", "x".repeat(199)));
        assert_eq!(shown(&format!("{}\n", "x".repeat(198))), format!("{}\\n", "x".repeat(198)));
        assert_eq!(shown(&format!("{}\ny", "x".repeat(198))), format!("{}…", "x".repeat(198)));
        assert_eq!(shown(&"\n".repeat(101)), format!("{}…", "\\n".repeat(99)));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_one_short_line(text in "(?s).{0,260}") {
            let once = shown(&text);
            prop_assert!(once.chars().count() <= MOST && once.chars().all(is_seen));
            prop_assert_eq!(shown(&once), &*once);
            let escaped = escaped(&text).to_string();
            prop_assert!(escaped.chars().all(is_seen));
            let ends_in_blanks = text.trim_matches(is_blank) != text;
            prop_assert!(escaped.chars().count() > MOST || once == escaped || ends_in_blanks);
        }
    }
}
