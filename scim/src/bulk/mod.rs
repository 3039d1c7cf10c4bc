//! Bulk (RFC 7644 §3.7): many operations in one request, as a state machine. [`Bulk::next_piece`] says what can be written
//! now, [`Bulk::settle`] hears what came of it; whoever drives it has the store.
//!
//! Operations run in the order they were sent, except that a POST is brought forward where an earlier operation refers to
//! what it makes: so a change never overtakes another of the same resource. POSTs that refer to each other in a circle are
//! made without the reference that closes it, which a PATCH adds as soon as there is something to refer to.
//! The rule it protects: an operation that was not applied whole is an error, with the status it would have alone.

mod order;
mod read;
mod references;
mod results;

use std::collections::{HashMap, VecDeque};
use std::mem;

use portcullis_policy::ResourceId;
use serde_json::{Map, Value};

use crate::endpoint::Endpoint;
use crate::error::ScimError;
use crate::outcome::Outcome;
use crate::read_write::{WriteVerb, read_write};
use crate::schema::{ResourceKind, Schemas};
use crate::write::{Act, Precondition, Write};

use order::Step;
use references::{BulkReference, LeftOut};

pub use results::BulkResults;
use results::{BulkResult, OperationEnd};

pub(crate) use read::read_bulk;

/// The most writes of a piece that takes access away: they work some milliseconds together, and a removal from elsewhere
/// may stand behind them.
const REMOVALS_AT_ONCE: usize = 8;
/// The most writes of any other piece.
const WRITES_AT_ONCE: usize = 64;

/// A request of many operations, under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Bulk {
    operations: Vec<BulkOperation>,
    /// The operations that make something, by their `bulkId`.
    made_by: HashMap<String, usize>,
    /// The steps that are still to be taken, in order.
    steps: VecDeque<Step>,
    /// A step that was read and found no place in its piece.
    read_ahead: Option<Prepared>,
    /// The number of errors after which nothing further is begun (`failOnErrors`).
    fail_on_errors: Option<usize>,
    errors: usize,
}

/// One write of a piece.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkWrite {
    /// The operation that it belongs to, for [`Bulk::settle`].
    pub place: BulkPlace,
    /// The write.
    pub write: Write,
    /// The key under which it is carried out once.
    pub repeat: Option<RepeatKey>,
}

/// The place of a write among the steps of its Bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkPlace {
    operation: usize,
    /// It adds the reference that closed a circle.
    completes: bool,
}

/// An idempotency key that came with an operation, and what the operation says: one without the other means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatKey {
    /// The key as the client sent it, 1 to 255 bytes.
    pub key: String,
    /// Method, path, version and data, with `bulkId`s resolved: two operations that say the same have the same text.
    pub operation: String,
    /// True for the second write of an operation: it brings its record up to date and is never answered from it.
    pub continues: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct BulkOperation {
    /// `POST`, `PUT`, `PATCH` or `DELETE`; another word is a fault.
    method: String,
    bulk_id: Option<String>,
    path: String,
    version: Option<Precondition>,
    data: Map<String, Value>,
    key: Option<String>,
    /// The reason why it cannot be read.
    fault: Option<ScimError>,
    /// The operations whose `bulkId` its path or data names.
    refers_to: Vec<usize>,
    /// The values it was made without, until they are there.
    left_out: Vec<LeftOut>,
    /// The text of [`RepeatKey::operation`], for its second write.
    said: Option<String>,
    is_under_way: bool,
    done: Option<OperationEnd>,
}

/// The writes that may share a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PieceKind {
    /// They take access away and overtake the others.
    Removals,
    /// All others.
    Others,
    /// A change of a group, whose members are compared first.
    Alone,
}

/// A step that is ready to be written.
#[derive(Clone, Debug, PartialEq)]
struct Prepared {
    kind: PieceKind,
    write: BulkWrite,
}

impl Bulk {
    /// Tells whether it does more than to make resources, and so may take access away.
    pub fn changes_anything(&self) -> bool {
        self.operations.iter().any(|operation| operation.method != "POST")
    }

    /// The writes that may be carried out now, in this order and together; none when all is done. Each must be settled
    /// before the next piece is asked for.
    pub fn next_piece(&mut self, schemas: &Schemas) -> Vec<BulkWrite> {
        let mut piece: Vec<BulkWrite> = Vec::new();
        let mut of_kind = None;
        while self.may_begin_after(piece.len()) {
            let Some(prepared) = self.prepare_next(schemas, piece.len()) else { break };
            let most = match prepared.kind {
                PieceKind::Removals => REMOVALS_AT_ONCE,
                PieceKind::Others => WRITES_AT_ONCE,
                PieceKind::Alone => 1,
            };
            if of_kind.is_some_and(|kind| kind != prepared.kind) || piece.len() >= most {
                self.read_ahead = Some(prepared);
                break;
            }
            of_kind = Some(prepared.kind);
            self.operations[prepared.write.place.operation].is_under_way = true;
            piece.push(prepared.write);
        }
        piece
    }

