//! What an operator says on our own pages: the application's name, and where people find help.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use url::Url;

use crate::at::{At, show_value};
use crate::node::YamlNode;
use crate::read::{FromYaml, read_text, section};
use crate::report::Report;

section! {
    /// The application, as people know it.
    pub(crate) struct AppBlock {
        /// Its name on our own pages; the host of `public_url` where left out.
        #[schemars(with = "Option<AppName>")]
        pub(crate) name: Option<AppName>,
    }
}

/// A name for people: 1 to 60 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppName(pub(crate) String);

/// The help that people are shown where something went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// An address: https, http, mailto or tel.
    Link {
        /// The whole address.
        href: String,
        /// The part of it that is shown.
        text: String,
    },
    /// A sentence, such as a telephone number.
    Text(String),
}

/// Tells whether people see a text as it is: no character that cannot be seen, turns the line round or is too much.
fn is_visible(text: &str, most: usize) -> bool {
    !text.is_empty()
        && text == text.trim()
        && text.chars().count() <= most
        && show_value(text) == text
        && text.chars().any(char::is_alphanumeric)
}

impl FromYaml for AppName {
    const WANTED: &'static str = "a name for people, such as Team Wiki";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        if is_visible(text, 60) {
            return Some(Self(text.to_owned()));
        }
        let what = format!("\"{}\" is no name for a page", show_value(text));
        report.add_problem(node, at, what, "Write 1 to 60 characters that can be seen")
    }
}

impl FromYaml for Support {
    const WANTED: &'static str = "a text or an address, such as https://help.example.com";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        if !is_visible(text, 200) {
            let what = format!("\"{}\" is no text for a page", show_value(text));
            return report.add_problem(node, at, what, "Write 1 to 200 characters that can be seen");
        }
        let begins =
            |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        if !["https:", "http:", "mailto:", "tel:"].into_iter().any(begins) {
            return Some(Self::Text(text.to_owned()));
        }
        let is_whole = !begins("http") || begins("https://") || begins("http://");
        let link = Url::parse(text)
            .ok()
            .filter(|_| is_whole)
            .filter(|_| !text.contains(' '))
            .and_then(|url| support_link(&url));
        link.or_else(|| {
            let what = format!("\"{}\" is no address that a page could lead to", show_value(text));
            let remedy =
                "Write https://help.example.com, mailto:help@example.com, or a text that begins otherwise";
            report.add_problem(node, at, what, remedy)
        })
    }
}

fn support_link(url: &Url) -> Option<Support> {
    let text = match url.scheme() {
        "mailto" => {
            let is_plain = url.query_pairs().all(|(name, _)| matches!(&*name, "subject" | "body"));
            // What is encoded there few programs take for what it was.
            if !is_plain || url.path().contains('%') {
                return None;
            }
            let (name, host) = url.path().split_once('@')?;
            (!name.is_empty() && !host.is_empty() && !host.contains('@')).then(|| url.path().to_owned())?
        }
        // Whoever is named in an address is named to everybody.
        "tel" => url
            .path()
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-.()".contains(&byte))
            .then(|| url.path().to_owned())?,
        _ if url.has_host() && url.username().is_empty() && url.password().is_none() => {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let path = url.path().trim_end_matches('/');
            format!("{}{port}{path}", url.host_str()?)
        }
        _ => return None,
    };
    Some(Support::Link { href: url.as_str().to_owned(), text })
}

macro_rules! text_schemas {
    ($($(#[$meta:meta])* $kind:ty as $name:literal up to $most:literal;)*) => {$(
        impl JsonSchema for $kind {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "minLength": 1, "maxLength": $most })
            }
        }
    )*};
}

text_schemas! {
    AppName as "AppName" up to 60;
    Support as "Support" up to 200;
}
