//! What the fuzzers hold to be true of any Bulk and of any search. The same functions replay the corpora on the stable
//! compiler (`scim/tests/suite/corpus.rs`).

use std::collections::HashSet;
use std::sync::LazyLock;

use bytes::Bytes;
use portcullis_policy::{ResourceId, Timestamp};
use portcullis_scim::{
    Act, Bulk, BulkLimits, GroupPatch, Meta, Outcome, PageCursor, PageStart, Resource, ResourceKind,
    ResourceRecord, Schemas, ScimError, ScimRequest, Search, Selection, Service, Version, Wanted, Write,
    answer_request, read_request,
};
use serde_json::{Value, json};

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(Schemas::core_schemas);

const BASE: &str = "https://scim.example.test/scim/v2";

/// A Bulk: a line that says what becomes of each write, and the body. Driven to its end it comes to one, in bounded steps;
/// every operation has its result, and no more of them succeed than writes did.
pub fn bulk(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (answers, body) = (&data[..at], &data[data.len().min(at + 1)..]);
    let body = Bytes::copy_from_slice(body);
    let Ok(request) = http::Request::post("/Bulk").body(body.clone()) else { return };
    let wanted = Wanted::from_request(&SCHEMAS, &request);
    let (outcome, written) = match read_request(&SCHEMAS, &request) {
        Ok(ScimRequest::Bulk(bulk)) => {
            let (outcome, written) = drive(bulk, answers);
            (Ok(outcome), Some(written))
        }
        Ok(other) => panic!("{other:?} is no Bulk"),
        Err(error) => (Err(error), None),
    };
    assert_ne!(outcome, Err(ScimError::Internal), "bad input is never our fault");
    let response = answer_request(&SCHEMAS, &Service::new(BASE, GroupPatch::Empty), &wanted, outcome);
    let Some(written) = written else {
        assert!(response.status().is_client_error(), "{}", response.status());
        return;
    };
    assert_eq!(response.status(), 200);
    let answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let results = answer["Operations"].as_array().cloned().unwrap_or_default();
    let status = |result: &Value| result["status"].as_str().unwrap_or_default().to_owned();
    let succeeded = results.iter().filter(|result| status(result).starts_with('2')).count();
    assert!(succeeded <= written, "{succeeded} succeeded where {written} were written: {answer}");
    assert!(results.iter().all(|result| status(result) != "500"), "{answer}");
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let member = |name: &str| {
        asked.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let operations = member("Operations").and_then(Value::as_array).map_or(0, Vec::len);
    assert!(results.len() <= operations);
    if member("failOnErrors").is_none() {
        assert_eq!(results.len(), operations, "each operation has its result: {answer}");
    }
}

/// Carries a Bulk out as its answers say, and tells how many writes succeeded.
fn drive(mut bulk: Bulk, answers: &[u8]) -> (Outcome, usize) {
    let (mut written, mut steps) = (0, 0);
    loop {
        let piece = bulk.next_piece(&SCHEMAS);
        if piece.is_empty() {
            return (Outcome::Bulk(bulk.into_results()), written);
        }
        let places: HashSet<String> = piece.iter().map(|write| format!("{:?}", write.place)).collect();
        assert_eq!(places.len(), piece.len(), "each write of a piece has a place of its own");
        for write in piece {
            let answer =
                answer_write(&write.write, steps, answers.get(steps % answers.len().max(1)).copied());
            written += usize::from(answer.is_ok());
            steps += 1;
            bulk.settle(write.place, answer);
        }
        // Each operation is written once, and once more where it closes a circle.
        assert!(steps <= 2 * BulkLimits::default().operations, "it does not end");
    }
}

/// What a store could say to a write.
fn answer_write(write: &Write, step: usize, answer: Option<u8>) -> Result<Outcome, ScimError> {
    let kind = write.kind();
    match answer {
        Some(b'n') => return Err(ScimError::NotFound { kind, id: ResourceId::new("gone") }),
        Some(b'u') => {
            return Err(ScimError::Uniqueness {
                kind,
                attribute: "userName".into(),
                with: "somebody".to_owned(),
            });
        }
        Some(b'p') => return Err(ScimError::PreconditionFailed { version: "W/\"9\"".to_owned() }),
        _ => {}
    }
    let (id, resource) = match &write.act {
        Act::Create(resource) => (ResourceId::new(&format!("made-{step}")), resource.clone()),
        Act::Replace(id, resource) => (id.clone(), resource.replacing(&SCHEMAS, &sample(kind).resource)?),
        Act::Patch(_, id, patch) => (id.clone(), patch.apply_to(&SCHEMAS, &sample(kind))?),
        Act::Delete(..) => return Ok(Outcome::Deleted),
    };
    let record = ResourceRecord { id, resource, ..sample(kind) };
    Ok(if matches!(write.act, Act::Create(_)) { Outcome::Created(record) } else { Outcome::Changed(record) })
}

/// A search: the first byte chooses the place, the rest is the query or, of a search by POST, the body. It reads or is
/// refused; a cursor that is read is written as one that reads as itself, and continues no other search.
pub fn search(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let path = if first % 2 == 0 { "/Users" } else { "/Groups" };
    if first % 4 >= 2 {
        let path = if first % 8 >= 6 { "/.search".to_owned() } else { format!("{path}/.search") };
        let Ok(request) = http::Request::post(path).body(Bytes::copy_from_slice(rest)) else { return };
        find(&request);
        return;
    }
    let Ok(query) = std::str::from_utf8(rest) else { return };
    let Ok(request) = http::Request::get(format!("{path}?{query}")).body(Bytes::new()) else { return };
    let Some(found) = find(&request) else { return };
    // The same words again with the cursor of a page that ended somewhere.
    let Selection::Page(Search { start: start @ PageStart::Cursor { search, .. }, .. }) = found else {
        return;
    };
    let Some(next) = start.continue_after(ResourceKind::User, 0x1f, 3) else { return };
    // What stands behind a `#` is no part of it.
    let query = request.uri().query().unwrap_or_default();
    let others: Vec<&str> = query.split('&').filter(|pair| !is_cursor(pair)).collect();
    let ask = |others: &str, cursor: &PageCursor| {
        let uri = format!("{path}?{others}&cursor={}", cursor.to_text());
        http::Request::get(uri).body(Bytes::new()).ok().map(|request| find(&request))
    };
    let again = ask(&others.join("&"), &next).flatten();
    let Some(Selection::Page(Search { start, .. })) = again else { panic!("{query} does not go on") };
    assert_eq!(start, PageStart::Cursor { after: Some(next), search });
    if !others.iter().any(|pair| pair.contains("ilter") || pair.contains('%')) {
        let elsewhere = ask("filter=title%20eq%20%22another%22", &next).flatten();
        assert!(elsewhere.is_none(), "the cursor of {query} goes on with another search");
    }
}

fn is_cursor(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    // A name may be written with escapes; those are not looked at here.
    name.eq_ignore_ascii_case("cursor") || name.contains('%')
}

/// Reads a search and answers it with nothing; `None` where it is refused.
fn find(request: &http::Request<Bytes>) -> Option<Selection> {
    match read_request(&SCHEMAS, request) {
        Ok(ScimRequest::Find(query)) => Some(query.selection),
        Ok(other) => panic!("{other:?} is no search"),
        Err(error) => {
            assert_ne!(error, ScimError::Internal, "bad input is never our fault");
            let wanted = Wanted::from_request(&SCHEMAS, request);
            let service = Service::new(BASE, GroupPatch::Empty);
            assert!(answer_request(&SCHEMAS, &service, &wanted, Err(error)).status().is_client_error());
            None
        }
    }
}

/// Somebody, and a group of two.
fn sample(kind: ResourceKind) -> ResourceRecord {
    let json = match kind {
        ResourceKind::User => {
            json!({ "userName": "a@corp.test", "externalId": "x", "active": true, "title": "a" })
        }
        ResourceKind::Group => {
            json!({ "displayName": "a", "members": [{ "value": "a", "type": "User" }, { "value": "b", "type": "Group" }] })
        }
    };
    let resource = Resource::from_json(kind, &json.to_string()).unwrap_or_else(|error| panic!("{error}"));
    let meta = Meta { created: Timestamp(1_000), modified: Timestamp(2_000), version: Version(3) };
    ResourceRecord { id: ResourceId::new("u-1"), resource, meta, groups: Vec::new() }
}
