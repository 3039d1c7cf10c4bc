//! Networks and hosts: who is believed when it speaks of others, and where outgoing requests may go besides.

use std::borrow::Cow;
use std::net::IpAddr;

use portcullis_policy::{AllowedHost, Network};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::{At, show_value};
use crate::node::YamlNode;
use crate::read::{FromYaml, read_text};
use crate::report::Report;

impl FromYaml for Network {
    const WANTED: &'static str = "a network such as 10.0.0.0/8, or one address";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        let Ok(network) = text.parse::<Self>() else {
            return report.add_problem(
                node,
                at,
                format!("\"{}\" is not a network", show_value(text)),
                "Write an address, a slash and a length, such as 10.0.0.0/8, or one address",
            );
        };
        if network.prefix_length() == 0 {
            return report.add_problem(
                node,
                at,
                "everybody would be believed, and could say to be anybody",
                "Name the addresses of your proxies",
            );
        }
        if network.first_address() != network.address() {
            return report.add_problem(
                node,
                at,
                format!("{} has bits behind its length", show_value(text)),
                format!(
                    "Write {}/{} for the network, or the address alone",
                    network.first_address(),
                    network.prefix_length()
                ),
            );
        }
        Some(network)
    }
}

/// The schema of a [`Network`].
pub(crate) struct NetworkText;

impl JsonSchema for NetworkText {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl FromYaml for AllowedHost {
    const WANTED: &'static str = "a host such as idp.internal or idp.internal:8443";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        match read_host(text) {
            Some(host) => Some(host),
            None => report.add_problem(
                node,
                at,
                format!("\"{}\" is not a host", show_value(text)),
                "Write a name or an address, perhaps with a port, without https://",
            ),
        }
    }
}

/// Reads a host, perhaps with a port.
fn read_host(text: &str) -> Option<AllowedHost> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
        None if text.parse::<IpAddr>().is_ok() => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(digits) => Some(digits.parse().ok().filter(|port| *port > 0)?),
        None => None,
    };
    let host = match host.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => portcullis_policy::fold::domain_key(host)?,
    };
    Some(AllowedHost { host, port })
}

/// The schema of an [`AllowedHost`].
pub(crate) struct AllowedHostText;

impl JsonSchema for AllowedHostText {
    fn schema_name() -> Cow<'static, str> {
        "AllowedHost".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_name_and_perhaps_a_port() {
        for (text, host, port) in [
            ("IdP.internal", "idp.internal", None),
            ("idp.internal:8443", "idp.internal", Some(8443)),
            ("10.0.0.1:1", "10.0.0.1", Some(1)),
            ("[::1]:80", "::1", Some(80)),
            ("[::1]", "::1", None),
            ("::1", "::1", None),
        ] {
            assert_eq!(read_host(text), Some(AllowedHost { host: host.into(), port }), "{text}");
        }
        for wrong in ["", "https://a", "a:0", "a:x", "a b", "*.a", "[::1", "[::1]x", "a.", "a/b"] {
            assert_eq!(read_host(wrong), None, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn hosts_never_panic(text in "[0-9a-f:./]{0,30}") {
            let _ = read_host(&text);
        }
    }
}
