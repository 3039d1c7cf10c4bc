//! The tables of RFC 7643: the common attributes, User, Group and the enterprise extension (§3.1, §4, §8.7.1).
//!
//! Where the tables differ from the RFC's printed ones it is because of what this service does: ids are compared
//! byte for byte everywhere, and what describes a group's member (`type`, `$ref`, `display`) is ours to fill.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Attribute, ENTERPRISE_USER, GROUP, Mutability, Returned, Schema, Type, USER, Uniqueness};

/// Makes the attributes that every resource has.
pub(super) fn common() -> Vec<Arc<Attribute>> {
    vec![
        text("schemas", "The URNs of the schemas of this resource.")
            .exact()
            .list()
            .required()
            .always()
            .done(),
        text("id", "The identifier this service gave the resource.")
            .exact()
            .read_only()
            .always()
            .unique()
            .done(),
        text("externalId", "The identifier the client gave the resource.").exact().done(),
        complex(
            "meta",
            "What the service knows about the resource.",
            [
                text("resourceType", "User or Group.").exact(),
                of(Type::DateTime, "created", "When it was made."),
                of(Type::DateTime, "lastModified", "When it last changed."),
                reference("location", &["uri"], "Its address."),
                text("version", "Its version, as the ETag header says it.").exact(),
            ]
            .map(AttributeRow::read_only),
        )
        .read_only()
        .done(),
    ]
}

pub(super) fn user() -> Schema {
    Schema {
        urn: USER.into(),
        name: "User".into(),
        description: "A person".into(),
        attributes: vec![
            text("userName", "The name a person signs in with; unique in the directory.")
                .required()
                .unique()
                .done(),
            complex(
                "name",
                "The parts of the person's name.",
                [
                    text("formatted", "The whole name, ready to show."),
                    text("familyName", "The family name."),
                    text("givenName", "The given name."),
                    text("middleName", "The middle names."),
                    text("honorificPrefix", "Title or prefix."),
                    text("honorificSuffix", "Suffix."),
                ],
            )
            .done(),
            text("displayName", "The name to show.").done(),
            text("nickName", "A casual name.").done(),
            reference("profileUrl", &["external"], "A page about the person.").done(),
            text("title", "Position in the organization.").done(),
            text("userType", "Relation to the organization.").done(),
            text("preferredLanguage", "Preferred language, as Accept-Language writes it.").done(),
            text("locale", "Locale for dates and numbers.").done(),
            text("timezone", "Time zone, by its IANA name.").done(),
            of(Type::Boolean, "active", "Whether the person may come in.").done(),
            text("password", "Accepted and thrown away: nobody signs in here with a password.")
                .exact()
                .write_only()
                .done(),
            plural("emails", "E-mail addresses.", text("value", "The address."), &["work", "home", "other"]),
            plural(
                "phoneNumbers",
                "Telephone numbers.",
                text("value", "The number."),
                &["work", "home", "mobile", "fax", "pager", "other"],
            ),
            plural(
                "ims",
                "Instant messaging addresses.",
                text("value", "The address."),
                &["aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"],
            ),
            plural(
                "photos",
                "Pictures.",
                reference("value", &["external"], "Where the picture is."),
                &["photo", "thumbnail"],
            ),
            complex(
                "addresses",
                "Postal addresses.",
                [
                    text("formatted", "The whole address, ready to show."),
                    text("streetAddress", "Street, number, box."),
                    text("locality", "City."),
                    text("region", "State or region."),
                    text("postalCode", "Postal code."),
                    text("country", "Country."),
                    text("type", "What the address is for.").suggests(&["work", "home", "other"]),
                    primary(),
                ],
            )
            .list()
            .done(),
            complex(
                "groups",
                "The groups the person is in; changed through the groups.",
                [
                    text("value", "The id of the group.").exact(),
                    reference("$ref", &["Group"], "The address of the group."),
                    text("display", "The name of the group."),
                    text("type", "Whether the person is a member itself or through another group.")
                        .suggests(&["direct", "indirect"]),
                ]
                .map(AttributeRow::read_only),
            )
            .list()
            .read_only()
            .done(),
            plural("entitlements", "Entitlements.", text("value", "The entitlement."), &[]),
            plural("roles", "Roles.", text("value", "The role."), &[]),
            plural(
                "x509Certificates",
                "Certificates.",
                of(Type::Binary, "value", "The certificate, DER in base64.").exact(),
                &[],
            ),
        ],
    }
}

