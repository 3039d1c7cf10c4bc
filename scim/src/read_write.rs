//! Reads what a body asks to be written, whether it came alone or within a Bulk.

use portcullis_policy::ResourceId;
use serde_json::{Map, Value};

use crate::conform;
use crate::dialect::Dialect;
use crate::error::ScimError;
use crate::patch::Patch;
use crate::schema::{ResourceKind, Schemas};
use crate::write::{Act, Precondition, Write};

/// A write on one kind of resource.
#[derive(Clone, Copy)]
pub(crate) enum WriteVerb<'a> {
    Create,
    Replace(&'a ResourceId),
    Patch(&'a ResourceId),
    Delete(&'a ResourceId),
}

/// Reads what a body asks to be written.
pub(crate) fn read_write(
    schemas: &Schemas,
    kind: ResourceKind,
    verb: WriteVerb<'_>,
    body: Map<String, Value>,
    if_match: Option<Precondition>,
) -> Result<Write, ScimError> {
    let mut dialect = Dialect::new(schemas, kind);
    let act = match verb {
        WriteVerb::Delete(id) => Act::Delete(kind, id.clone()),
        WriteVerb::Patch(id) => {
            Patch::check_bounds(&body)?;
            let body = dialect.rewrite_patch(body)?;
            Act::Patch(kind, id.clone(), Patch::read_body(schemas, kind, &body)?)
        }
        WriteVerb::Create => {
            let body = dialect.rewrite_resource(body)?;
            let mut resource = conform::read_resource(schemas, kind, &body)?;
            if kind == ResourceKind::User && resource.active().is_none() {
                resource.set_active(true);
            }
            conform::check_extensions(schemas, &resource, None)?;
            Act::Create(resource)
        }
        WriteVerb::Replace(id) => {
            let body = dialect.rewrite_resource(body)?;
            Act::Replace(id.clone(), conform::read_resource(schemas, kind, &body)?)
        }
    };
    Ok(Write { act, if_match, rewrites: dialect.applied_rules() })
}
