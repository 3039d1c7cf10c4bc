//! Paths of PATCH (RFC 7644, figure 7): an attribute, some elements of a list, a part of either.

use std::fmt;
use std::sync::Arc;

use crate::error::ScimError;
use crate::filter::{Filter, FilterReader, Grammar, Inner};
use crate::schema::{AttributePath, NamedPart, ResourceKind, Schemas};

/// The longest path, in bytes.
pub(crate) const MAX_PATH: usize = 1_024;

/// The attribute that an operation changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PatchTarget {
    /// The attribute, or one sub-attribute of it.
    pub(crate) path: AttributePath,
    /// The filter that chooses elements of a list; `None` for all.
    pub(crate) chosen: Option<Filter>,
}

/// The thing that a path names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PathTarget {
    Target(PatchTarget),
    /// An extension as a whole.
    Extension(Arc<str>),
}

impl PathTarget {
    pub(crate) fn parse_path(schemas: &Schemas, kind: ResourceKind, text: &str) -> Result<Self, ScimError> {
        if text.len() > MAX_PATH {
            return Err(ScimError::invalid_path(format!("a path is limited to {MAX_PATH} bytes")));
        }
        let mut reader = FilterReader::new(schemas, kind, text, Grammar::Path);
        let path = match schemas.resolve_named(kind, reader.read_name()) {
            Ok(NamedPart::Attribute(path)) => path,
            Ok(NamedPart::Extension(urn)) => {
                reader.expect_end()?;
                return Ok(PathTarget::Extension(urn));
            }
            Err(error) => return Err(ScimError::invalid_path(error.to_string())),
        };
        let mut target = PatchTarget { path, chosen: None };
        if reader.peek() == Some('[') {
            target.chosen = Some(reader.read_brackets(&target.path)?);
            if let Some(sub) = reader.read_sub_attribute(&target.path)? {
                target.path = sub;
            }
        }
        reader.expect_end()?;
        Ok(PathTarget::Target(target))
    }
}

impl PatchTarget {
    /// Tells whether it means elements of a list as they are, one or more, and not the list.
    pub(crate) fn is_elements(&self) -> bool {
        self.chosen.is_some() && self.path.sub_attribute().is_none()
    }

    /// Tells whether it means a list as a whole.
    pub(crate) fn is_list(&self) -> bool {
        self.chosen.is_none() && self.path.sub_attribute().is_none() && self.path.attribute().multi
    }
}

impl fmt::Display for PatchTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(chosen) = &self.chosen else { return self.path.fmt(f) };
        write!(f, "{}[{}]", self.path.whole_attribute(), Inner(chosen))?;
        match self.path.sub_attribute() {
            Some(sub) => write!(f, ".{}", sub.name),
            None => Ok(()),
        }
    }
}
