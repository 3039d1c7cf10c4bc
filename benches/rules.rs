//! Finding the rules of a path among two hundred: a plain path, one with a few readings, one with many, and the load of
//! the file. Nothing is decided about anybody.
//!
//! Run with `cargo bench --bench rules`.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a measurement that cannot go on stops")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use http::uri::PathAndQuery;
use portcullis_policy::{
    Allow, App, AppId, Bindings, IdentityHeaders, OnChange, OrgId, Pattern, Policy, RouteKey, Rule,
    RulesVersion, UserFrom,
};

/// As such files are: whole areas, actions in them, single pages, and the rest of the site.
fn rules() -> Vec<Rule> {
    let paths = (0..66).flat_map(|n| {
        [format!("/area-{n}/**"), format!("/area-{n}/*/settings/**"), format!("/area-{n}/public/logo.svg")]
    });
    let paths = paths.chain(["/healthz".into(), "/**".into()]);
    let rule = |path: String| Rule {
        pattern: Pattern::parse_path(&path).unwrap(),
        methods: vec![],
        allow: if path.ends_with("svg") || path == "/healthz" { Allow::Public } else { Allow::SignedIn },
        on_change: OnChange::Cut,
        upstream: None,
    };
    paths.map(rule).collect()
}

fn app() -> App {
    App::new(AppId::ONLY, OrgId::ONLY, "wiki.example.com", "", "/.portcullis", rules()).unwrap()
}

fn of_two_hundred(criterion: &mut Criterion) {
    assert_eq!(rules().len(), 200);
    let identity = IdentityHeaders::x_forwarded(UserFrom::UserName);
    let policy = Policy::new(RulesVersion(1), vec![app()], Bindings::default(), identity);
    let many = format!("/area-7/a;b\\c/../%2F/%252Fd;e{}", "/x;y%2F..%2Fz".repeat(1200));
    for (name, path) in [
        ("a plain path", "/area-47/projects/settings/members"),
        ("a path that is folded", "/Area-47/projects/settings/members/"),
        ("a path of a few readings", "/area-47/group%2Fproject/settings;v=1/members"),
        ("a path of 16 KiB, as many readings as are read", &many[..many.len().min(16_000)]),
    ] {
        let target = PathAndQuery::try_from(path).unwrap();
        let asked = RouteKey { host: "wiki.example.com", target: &target, method: &Method::GET };
        criterion.bench_function(name, |bench| {
            bench.iter(|| black_box(policy.find_route(black_box(&asked)).is_ok()))
        });
    }
    criterion.bench_function("loading the rules", |bench| bench.iter(|| black_box(app())));
}

criterion_group!(benches, of_two_hundred);
criterion_main!(benches);
