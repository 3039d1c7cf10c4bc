//! People × requests × decisions, as text that anybody can read: `golden.txt`. A change of rights is a change of that
//! text. Where it is meant, `PORTCULLIS_GOLDEN=write cargo test -p portcullis-policy --test golden` writes it anew.
#![allow(clippy::expect_used, missing_docs, reason = "a test that cannot go on stops")]

use std::fmt::Write as _;
use std::sync::Arc;

use http::Method;
use http::uri::PathAndQuery;
use portcullis_policy::{
    AccountId, Allow, App, AppId, Attributes, Bindings, Decision, Facts, GroupBinding, IdentityHeaders,
    OnChange, OrgId, Pattern, Policy, Principal, Route, RouteKey, Rule, RulesVersion, Seq, UserFrom,
};

/// A path, the methods it is for, and what it allows: as `routes` of a configuration has them.
const RULES: [(&str, &[Method], &[&str]); 8] = [
    ("/**", &[], &["signed-in"]),
    ("/admin/**", &[], &["role owner"]),
    ("/admin/reports/**", &[Method::GET, Method::HEAD], &["role owner", "role auditor"]),
    ("/admin/reports/**", &[Method::POST], &["role owner"]),
    ("/wiki/*/edit", &[], &["role editor", "role owner"]),
    ("/health", &[Method::GET, Method::HEAD], &["public"]),
    ("/assets/**", &[], &["public"]),
    ("/finance/**", &[], &["role auditor"]),
];

/// Groups of the directory and the role that each gives; an auditor edits nothing.
const BINDINGS: [(&str, &str); 4] =
    [("Owners", "owner"), ("Editors", "editor"), ("Audit", "auditor"), ("audit-emea", "auditor")];
const CONFLICT: [&str; 2] = ["auditor", "editor"];

/// Who asks, with the groups they are in.
const PEOPLE: [(&str, &[&str]); 7] = [
    ("olga", &["Owners"]),
    ("edith", &["Editors"]),
    ("arthur", &["Audit"]),
    ("folded", &["AUDIT-EMEA"]),
    ("both", &["Editors", "Audit"]),
    ("plain", &["Everybody"]),
    ("grouples", &[]),
];

const REQUESTS: [(&str, &str); 33] = [
    ("GET", "/"),
    ("GET", "/wiki/home"),
    ("GET", "/wiki/home/edit"),
    ("POST", "/wiki/home/edit"),
    ("GET", "/wiki/a/b/edit"),
    ("GET", "/wiki/home/edit/"),
    ("GET", "/admin"),
    ("GET", "/admin/"),
    ("DELETE", "/admin/users/7"),
    ("GET", "/admin/reports/2026"),
    ("POST", "/admin/reports/2026"),
    ("PUT", "/admin/reports/2026"),
    ("GET", "/finance/q3"),
    ("GET", "/health"),
    ("HEAD", "/health"),
    ("POST", "/health"),
    ("GET", "/assets/app.js"),
    ("POST", "/assets/upload"),
    // Ways to say the same, and ways that an application could take for something else: every rule found must allow.
    ("GET", "/%61dmin/"),
    ("GET", "/ADMIN/"),
    ("GET", "//admin/"),
    ("GET", "/x/../admin/"),
    ("GET", "/x/%2e%2e/admin/"),
    ("GET", "/assets/..%2fadmin/"),
    ("GET", "/assets/%2e%2e/admin/"),
    ("GET", "/admin;jsessionid=1/"),
    ("GET", "/wiki/home%2Fpage"),
    ("GET", "/health;v=1"),
    ("GET", "/health/../admin/"),
    ("GET", "/assets\\..\\admin/"),
    ("GET", "/%"),
    ("GET", "/.portcullis/me"),
    ("GET", "/.PORTCULLIS/me"),
];

