//! SCIM 1.1 (core schema and protocol 1.1 of July 2012), translated: a request of 1.1 becomes the one of 2.0 that says the
//! same, and an answer of 2.0 the one of 1.1.
//!
//! Nothing is decided here: names, bodies, filters and PATCHes end in the strict engine that 2.0 ends in, so what takes
//! access away does so alike. What 1.1 can say and 2.0 cannot is refused, and so is what can be read two ways.

mod body;
mod discovery;
mod elements;
mod head;
mod members;
mod names;
mod patch;
mod shape;

use bytes::Bytes;

use crate::dialect::Rewrite;
use crate::error::ScimError;
use crate::limits::BulkLimits;
use crate::read::read_straightened;
use crate::request::ScimRequest;
use crate::schema::Schemas;

pub(crate) use discovery::discovery_body;
pub(crate) use head::translate_head;
pub(crate) use shape::{error_body, list_body, resource_body};

/// Reads a request of SCIM 1.1 whose path is relative to the base URL: `/Users`, `/Groups/{id}`, `/ServiceProviderConfigs`.
///
/// # Errors
/// Those of [`read_request`](crate::read_request); 406 where XML is asked for, 501 for a Bulk.
pub fn read_version_one(schemas: &Schemas, request: &http::Request<Bytes>) -> Result<ScimRequest, ScimError> {
    let (method, uri) = translate_head(request.method(), request.uri(), request.headers())?;
    let mut translated = http::Request::new(request.body().clone());
    *translated.method_mut() = method;
    *translated.uri_mut() = uri;
    translated.headers_mut().clone_from(request.headers());
    let mut read = read_straightened(schemas, BulkLimits::default(), &translated, body::translate_body)?;
    if let ScimRequest::Write(write) = &mut read {
        // What 1.1 says of lists is written so in 2.0: no client has bent a rule.
        write.rewrites.retain(|rule| !matches!(rule, Rewrite::AddToElement | Rewrite::RemoveListed));
    }
    Ok(read)
}
