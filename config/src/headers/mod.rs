//! `headers`: how the application is told who is there.

mod assertion;
mod names;
mod template;

use std::borrow::Cow;

use portcullis_policy::{HeaderEncoding, HeaderPreset, UserFrom};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::At;
use crate::node::YamlNode;
use crate::read::{FromYaml, read_text, section, unknown_word};
use crate::report::Report;
use crate::units::Size;

pub(crate) use assertion::AssertionBlock;
pub use names::WritableName;
pub(crate) use names::{HeaderNames, StripName};
pub(crate) use template::{HeaderTemplate, HeaderTemplates, PartText, TemplateText};

section! {
    /// How the application is told who is there.
    pub(crate) struct Headers {
        /// The names that the application knows.
        #[schemars(with = "PresetWord")]
        pub(crate) preset: HeaderPreset = "x-forwarded",
        /// Where the user header's value comes from; it never falls back. `userName` where left out, without a
        /// directory `email`.
        #[schemars(with = "Option<UserWord>")]
        pub(crate) user: Option<UserFrom>,
        /// Other names for what the preset says, or `off`.
        pub(crate) names: HeaderNames = "{}",
        /// Further headers, each with a text in which `${user.department}` and the like stand, or a reference to a secret.
        pub(crate) templates: HeaderTemplates = "{}",
        /// The groups that are told.
        pub(crate) groups: HeaderGroups = "{}",
        /// How values are written, where a header says nothing of its own. Where left out, as the preset has it: `utf8`
        /// with `gitea` and `mediawiki`, `latin1` with `sonarqube`, else `percent`.
        #[schemars(with = "Option<EncodingWord>")]
        pub(crate) encoding: Option<HeaderEncoding>,
        /// The most bytes of all headers of a person. Whoever has more is not signed in, and the log says why.
        pub(crate) budget: HeaderBudget = "16KiB",
        /// A header that is signed besides: `on`, or a block with its audience.
        pub(crate) assertion: AssertionBlock = "off",
        /// Further names that no client may send; a final `*` stands for any ending.
        pub(crate) strip: Vec<StripName> = "[]",
    }
}

impl Headers {
    /// How values are written, where a header says nothing of its own.
    pub(crate) fn encoding(&self) -> HeaderEncoding {
        self.encoding.unwrap_or_else(|| self.preset.encoding())
    }
}

section! {
    /// The groups that are told; roles come of all of them.
    pub(crate) struct HeaderGroups {
        /// Names of groups, `*` for any text; all groups where left out.
        pub(crate) only: Option<Vec<String>>,
    }
}

impl FromYaml for HeaderPreset {
    const WANTED: &'static str = "the name of a preset such as x-forwarded";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        read_word(node, at, report, &Self::ALL, Self::config_word)
    }
}

impl FromYaml for UserFrom {
    const WANTED: &'static str = "userName, preferred_username, id, externalId, subject or email";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        read_word(node, at, report, &Self::ALL, Self::config_word)
    }
}

const ENCODINGS: [HeaderEncoding; 3] =
    [HeaderEncoding::Percent, HeaderEncoding::Utf8, HeaderEncoding::Latin1];

impl FromYaml for HeaderEncoding {
    const WANTED: &'static str = "percent, utf8 or latin1";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        read_word(node, at, report, &ENCODINGS, Self::config_word)
    }
}

/// Reads one of the words that a part shares with the file.
fn read_word<T: FromYaml + Copy>(
    node: &YamlNode,
    at: &At,
    report: &mut Report<'_>,
    all: &[T],
    word: fn(T) -> &'static str,
) -> Option<T> {
    let text = read_text(node, at, report, T::WANTED)?;
    let known: Vec<&str> = all.iter().map(|one| word(*one)).collect();
    let found = all.iter().copied().find(|one| word(*one) == text);
    found.or_else(|| unknown_word(node, at, report, text, &known))
}

macro_rules! word_schemas {
    ($($(#[$meta:meta])* $schema:ident as $name:literal: $words:expr;)*) => {$(
        $(#[$meta])*
        pub(crate) struct $schema;

        impl JsonSchema for $schema {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "enum": $words })
            }
        }
    )*};
}

word_schemas! {
    /// The schema of [`HeaderPreset`].
    PresetWord as "HeaderPreset": HeaderPreset::ALL.map(HeaderPreset::config_word);
    /// The schema of [`UserFrom`].
    UserWord as "UserFrom": UserFrom::ALL.map(UserFrom::config_word);
    /// The schema of [`HeaderEncoding`].
    EncodingWord as "HeaderEncoding": ENCODINGS.map(HeaderEncoding::config_word);
}

/// The size of all headers of a person: 1 KiB to 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeaderBudget(pub(crate) Size);

impl FromYaml for HeaderBudget {
    const WANTED: &'static str = Size::WANTED;

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let size = Size::read(node, at, report)?;
        if (1 << 10..=64 << 10).contains(&size.bytes()) {
            return Some(Self(size));
        }
        let what = format!("{size} is no size that headers can have");
        report.add_problem(node, at, what, "Write a size from 1KiB to 64KiB")
    }
}

impl JsonSchema for HeaderBudget {
    fn schema_name() -> Cow<'static, str> {
        Size::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Size::json_schema(generator)
    }
}
