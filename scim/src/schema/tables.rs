//! The tables of RFC 7643: the common attributes, User, Group and the enterprise extension (§3.1, §4, §8.7.1).
//!
//! Where the tables differ from the RFC's printed ones it is because of what this service does: ids are compared
//! byte for byte everywhere, and what describes a group's member (`type`, `$ref`, `display`) is ours to fill.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Attribute, ENTERPRISE_USER, GROUP, Mutability, Returned, Schema, Type, USER, Uniqueness};

/// Makes the attributes that every resource has.
pub(super) fn common_attributes() -> Vec<Arc<Attribute>> {
    vec![
        text_row("schemas", "The URNs of the schemas of this resource.")
            .exact()
            .list()
            .required()
            .always()
            .done(),
        text_row("id", "The identifier this service gave the resource.")
            .exact()
            .read_only()
            .always()
            .unique()
            .done(),
        text_row("externalId", "The identifier the client gave the resource.").exact().done(),
        complex_row(
            "meta",
            "What the service knows about the resource.",
            [
                text_row("resourceType", "User or Group.").exact(),
                row_of(Type::DateTime, "created", "When it was made."),
                row_of(Type::DateTime, "lastModified", "When it last changed."),
                reference_row("location", &["uri"], "Its address."),
                text_row("version", "Its version, as the ETag header says it.").exact(),
            ]
            .map(AttributeRow::read_only),
        )
        .read_only()
        .done(),
    ]
}

pub(super) fn user_schema() -> Schema {
    Schema {
        urn: USER.into(),
        name: "User".into(),
        description: "A person".into(),
        attributes: vec![
            text_row("userName", "The name a person signs in with; unique in the directory.")
                .required()
                .unique()
                .done(),
            complex_row(
                "name",
                "The parts of the person's name.",
                [
                    text_row("formatted", "The whole name, ready to show."),
                    text_row("familyName", "The family name."),
                    text_row("givenName", "The given name."),
                    text_row("middleName", "The middle names."),
                    text_row("honorificPrefix", "Title or prefix."),
                    text_row("honorificSuffix", "Suffix."),
                ],
            )
            .done(),
            text_row("displayName", "The name to show.").done(),
            text_row("nickName", "A casual name.").done(),
            reference_row("profileUrl", &["external"], "A page about the person.").done(),
            text_row("title", "Position in the organization.").done(),
            text_row("userType", "Relation to the organization.").done(),
            text_row("preferredLanguage", "Preferred language, as Accept-Language writes it.").done(),
            text_row("locale", "Locale for dates and numbers.").done(),
            text_row("timezone", "Time zone, by its IANA name.").done(),
            row_of(Type::Boolean, "active", "Whether the person may come in.").done(),
            text_row("password", "Accepted and thrown away: nobody signs in here with a password.")
                .exact()
                .write_only()
                .done(),
            plural_attribute(
                "emails",
                "E-mail addresses.",
                text_row("value", "The address."),
                &["work", "home", "other"],
            ),
            plural_attribute(
                "phoneNumbers",
                "Telephone numbers.",
                text_row("value", "The number."),
                &["work", "home", "mobile", "fax", "pager", "other"],
            ),
            plural_attribute(
                "ims",
                "Instant messaging addresses.",
                text_row("value", "The address."),
                &["aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"],
            ),
            plural_attribute(
                "photos",
                "Pictures.",
                reference_row("value", &["external"], "Where the picture is."),
                &["photo", "thumbnail"],
            ),
            complex_row(
                "addresses",
                "Postal addresses.",
                [
                    text_row("formatted", "The whole address, ready to show."),
                    text_row("streetAddress", "Street, number, box."),
                    text_row("locality", "City."),
                    text_row("region", "State or region."),
                    text_row("postalCode", "Postal code."),
                    text_row("country", "Country."),
                    text_row("type", "What the address is for.").suggests(&["work", "home", "other"]),
                    primary_row(),
                ],
            )
            .list()
            .done(),
            complex_row(
                "groups",
                "The groups the person is in; changed through the groups.",
                [
                    text_row("value", "The id of the group.").exact(),
                    reference_row("$ref", &["Group"], "The address of the group."),
                    text_row("display", "The name of the group."),
                    text_row("type", "Whether the person is a member itself or through another group.")
                        .suggests(&["direct", "indirect"]),
                ]
                .map(AttributeRow::read_only),
            )
            .list()
            .read_only()
            .done(),
            plural_attribute("entitlements", "Entitlements.", text_row("value", "The entitlement."), &[]),
            plural_attribute("roles", "Roles.", text_row("value", "The role."), &[]),
            plural_attribute(
                "x509Certificates",
                "Certificates.",
                row_of(Type::Binary, "value", "The certificate, DER in base64.").exact(),
                &[],
            ),
        ],
    }
}

