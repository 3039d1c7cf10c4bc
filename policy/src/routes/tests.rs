use super::*;

fn rule(path: &str, methods: &[Method], allow: Allow) -> Rule {
    Rule {
        pattern: Pattern::parse_path(path).unwrap(),
        methods: methods.into(),
        allow,
        on_change: OnChange::Cut,
        upstream: None,
    }
}

fn admins() -> Allow {
    Allow::Roles(Arc::new(["admin".into()]))
}

fn policy(rules: Vec<Rule>) -> Policy {
    let app = App::new(AppId::ONLY, OrgId::ONLY, "Wiki.example.com", "", "/.portcullis", rules).unwrap();
    let identity = IdentityHeaders::x_forwarded(crate::UserFrom::UserName);
    Policy::new(RulesVersion(1), vec![app], Bindings::default(), identity)
}

fn found(policy: &Policy, method: &Method, path: &str) -> Result<String, DenyReason> {
    let target = PathAndQuery::try_from(path).unwrap();
    Ok(match policy.find_route(&RouteKey { host: "wiki.example.com", target: &target, method })? {
        Route::Ours { .. } => "ours".into(),
        Route::Site { rule, .. } => rule.pattern.as_written().to_owned(),
    })
}

#[test]
fn a_path_that_two_upstreams_could_read_as_their_own_is_nobodys() {
    let to = |path: &str, upstream: Option<&str>| Rule {
        upstream: upstream.map(Arc::from),
        ..rule(path, &[], Allow::SignedIn)
    };
    let policy = policy(vec![to("/reports/**", Some("reports")), to("/**", None)]);
    let leads = |path: &str| {
        let target = PathAndQuery::try_from(path).unwrap();
        let key = RouteKey { host: "wiki.example.com", target: &target, method: &Method::GET };
        match policy.find_route(&key)? {
            Route::Site { rule, .. } => Ok(rule.upstream.as_deref().map(str::to_owned)),
            Route::Ours { .. } => unreachable!(),
        }
    };
    assert_eq!(leads("/reports/a"), Ok(Some("reports".to_owned())));
    assert_eq!(leads("/reports/a%20b;x=1"), Ok(Some("reports".to_owned())));
    assert_eq!(leads("/report"), Ok(None));
    for path in
        ["/reports/../a", "/a/../reports/x", "/%72eports/a", "/reports%2fa", "/REPORTS/a", "//reports/a"]
    {
        assert_eq!(leads(path), Err(DenyReason::NoRoute), "{path}");
    }
    let clash = |one: &str, other: &str| {
        let rules = vec![to(one, Some("reports")), to(other, None)];
        App::new(AppId::ONLY, OrgId::ONLY, "h", "", "/.portcullis", rules).err().map(|error| error.2)
    };
    assert_eq!(clash("/a", "/a"), Some(Clash::Same));
    assert_eq!(clash("/a", "/A"), Some(Clash::Folded));
    assert_eq!(clash("/a", "/b"), None);
}