    /// Hears what came of a write.
    pub fn settle(&mut self, place: BulkPlace, answer: Result<Outcome, ScimError>) {
        let operation = &mut self.operations[place.operation];
        // A reference that led nowhere is no resource.
        let named = || match Endpoint::of_path(&operation.path) {
            Ok(Endpoint::Resource(kind, id)) if !references::is_reference(id.as_str()) => Some((kind, id)),
            _ => None,
        };
        let done = match answer {
            Ok(Outcome::Created(record) | Outcome::Changed(record)) => OperationEnd {
                version: Some(record.tag(true).to_string()),
                outcome: Ok(success_status(&operation.method)),
                resource: Some((record.resource.kind(), record.id)),
            },
            Ok(_) => OperationEnd {
                resource: named(),
                version: None,
                outcome: Ok(success_status(&operation.method)),
            },
            Err(error) if place.completes => {
                let resource = operation.made();
                self.errors += 1;
                OperationEnd { resource, version: None, outcome: Err(error) }
            }
            Err(error) => {
                self.errors += 1;
                OperationEnd { resource: named(), version: None, outcome: Err(error) }
            }
        };
        operation.is_under_way = false;
        operation.done = Some(done);
    }

    /// Ends it: the ends of all operations that were begun.
    pub fn into_results(mut self) -> BulkResults {
        // A circle that nobody closed any more.
        for operation in &mut self.operations {
            if let (Some(left), Some(done @ OperationEnd { outcome: Ok(_), .. })) =
                (operation.left_out.first(), &mut operation.done)
            {
                done.outcome = Err(ScimError::Unresolved { bulk_id: left.bulk_id.clone() });
            }
        }
        let ended = |operation: BulkOperation| {
            Some(BulkResult { method: operation.method, bulk_id: operation.bulk_id, end: operation.done? })
        };
        BulkResults::new(self.operations.into_iter().filter_map(ended).collect())
    }

    /// Tells whether another operation may be begun, when that many are under way of which each may be an error.
    fn may_begin_after(&self, under_way: usize) -> bool {
        self.fail_on_errors.is_none_or(|most| self.errors + under_way < most)
    }

    /// The next step that can be written. Operations that cannot be are settled on the way; none where all are, or where
    /// the next one waits for something that is under way.
    fn prepare_next(&mut self, schemas: &Schemas, under_way: usize) -> Option<Prepared> {
        if let Some(prepared) = self.read_ahead.take() {
            return Some(prepared);
        }
        loop {
            let step = *self.steps.front()?;
            if !self.may_begin_after(under_way) || self.waits_for_piece(step) {
                return None;
            }
            self.steps.pop_front();
            let (place, write) = match step {
                Step::Run(at) => {
                    (BulkPlace { operation: at, completes: false }, self.read_operation(schemas, at))
                }
                Step::Complete(at) => {
                    let operation = &mut self.operations[at];
                    if operation.made().is_none() || operation.left_out.is_empty() {
                        operation.left_out.clear(); // it has failed, or lacks nothing
                        continue;
                    }
                    (BulkPlace { operation: at, completes: true }, self.read_completion(schemas, at))
                }
            };
            match write {
                Ok((write, repeat)) => {
                    let kind = PieceKind::of_write(&write);
                    return Some(Prepared { kind, write: BulkWrite { place, write, repeat } });
                }
                Err(error) => self.settle(place, Err(error)),
            }
        }
    }

    fn waits_for_piece(&self, step: Step) -> bool {
        let is_under_way = |at: &usize| self.operations[*at].is_under_way;
        match step {
            Step::Run(at) => self.operations[at].refers_to.iter().any(is_under_way),
            Step::Complete(at) => is_under_way(&at) || self.operations[at].refers_to.iter().any(is_under_way),
        }
    }

