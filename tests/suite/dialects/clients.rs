//! The clients: one each, with the bodies that vendors document or that were captured, and invented people. Where a client's
//! body is a template of its customer's, it maps the provider's id of the person to `externalId`, as `docs/scim.md` asks.
//!
//! Google Workspace is not here: it provisions to no address of one's own choosing.

use http::Method;
use serde_json::{Value, json};

use super::calls::*;
use super::{Call, Cast, Client, Ending, live};
use crate::rig::directory::{ENTERPRISE, GROUP, PATCH, USER, patch};

const SCIM: &str = "application/scim+json";
const JSON: &str = "application/json";
const DISCOVERY: [&str; 3] = ["/ServiceProviderConfig", "/ResourceTypes", "/Schemas"];

const fn client(kind: &'static str, probes: &'static [&'static str]) -> Client {
    Client {
        kind,
        probes,
        makes_test_pair: false,
        matches: |cast| vec![by("userName", &cast.name)],
        create: |cast| post("/Users", person(cast, true)),
        update: |cast| put_user(cast, person(cast, true)),
        create_group: |_| post("/Groups", json!({ "schemas": [GROUP], "displayName": "Ops" })),
        join: |cast| patch_group(cast, json!([add_members(json!([{ "value": cast.user }]))])),
        leave: |cast| patch_group(cast, json!([remove_chosen(cast)])),
        deactivate: |cast| put_user(cast, person(cast, false)),
        reactivate: |cast| put_user(cast, person(cast, true)),
        end: |cast| delete(format!("/Users/{}", cast.user)),
        ends_in: Ending::Deleted,
    }
}

const OKTA_PROBES: &[&str] = &["/Users?startIndex=1&count=2", "/Groups?startIndex=1&count=100"];

fn okta_match(cast: &Cast) -> Vec<String> {
    let search = |name: &str| format!("{}&startIndex=1&count=100", by("userName", name));
    vec![search(&cast.name), search(&cast.name.to_uppercase())]
}

fn okta_create(cast: &Cast) -> Call {
    let body = json!({
        "schemas": [USER], "userName": cast.name, "name": { "givenName": "Mira", "familyName": "Sand" },
        "emails": [{ "primary": true, "value": cast.name, "type": "work" }], "displayName": "Mira Sand",
        "locale": "en-US", "externalId": cast.external_id, "groups": [], "password": "q7-Placeholder", "active": true,
    });
    post("/Users", body)
}

#[tokio::test(flavor = "multi_thread")]
async fn okta_catalogue_template() {
    let okta = Client {
        matches: okta_match,
        create: okta_create,
        update: |cast| put_user(cast, changed(cast, "title", "Boss")),
        create_group: |_| post("/Groups", group_of(json!([]))),
        join: |cast| {
            let members = json!([{ "value": cast.user, "display": cast.name }]);
            patch_group(cast, json!([rename(cast), add_members(members)]))
        },
        leave: |cast| patch_group(cast, json!([rename(cast), remove_chosen(cast)])),
        deactivate: |cast| set_active(cast, "replace", false),
        reactivate: |cast| set_active(cast, "replace", true),
        // It never deletes a user: it takes the group back.
        end: |cast| delete(format!("/Groups/{}", cast.group)),
        ends_in: Ending::WithoutGroup,
        ..client(SCIM, OKTA_PROBES)
    };
    live(&okta, "okta").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn okta_app_wizard() {
    let okta = Client {
        matches: okta_match,
        create: okta_create,
        update: |cast| put_user(cast, changed(cast, "title", "Boss")),
        join: |cast| put_group(cast, group_of(json!([{ "value": cast.user, "display": cast.name }]))),
        leave: |cast| put_group(cast, group_of(json!([]))),
        deactivate: |cast| put_user(cast, changed(cast, "active", false)),
        reactivate: |cast| put_user(cast, changed(cast, "active", true)),
        end: |cast| call(Method::PATCH, format!("/Groups/{}", cast.group), Some(push_now(cast)), &[204]),
        ends_in: Ending::WithoutGroup,
        ..client("application/scim+json; charset=utf-8", OKTA_PROBES)
    };
    live(&okta, "wizard").await;
}

/// "Push now" of a group that has nobody left.
fn push_now(_: &Cast) -> Value {
    patch(json!([{ "op": "replace", "path": "members", "value": [] }]))
}

fn entra_match(cast: &Cast) -> Vec<String> {
    let mail = format!("/Users?filter=emails[type eq \"work\"].value eq \"{}\"", cast.name);
    vec![by("userName", &cast.name), by("externalId", &cast.external_id), mail]
}

fn entra_create(cast: &Cast) -> Call {
    let body = json!({
        "schemas": [USER, "urn:ietf:params:scim:schemas:extension:enterprise:2.0User", ENTERPRISE],
        "externalId": cast.external_id, "userName": cast.name, "active": true, "displayName": "Joy Young", "title": null,
        "emails": [{ "primary": true, "type": "work", "value": cast.name }], "meta": { "resourceType": "User" },
        "name": { "formatted": "Joy Young", "familyName": "Young", "givenName": "Joy" }, "roles": [],
        ENTERPRISE: { "department": "Sales", "manager": null },
    });
    post("/Users", body)
}

fn entra_group(_: &Cast) -> Call {
    let legacy = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group";
    let body = json!({
        "schemas": [GROUP, legacy], "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159", "displayName": "Ops",
        "members": [], "meta": { "resourceType": "Group" },
    });
    post("/Groups", body)
}

const ENTRA_PROBES: &[&str] = &[
    "/Users?filter=userName+eq+%222f1c8a52-0b1e-4f5e-9a57-5d2b1c3e4f60%22",
    "/Groups?excludedAttributes=members&filter=displayName+eq+%22Ops%22",
];

#[tokio::test(flavor = "multi_thread")]
async fn entra_without_the_flag() {
    let entra = Client {
        matches: entra_match,
        create: entra_create,
        update: |cast| {
            let manager = format!("{ENTERPRISE}:manager");
            let operations = json!([
                { "op": "Add", "path": "title", "value": "Boss" },
                { "op": "Replace", "path": "displayName", "value": "Joy Y." },
                { "op": "Add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "+49 40 5550177" },
                { "op": "Add", "path": "addresses[type eq \"work\"].postalCode", "value": "20457" },
                { "op": "Add", "path": manager, "value": "u-9" },
                { "op": "Add", "path": "manager", "value": [{ "$ref": "https://scim.corp.test/Users/u-9", "value": "u-9" }] },
                { "op": "Replace", "path": manager, "value": { "value": "" } },
            ]);
            patch_user(cast, operations)
        },
        create_group: entra_group,
        join: |cast| {
            let members = json!([{ "$ref": null, "value": cast.user }]);
            patch_group(cast, json!([{ "op": "Add", "path": "members", "value": members }]))
        },
        leave: |cast| {
            let members = json!([{ "$ref": null, "value": cast.user }]);
            patch_group(cast, json!([{ "op": "Remove", "path": "members", "value": members }]))
        },
        deactivate: |cast| patch_user(cast, json!([{ "op": "Replace", "path": "active", "value": "False" }])),
        reactivate: |cast| patch_user(cast, json!([{ "op": "Replace", "path": "active", "value": "True" }])),
        ..client(SCIM, ENTRA_PROBES)
    };
    live(&entra, "entra").await;
}

/// The flag is part of the tenant URL, and so of every path.
fn flagged(mut call: Call) -> Call {
    call.path.push_str(if call.path.contains('?') { "&aadOptscim062020" } else { "?aadOptscim062020" });
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn entra_with_the_flag() {
    let entra = Client {
        matches: entra_match,
        create: |cast| flagged(entra_create(cast)),
        update: |cast| {
            let (number, manager) = (format!("{ENTERPRISE}:employeeNumber"), format!("{ENTERPRISE}:manager"));
            let value = json!({ "title": "Boss", "name.givenName": "Joyce", number: "E-78", manager: "u-9" });
            flagged(patch_user(cast, json!([{ "op": "replace", "value": value }])))
        },
        create_group: |cast| flagged(entra_group(cast)),
        join: |cast| flagged(patch_group(cast, json!([add_members(json!([{ "value": cast.user }]))]))),
        leave: |cast| flagged(patch_group(cast, json!([remove_chosen(cast)]))),
        deactivate: |cast| flagged(set_active(cast, "replace", false)),
        reactivate: |cast| flagged(set_active(cast, "replace", true)),
        end: |cast| flagged(delete(format!("/Users/{}", cast.user))),
        ..client(SCIM, ENTRA_PROBES)
    };
    live(&entra, "entra-flag").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn onelogin() {
    let onelogin = Client {
        // The body is a template that a customer may edit: one object where a list is due.
        create: |cast| {
            let mut body = person(cast, true);
            body["emails"] = json!({ "value": cast.name, "type": "work", "primary": true });
            post("/Users", body)
        },
        ..client(SCIM, &["/Users?filter=userName+eq+%22does-not-exist%22"])
    };
    live(&onelogin, "onelogin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pingfederate() {
    let ping = Client {
        matches: |cast| vec![by("userName", &cast.name), by("emails", &cast.name)],
        join: |cast| put_group(cast, group_of(json!([{ "value": cast.user }]))),
        leave: |cast| put_group(cast, group_of(json!([]))),
        ..client(SCIM, &["/Groups"])
    };
    live(&ping, "pingfederate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pingone() {
    let ping = Client {
        update: |cast| patch_user(cast, json!([{ "op": "replace", "path": "title", "value": "Boss" }])),
        join: |cast| {
            let whole = json!({ "op": "add", "value": { "members": [{ "value": cast.user }] } });
            let single = json!({ "op": "add", "path": "members", "value": { "value": cast.user } });
            patch_group(cast, json!([whole, single]))
        },
        // Memberships may be merged or overwritten.
        leave: |cast| patch_group(cast, json!([{ "op": "replace", "path": "members", "value": [] }])),
        deactivate: |cast| patch_user(cast, json!([{ "op": "replace", "path": "active", "value": false }])),
        reactivate: |cast| patch_user(cast, json!([{ "op": "replace", "path": "active", "value": true }])),
        ..client(SCIM, &[])
    };
    live(&ping, "pingone").await;
}

/// The whole of it: the extension is named without being there, and an update turns `schemas` round and clears by `[]`.
fn june(cast: &Cast, active: bool) -> Value {
    let mut body = json!({
        "active": active, "userName": cast.name, "externalId": cast.external_id, "displayName": "June Doe",
        "name": { "givenName": "June", "familyName": "Doe" },
        "emails": [{ "primary": true, "type": "work", "value": cast.name }],
        "phoneNumbers": [{ "primary": true, "type": "work", "value": "tel:+1-555-0100" }], "schemas": [USER, ENTERPRISE],
    });
    if !cast.user.is_empty() {
        body["id"] = cast.user.clone().into();
        body["schemas"] = json!([ENTERPRISE, USER]);
        body["title"] = "Boss".into();
        body["addresses"] = json!([]);
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn jumpcloud() {
    let jumpcloud = Client {
        makes_test_pair: true,
        create: |cast| post("/Users", june(cast, true)),
        update: |cast| put_user(cast, june(cast, true)),
        // It makes no empty group.
        create_group: |cast| post("/Groups", group_of(json!([{ "value": cast.user }]))),
        leave: |cast| patch_group(cast, json!([remove_listed(cast)])),
        deactivate: |cast| put_user(cast, june(cast, false)),
        reactivate: |cast| put_user(cast, june(cast, true)),
        end: |cast| patch_user(cast, json!([{ "op": "replace", "path": "active", "value": false }])),
        ends_in: Ending::Inactive,
        ..client(JSON, &["/Users"])
    };
    live(&jumpcloud, "jumpcloud").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rippling() {
    let rippling = Client {
        matches: |cast| vec![format!("/Users?filter=emails[primary eq true].value eq \"{}\"", cast.name)],
        update: |cast| patch_user(cast, json!([{ "op": "replace", "value": { "title": "Boss" } }])),
        join: |cast| {
            let members = json!([{ "value": cast.user }]);
            patch_group(cast, json!([{ "op": "replace", "path": "members", "value": members }]))
        },
        leave: |cast| put_group(cast, group_of(json!([]))),
        deactivate: |cast| set_active(cast, "replace", false),
        reactivate: |cast| set_active(cast, "replace", true),
        ..client(SCIM, &[])
    };
    live(&rippling, "rippling").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cyberark() {
    let cyberark = Client {
        update: |cast| put_user(cast, changed(cast, "title", "Boss")),
        join: |cast| {
            let address = format!("https://scim.corp.test/Users/{}", cast.user);
            let members = json!([{ "value": cast.user, "$ref": address, "display": "Cyr" }]);
            patch_group(cast, json!([add_members(members)]))
        },
        deactivate: |cast| put_user(cast, changed(cast, "active", false)),
        reactivate: |cast| put_user(cast, changed(cast, "active", true)),
        ..client(
            SCIM,
            &[
                "/Users?count=1",
                "/ServiceProviderConfig",
                "/ResourceTypes/User",
                "/ResourceTypes/Group",
                "/Schemas/urn:ietf:params:scim:schemas:core:2.0:User",
            ],
        )
    };
    live(&cyberark, "cyberark").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sailpoint() {
    let sailpoint = Client {
        update: |cast| patch_user(cast, json!([{ "op": "add", "value": { "title": "Boss" } }])),
        deactivate: |cast| set_active(cast, "add", false),
        reactivate: |cast| set_active(cast, "add", true),
        ..client(
            SCIM,
            &["/ServiceProviderConfig", "/Users?startIndex=1&count=100", "/Groups?startIndex=1&count=100"],
        )
    };
    live(&sailpoint, "sailpoint").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authentik() {
    let authentik = Client {
        join: |cast| {
            let body = json!({ "schemas": [GROUP], "id": cast.group, "displayName": "Ops" });
            let members = json!([{ "value": cast.user }]);
            patch_group(cast, json!([{ "op": "replace", "value": body }, add_members(members)]))
        },
        leave: |cast| patch_group(cast, json!([remove_listed(cast)])),
        ..client(SCIM, &["/ServiceProviderConfig"])
    };
    live(&authentik, "authentik").await;
}

/// A role that says nothing comes along.
fn rauthy_person(cast: &Cast, active: bool) -> Value {
    let mut body = person(cast, active);
    body["roles"] = json!([{ "value": "" }]);
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn rauthy() {
    let rauthy = Client {
        matches: |cast| vec![by("externalId", &cast.external_id), by("userName", &cast.name)],
        create: |cast| post("/Users", rauthy_person(cast, true)),
        update: |cast| put_user(cast, rauthy_person(cast, true)),
        leave: |cast| patch_group(cast, json!([remove_listed(cast)])),
        deactivate: |cast| put_user(cast, rauthy_person(cast, false)),
        reactivate: |cast| put_user(cast, rauthy_person(cast, true)),
        ..client(JSON, &["/Groups?startIndex=1&count=100"])
    };
    live(&rauthy, "rauthy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn canaille() {
    let canaille = Client {
        matches: |cast| vec![by("externalId", &cast.external_id)],
        join: |cast| {
            let address = cast.whole["meta"]["location"].clone();
            let member = json!({ "value": cast.user, "$ref": address, "type": "User", "display": "Can" });
            put_group(cast, group_of(json!([member])))
        },
        leave: |cast| put_group(cast, json!({ "schemas": [GROUP], "displayName": "Ops", "id": cast.group })),
        ..client(JSON, &DISCOVERY)
    };
    live(&canaille, "canaille").await;
}

/// Workday reaches nobody itself: what feeds from it sends bursts, and may send them as a Bulk.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_sends_bulks() {
    let hub = Client {
        create: |cast| bulk("POST", "/Users".to_owned(), Some(person(cast, true))),
        update: |cast| bulk("PUT", format!("/Users/{}", cast.user), Some(person(cast, true))),
        create_group: |cast| {
            bulk("POST", "/Groups".to_owned(), Some(group_of(json!([{ "value": cast.user }]))))
        },
        join: |cast| {
            let operations = json!([add_members(json!([{ "value": cast.user }]))]);
            bulk("PATCH", format!("/Groups/{}", cast.group), Some(patch(operations)))
        },
        leave: |cast| {
            bulk("PATCH", format!("/Groups/{}", cast.group), Some(patch(json!([remove_chosen(cast)]))))
        },
        deactivate: |cast| {
            let off = json!({ "schemas": [PATCH], "Operations": [{ "op": "replace", "path": "active", "value": false }] });
            bulk("PATCH", format!("/Users/{}", cast.user), Some(off))
        },
        reactivate: |cast| bulk("PUT", format!("/Users/{}", cast.user), Some(person(cast, true))),
        end: |cast| bulk("DELETE", format!("/Users/{}", cast.user), None),
        ..client(SCIM, &["/ServiceProviderConfig"])
    };
    live(&hub, "hub").await;
}