fn policy() -> Policy {
    let allow = |says: &[&str]| match says {
        ["public"] => Allow::Public,
        ["signed-in"] => Allow::SignedIn,
        roles => Allow::Roles(roles.iter().map(|role| role.trim_start_matches("role ").into()).collect()),
    };
    let rule = |(path, methods, says): &(&str, &[Method], &[&str])| Rule {
        pattern: Pattern::parse_path(path).expect("a pattern"),
        methods: methods.to_vec(),
        allow: allow(says),
        on_change: OnChange::Cut,
        upstream: None,
    };
    let rules = RULES.iter().map(rule).collect();
    let app = App::new(AppId::ONLY, OrgId::ONLY, "wiki.test", "", "/.portcullis", rules).expect("rules");
    let roles = ["owner", "editor", "auditor"].map(str::to_owned);
    let groups: Vec<GroupBinding> = BINDINGS
        .iter()
        .map(|(group, role)| GroupBinding { group: (*group).to_owned(), role: (*role).to_owned() })
        .collect();
    let conflict = CONFLICT.map(str::to_owned).to_vec();
    let bindings = Bindings::new(&roles, &[conflict], &groups).expect("bindings");
    let identity = IdentityHeaders::x_forwarded(UserFrom::UserName);
    Policy::new(RulesVersion(1), vec![app], bindings, identity)
}

fn person(policy: &Policy, name: &str, groups: &[&str]) -> Principal {
    let facts = Facts {
        account: AccountId(1),
        org: OrgId::ONLY,
        stable_id: "id".into(),
        user_name: Some(name.into()),
        id: Some("id".into()),
        external_id: None,
        subject: None,
        email: None,
        attributes: Attributes::default(),
        groups: groups.iter().map(|group| Arc::from(*group)).collect(),
    };
    policy.describe_person(&Arc::new(facts), Seq(1)).expect("a name")
}

fn decision(policy: &Policy, who: Option<&Principal>, method: &Method, target: &PathAndQuery) -> String {
    let route = match policy.find_route(&RouteKey { host: "wiki.test", target, method }) {
        Ok(Route::Ours { .. }) => return "ours".to_owned(),
        Ok(route) => route,
        Err(why) => return why.to_string(),
    };
    match policy.decide(&route, who, method, target) {
        Decision::Allow(pass) if pass.is_public() => "public".to_owned(),
        Decision::Allow(_) => "yes".to_owned(),
        Decision::Login => "login".to_owned(),
        Decision::Deny(why) => why.to_string(),
    }
}

fn table() -> String {
    let policy = policy();
    let mut text = String::new();
    let mut line = |what: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{}", what.to_string().trim_end());
    };
    line(format_args!("Rules"));
    for (path, methods, says) in RULES {
        let methods: Vec<&str> = methods.iter().map(Method::as_str).collect();
        let methods = if methods.is_empty() { "any".to_owned() } else { methods.join(" ") };
        line(format_args!("  {path:<20} {methods:<10} {}", says.join(", ")));
    }
    line(format_args!("\nGroups"));
    for (group, role) in BINDINGS {
        line(format_args!("  {group:<20} {role}"));
    }
    line(format_args!("  whoever is {} is no {}", CONFLICT[0], CONFLICT[1]));
    line(format_args!("\nPeople"));
    let people: Vec<(&str, Principal)> =
        PEOPLE.iter().map(|(name, groups)| (*name, person(&policy, name, groups))).collect();
    for ((name, who), (_, groups)) in people.iter().zip(PEOPLE) {
        let roles: Vec<&str> = who.roles().names().iter().map(|role| &**role).collect();
        line(format_args!("  {name:<10} in {:<16} is {}", groups.join(", "), roles.join(", ")));
    }
    line(format_args!("\nDecisions"));
    let names: String = people.iter().map(|(name, _)| format!(" {name:<10}")).collect();
    line(format_args!("  {:<34} {:<10}{names}", "", "nobody"));
    for (method, path) in REQUESTS {
        let (method, target): (Method, PathAndQuery) =
            (method.parse().expect("a method"), path.parse().expect("a path"));
        let mut row = format!("{:<10}", decision(&policy, None, &method, &target));
        for (_, who) in &people {
            let _ = write!(row, " {:<10}", decision(&policy, Some(who), &method, &target));
        }
        line(format_args!("  {:<34} {row}", format!("{method} {path}")));
    }
    text
}

#[test]
fn rights_are_what_the_text_says() {
    let (now, file) = (table(), concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden.txt"));
    if std::env::var("PORTCULLIS_GOLDEN").is_ok_and(|word| word == "write") {
        std::fs::write(file, &now).expect("golden.txt can be written");
    }
    let kept = std::fs::read_to_string(file).expect("golden.txt");
    let changed: Vec<_> = kept.lines().zip(now.lines()).filter(|(kept, now)| kept != now).collect();
    assert!(kept == now, "rights have changed (as kept, as now): {changed:#?}");
}
