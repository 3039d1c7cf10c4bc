//! What headers say of a person, and where nothing can be said.

use http::{HeaderName, HeaderValue};

use super::*;
use crate::{AccountId, Bindings, GroupBinding, OrgId};

const DEPARTMENT: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";

fn alice() -> Facts {
    Facts {
        account: AccountId(7),
        org: OrgId::ONLY,
        stable_id: "u-1".into(),
        user_name: Some("alice@corp.test".into()),
        id: Some("u-1".into()),
        external_id: Some("00u1".into()),
        subject: Some("sub-1".into()),
        email: Some("alice@corp.test".into()),
        attributes: Attributes::default()
            .with_texts(Attributes::NAME, ["Alice Ł"])
            .with_texts(Attributes::PREFERRED_USERNAME, ["alice"])
            .with_texts(DEPARTMENT, ["R&D, Süd"])
            .with_texts("emails", ["a@corp.test", "b,c@corp.test"]),
        groups: ["Staff".into(), "app-owners".into(), "a|b".into()].into(),
    }
}

fn attribute(name: &str, is_list: bool) -> HeaderSource {
    HeaderSource::Attribute { name: name.into(), is_list }
}

fn roles(facts: &Facts) -> Roles {
    let bindings = [GroupBinding { group: "staff".into(), role: "member".into() }];
    let bindings = Bindings::new(&["member".to_owned()], &[], &bindings).unwrap();
    bindings.resolve(facts).roles
}

fn rule(name: &'static str, says: HeaderText) -> HeaderRule {
    let (encoding, default) = (HeaderEncoding::Percent, None);
    HeaderRule { name: HeaderName::from_static(name), says, encoding, separator: ',', default }
}

