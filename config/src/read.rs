//! From a tree to typed values: the trait every type of the configuration has, and the two macros that make a block
//! of keys and a set of words. One definition gives the type, its reader, its known keys, its defaults and its schema,
//! so that they cannot disagree.
//!
//! Reading never stops at the first problem: a reader notes what is wrong and goes on with the next key.

use std::path::PathBuf;

use crate::at::{At, show_value};
use crate::later;
use crate::nearest;
use crate::node::{YamlKey, YamlNode, YamlValue};
use crate::report::Report;

/// A type that can be read from a tree.
pub(crate) trait FromYaml: Sized {
    /// The value that is expected, with an article, for messages: "a duration such as 90s".
    const WANTED: &'static str;

    /// Reads it. `None` means that a problem was noted.
    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self>;

    /// Gives what stands for a key that is not there, where that is no problem.
    fn nothing() -> Option<Self> {
        None
    }

    /// Gives what a block goes on with after a problem was noted.
    fn failed() -> Option<Self> {
        Self::nothing()
    }
}

/// Notes that a key has nothing behind its colon.
pub(crate) fn missing_value<T: FromYaml>(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<T> {
    report.add_problem(
        node,
        at,
        "nothing stands behind the colon",
        format!("Write {}, or leave the key out", T::WANTED),
    )
}

/// The text of a scalar that is no secret.
pub(crate) fn read_text<'n>(
    node: &'n YamlNode,
    at: &At,
    report: &mut Report<'_>,
    wanted: &str,
) -> Option<&'n str> {
    let text = match &node.value {
        YamlValue::Text(text) => text.trim_matches(|c: char| c.is_ascii_whitespace()),
        YamlValue::Nothing => {
            return report.add_problem(
                node,
                at,
                "nothing stands behind the colon",
                format!("Write {wanted}, or leave the key out"),
            );
        }
        other => return report.add_problem(node, at, format!("{} where {wanted} belongs", other.kind()), ""),
    };
    if text.starts_with("${") {
        return report.add_problem(
            node,
            at,
            "a reference stands only where a secret belongs",
            format!("Write {wanted}"),
        );
    }
    if text.is_empty() {
        return report.add_problem(node, at, "empty", format!("Write {wanted}"));
    }
    if text.chars().any(char::is_control) {
        return report.add_problem(
            node,
            at,
            "holds a line break or a control character",
            format!("Write {wanted}"),
        );
    }
    Some(text)
}

impl FromYaml for String {
    const WANTED: &'static str = "a text";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        read_text(node, at, report, Self::WANTED).map(str::to_owned)
    }
}

impl FromYaml for bool {
    const WANTED: &'static str = "true or false";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        match read_text(node, at, report, Self::WANTED)? {
            "true" => Some(true),
            "false" => Some(false),
            other => report.add_problem(
                node,
                at,
                format!("\"{}\" is neither true nor false", show_value(other)),
                "",
            ),
        }
    }
}

/// A path; a relative one starts in the folder of the configuration file.
impl FromYaml for PathBuf {
    const WANTED: &'static str = "a path";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        read_text(node, at, report, Self::WANTED).map(|path| report.resolve_path(path))
    }
}

impl<T: FromYaml> FromYaml for Option<T> {
    const WANTED: &'static str = T::WANTED;

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        Some(T::read(node, at, report))
    }

    fn nothing() -> Option<Self> {
        Some(None)
    }
}

impl<T: FromYaml> FromYaml for Vec<T> {
    const WANTED: &'static str = "a list";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        match &node.value {
            YamlValue::List(items) => {
                let read = |(index, item): (usize, &YamlNode)| T::read(item, &at.below_index(index), report);
                let items: Vec<Option<T>> = items.iter().enumerate().map(read).collect();
                items.into_iter().collect()
            }
            YamlValue::Nothing => missing_value(node, at, report),
            other => report.add_problem(
                node,
                at,
                format!("{} where a list belongs", other.kind()),
                "Write each item on its own line, after a dash and a blank",
            ),
        }
    }
}

/// A required value that may have failed, with a problem noted: its block goes on without it, so that all problems
/// are found.
#[derive(Clone, Debug)]
pub(crate) struct Given<T>(pub(crate) Option<T>);

impl<T: FromYaml> FromYaml for Given<T> {
    const WANTED: &'static str = T::WANTED;

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        Some(Self(T::read(node, at, report)))
    }

    fn failed() -> Option<Self> {
        Some(Self(None))
    }
}

