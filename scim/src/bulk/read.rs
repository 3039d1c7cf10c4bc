//! Reads a Bulk. What is wrong with one operation is that operation's error; what is wrong with the request as a whole, or
//! could be read two ways, is refused before anything is done.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Bulk, BulkOperation, order, references};
use crate::conform;
use crate::error::ScimError;
use crate::json::{self, MAX_LEVELS};
use crate::limits::BulkLimits;
use crate::write::Precondition;

const BULK_REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
/// A Bulk, its list and an operation stand around each body.
const LEVELS_AROUND: usize = 3;
/// The longest `bulkId` or idempotency key, in bytes.
const MAX_NAME: usize = 255;

/// Reads the body of a request to `/Bulk`.
pub(crate) fn read_bulk(body: &[u8], limits: BulkLimits) -> Result<Bulk, ScimError> {
    if body.len() > limits.body {
        return Err(limits.too_large());
    }
    let body = json::read_object_within(body, MAX_LEVELS + LEVELS_AROUND)?;
    conform::check_schemas(&body, BULK_REQUEST)?;
    let mut fields = Fields(body);
    let fail_on_errors = read_fail_on_errors(fields.take("failOnErrors"))?;
    let Some(Value::Array(list)) = fields.take("Operations") else {
        return Err(ScimError::invalid_syntax("Operations must be a list"));
    };
    if list.is_empty() {
        return Err(ScimError::invalid_syntax("Operations must not be empty"));
    }
    if list.len() > limits.operations {
        let what = "the number of operations of a Bulk (maxOperations)";
        return Err(ScimError::TooLarge { what, limit: limits.operations.to_string().into() });
    }
    let mut operations: Vec<BulkOperation> = list.into_iter().map(read_operation).collect();
    let made_by = index_bulk_ids(&operations)?;
    for operation in &mut operations {
        let mut refers_to = Vec::new();
        references::each_reference(&operation.path, &operation.data, |bulk_id| {
            refers_to.extend(made_by.get(bulk_id));
        });
        refers_to.sort_unstable();
        refers_to.dedup();
        operation.refers_to = refers_to;
    }
    let refers_to: Vec<&[usize]> =
        operations.iter().map(|operation| operation.refers_to.as_slice()).collect();
    let steps = order::arrange_steps(&refers_to);
    Ok(Bulk { operations, made_by, steps, read_ahead: None, fail_on_errors, errors: 0 })
}

/// A whole number of errors from 1; absent, null and 0 are "go on".
fn read_fail_on_errors(given: Option<Value>) -> Result<Option<usize>, ScimError> {
    match given {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) if number.as_u64().is_some() => {
            let most = number.as_u64().and_then(|most| usize::try_from(most).ok());
            Ok(most.filter(|most| *most > 0))
        }
        Some(_) => Err(ScimError::invalid_value("failOnErrors must be a whole number")),
    }
}

/// The places of the POSTs by their `bulkId`. One that stands there twice could mean either.
fn index_bulk_ids(operations: &[BulkOperation]) -> Result<HashMap<String, usize>, ScimError> {
    let mut places = HashMap::new();
    for (at, operation) in operations.iter().enumerate() {
        let Some(bulk_id) = &operation.bulk_id else { continue };
        if places.insert(bulk_id.clone(), at).is_some() {
            return Err(ScimError::invalid_syntax("a bulkId stands at two operations"));
        }
    }
    places.retain(|_, at| operations[*at].method == "POST");
    Ok(places)
}

/// The members of an object, by names in any case.
struct Fields(Map<String, Value>);

impl Fields {
    fn take(&mut self, name: &str) -> Option<Value> {
        let held = self.0.keys().find(|held| held.eq_ignore_ascii_case(name))?.clone();
        self.0.remove(&held)
    }

    /// A text; null is none.
    fn take_text(&mut self, name: &str) -> Result<Option<String>, ScimError> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ScimError::invalid_syntax(format!("{name} must be text"))),
        }
    }

    /// A text that names something: 1 to 255 bytes without a control character.
    fn take_name(&mut self, name: &str) -> Result<Option<String>, ScimError> {
        let Some(text) = self.take_text(name)? else { return Ok(None) };
        if text.is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) {
            return Err(ScimError::invalid_value(format!("{name} must have 1 to {MAX_NAME} bytes of text")));
        }
        Ok(Some(text))
    }
}

fn read_operation(given: Value) -> BulkOperation {
    let mut operation = BulkOperation {
        method: String::new(),
        bulk_id: None,
        path: String::new(),
        version: None,
        data: Map::new(),
        key: None,
        fault: None,
        refers_to: Vec::new(),
        left_out: Vec::new(),
        said: None,
        is_under_way: false,
        done: None,
    };
    operation.fault = fill_operation(&mut operation, given).err();
    operation
}

/// Takes what can be read, so that also an operation with a fault is named in the answer.
fn fill_operation(operation: &mut BulkOperation, given: Value) -> Result<(), ScimError> {
    let Value::Object(given) = given else {
        return Err(ScimError::invalid_syntax("an operation must be an object"));
    };
    let mut fields = Fields(given);
    let (method, bulk_id) = (fields.take_text("method"), fields.take_name("bulkId"));
    let path = fields.take_text("path");
    operation.method = method.clone().ok().flatten().unwrap_or_default().to_ascii_uppercase();
    operation.bulk_id = bulk_id.clone().ok().flatten();
    operation.path = path.clone().ok().flatten().unwrap_or_default();
    let (_, _, _) = (method?, bulk_id?, path?);
    if !["POST", "PUT", "PATCH", "DELETE"].contains(&operation.method.as_str()) {
        return Err(ScimError::invalid_syntax("method must be POST, PUT, PATCH or DELETE"));
    }
    if operation.path.is_empty() {
        return Err(ScimError::invalid_syntax("path is missing"));
    }
    if operation.method == "POST" && operation.bulk_id.is_none() {
        return Err(ScimError::invalid_syntax("a POST in a Bulk needs a bulkId"));
    }
    operation.key = fields.take_name("idempotencyKey")?;
    operation.version =
        fields.take_text("version")?.map(|version| Precondition::of_fields([version.as_str()]));
    match fields.take("data") {
        Some(Value::Object(data)) => operation.data = data,
        None | Some(Value::Null) if operation.method == "DELETE" => {}
        None | Some(Value::Null) => return Err(ScimError::invalid_syntax("data is missing")),
        Some(_) if operation.method == "DELETE" => {}
        Some(_) => return Err(ScimError::invalid_syntax("data must be an object")),
    }
    Ok(())
}