fn said(headers: &IdentityHeaders) -> Result<Vec<String>, HeaderFault> {
    let facts = alice();
    let name = headers.user.name_of(&facts)?;
    let prepared = headers.prepare(&name, &facts, &roles(&facts))?;
    let lines = String::from_utf8_lossy(&prepared.lines).into_owned();
    let of_fields: String = prepared
        .fields
        .iter()
        .map(|(name, value)| format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    assert_eq!(lines, of_fields);
    Ok(lines.lines().map(str::to_owned).collect())
}

fn of_preset(preset: HeaderPreset) -> IdentityHeaders {
    let rules = preset.headers().iter().map(|header| {
        let name = HeaderName::from_static(header.name);
        HeaderRule::of_source(name, header.source.clone(), preset.encoding(), preset.separator())
    });
    IdentityHeaders { rules: rules.collect(), ..IdentityHeaders::x_forwarded(UserFrom::UserName) }
}

#[test]
fn presets_say_what_their_products_do() {
    let x_forwarded = [
        "x-forwarded-user: alice@corp.test",
        "x-forwarded-email: alice@corp.test",
        "x-forwarded-groups: Staff,app-owners,a|b",
        "x-forwarded-roles: member",
        "x-forwarded-preferred-username: alice",
    ];
    assert_eq!(said(&IdentityHeaders::x_forwarded(UserFrom::UserName)).unwrap(), x_forwarded);
    assert_eq!(said(&of_preset(HeaderPreset::XForwarded)).unwrap(), x_forwarded);
    assert_eq!(
        said(&of_preset(HeaderPreset::Jenkins)).unwrap(),
        [
            "x-forwarded-user: alice@corp.test",
            "x-forwarded-mail: alice@corp.test",
            "x-forwarded-displayname: Alice %C5%81",
            "x-forwarded-groups: Staff|app-owners|a%7Cb",
        ]
    );
    assert_eq!(
        said(&of_preset(HeaderPreset::Gitea)).unwrap(),
        [
            "x-webauth-user: alice@corp.test",
            "x-webauth-email: alice@corp.test",
            "x-webauth-fullname: Alice Ł"
        ]
    );
    // The name for people has a letter that SonarQube cannot read.
    assert_eq!(
        said(&of_preset(HeaderPreset::SonarQube)).unwrap(),
        [
            "x-forwarded-login: alice@corp.test",
            "x-forwarded-email: alice@corp.test",
            "x-forwarded-groups: Staff,app-owners,a|b",
        ]
    );
    assert_eq!(said(&of_preset(HeaderPreset::None)).unwrap(), [] as [&str; 0]);
}

#[test]
fn templates_say_what_is_known_and_else_nothing_or_a_default() {
    use HeaderSource::{Groups, Name};
    let source = |name: &str| TemplatePart::Source(attribute(name, false));
    let literal = |text: &str| TemplatePart::Literal(text.to_owned());
    let mut sensitive = HeaderValue::from_static("Basic c2VjcmV0");
    sensitive.set_sensitive(true);
    let unknown = HeaderText::Template(vec![literal("cc-"), source("costCenter")]);
    let rules = vec![
        rule("x-dept", HeaderText::Source(attribute(DEPARTMENT, false))),
        rule("x-mails", HeaderText::Source(attribute("emails", true))),
        rule(
            "x-both",
            HeaderText::Template(vec![TemplatePart::Source(Name), literal("/"), source(DEPARTMENT)]),
        ),
        rule("x-cost", unknown.clone()),
        HeaderRule { default: Some("none".to_owned()), ..rule("x-cost-else", unknown) },
        HeaderRule {
            encoding: HeaderEncoding::Utf8,
            ..rule("x-name", HeaderText::Source(HeaderSource::DisplayName))
        },
        HeaderRule {
            encoding: HeaderEncoding::Latin1,
            ..rule("x-latin", HeaderText::Source(HeaderSource::DisplayName))
        },
        rule("x-groups", HeaderText::Source(Groups)),
        rule("authorization", HeaderText::Fixed(sensitive)),
    ];
    let headers = IdentityHeaders {
        rules: rules.into(),
        groups: ToldGroups::only(["APP-*"]),
        ..IdentityHeaders::x_forwarded(UserFrom::PreferredUsername)
    };
    assert_eq!(
        said(&headers).unwrap(),
        [
            "x-dept: R&D, S%C3%BCd",
            "x-mails: a@corp.test,b%2Cc@corp.test",
            "x-both: alice/R&D, S%C3%BCd",
            "x-cost-else: none",
            "x-name: Alice Ł",
            "x-groups: app-owners",
            "authorization: Basic c2VjcmV0",
        ]
    );
    let facts = alice();
    let shown = format!("{:?}", headers.prepare("alice", &facts, &roles(&facts)).unwrap());
    assert!(!shown.contains("c2VjcmV0") && shown.contains("Sensitive"), "{shown}");
}

#[test]
fn nobody_goes_up_without_a_name_or_with_more_than_fits() {
    let named = IdentityHeaders::x_forwarded(UserFrom::UserName);
    let mut facts = alice();
    facts.user_name = Some("Łucja".into());
    let latin = |rule: &HeaderRule| HeaderRule { encoding: HeaderEncoding::Latin1, ..rule.clone() };
    let latin = IdentityHeaders { rules: named.rules.iter().map(latin).collect(), ..named.clone() };
    let fault = latin.prepare("Łucja", &facts, &roles(&facts)).unwrap_err();
    assert_eq!(fault.to_string(), "x-forwarded-user cannot say this person's name in the encoding latin1");
    assert!(latin.prepare("Lucja", &facts, &roles(&facts)).is_ok());

    facts.groups = (0..50).map(|n| format!("group-{n}").into()).collect();
    let size = named.prepare("a", &facts, &roles(&facts)).unwrap().lines.len();
    let just = IdentityHeaders { budget: size, ..named.clone() };
    assert!(just.prepare("a", &facts, &roles(&facts)).is_ok());
    let less = IdentityHeaders { budget: size - 1, ..named };
    let fault = less.prepare("a", &facts, &roles(&facts)).unwrap_err();
    assert!(
        matches!(&fault, HeaderFault::OverBudget { bytes, largest, .. } if *bytes == size && largest == "x-forwarded-groups")
    );

    facts.attributes = Attributes::default();
    let fault = UserFrom::PreferredUsername.name_of(&facts).unwrap_err();
    assert_eq!(fault, HeaderFault::NoName { wanted: "preferred_username" });
}

/// MediaWiki makes other names of many: each of these is somebody else there, or shares a name with somebody.
#[test]
fn a_name_that_mediawiki_changes_is_not_told() {
    let user = |preset: HeaderPreset| IdentityHeaders {
        preset,
        rules: vec![HeaderRule {
            encoding: HeaderEncoding::Utf8,
            ..rule("x-remote-user", HeaderText::Source(HeaderSource::Name))
        }]
        .into(),
        ..IdentityHeaders::x_forwarded(UserFrom::UserName)
    };
    let facts = alice();
    for name in [
        "user:admin",
        "User : admin",
        ":user:admin",
        "talk:x",
        "admin_",
        "_admin",
        "rob_b",
        "rob  b",
        "rob\u{3000}b",
        "rob\u{a0}b",
        "ad\u{200e}min",
        "ad\u{180e}min",
        "a&amp;b",
        "ıad",
        "ßa",
        "ﬁ",
        "İlker",
        "0",
        "10.0.0.1",
        "..",
        "a/b",
        "a#b",
        "a|b",
        "a%41",
        "~~~~",
    ] {
        let fault = user(HeaderPreset::MediaWiki).prepare(name, &facts, &roles(&facts)).unwrap_err();
        assert!(fault.to_string().contains("MediaWiki takes for another one"), "{name}: {fault}");
        assert!(user(HeaderPreset::Radicale).prepare(name, &facts, &roles(&facts)).is_ok(), "{name}");
    }
    for name in [
        "alice@corp.test",
        "Admin",
        "zoë",
        "Éva",
        "rob b",
        "山田 太郎",
        "o'neil",
        "01a23402-5b2a-7f69-861d-fd1aec6647d7",
    ] {
        assert!(user(HeaderPreset::MediaWiki).prepare(name, &facts, &roles(&facts)).is_ok(), "{name}");
    }
    // So is what a template says in that header.
    let mut by_template = user(HeaderPreset::MediaWiki);
    by_template.rules = vec![rule("x-remote-user", HeaderText::Source(HeaderSource::DisplayName))].into();
    assert!(by_template.prepare("alice", &facts, &roles(&facts)).is_err(), "percent-encoded it is no name");
}

/// A name that cannot be written is no other name: not a default, and not the rest of a text.
#[test]
fn a_text_with_the_name_in_it_names_the_person() {
    let text = |more: Vec<TemplatePart>| {
        let name = [TemplatePart::Literal("u=".to_owned()), TemplatePart::Source(HeaderSource::Name)];
        HeaderText::Template(name.into_iter().chain(more).collect())
    };
    let of_rules = |rules: Vec<HeaderRule>| IdentityHeaders {
        rules: rules.into(),
        ..IdentityHeaders::x_forwarded(UserFrom::UserName)
    };
    let facts = alice();
    let told = |headers: &IdentityHeaders, name: &str| headers.prepare(name, &facts, &roles(&facts));
    let latin = |says: HeaderText| HeaderRule {
        encoding: HeaderEncoding::Latin1,
        default: Some("nobody".to_owned()),
        ..rule("x-user", says)
    };
    for says in [HeaderText::Source(HeaderSource::Name), text(Vec::new())] {
        let headers = of_rules(vec![latin(says)]);
        assert!(matches!(told(&headers, "Łucja"), Err(HeaderFault::NotWritable { .. })));
        assert!(told(&headers, "Lucja").is_ok());
    }
    let unknown = TemplatePart::Source(attribute("costCenter", false));
    let half = of_rules(vec![rule("x-user", text(vec![unknown.clone()]))]);
    assert!(matches!(told(&half, "alice"), Err(HeaderFault::Unsaid { header }) if header == "x-user"));
    let with_a_name = of_rules(vec![
        rule("x-user", text(vec![unknown])),
        rule("x-name", HeaderText::Source(HeaderSource::Name)),
    ]);
    assert_eq!(told(&with_a_name, "alice").unwrap().fields.len(), 1);
}

/// `["a,b"]` and `["a", "b"]` are two things to an application.
#[test]
fn a_list_of_one_value_is_written_as_a_list() {
    let written = |texts: &[&str], is_list: bool| {
        let rules = vec![rule("x-roles", HeaderText::Source(attribute("roles", is_list)))];
        let headers =
            IdentityHeaders { rules: rules.into(), ..IdentityHeaders::x_forwarded(UserFrom::UserName) };
        let mut facts = alice();
        facts.attributes = facts.attributes.with_texts("roles", texts.iter().copied());
        headers.prepare("alice", &facts, &roles(&facts)).unwrap().fields[0].1.clone()
    };
    assert_eq!(written(&["a,b"], true), "a%2Cb");
    assert_eq!(written(&["a", "b"], true), "a,b");
    assert_eq!(written(&["a,b"], false), "a,b");
}

#[test]
fn the_least_size_is_what_everybody_has() {
    let literal = |text: &str| HeaderText::Template(vec![TemplatePart::Literal(text.to_owned())]);
    let unknown = HeaderText::Source(attribute("costCenter", false));
    let rules = vec![
        rule("x-a", literal("12345")),
        rule("x-b", HeaderText::Fixed(HeaderValue::from_static("123"))),
        rule("x-c", unknown.clone()),
        HeaderRule { default: Some("none".to_owned()), ..rule("x-d", unknown) },
    ];
    let headers = IdentityHeaders { rules: rules.into(), ..IdentityHeaders::x_forwarded(UserFrom::UserName) };
    assert_eq!(headers.least_size(), 12 + 10 + 8);
}