#[test]
fn what_an_upstream_sees_is_decided_too() {
    let to = |path: &str, allow: Allow| Rule { upstream: Some("reports".into()), ..rule(path, &[], allow) };
    let rules = vec![
        to("/reports/admin/**", admins()),
        to("/reports/**", Allow::SignedIn),
        to("/legacy/**", Allow::SignedIn),
        rule("/**", &[], Allow::SignedIn),
    ];
    let app = App::new(AppId::ONLY, OrgId::ONLY, "wiki.example.com", "", "/.portcullis", rules).unwrap();
    let strip = UpstreamPath { strip: "/reports".into(), base: "/app".into() };
    let app = app.with_path(Some("reports"), strip.clone());
    let identity = IdentityHeaders::x_forwarded(crate::UserFrom::UserName);
    let policy = Policy::new(RulesVersion(1), vec![app], Bindings::default(), identity);
    let asks = |path: &str| {
        let target = PathAndQuery::try_from(path).unwrap();
        let key = RouteKey { host: "wiki.example.com", target: &target, method: &Method::GET };
        Ok::<_, DenyReason>(
            policy.find_route(&key)?.rules().map(|rule| rule.allow.clone()).collect::<Vec<_>>(),
        )
    };
    assert_eq!(asks("/reports"), Ok(vec![Allow::SignedIn]));
    assert_eq!(asks("/reports/a"), Ok(vec![Allow::SignedIn]));
    assert_eq!(asks("/reports/admin/x"), Ok(vec![admins()]));
    // Read by the application, these are the guarded page; read as sent they are not.
    for path in ["/reports//evil/admin/x", "/reports/%61dmin/x", "/reports/admin;a/x", "/reports//admin/x"] {
        assert!(asks(path).unwrap().contains(&admins()), "{path}");
    }
    for path in [
        "/reports/../admin/x",
        "/reports/a/../../admin/x",
        "/reports/a/../../reports/admin/x",
        "/reports/%2e%2e/manager",
        "/reports/..;/manager",
        "/reports/./a",
        // Not below what is taken off, as it was sent: nobody knows what the application would be told.
        "/legacy/a",
        "/reports%2fa",
        "/%72eports/a",
        "/reports;x/a",
        "/reports\\a",
    ] {
        assert!(asks(path).is_err(), "{path}");
    }
    assert_eq!(asks("/other/../a"), Ok(vec![Allow::SignedIn]), "the app's own sees what was sent");
    for (path, seen) in [
        ("/reports", Some("/app/")),
        ("/reports/", Some("/app/")),
        ("/reports/a%2Fb?q=/reports", Some("/app/a%2Fb?q=/reports")),
        ("/reports?a", Some("/app/?a")),
        ("/reportsx", None),
    ] {
        let target = strip.seen_target(&PathAndQuery::try_from(path).unwrap());
        assert_eq!(target.as_ref().map(PathAndQuery::as_str), seen, "{path}");
    }
}

#[test]
fn a_host_is_compared_folded_and_its_dot_counts() {
    let policy = policy(vec![]);
    let target = PathAndQuery::from_static("/");
    let answers = |host| policy.find_route(&RouteKey { host, target: &target, method: &Method::GET }).is_ok();
    for host in ["wiki.example.com", "WIKI.example.com", "wiki.example.com:8443"] {
        assert!(answers(host), "{host}");
    }
    for host in [
        "",
        "wiki.example.com.",
        "wiki.example.com:x",
        "wiki.example.com:",
        "example.com",
        "wiki.example.com:1:2",
    ] {
        assert!(!answers(host), "{host}");
    }
}

#[test]
fn without_routes_every_path_is_one_rule_but_our_own_pages() {
    let policy = policy(vec![]);
    assert_eq!(found(&policy, &Method::GET, "/a%2Fb;c//d/../e"), Ok("/**".into()));
    assert_eq!(found(&policy, &Method::GET, "/.portcullis"), Ok("ours".into()));
    assert_eq!(found(&policy, &Method::GET, "/.portcullis/login?x"), Ok("ours".into()));
    assert_eq!(found(&policy, &Method::GET, "/.portcullisx"), Ok("/**".into()));
}

#[test]
fn the_most_specific_pattern_wins_and_its_methods_bind() {
    let policy = policy(vec![
        rule("/**", &[], Allow::SignedIn),
        rule("/admin/**", &[Method::GET, Method::POST], admins()),
        rule("/admin/health", &[], Allow::Public),
        rule("/files/*/raw", &[], admins()),
        rule("/files/**", &[], Allow::SignedIn),
    ]);
    let get = |path| found(&policy, &Method::GET, path);
    assert_eq!(get("/admin"), Ok("/admin/**".into()));
    assert_eq!(get("/admin/"), Ok("/admin/**".into()));
    assert_eq!(get("/admin/health?q"), Ok("/admin/health".into()));
    assert_eq!(get("/administrator"), Ok("/**".into()));
    assert_eq!(get("/files/7/raw"), Ok("/files/*/raw".into()));
    assert_eq!(get("/files/7/x"), Ok("/files/**".into()));
    assert_eq!(found(&policy, &Method::DELETE, "/admin/x"), Err(DenyReason::Method));
}