pub(super) fn group() -> Schema {
    Schema {
        urn: GROUP.into(),
        name: "Group".into(),
        description: "A group of people and groups".into(),
        attributes: vec![
            text("displayName", "The name of the group; unique in the directory.").required().unique().done(),
            complex(
                "members",
                "Who is in the group.",
                [
                    text("value", "The id of the member.").exact().immutable(),
                    reference("$ref", &["User", "Group"], "The address of the member.").read_only(),
                    text("type", "What the member is.").suggests(&["User", "Group"]).read_only(),
                    text("display", "The name of the member.").read_only(),
                ],
            )
            .list()
            .done(),
        ],
    }
}

pub(super) fn enterprise() -> Schema {
    Schema {
        urn: ENTERPRISE_USER.into(),
        name: "EnterpriseUser".into(),
        description: "What an organization adds to a person".into(),
        attributes: vec![
            text("employeeNumber", "The number the organization gave the person.").done(),
            text("costCenter", "Cost centre.").done(),
            text("organization", "Organization.").done(),
            text("division", "Division.").done(),
            text("department", "Department.").done(),
            complex(
                "manager",
                "The person's manager.",
                [
                    text("value", "The id of the manager.").exact(),
                    reference("$ref", &["User"], "The address of the manager.").read_only(),
                    text("displayName", "The name of the manager.").read_only(),
                ],
            )
            .done(),
        ],
    }
}

/// A list of the usual shape (RFC 7643 §2.4): `value`, `display`, `type`, `primary`.
fn plural(
    name: &'static str,
    description: &'static str,
    value: AttributeRow,
    types: &'static [&'static str],
) -> Arc<Attribute> {
    let kind = text("type", "What the value is for.").suggests(types);
    complex(name, description, [value, text("display", "The value, ready to show."), kind, primary()])
        .list()
        .done()
}

fn primary() -> AttributeRow {
    of(Type::Boolean, "primary", "Whether this is the preferred one; at most one is.")
}

fn text(name: &'static str, description: &'static str) -> AttributeRow {
    of(Type::String, name, description)
}

fn reference(name: &'static str, to: &'static [&'static str], description: &'static str) -> AttributeRow {
    let mut row = of(Type::Reference, name, description).exact();
    row.0.references = to;
    row
}

fn complex(
    name: &'static str,
    description: &'static str,
    subs: impl IntoIterator<Item = AttributeRow>,
) -> AttributeRow {
    let mut row = of(Type::Complex, name, description);
    row.0.subs = subs.into_iter().map(AttributeRow::done).collect();
    row
}

fn of(kind: Type, name: &'static str, description: &'static str) -> AttributeRow {
    AttributeRow(Attribute {
        name: Cow::Borrowed(name),
        kind,
        multi: false,
        required: false,
        case_exact: false,
        mutability: Mutability::ReadWrite,
        returned: Returned::Default,
        uniqueness: Uniqueness::None,
        canonical: &[],
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

    fn read_only(mut self) -> Self {
        self.0.mutability = Mutability::ReadOnly;
        self
    }

    fn immutable(mut self) -> Self {
        self.0.mutability = Mutability::Immutable;
        self
    }

    fn write_only(mut self) -> Self {
        self.0.mutability = Mutability::WriteOnly;
        self.0.returned = Returned::Never;
        self
    }

    fn suggests(mut self, canonical: &'static [&'static str]) -> Self {
        self.0.canonical = canonical;
        self
    }

    fn done(self) -> Arc<Attribute> {
        Arc::new(self.0)
    }
}