pub(super) fn group_schema() -> Schema {
    Schema {
        urn: GROUP.into(),
        name: "Group".into(),
        description: "A group of people and groups".into(),
        attributes: vec![
            text_row("displayName", "The name of the group; unique in the directory.")
                .required()
                .unique()
                .done(),
            complex_row(
                "members",
                "Who is in the group.",
                [
                    text_row("value", "The id of the member.").exact().immutable(),
                    reference_row("$ref", &["User", "Group"], "The address of the member.").derived(),
                    text_row("type", "What the member is.").suggests(&["User", "Group"]).read_only(),
                    text_row("display", "The name of the member.").read_only().on_request(),
                ],
            )
            .list()
            .done(),
        ],
    }
}

pub(super) fn enterprise_schema() -> Schema {
    Schema {
        urn: ENTERPRISE_USER.into(),
        name: "EnterpriseUser".into(),
        description: "What an organization adds to a person".into(),
        attributes: vec![
            text_row("employeeNumber", "The number the organization gave the person.").done(),
            text_row("costCenter", "Cost centre.").done(),
            text_row("organization", "Organization.").done(),
            text_row("division", "Division.").done(),
            text_row("department", "Department.").done(),
            complex_row(
                "manager",
                "The person's manager.",
                [
                    text_row("value", "The id of the manager.").exact(),
                    reference_row("$ref", &["User"], "The address of the manager.").read_only(),
                    text_row("displayName", "The name of the manager.").read_only(),
                ],
            )
            .done(),
        ],
    }
}

/// A list of the usual shape (RFC 7643 §2.4): `value`, `display`, `type`, `primary`.
fn plural_attribute(
    name: &'static str,
    description: &'static str,
    value: AttributeRow,
    types: &'static [&'static str],
) -> Arc<Attribute> {
    let kind = text_row("type", "What the value is for.").suggests(types);
    complex_row(
        name,
        description,
        [value, text_row("display", "The value, ready to show."), kind, primary_row()],
    )
    .list()
    .done()
}

fn primary_row() -> AttributeRow {
    row_of(Type::Boolean, "primary", "Whether this is the preferred one; at most one is.")
}

fn text_row(name: &'static str, description: &'static str) -> AttributeRow {
    row_of(Type::String, name, description)
}

fn reference_row(name: &'static str, to: &'static [&'static str], description: &'static str) -> AttributeRow {
    let mut row = row_of(Type::Reference, name, description).exact();
    row.0.references = to;
    row
}

fn complex_row(
    name: &'static str,
    description: &'static str,
    subs: impl IntoIterator<Item = AttributeRow>,
) -> AttributeRow {
    let mut row = row_of(Type::Complex, name, description);
    row.0.subs = subs.into_iter().map(AttributeRow::done).collect();
    row
}

fn row_of(kind: Type, name: &'static str, description: &'static str) -> AttributeRow {
    AttributeRow(Attribute {
        name: Cow::Borrowed(name),
        kind,
        multi: false,
        required: false,
        case_exact: false,
        mutability: Mutability::ReadWrite,
        returned: Returned::Default,
        uniqueness: Uniqueness::None,
        canonical: Cow::Borrowed(&[]),
        references: &[],
        description: Cow::Borrowed(description),
        subs: Vec::new(),
    })
}

/// A row being written down.
struct AttributeRow(Attribute);

impl AttributeRow {
    fn list(mut self) -> Self {
        self.0.multi = true;
        self
    }

    fn required(mut self) -> Self {
        self.0.required = true;
        self
    }

    fn exact(mut self) -> Self {
        self.0.case_exact = true;
        self
    }

    fn unique(mut self) -> Self {
        self.0.uniqueness = Uniqueness::Server;
        self
    }

    fn always(mut self) -> Self {
        self.0.returned = Returned::Always;
        self
    }

    fn on_request(mut self) -> Self {
        self.0.returned = Returned::Request;
        self
    }

    fn read_only(mut self) -> Self {
        self.0.mutability = Mutability::ReadOnly;
        self
    }

    fn immutable(mut self) -> Self {
        self.0.mutability = Mutability::Immutable;
        self
    }

    fn derived(mut self) -> Self {
        self.0.mutability = Mutability::Derived;
        self
    }

    fn write_only(mut self) -> Self {
        self.0.mutability = Mutability::WriteOnly;
        self.0.returned = Returned::Never;
        self
    }

    fn suggests(mut self, canonical: &'static [&'static str]) -> Self {
        self.0.canonical = canonical.iter().copied().map(Cow::Borrowed).collect();
        self
    }

    fn done(self) -> Arc<Attribute> {
        Arc::new(self.0)
    }
}
