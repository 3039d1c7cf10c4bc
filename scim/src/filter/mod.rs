//! Filters (RFC 7644 §3.4.2.2): a tree of conditions on known attributes.
//!
//! The whole grammar is parsed. The tree itself is what a store searches by, over the rows that
//! [`Resource::search_rows`](crate::Resource::search_rows) makes; the evaluation in memory, which PATCH needs, is the
//! reference that the search agrees with. Attribute names are resolved and values checked against their attribute's
//! type while parsing, so a filter that exists can run.

mod comparable;
mod evaluate;
mod parse;
mod rows;
mod sort;

use std::fmt;

use crate::moment::Moment;
use crate::schema::AttributePath;

pub use comparable::comparable_text;
pub(crate) use comparable::{comparable_value, same_text};
pub(crate) use parse::{FilterReader, Grammar, as_double, parse_truth};
pub use parse::{MAX_DEPTH, MAX_LENGTH, MAX_TERMS};
pub use rows::{MAX_INDEXED, SearchRow};
pub use sort::{Sort, SortOrder};

/// A condition on a resource, or inside `[ ]` on one element of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All hold; two or more.
    All(Vec<Filter>),
    /// At least one holds; two or more.
    Any(Vec<Filter>),
    /// The inner one does not hold.
    Not(Box<Filter>),
    /// An attribute compares to a value: some value of it does, where it is a list (`ne`: no value is equal).
    Compare(Comparison),
    /// An attribute has a value that is not empty.
    Present(AttributePath),
    /// One element of a list meets all of the inner filter: `emails[type eq "work" and value co "@corp.test"]`.
    /// `emails[type eq "work"].value eq "x"` (Entra, Rippling; outside the RFC's grammar) reads as
    /// `emails[type eq "work" and value eq "x"]`.
    Element(AttributePath, Box<Filter>),
}

/// One comparison. The path is never complex: `emails eq "x"` has been read as `emails.value eq "x"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The attribute whose values are compared.
    pub path: AttributePath,
    /// The comparison.
    pub operator: CompareOp,
    /// With what; of the attribute's type, or null.
    pub value: Literal,
}

/// The comparisons of two values (`compareOp` of RFC 7644 §3.4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    /// Equal.
    Eq,
    /// Not equal: `not (… eq …)`, so an absent attribute is not equal to anything.
    Ne,
    /// Contains.
    Co,
    /// Starts with.
    Sw,
    /// Ends with.
    Ew,
    /// Greater; moments by time, text by its characters.
    Gt,
    /// Greater or equal.
    Ge,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
}

impl CompareOp {
    /// The word of the standard.
    pub fn as_str(self) -> &'static str {
        match self {
            CompareOp::Eq => "eq",
            CompareOp::Ne => "ne",
            CompareOp::Co => "co",
            CompareOp::Sw => "sw",
            CompareOp::Ew => "ew",
            CompareOp::Gt => "gt",
            CompareOp::Ge => "ge",
            CompareOp::Lt => "lt",
            CompareOp::Le => "le",
        }
    }
}

/// The value a filter compares with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    /// Text, as it was written.
    Text(String),
    /// A boolean.
    Truth(bool),
    /// A number, of the attribute's type: whole, or a double.
    Number(serde_json::Number),
    /// A moment.
    Moment(Moment),
    /// Null: equal to what is absent.
    Null,
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::All(parts) => {
                write_joined(f, parts, " and ", |part| matches!(part, Filter::All(_) | Filter::Any(_)))
            }
            Filter::Any(parts) => write_joined(f, parts, " or ", |part| matches!(part, Filter::Any(_))),
            Filter::Not(inner) => write!(f, "not ({inner})"),
            Filter::Compare(comparison) => write!(f, "{} {comparison}", comparison.path),
            Filter::Present(path) => write!(f, "{path} pr"),
            Filter::Element(path, inner) => write!(f, "{path}[{}]", Inner(inner)),
        }
    }
}

fn write_joined(
    f: &mut fmt::Formatter<'_>,
    parts: &[Filter],
    word: &str,
    needs_group: impl Fn(&Filter) -> bool,
) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(word)?;
        }
        if needs_group(part) { write!(f, "({part})")? } else { write!(f, "{part}")? }
    }
    Ok(())
}

/// A filter inside `[ ]`, where names are those of sub-attributes.
pub(crate) struct Inner<'a>(pub(crate) &'a Filter);

impl fmt::Display for Inner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = |f: &mut fmt::Formatter<'_>, parts: &[Filter], word: &str, any: bool| {
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    f.write_str(word)?;
                }
                let grouped = matches!(part, Filter::Any(_)) || (any && matches!(part, Filter::All(_)));
                if grouped { write!(f, "({})", Inner(part))? } else { write!(f, "{}", Inner(part))? }
            }
            Ok(())
        };
        match self.0 {
            Filter::All(parts) => group(f, parts, " and ", true),
            Filter::Any(parts) => group(f, parts, " or ", false),
            Filter::Not(inner) => write!(f, "not ({})", Inner(inner)),
            Filter::Compare(comparison) => write!(f, "{} {comparison}", comparison.path.leaf().name),
            Filter::Present(path) => write!(f, "{} pr", path.leaf().name),
            Filter::Element(..) => Ok(()), // the grammar has no brackets within brackets
        }
    }
}

impl fmt::Display for Comparison {
    /// The operator and the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.operator.as_str())?;
        match &self.value {
            Literal::Text(text) => write!(f, "{}", serde_json::Value::from(text.as_str())),
            Literal::Truth(truth) => write!(f, "{truth}"),
            Literal::Number(number) => write!(f, "{number}"),
            Literal::Moment(moment) => write!(f, "\"{moment}\""),
            Literal::Null => f.write_str("null"),
        }
    }
}