/// All rules that a path falls under, each by its pattern; of those that allow the same, the first.
fn all(policy: &Policy, path: &str) -> Result<Vec<String>, DenyReason> {
    let target = PathAndQuery::try_from(path).unwrap();
    let asked = RouteKey { host: "wiki.example.com", target: &target, method: &Method::GET };
    Ok(policy.find_route(&asked)?.rules().map(|rule| rule.pattern.as_written().to_owned()).collect())
}

#[test]
fn another_spelling_does_not_walk_past_a_rule() {
    let policy = policy(vec![rule("/admin/**", &[], Allow::SignedIn), rule("/**", &[], Allow::Public)]);
    assert_eq!(all(&policy, "/admin/x").unwrap(), ["/admin/**"]);
    for path in [
        "/%61dmin/x",
        "/admi%6E/x",
        "/admin%2Fx",
        "/x/..%2fadmin",
        "/admin%3Bx",
        "/%2561dmin",
        "/admin;x/y",
        "/.\\admin",
        "/./admin",
        "//admin/x",
        "//host/admin/x",
        "/\\host\\admin",
        "/Admin/x",
        "/ADMIN.",
        "/admin%20/x",
        "/%41dmin%2e/x",
        "/admin%3Fx",
        "/admin%23",
        "/x/..;/admin",
        "/x;/%2e%2e/admin",
    ] {
        assert_eq!(all(&policy, path).unwrap(), ["/**", "/admin/**"], "{path}");
    }
    for path in ["/%C1%A1dmin/x", "/%", "/%u0061dmin", "/%00", "/admin%0a", "/%2500"] {
        assert_eq!(all(&policy, path), Err(DenyReason::AmbiguousPath), "{path}");
    }
    assert_eq!(all(&policy, "/a/../admin/x").unwrap(), ["/**", "/admin/**"]);
    assert_eq!(all(&policy, "/admin/../x").unwrap(), ["/admin/**", "/**"]);
    assert_eq!(all(&policy, "/x?y=%2F;//..%61").unwrap(), ["/**"], "a query is the application's");
}

#[test]
fn a_path_whose_readings_agree_has_one_rule() {
    let policy = policy(vec![
        rule("/api/**", &[], admins()),
        rule("/shop/**", &[], Allow::Public),
        rule("/**", &[], Allow::SignedIn),
    ]);
    for (path, rule) in [
        ("/api/projects/group%2Fproject/issues", "/api/**"),
        ("/api/100%25", "/api/**"),
        ("/api//x/./y/../z", "/api/**"),
        ("/shop/cart;jsessionid=01", "/shop/**"),
        ("/shop/%61%20b\\c", "/shop/**"),
        ("/Wiki/Talk:%C3%84/", "/**"),
        ("/a/%252F", "/**"),
    ] {
        assert_eq!(all(&policy, path).unwrap(), [rule], "{path}");
    }
    assert_eq!(all(&policy, "/shop;x").unwrap(), ["/**", "/shop/**"]);
    assert_eq!(all(&policy, "/shop/..%2Fapi").unwrap(), ["/shop/**", "/api/**"]);
}

#[test]
fn a_reading_without_a_rule_or_a_method_refuses() {
    let rules =
        vec![rule("/open/**", &[], Allow::Public), rule("/open/form", &[Method::POST], Allow::Public)];
    let policy = policy(rules);
    assert_eq!(all(&policy, "/open/%61").unwrap(), ["/open/**"]);
    assert_eq!(all(&policy, "/open/../other"), Err(DenyReason::NoRoute));
    assert_eq!(all(&policy, "/open/..;/.."), Err(DenyReason::NoRoute));
    assert_eq!(all(&policy, "/open/f%6Frm"), Err(DenyReason::Method));
    assert_eq!(all(&policy, "/open/Form"), Err(DenyReason::Method));
    assert_eq!(found(&policy, &Method::POST, "/open/f%6Frm"), Ok("/open/**".into()));
    assert_eq!(policy.apps()[0].methods_at("/open/f%6Frm"), [&Method::POST]);
}

