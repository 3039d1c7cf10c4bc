//! Reads filters: recursive descent over the grammar of RFC 7644, figure 1, with a budget.
//!
//! Beyond the RFC it takes `emails[type eq "work"].value eq "x"`, which Entra and Rippling send, and a complex
//! attribute compared by itself, which means its `value`. Length, nesting and number of conditions are bounded
//! before anything is built, so no input costs more than a few microseconds or any stack.

use serde_json::Number;

use crate::error::{ScimError, ScimType};
use crate::moment::Moment;
use crate::schema::{Attribute, AttributePath, ResourceKind, Returned, Schemas, Type};

use super::{CompareOp, Comparison, Filter, Literal};

/// The longest filter, in bytes.
pub const MAX_LENGTH: usize = 4_096;
/// The deepest nesting of parentheses, brackets and `not`.
pub const MAX_DEPTH: usize = 16;
/// The most conditions in one filter.
pub const MAX_TERMS: usize = 32;

impl Filter {
    /// Reads a filter on a kind of resource.
    ///
    /// # Errors
    /// `invalidFilter` for one that is malformed, too long, too deep, names an attribute that is unknown or never
    /// told, or compares it in a way its type does not have.
    pub fn parse_filter(schemas: &Schemas, kind: ResourceKind, text: &str) -> Result<Self, ScimError> {
        FilterReader::new(schemas, kind, text, Grammar::Filter).read_whole()
    }

    /// Reads a filter on all kinds of resources, for one of them: an attribute that only another kind has is one that
    /// this kind never has.
    pub(crate) fn parse_among_all(
        schemas: &Schemas,
        kind: ResourceKind,
        text: &str,
    ) -> Result<Self, ScimError> {
        let mut reader = FilterReader::new(schemas, kind, text, Grammar::Filter);
        reader.is_among_all = true;
        reader.read_whole()
    }
}

/// The kind of text that is read, for errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grammar {
    Filter,
    Path,
}

/// A place in a text that holds a filter or a path.
pub(crate) struct FilterReader<'a> {
    schemas: &'a Schemas,
    kind: ResourceKind,
    text: &'a str,
    at: usize,
    depth: usize,
    terms: usize,
    /// True where attributes of other kinds are known too.
    is_among_all: bool,
    pub(crate) grammar: Grammar,
}

impl<'a> FilterReader<'a> {
    pub(crate) fn new(schemas: &'a Schemas, kind: ResourceKind, text: &'a str, grammar: Grammar) -> Self {
        Self { schemas, kind, text, at: 0, depth: 0, terms: 0, is_among_all: false, grammar }
    }

    fn read_whole(mut self) -> Result<Filter, ScimError> {
        if self.text.len() > MAX_LENGTH {
            return Err(ScimError::invalid_filter(format!("a filter is limited to {MAX_LENGTH} bytes")));
        }
        let filter = self.read_filter(None)?;
        self.expect_end()?;
        Ok(filter)
    }

