//! The folded spelling of a path: what is left when a server does not tell upper from lower case, nor what stands at
//! the end of a path or segment.
//!
//! Servers on Windows and macOS, and the routers of many frameworks, take `/Admin`, `/admin.` and `/admin/` for
//! `/admin`. Rules are looked up a second time so, with their patterns folded alike. The rule protected: a path that
//! falls under a pattern has a folded spelling that falls under the folded pattern.

use std::borrow::Cow;

/// The folded spelling of a path: each segment without dots and blanks at its end, letters without case, and the path
/// without slashes, dots and blanks at its end. A segment of nothing but dots and blanks stays, unless it is the last.
pub(crate) fn fold_path(path: &[u8]) -> Cow<'_, [u8]> {
    if is_folded(path) {
        return Cow::Borrowed(path);
    }
    let mut folded = Vec::with_capacity(path.len());
    for (at, part) in path.split(|byte| *byte == b'/').enumerate() {
        if at > 0 {
            folded.push(b'/');
        }
        fold_letters(part, &mut folded);
    }
    while folded.last().is_some_and(is_an_end) {
        folded.pop();
    }
    if folded.is_empty() {
        folded.push(b'/');
    }
    Cow::Owned(folded)
}

/// The folded spelling of one segment.
pub(crate) fn fold_segment(segment: &[u8]) -> Vec<u8> {
    let mut folded = Vec::with_capacity(segment.len());
    fold_letters(segment, &mut folded);
    folded
}

/// Letter by letter, as servers do: `ß` is not `ss`.
fn fold_letters(segment: &[u8], folded: &mut Vec<u8>) {
    let kept = segment.iter().rposition(|byte| !matches!(byte, b'.' | b' '));
    let segment = kept.map_or(segment, |last| &segment[..=last]);
    if segment.is_ascii() {
        folded.extend(segment.iter().map(u8::to_ascii_lowercase));
        return;
    }
    for chunk in segment.utf8_chunks() {
        for lower in chunk.valid().chars().flat_map(fold_letter) {
            folded.extend_from_slice(lower.encode_utf8(&mut [0; 4]).as_bytes());
        }
        folded.extend_from_slice(chunk.invalid());
    }
}

/// The letter without case, by whichever way a server may go: some compare in lower case, some in upper, some in both. `ı`,
/// `ſ` and `K` are letters of ASCII by the second, `İ` is `i` and a dot by the first and `i` in Turkish.
fn fold_letter(letter: char) -> std::char::ToLowercase {
    if letter == 'İ' {
        return 'i'.to_lowercase();
    }
    let mut upper = letter.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper.to_lowercase(),
        _ => letter.to_lowercase(),
    }
}

/// Tells whether a byte is cut at the end of a path.
pub(crate) fn is_an_end(byte: &u8) -> bool {
    matches!(byte, b'/' | b'.' | b' ')
}

/// Tells whether folding a path changes nothing; most paths are written so. May say no of one that is.
fn is_folded(path: &[u8]) -> bool {
    let is_lower = |byte: &u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    path.iter().all(is_lower)
        && !path.iter().zip(path.iter().skip(1)).any(|(end, next)| *next == b'/' && is_an_end(end))
        && (path.len() == 1 || !path.last().is_some_and(is_an_end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pattern;

    #[test]
    fn case_and_ends_are_gone() {
        for (written, folds) in [
            ("/", "/"),
            ("/admin", "/admin"),
            ("/Admin", "/admin"),
            ("/admin/", "/admin"),
            ("/admin//", "/admin"),
            ("/adm\u{131}n", "/admin"),
            ("/ADM\u{130}N", "/admin"),
            ("/report\u{17f}", "/reports"),
            ("/\u{212a}ey", "/key"),
            ("/stra\u{df}e", "/stra\u{df}e"),
            ("/\u{b5}", "/\u{3bc}"),
            ("/admin.", "/admin"),
            ("/admin. . ", "/admin"),
            ("/admin ./ x. /y", "/admin/ x/y"),
            ("/RÄUME/STRAẞE", "/räume/straße"),
            ("/a/...", "/a"),
            ("/.../a", "/.../a"),
            ("/a//b", "/a//b"),
            ("/../a", "/../a"),
            ("/...", "/"),
            ("/.a/b.c", "/.a/b.c"),
        ] {
            assert_eq!(String::from_utf8_lossy(&fold_path(written.as_bytes())), folds, "{written}");
        }
        assert_eq!(&*fold_path(b"/CAF\xC9/X"), b"/caf\xC9/x", "bytes that are not UTF-8 stay");
    }

    proptest::proptest! {
        #[test]
        fn folding_twice_changes_nothing(written in "/[aA/. ßÄé]{0,8}") {
            let once = fold_path(written.as_bytes()).into_owned();
            proptest::prop_assert_eq!(fold_path(&once), &once[..]);
        }

        #[test]
        fn what_a_pattern_takes_the_folded_one_takes_folded(
            pattern in "(/(a|A|b\\.|\\.x|B |\\*|ä)){0,3}(/|/\\*\\*)?", written in "(/(a|A|b\\.|\\.x|B |b|ä|Ä|x|)){0,5}/?",
        ) {
            if let Ok(pattern) = Pattern::parse_path(&pattern) && pattern.matches(written.as_bytes()) {
                let folded = fold_path(written.as_bytes());
                proptest::prop_assert!(pattern.folded().matches(&folded), "{:?} as {:?}", pattern, folded);
            }
        }
    }
}