    /// Reads an operation as the request it would be alone.
    fn read_operation(
        &mut self,
        schemas: &Schemas,
        at: usize,
    ) -> Result<(Write, Option<RepeatKey>), ScimError> {
        let operation = &mut self.operations[at];
        if let Some(fault) = operation.fault.take() {
            return Err(fault);
        }
        let (mut path, mut data) = (mem::take(&mut operation.path), mem::take(&mut operation.data));
        let (method, version) = (operation.method.clone(), operation.version.take());
        let mut left_out = match method.as_str() {
            "POST" => references::leave_out(&mut data, |bulk_id| {
                self.find_reference(bulk_id) == BulkReference::Later
            }),
            _ => Vec::new(),
        };
        let resolved = references::resolve_path(&path, |bulk_id| self.resolve(bulk_id))
            .map(|resolved| path = resolved)
            .and_then(|()| references::resolve_data(&mut data, |bulk_id| self.resolve(bulk_id)));
        let made_of = match Endpoint::of_path(&path) {
            Ok(Endpoint::Collection(kind)) => references::check_types(schemas, kind, &mut left_out),
            _ => Ok(()),
        };
        let operation = &mut self.operations[at];
        operation.left_out = left_out;
        operation.path.clone_from(&path);
        resolved.and(made_of)?;
        let repeat = operation.key.clone().map(|key| RepeatKey {
            key,
            operation: format!("{method} {path} {version:?} {}", Value::Object(data.clone())),
            continues: false,
        });
        operation.said = repeat.as_ref().map(|repeat| repeat.operation.clone());
        let verb = |id| match method.as_str() {
            "PUT" => Some(WriteVerb::Replace(id)),
            "PATCH" => Some(WriteVerb::Patch(id)),
            "DELETE" => Some(WriteVerb::Delete(id)),
            _ => None,
        };
        let write = match (Endpoint::of_path(&path)?, method.as_str()) {
            (Endpoint::Collection(kind), "POST") => {
                read_write(schemas, kind, WriteVerb::Create, data, version)?
            }
            (Endpoint::Resource(kind, id), _) => {
                let verb = verb(&id).ok_or(ScimError::MethodNotAllowed { allow: "PUT, PATCH, DELETE" })?;
                read_write(schemas, kind, verb, data, version)?
            }
            (Endpoint::Collection(_), _) => return Err(ScimError::MethodNotAllowed { allow: "POST" }),
            _ => {
                let detail =
                    "path: an operation of a Bulk goes to /Users, /Groups or one resource below them";
                return Err(ScimError::invalid_value(detail));
            }
        };
        Ok((write, repeat))
    }

    /// Reads the PATCH that adds what an operation was made without.
    fn read_completion(
        &mut self,
        schemas: &Schemas,
        at: usize,
    ) -> Result<(Write, Option<RepeatKey>), ScimError> {
        let left_out = mem::take(&mut self.operations[at].left_out);
        let mut data = references::completing_patch(left_out);
        references::resolve_data(&mut data, |bulk_id| self.resolve(bulk_id))?;
        let operation = &self.operations[at];
        let (kind, id) = operation.made().ok_or(ScimError::Internal)?;
        let write = read_write(schemas, kind, WriteVerb::Patch(&id), data, None)?;
        let repeat = operation.key.clone().zip(operation.said.clone());
        let repeat = repeat.map(|(key, operation)| RepeatKey { key, operation, continues: true });
        Ok((write, repeat))
    }

    fn find_reference(&self, bulk_id: &str) -> BulkReference {
        let Some(operation) = self.made_by.get(bulk_id).map(|at| &self.operations[*at]) else {
            return BulkReference::Unknown;
        };
        match (&operation.done, operation.made()) {
            (_, Some((_, id))) => BulkReference::Made(id),
            (Some(_), None) => BulkReference::Failed,
            (None, None) => BulkReference::Later,
        }
    }

    /// The id that a `bulkId` stands for.
    fn resolve(&self, bulk_id: &str) -> Result<ResourceId, ScimError> {
        match self.find_reference(bulk_id) {
            BulkReference::Made(id) => Ok(id),
            BulkReference::Unknown => Err(ScimError::invalid_value(
                "a value begins with bulkId: and names none of a POST of this request",
            )),
            BulkReference::Failed | BulkReference::Later => {
                Err(ScimError::Unresolved { bulk_id: bulk_id.to_owned() })
            }
        }
    }
}

impl BulkOperation {
    /// The resource that it has made.
    fn made(&self) -> Option<(ResourceKind, ResourceId)> {
        match &self.done {
            Some(OperationEnd { resource, outcome: Ok(_), .. }) if self.method == "POST" => resource.clone(),
            _ => None,
        }
    }
}

impl PieceKind {
    fn of_write(write: &Write) -> Self {
        match &write.act {
            Act::Replace(..) | Act::Patch(..) if write.kind() == ResourceKind::Group => Self::Alone,
            _ if write.takes_away() => Self::Removals,
            _ => Self::Others,
        }
    }
}

fn success_status(method: &str) -> http::StatusCode {
    match method {
        "POST" => http::StatusCode::CREATED,
        "DELETE" => http::StatusCode::NO_CONTENT,
        _ => http::StatusCode::OK,
    }
}