    /// A whole condition: `or` binds loosest. Inside brackets `element` is the list that is meant.
    pub(crate) fn read_filter(&mut self, element: Option<&AttributePath>) -> Result<Filter, ScimError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fail(format!("a filter is limited to {MAX_DEPTH} levels")));
        }
        let mut any = vec![self.read_conjunction(element)?];
        while self.take_word("or") {
            any.push(self.read_conjunction(element)?);
        }
        self.depth -= 1;
        Ok(one_or(any, Filter::Any))
    }

    fn read_conjunction(&mut self, element: Option<&AttributePath>) -> Result<Filter, ScimError> {
        let mut all = vec![self.read_term(element)?];
        while self.take_word("and") {
            all.push(self.read_term(element)?);
        }
        Ok(one_or(all, Filter::All))
    }

    fn read_term(&mut self, element: Option<&AttributePath>) -> Result<Filter, ScimError> {
        self.skip_blanks();
        if self.is_negation() {
            self.at += "not".len();
            self.skip_blanks();
            return Ok(Filter::Not(Box::new(self.read_group(element)?)));
        }
        if self.peek() == Some('(') {
            return self.read_group(element);
        }
        self.count_term()?;
        match element {
            Some(list) => self.inner_term(list),
            None => self.outer_term(),
        }
    }

    fn count_term(&mut self) -> Result<(), ScimError> {
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return Err(self.fail(format!("a filter is limited to {MAX_TERMS} conditions")));
        }
        Ok(())
    }

    fn read_group(&mut self, element: Option<&AttributePath>) -> Result<Filter, ScimError> {
        self.expect_char('(')?;
        let inner = self.read_filter(element)?;
        self.expect_char(')')?;
        Ok(inner)
    }

    fn outer_term(&mut self) -> Result<Filter, ScimError> {
        let path = self.read_path()?;
        if self.peek() != Some('[') {
            return self.read_condition(path, NameLevel::Resource);
        }
        let inner = self.read_brackets(&path)?;
        let Some(sub) = self.read_sub_attribute(&path)? else {
            return Ok(Filter::Element(path, Box::new(inner)));
        };
        self.count_term()?;
        let mut all = match inner {
            Filter::All(all) => all,
            other => vec![other],
        };
        all.push(self.read_condition(sub, NameLevel::Element)?);
        Ok(Filter::Element(path, Box::new(Filter::All(all))))
    }

    fn inner_term(&mut self, list: &AttributePath) -> Result<Filter, ScimError> {
        let name = self.read_name();
        let sub = list.attribute().sub_attribute(name).ok_or_else(|| {
            let name = crate::schema::shown(name);
            self.fail(format!("{list} has no sub-attribute \"{name}\""))
        })?;
        self.read_condition(list.with_sub(sub), NameLevel::Element)
    }

    /// `[…]` after a list.
    pub(crate) fn read_brackets(&mut self, path: &AttributePath) -> Result<Filter, ScimError> {
        let list = path.attribute();
        if path.sub_attribute().is_some() || !list.multi || list.kind != Type::Complex {
            return Err(self.fail(format!("{path} is no list of elements to choose from")));
        }
        let outside = std::mem::replace(&mut self.grammar, Grammar::Filter);
        self.expect_char('[')?;
        let inner = self.read_filter(Some(path))?;
        self.expect_char(']')?;
        self.grammar = outside;
        Ok(inner)
    }

    /// `.value` after `]`.
    pub(crate) fn read_sub_attribute(
        &mut self,
        path: &AttributePath,
    ) -> Result<Option<AttributePath>, ScimError> {
        if self.peek() != Some('.') {
            return Ok(None);
        }
        self.at += 1;
        let name = self.read_name();
        match path.attribute().sub_attribute(name) {
            Some(sub) => Ok(Some(path.with_sub(sub))),
            None => {
                let name = crate::schema::shown(name);
                Err(self.fail(format!("{path} has no sub-attribute \"{name}\"")))
            }
        }
    }

    /// `pr`, or an operator and a value.
    fn read_condition(&mut self, path: AttributePath, within: NameLevel) -> Result<Filter, ScimError> {
        if path.leaf().returned == Returned::Never {
            return Err(self.fail(format!("{path} cannot be searched")));
        }
        if path.leaf().kind == Type::Reference && path.leaf().is_ours() {
            return Err(self.fail(format!("{path} is made for each answer and cannot be searched")));
        }
        if !self.skip_blanks() {
            return Err(self.fail("a blank and an operator are due"));
        }
        if self.take_word("pr") {
            return Ok(Filter::Present(path));
        }
        let operator = self.read_operator()?;
        if !self.skip_blanks() {
            return Err(self.fail("a blank and a value are due"));
        }
        let written = self.read_literal()?;
        let Some(path) = path.to_value() else {
            return Err(self.fail(format!("{path} has parts: say which one to compare")));
        };
        let value = self.fitting_literal(&path, operator, written)?;
        Ok(spell_out_primary(Comparison { path, operator, value }, within))
    }

    /// The value as the attribute's type has it.
    fn fitting_literal(
        &self,
        path: &AttributePath,
        operator: CompareOp,
        written: WrittenValue,
    ) -> Result<Literal, ScimError> {
        use CompareOp::{Co, Eq, Ew, Ge, Gt, Le, Lt, Ne, Sw};
        let leaf: &Attribute = path.leaf();
        let literal = match (leaf.kind, written) {
            (_, WrittenValue::Null) => Literal::Null,
            (Type::Boolean, WrittenValue::Truth(truth)) => Literal::Truth(truth),
            (Type::Boolean, WrittenValue::Text(text)) => match parse_truth(&text) {
                Some(truth) => Literal::Truth(truth),
                None => return Err(self.fail(format!("{path} is true or false"))),
            },
            (Type::Integer, WrittenValue::Number(number)) => match number.as_i64() {
                Some(whole) => Literal::Number(whole.into()),
                None => return Err(self.fail(format!("{path} is compared with a whole number"))),
            },
            (Type::Decimal, WrittenValue::Number(number)) => match as_double(&number) {
                Some(number) => Literal::Number(number),
                None => return Err(self.fail(format!("{path} is compared with a number"))),
            },
            (Type::DateTime, WrittenValue::Text(text)) => match Moment::parse(&text) {
                Some(moment) => Literal::Moment(moment),
                None => {
                    return Err(self.fail(format!("{path} is compared with a moment as RFC 3339 writes it")));
                }
            },
            (Type::String | Type::Reference, WrittenValue::Text(text)) => Literal::Text(text),
            (Type::Binary, _) => return Err(self.fail(format!("{path} cannot be searched"))),
            _ => return Err(self.fail(format!("the value does not have the type of {path}"))),
        };
        let runs = match (&literal, leaf.kind) {
            (Literal::Null, _) | (_, Type::Boolean) => matches!(operator, Eq | Ne),
            (_, Type::DateTime | Type::Integer | Type::Decimal) => {
                matches!(operator, Eq | Ne | Gt | Ge | Lt | Le)
            }
            _ => matches!(operator, Eq | Ne | Co | Sw | Ew | Gt | Ge | Lt | Le),
        };
        if runs {
            Ok(literal)
        } else {
            Err(self.fail(format!("{path} cannot be compared by {} with that value", operator.as_str())))
        }
    }

    fn read_operator(&mut self) -> Result<CompareOp, ScimError> {
        use CompareOp::{Co, Eq, Ew, Ge, Gt, Le, Lt, Ne, Sw};
        for operator in [Eq, Ne, Co, Sw, Ew, Gt, Ge, Lt, Le] {
            if self.take_word(operator.as_str()) {
                return Ok(operator);
            }
        }
        Err(self.fail("an operator is due: eq, ne, co, sw, ew, gt, ge, lt, le or pr"))
    }

    fn read_literal(&mut self) -> Result<WrittenValue, ScimError> {
        if self.peek() == Some('"') {
            let length =
                string_length(self.rest()).ok_or_else(|| self.fail("the text has no closing quote"))?;
            let text: String = serde_json::from_str(&self.rest()[..length])
                .map_err(|_| self.fail("the text is not written as JSON writes it"))?;
            if text.contains('\0') {
                return Err(self.fail("no value holds a NUL character"));
            }
            self.at += length;
            return Ok(WrittenValue::Text(text));
        }
        for (word, literal) in [
            ("true", WrittenValue::Truth(true)),
            ("false", WrittenValue::Truth(false)),
            ("null", WrittenValue::Null),
        ] {
            if self.take_word(word) {
                return Ok(literal);
            }
        }
        if let Some(number) = self.take_number() {
            return Ok(WrittenValue::Number(number));
        }
        Err(self.fail("a value is due: text in double quotes, a number, true, false or null"))
    }

    /// Steps over a number as JSON writes it, if one stands here by itself.
    fn take_number(&mut self) -> Option<Number> {
        let rest = self.rest();
        let length = rest.find(|c: char| is_blank(c) || "()[]".contains(c)).unwrap_or(rest.len());
        let number = serde_json::from_str(&rest[..length]).ok()?;
        self.at += length;
        Some(number)
    }

    /// The attribute named here.
    pub(crate) fn read_path(&mut self) -> Result<AttributePath, ScimError> {
        let name = self.read_name();
        let resolved = self.schemas.resolve_name(self.kind, name);
        let others = ResourceKind::ALL.into_iter().filter(|_| self.is_among_all && resolved.is_err());
        let of_others = others.filter_map(|kind| self.schemas.resolve_name(kind, name).ok()).next();
        of_others.map_or(resolved, Ok).map_err(|error| self.fail(error.to_string()))
    }

    /// Everything up to what cannot be part of a name.
    pub(crate) fn read_name(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| c.is_whitespace() || "[]()\"".contains(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Steps over a keyword, in any case, if it stands here by itself.
    fn take_word(&mut self, word: &str) -> bool {
        let rest = self.text[self.at..].trim_start_matches(is_blank);
        let stands = rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
            && rest[word.len()..].chars().next().is_none_or(|next| is_blank(next) || "()[]".contains(next));
        if stands {
            self.at = self.text.len() - rest.len() + word.len();
        }
        stands
    }

    /// `not (` or `not(`.
    fn is_negation(&self) -> bool {
        let rest = self.rest();
        rest.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("not"))
            && rest[3..].trim_start_matches(is_blank).starts_with('(')
    }

    fn expect_char(&mut self, due: char) -> Result<(), ScimError> {
        self.skip_blanks();
        if self.peek() != Some(due) {
            return Err(self.fail(format!("\"{due}\" is due")));
        }
        self.at += due.len_utf8();
        Ok(())
    }

    pub(crate) fn expect_end(&mut self) -> Result<(), ScimError> {
        self.skip_blanks();
        if self.rest().is_empty() { Ok(()) } else { Err(self.fail("nothing more is due")) }
    }

    fn skip_blanks(&mut self) -> bool {
        let before = self.at;
        self.at = self.text.len() - self.rest().trim_start_matches(is_blank).len();
        self.at > before
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// An error that says where.
    pub(crate) fn fail(&self, why: impl Into<String>) -> ScimError {
        let (scim_type, what) = match self.grammar {
            Grammar::Filter => (ScimType::InvalidFilter, "filter"),
            Grammar::Path => (ScimType::InvalidPath, "path"),
        };
        let column = self.text[..self.at].chars().count() + 1;
        ScimError::of_type(scim_type, format!("{what}, character {column}: {}", why.into()))
    }
}

/// The level at which a condition looks names up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameLevel {
    Resource,
    /// Inside `[ ]`.
    Element,
}