#[test]
fn our_own_prefix_is_ours_only_as_it_is_written() {
    let with = policy(vec![rule("/**", &[], Allow::Public)]);
    for policy in [&with, &policy(vec![])] {
        for path in [
            "/%2eportcullis/login",
            "//.portcullis",
            "/x/../.portcullis/me",
            "/.portcullis;x",
            "/.Portcullis/login",
            "/.portcullis%2Flogin",
            "/.%70ortcullis",
            "/.portcullis./x",
            "/.portcullis%20",
        ] {
            assert_eq!(all(policy, path), Err(DenyReason::NoRoute), "{path}");
        }
        assert_eq!(found(policy, &Method::GET, "/.portcullis/../x"), Ok("ours".into()));
        assert_eq!(all(policy, "/.portcullisx/%2e").unwrap(), ["/**"]);
    }
}

#[test]
fn every_reading_stays_below_the_base() {
    let made = |rules| App::new(AppId::ONLY, OrgId::ONLY, "h", "/wiki", "/.portcullis", rules).unwrap();
    let all = |rules, path: &str| {
        let app = made(rules);
        app.find_site(path, &Method::GET).map(|route| route.rules().count())
    };
    let whole = || vec![rule("/**", &[], Allow::SignedIn)];
    assert_eq!(all(whole(), "/wiki/a/../%62").unwrap(), 1);
    assert_eq!(all(whole(), "/wiki/../b").err(), Some(DenyReason::NoRoute));
    assert_eq!(all(whole(), "/wiki/%2e%2e/wiki/b").unwrap(), 1);
    assert_eq!(all(vec![], "/wiki/../b").unwrap(), 1, "without routes only our own prefix is looked for");
    assert_eq!(all(vec![], "/wiki/x/../.portcullis").err(), Some(DenyReason::NoRoute));
}

#[test]
fn what_must_be_encoded_falls_under_the_rule_written_plainly() {
    let policy = policy(vec![
        rule("/räume/**", &[], admins()),
        rule("/my files/*", &[Method::GET], admins()),
        rule("/**", &[], Allow::Public),
    ]);
    let get = |path| found(&policy, &Method::GET, path);
    assert_eq!(get("/r%C3%A4ume/x"), Ok("/räume/**".into()));
    assert_eq!(get("/my%20files/a"), Ok("/my files/*".into()));
    assert_eq!(all(&policy, "/R%C3%84UME").unwrap(), ["/**", "/räume/**"]);
    assert_eq!(found(&policy, &Method::PUT, "/my%20files/a"), Err(DenyReason::Method));
    assert_eq!(found(&policy, &Method::PUT, "/%6Dy%20files/a"), Err(DenyReason::Method));
    assert_eq!(policy.apps()[0].methods_at("/my%20files/a"), [&Method::GET]);
    assert_eq!(policy.apps()[0].methods_at("/%6Dy%20files/a"), [&Method::GET]);
    assert_eq!(policy.apps()[0].methods_at("/my%20files/%zz"), Vec::<&Method>::new());
}

#[test]
fn an_encoded_question_mark_is_read_both_ways() {
    let policy = policy(vec![rule("/wiki/**", &[], admins()), rule("/wiki/About", &[], Allow::Public)]);
    assert_eq!(all(&policy, "/wiki/What%3F").unwrap(), ["/wiki/**"]);
    assert_eq!(all(&policy, "/wiki/C%23/edit").unwrap(), ["/wiki/**"]);
    assert_eq!(all(&policy, "/wiki/About%3Fx").unwrap(), ["/wiki/**", "/wiki/About"]);
    assert_eq!(all(&policy, "/wiki/About%23").unwrap(), ["/wiki/**", "/wiki/About"]);
}

#[test]
fn routes_that_match_nothing_refuse() {
    let policy = policy(vec![rule("/only", &[], Allow::SignedIn)]);
    assert_eq!(found(&policy, &Method::GET, "/other"), Err(DenyReason::NoRoute));
    assert_eq!(found(&policy, &Method::GET, "/only/"), Err(DenyReason::NoRoute));
    assert_eq!(found(&policy, &Method::GET, "/Only"), Err(DenyReason::NoRoute));
    assert_eq!(found(&policy, &Method::GET, "*"), Err(DenyReason::NoRoute));
}