/// The keys of one block while it is read.
pub(crate) struct BlockFields<'n> {
    block: &'n YamlNode,
    at: At,
    entries: Vec<(&'n YamlKey, &'n YamlNode)>,
    /// Something here was refused as of a later version; what is missing then is not worth a word of its own.
    refused: bool,
}

impl<'n> BlockFields<'n> {
    /// Opens a block and judges the names of its keys: unknown, written twice, of a later version.
    pub(crate) fn open_block(
        block: &'n YamlNode,
        at: &At,
        report: &mut Report<'_>,
        known: &[&'static str],
    ) -> Option<Self> {
        let map = match &block.value {
            YamlValue::Map(map) => map,
            YamlValue::Nothing => {
                return report.add_problem(
                    block,
                    at,
                    "nothing stands below it",
                    format!("Known: {}", known.join(", ")),
                );
            }
            other => {
                return report.add_problem(
                    block,
                    at,
                    format!("{} where a block of keys belongs", other.kind()),
                    format!("Known: {}", known.join(", ")),
                );
            }
        };
        let mut fields = Self { block, at: at.clone(), entries: Vec::new(), refused: false };
        for (key, node) in map {
            let at = at.below_key(&key.name);
            if let Some((first, _)) = fields.entries.iter().find(|(first, _)| first.name == key.name) {
                report.problem_on(
                    key.line,
                    &at,
                    format!("written twice, first on line {}", first.line),
                    "Keep one",
                );
            } else if known.contains(&key.name.as_str()) {
                fields.entries.push((key, node));
            } else if let Some(remedy) = later::remedy_for_key(&at) {
                report.problem_on(key.line, &at, later::NOT_YET, remedy);
                fields.refused = true;
            } else if key.name == "<<" {
                report.problem_on(key.line, &at, "merge keys are not read here", "Write the keys out");
            } else {
                // The one that was meant, if it stands nowhere else: nothing is concluded from its absence.
                if let Some(meant) = nearest::find_nearest(&key.name, known.iter().copied())
                    && map.iter().all(|(other, _)| other.name != meant)
                {
                    report.meant.push(fields.at.below_key(meant).to_string());
                }
                let remedy = unknown_key(&key.name, known, &at, report);
                report.problem_on(key.line, &at, "no such key", remedy);
            }
        }
        Some(fields)
    }

    /// Reads the key `name`; where it is missing, its default, which is YAML too and takes the same road.
    pub(crate) fn take_field<T: FromYaml>(
        &self,
        name: &str,
        default: Option<&str>,
        report: &mut Report<'_>,
    ) -> Option<T> {
        let at = self.at.below_key(name);
        let read = match self.entries.iter().find(|(key, _)| key.name == name) {
            Some((_, node)) => T::read(node, &at, report),
            None if default.is_some() => None,
            None => {
                let nothing = T::nothing();
                if nothing.is_none() && !self.refused && !report.meant.contains(&at.to_string()) {
                    report.problem_on(self.block.line, &at, "missing", format!("Write {}", T::WANTED));
                }
                nothing
            }
        };
        // Where a problem was noted the whole is refused; with the default the rest of it can still be judged.
        let default = || T::read(&of_default(default?, self.block.line), &at, report);
        read.or_else(default).or_else(T::failed)
    }
}

/// The tree of a default, on the line of its block.
fn of_default(default: &str, line: usize) -> YamlNode {
    let mut node = YamlNode::parse_document(default).unwrap_or(YamlNode { line, value: YamlValue::Nothing });
    node.line = line;
    node
}

/// Says the remedy for an unknown key: the nearest of its block, else where a key of that name belongs, else all.
fn unknown_key(name: &str, known: &[&'static str], at: &At, report: &Report<'_>) -> String {
    if nearest::find_nearest(name, known.iter().copied()).is_none() {
        let elsewhere = report.known_keys().into_iter();
        let named = |path: &String| path.rsplit('.').next() == Some(name);
        if let Some(path) =
            elsewhere.filter(named).min_by_key(String::len).filter(|path| *path != at.to_string())
        {
            return format!("Known as {path}: look at the indentation");
        }
    }
    nearest::suggest_word(name, known.iter().copied())
}

/// A block of keys: a struct, how it is read, and its schema.
///
/// `key: Type` is required, `key: Option<Type>` may be missing, `key: Type = "yaml"` has a default. With
/// `short = key` a plain value is short for a block with that key alone.
macro_rules! section {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $([short = $short:ident])? {
            $( $(#[$field_meta:meta])* $field_vis:vis $field:ident : $type:ty $(= $default:literal)? ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields, transform = crate::shape::mend_block)]
        $(#[schemars(transform = crate::shape::ShortForm(stringify!($short)))])?
        $vis struct $name {
            $( $(#[$field_meta])* $(#[schemars(extend("default" = $default))])? $field_vis $field: $type ),*
        }

        impl crate::read::FromYaml for $name {
            const WANTED: &'static str = crate::read::wanted!([$($short)?] $($field : $type),*);

            fn read(node: &crate::node::YamlNode, at: &crate::at::At, report: &mut crate::report::Report<'_>) -> Option<Self> {
                const KNOWN: &[&str] = &[$(stringify!($field)),*];
                let node = node.clone();
                $( let node = crate::read::lengthen_block(node, stringify!($short)); )?
                let fields = crate::read::BlockFields::open_block(&node, at, report, KNOWN)?;
                $( let $field = fields.take_field(
                    stringify!($field), crate::read::default!($($default)?), report); )*
                Some(Self { $($field: $field?),* })
            }
        }
    };
}

/// A set of words: an enum, how it is read, and its schema. Words behind `refused` are known and not accepted: `""` says
/// "not in this version", anything else is the reason.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal ),* $(,)? }
        $(refused { $($refused:literal => $why:literal),* $(,)? })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
        $vis enum $name { $( $(#[$variant_meta])* #[schemars(rename = $word)] $variant ),* }

        impl crate::read::FromYaml for $name {
            const WANTED: &'static str = crate::read::either!($($word),*);

            fn read(node: &crate::node::YamlNode, at: &crate::at::At, report: &mut crate::report::Report<'_>) -> Option<Self> {
                match crate::read::read_text(node, at, report, Self::WANTED)? {
                    $( $word => Some(Self::$variant), )*
                    $( $( $refused => report.refuse_word(node, at, $refused, $why), )* )?
                    other => crate::read::unknown_word(node, at, report, other, &[$($word),*]),
                }
            }
        }
    };
}

/// The words of an enum that another part acts on: how it is read, and a type that stands for its schema. Words behind
/// `refused` as in [`words`].
macro_rules! words_of {
    (
        $(#[$meta:meta])*
        $vis:vis struct $schema:ident for $type:ident {
            $( $(#[doc = $doc:literal])+ $variant:ident = $word:literal ),* $(,)?
        }
        $(refused { $($refused:literal => $why:literal),* $(,)? })?
    ) => {
        $(#[$meta])*
        $vis struct $schema;

        impl schemars::JsonSchema for $schema {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                crate::shape::words_schema(&[$( ($word, concat!($($doc, "\n"),+)) ),*])
            }
        }

        impl crate::read::FromYaml for $type {
            const WANTED: &'static str = crate::read::either!($($word),*);

            fn read(node: &crate::node::YamlNode, at: &crate::at::At, report: &mut crate::report::Report<'_>) -> Option<Self> {
                match crate::read::read_text(node, at, report, Self::WANTED)? {
                    $( $word => Some(Self::$variant), )*
                    $( $( $refused => report.refuse_word(node, at, $refused, $why), )* )?
                    other => crate::read::unknown_word(node, at, report, other, &[$($word),*]),
                }
            }
        }
    };
}

/// `None`, or the default as it is written.
macro_rules! default {
    () => {
        None
    };
    ($default:literal) => {
        Some($default)
    };
}

/// Says what a block wants to be: where it has a short form, its first key's value; else a block with its first key.
macro_rules! wanted {
    ([] $first:ident : $type:ty $(, $rest:ident : $rest_type:ty)*) => {
        concat!("a block with ", stringify!($first))
    };
    ([$short:ident] $first:ident : $type:ty $(, $rest:ident : $rest_type:ty)*) => {
        <$type as crate::read::FromYaml>::WANTED
    };
}

/// Words joined by "or", as a constant.
macro_rules! either {
    ($first:literal) => { $first };
    ($first:literal $(, $rest:literal)+) => { concat!($first $(, " or ", $rest)+) };
}

pub(crate) use {default, either, section, wanted, words, words_of};

/// The block a short form stands for.
pub(crate) fn lengthen_block(node: YamlNode, key: &str) -> YamlNode {
    if !matches!(node.value, YamlValue::Text(_)) {
        return node;
    }
    let line = node.line;
    YamlNode { line, value: YamlValue::Map(vec![(YamlKey { line, name: key.into() }, node)]) }
}

/// Notes a word that is none of those known.
pub(crate) fn unknown_word<T>(
    node: &YamlNode,
    at: &At,
    report: &mut Report<'_>,
    word: &str,
    known: &[&str],
) -> Option<T> {
    report.add_problem(
        node,
        at,
        format!("\"{}\" is not known here", show_value(word)),
        nearest::suggest_word(word, known.iter().copied()),
    )
}
