//! What was built: version, commit, date and features, for `--version` and the metrics. `build.rs` asks for the commit.

use std::sync::LazyLock;

/// The commit, cut to 12 digits; `+changes` behind it where the sources were not all committed. `unknown` in a
/// development build, and where there was neither a repository nor `PORTCULLIS_COMMIT`.
pub(crate) const COMMIT: &str = or_unknown(env!("PORTCULLIS_BUILD_COMMIT"));

/// The cargo features that leave something out where they are missing.
pub(crate) const FEATURES: &str = if cfg!(feature = "saml") { "saml" } else { "none" };

/// The text of `--version` behind the program's name, such as `0.1.0 (commit 78e4c2d0a1b2, 2026-01-31; features: saml)`.
pub(crate) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let date = day_of(env!("PORTCULLIS_BUILD_SECONDS")).unwrap_or_else(|| "unknown date".to_owned());
    let without = if cfg!(feature = "saml") { "" } else { ", WITHOUT SAML" };
    format!("{} (commit {COMMIT}, {date}; features: {FEATURES}{without})", env!("CARGO_PKG_VERSION"))
});

const fn or_unknown(text: &'static str) -> &'static str {
    if text.is_empty() { "unknown" } else { text }
}

/// The day in UTC of `seconds` since 1970, written as a number.
fn day_of(seconds: &str) -> Option<String> {
    let at = jiff::Timestamp::from_second(seconds.parse().ok()?).ok()?;
    at.to_string().get(..10).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_that_of_utc_and_nothing_where_there_is_none() {
        assert_eq!(day_of("951782400").as_deref(), Some("2000-02-29"));
        assert_eq!(day_of("951868799").as_deref(), Some("2000-02-29"));
        assert_eq!(day_of(""), None);
        assert_eq!(day_of("yesterday"), None);
    }

    #[test]
    fn the_version_names_what_was_built() {
        let (version, rest) = VERSION.split_once(" (commit ").unwrap();
        assert_eq!(version, env!("CARGO_PKG_VERSION"));
        assert!(rest.starts_with(COMMIT) && rest.ends_with(')'), "{rest}");
        assert!(rest.contains(&format!("; features: {FEATURES}")), "{rest}");
        assert_eq!(rest.contains("WITHOUT SAML"), !cfg!(feature = "saml"), "{rest}");
    }
}