/// An element without `primary` is one whose `primary` is false (RFC 7643 §2.4): `primary eq false` asks whether it is not true.
fn spell_out_primary(comparison: Comparison, within: NameLevel) -> Filter {
    let Comparison { path, operator, value } = comparison;
    let is_primary = path.attribute().multi
        && path
            .sub_attribute()
            .is_some_and(|sub| sub.name.as_ref() == "primary" && sub.kind == Type::Boolean);
    let is_false = match (operator, &value) {
        (CompareOp::Eq, Literal::Truth(false)) if is_primary => true,
        (CompareOp::Ne, Literal::Truth(false)) if is_primary => false,
        _ => return Filter::Compare(Comparison { path, operator, value }),
    };
    let list = path.whole_attribute();
    let is_true = Filter::Compare(Comparison { path, operator: CompareOp::Eq, value: Literal::Truth(true) });
    let not = |filter| Filter::Not(Box::new(filter));
    match (within, is_false) {
        (NameLevel::Element, true) => not(is_true),
        (NameLevel::Element, false) => is_true,
        (NameLevel::Resource, true) => Filter::Element(list, Box::new(not(is_true))),
        (NameLevel::Resource, false) => not(Filter::Element(list, Box::new(not(is_true)))),
    }
}

/// A value as it was written, before the attribute says what it should be.
enum WrittenValue {
    Text(String),
    Truth(bool),
    Number(Number),
    Null,
}

/// A number as a decimal attribute holds it: a double, of which there is one zero. None for what no double holds.
pub(crate) fn as_double(number: &Number) -> Option<Number> {
    let double = number.as_f64()?;
    Number::from_f64(if double == 0.0 { 0.0 } else { double })
}

/// `true` or `false` as text in any case (rule 3 of the dialects).
pub(crate) fn parse_truth(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

fn one_or(mut parts: Vec<Filter>, join: impl FnOnce(Vec<Filter>) -> Filter) -> Filter {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            join(parts)
        }
        None => join(parts),
    }
}

/// Measures the JSON string at the start of a text, its quotes included.
fn string_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}