#[test]
fn a_folded_rule_is_asked_beside_the_exact_one() {
    let policy = policy(vec![
        rule("/Help/Contact", &[], Allow::Public),
        rule("/help/**", &[], Allow::SignedIn),
        rule("/Keys/", &[], admins()),
        rule("/**", &[], Allow::Public),
    ]);
    assert_eq!(all(&policy, "/Help/Contact").unwrap(), ["/Help/Contact"]);
    assert_eq!(all(&policy, "/help/contact").unwrap(), ["/help/**", "/Help/Contact"]);
    assert_eq!(all(&policy, "/HELP/x").unwrap(), ["/**", "/help/**"]);
    for path in ["/keys", "/KEYS.", "/Keys%20/", "/keys//", "/keys/."] {
        assert_eq!(all(&policy, path).unwrap(), ["/**", "/Keys/"], "{path}");
    }
}

#[test]
fn equals_that_differ_are_an_error() {
    let made = |rules| App::new(AppId::ONLY, OrgId::ONLY, "h", "", "/.portcullis", rules).is_ok();
    assert!(!made(vec![rule("/a/**", &[], admins()), rule("/a/**", &[], Allow::SignedIn)]));
    assert!(!made(vec![rule("/a/*/x/*", &[], admins()), rule("/a/*/*/y", &[], Allow::SignedIn)]));
    assert!(made(vec![rule("/a/**", &[Method::GET], admins()), rule("/a/**", &[], Allow::SignedIn)]));
    assert!(made(vec![
        rule("/a/**", &[Method::GET], admins()),
        rule("/a/**", &[Method::PUT], Allow::SignedIn)
    ]));
}

#[test]
fn equals_that_differ_only_folded_are_an_error() {
    let made = |rules| App::new(AppId::ONLY, OrgId::ONLY, "h", "", "/.portcullis", rules).map(drop);
    let clash = |one: &str, other: &str| {
        let found = made(vec![rule(one, &[], Allow::Public), rule(other, &[], Allow::SignedIn)]);
        assert!(made(vec![rule(one, &[], Allow::Public), rule(other, &[], Allow::Public)]).is_ok());
        found.err().map(|RuleError(_, _, how)| how)
    };
    for (one, other) in [
        ("/a", "/a/"),
        ("/a", "/A"),
        ("/a/**", "/A./**"),
        ("/a/*/x", "/a/*/X "),
        ("/ä/b", "/Ä/b"),
        ("/", "/ "),
    ] {
        assert_eq!(clash(one, other), Some(Clash::Folded), "{one} {other}");
    }
    assert_eq!(clash("/a/**", "/a/**"), Some(Clash::Same));
    for (one, other) in [("/a", "/b"), ("/a", "/a/**"), ("/a/*", "/a/"), ("/A/x", "/a/**"), ("/a/.x", "/a/x")]
    {
        assert_eq!(clash(one, other), None, "{one} {other}");
    }
    let methods = |one: &[Method], other: &[Method]| {
        made(vec![rule("/a", one, Allow::Public), rule("/A", other, Allow::SignedIn)]).is_ok()
    };
    assert!(methods(&[Method::GET], &[Method::PUT]));
    assert!(!methods(&[Method::GET], &[]), "one page to whoever folds");
    assert!(!methods(&[Method::GET, Method::PUT], &[Method::PUT]));
}

proptest::proptest! {
    #[test]
    fn routing_never_panics(path in "/[\\x21-\\x7e]{0,40}", host in "\\PC{0,20}") {
        let policy = policy(vec![rule("/a/*/**", &[], admins()), rule("/**", &[], Allow::SignedIn)]);
        if let Ok(target) = PathAndQuery::try_from(path.as_str()) {
            let _ = policy.find_route(&RouteKey { host: &host, target: &target, method: &Method::GET });
        }
    }
}
