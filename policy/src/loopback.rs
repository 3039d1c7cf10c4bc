//! Names that mean this machine: one rule for everybody who must know them.

/// Tells whether a name means this machine by definition (RFC 6761 §6.3): `localhost` and everything below it.
pub fn is_loopback_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let top = host.rsplit('.').next().unwrap_or(host);
    top.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names_end_in_localhost() {
        for (name, loopback) in [
            ("localhost", true),
            ("LocalHost.", true),
            ("idp.localhost", true),
            ("localhost.example.com", false),
            ("notlocalhost", false),
            ("", false),
        ] {
            assert_eq!(is_loopback_name(name), loopback, "{name:?}");
        }
    }
}
