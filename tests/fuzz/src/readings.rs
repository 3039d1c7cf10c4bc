//! What the fuzzer of paths holds to be true: whatever an application makes of a path, nobody gets there whom the rule
//! of that place keeps out. The same function replays the corpus on the stable compiler (`policy/tests/readings.rs`).
//!
//! The applications here are written apart from the product's readings, and rules are ranked here by comparing each.

use std::sync::Arc;

use http::Method;
use http::uri::PathAndQuery;
use portcullis_policy::{
    AccountId, Allow, App, AppId, Attributes, Bindings, Decision, Facts, GroupBinding, IdentityHeaders,
    OnChange, OrgId, Pattern, Policy, Principal, Route, RouteKey, Rule, RulesVersion, Seq, UpstreamPath,
    UserFrom,
};

/// An input is lines: the steps of an application, rules, an empty line, and the path as it came.
///
/// A step is a letter of [`step`]. A rule is a path and what it allows: `p` everybody, `s` who is signed in, `r` who has
/// the role; a `g` behind it is for GET only, an `o` for POST only.
pub fn input(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some((head, path)) = text.split_once("\n\n") else { return };
    let mut lines = head.lines();
    let steps = lines.next().unwrap_or_default();
    let rules = lines.filter_map(rule).collect::<Vec<_>>();
    decided(&rules, steps, path);
    decided_as_seen(&rules, steps, "/a", path);
}

/// Asks for one path of an application that is told it without `strip`, and below a folder of its own; true where it went up.
pub fn decided_as_seen(rules: &[Rule], steps: &str, strip: &str, path: &str) -> bool {
    let Ok(target) = PathAndQuery::try_from(path) else { return false };
    let seen = UpstreamPath { strip: strip.to_owned(), base: "/own".to_owned() };
    let app = App::new(AppId::ONLY, OrgId::ONLY, "h", "", "/.portcullis", rules.to_vec());
    let Ok(app) = app.map(|app| app.with_path(None, seen.clone())) else { return false };
    let headers = IdentityHeaders::x_forwarded(UserFrom::UserName);
    let policy = Policy::new(RulesVersion(1), vec![app], Bindings::default(), headers);
    let key = RouteKey { host: "h", target: &target, method: &Method::GET };
    let Ok(route @ Route::Site { .. }) = policy.find_route(&key) else { return false };
    // Whether it goes up for everybody, for who is signed in, or for nobody who has no role.
    let people = [None, person(&policy, &[])];
    let goes = |who: &Option<Principal>| {
        matches!(policy.decide(&route, who.as_ref(), &Method::GET, &target), Decision::Allow(_))
    };
    let level = people.iter().position(goes).unwrap_or(people.len());
    let told = seen.seen_target(&target).expect("what was decided can be told");
    let rest = told.path().strip_prefix("/own").expect("it is below its folder");
    for application in APPLICATIONS.iter().chain([&steps]) {
        if let Some(reached) = reads(application, told.path()) {
            let place = String::from_utf8_lossy(&reached);
            assert!(
                place == "/own" || place.starts_with("/own/"),
                "{path} leaves for {place} by {application:?}"
            );
        }
        let Some(reached) = reads(application, rest).filter(|_| !rules.is_empty()) else { continue };
        let whole = [strip.as_bytes(), &reached].concat();
        let needs = [asks(rules, &whole), asks_folded(rules, &whole)];
        let place = String::from_utf8_lossy(&whole);
        assert!(
            needs.iter().all(|needs| needs.is_some_and(|needs| level >= needs)),
            "{path} reaches {place} by {application:?}, which asks for {needs:?}, with {level}"
        );
    }
    true
}

/// Asks for one path under these rules; true where some of the three who ask got in.
pub fn decided(rules: &[Rule], steps: &str, path: &str) -> bool {
    let Ok(target) = PathAndQuery::try_from(path) else { return false };
    let app = App::new(AppId::ONLY, OrgId::ONLY, "h", "", "/.portcullis", rules.to_vec());
    let Ok(app) = app else { return false };
    let owners = [GroupBinding { group: "Owners".into(), role: "r".into() }];
    let Ok(bindings) = Bindings::new(&["r".into()], &[], &owners) else { return false };
    let headers = IdentityHeaders::x_forwarded(UserFrom::UserName);
    let policy = Policy::new(RulesVersion(1), vec![app], bindings, headers);
    let people = [None, person(&policy, &[]), person(&policy, &["Owners"])];
    let Ok(route) = policy.find_route(&RouteKey { host: "h", target: &target, method: &Method::GET }) else {
        return false;
    };
    let allowed = |who: &Option<Principal>| match policy.decide(&route, who.as_ref(), &Method::GET, &target) {
        Decision::Allow(pass) => Some(pass),
        Decision::Login | Decision::Deny(_) => None,
    };
    let passes: Vec<_> = people.iter().map(allowed).collect();
    let Some(level) = passes.iter().position(Option::is_some) else { return false };
    assert!(passes[level..].iter().all(Option::is_some), "{path}: who may more gets as far");
    let is_public =
        passes[level..].iter().flatten().all(|pass| pass.is_public() && policy.still_public(pass));
    assert_eq!(is_public, level == 0, "{path}");
    if rules.is_empty() {
        return true; // one rule for all
    }
    for application in APPLICATIONS.iter().chain([&steps]) {
        let Some(reached) = reads(application, target.path()) else { continue };
        let needs = [asks(rules, &reached), asks_folded(rules, &reached)];
        let place = String::from_utf8_lossy(&reached);
        assert!(
            needs.iter().all(|needs| needs.is_some_and(|needs| level >= needs)),
            "{path} reaches {place} by {application:?}, which asks for {needs:?}, with {level}"
        );
        assert!(!under_ours(&reached) && !under_ours(&fold(&reached)), "{path} reaches {place}");
    }
    true
}

/// Whether no two of these rules contradict each other.
pub fn are_compatible(rules: &[Rule]) -> bool {
    App::new(AppId::ONLY, OrgId::ONLY, "h", "", "/.portcullis", rules.to_vec()).is_ok()
}

/// What real applications do, as steps. The last ones decode twice.
const APPLICATIONS: &[&str] = &[
    "", "d", "e", "dmr", "bmr", "cdbmr", "rcd", "cdm", "are", "bar", "dar", "dbar", "rd", "drq", "qd", "mrd",
    "bmrd", "dq", "cmrd", "dbcmrq", "dd", "ddmr", "drd", "dbdr", "ddbcmrq", "ee", "cdrd", "dcrdcr", "rdrdr",
    "ard",
];

/// What an application with these steps makes of a path; `None` for one that would not take it, or decodes more often
/// than twice.
pub fn reads(steps: &str, path: &str) -> Option<Vec<u8>> {
    if steps.len() > 12 || steps.bytes().filter(|step| matches!(step, b'd' | b'e')).count() > 2 {
        return None;
    }
    steps.chars().try_fold(encoded_as_rules_are_not(path), step)
}

/// A path is compared with rules that are written decoded: what it has to encode counts as written plainly, whether an
/// application decodes or not.
fn encoded_as_rules_are_not(path: &str) -> Vec<u8> {
    percent(path.as_bytes(), |byte| {
        matches!(byte, b' ' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80..)
    })
}

fn step(path: Vec<u8>, step: char) -> Option<Vec<u8>> {
    let text = |path: &[u8]| path.iter().map(|byte| char::from(*byte)).collect::<String>();
    let bytes =
        |text: String| text.chars().filter_map(|c| u8::try_from(u32::from(c)).ok()).collect::<Vec<u8>>();
    let latin = text(&path);
    Some(match step {
        // decode; by segment, in which a slash stays what it is
        'd' => percent(&path, |_| true),
        'e' => percent(&path, |byte| byte != b'/' && byte != b'\\'),
        'b' => bytes(latin.replace('\\', "/")),
        'c' => {
            let cut =
                latin.split('/').map(|segment| segment.split(';').next().unwrap_or_default().to_owned());
            bytes(cut.collect::<Vec<_>>().join("/"))
        }
        'm' => {
            let mut latin = latin;
            while latin.contains("//") {
                latin = latin.replace("//", "/");
            }
            bytes(latin)
        }
        'r' => {
            let mut stack: Vec<&str> = Vec::new();
            for segment in latin.split('/').skip(1) {
                match segment {
                    "." => {}
                    ".." => drop(stack.pop()),
                    other => stack.push(other),
                }
            }
            let open = latin.ends_with("/.") || latin.ends_with("/..");
            bytes(format!("/{}{}", stack.join("/"), if open && !stack.is_empty() { "/" } else { "" }))
        }
        'a' if latin.starts_with("//") => {
            let behind = latin.trim_start_matches('/');
            bytes(behind.find('/').map_or("/".to_owned(), |at| behind[at..].to_owned()))
        }
        'q' => bytes(latin.split(['?', '#']).next().unwrap_or_default().to_owned()),
        'a' => path,
        _ => return None,
    })
}

/// Decodes escapes of the bytes that `takes` says, and passes over what is none.
fn percent(path: &[u8], takes: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < path.len() {
        let digits = path.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let meant = digits
            .filter(|_| path[at] == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .filter(|meant| takes(*meant));
        decoded.push(meant.unwrap_or(path[at]));
        at += if meant.is_some() { 3 } else { 1 };
    }
    decoded
}

/// How much the rule of a place asks for: 0 nothing, 1 a session, 2 the role. `None` where no rule is for it.
fn asks(rules: &[Rule], place: &[u8]) -> Option<usize> {
    let written = rules.iter().map(|rule| (rule, rule.pattern.as_written().to_owned()));
    ranked(written, place)
}

/// The same in an application that folds: its own rules are folded too.
fn asks_folded(rules: &[Rule], place: &[u8]) -> Option<usize> {
    let folded = rules.iter().map(|rule| {
        let text = rule.pattern.as_written();
        let (stem, below) = text.strip_suffix("/**").map_or((text, ""), |stem| (stem, "/**"));
        let stem: Vec<String> = stem.split('/').map(fold_segment).collect();
        let stem = stem.join("/");
        let stem = if below.is_empty() { stem.trim_end_matches(['/', '.', ' ']) } else { &stem };
        (rule, if stem.is_empty() && below.is_empty() { "/".to_owned() } else { format!("{stem}{below}") })
    });
    ranked(folded, &fold(place))
}

fn ranked<'r>(rules: impl Iterator<Item = (&'r Rule, String)>, place: &[u8]) -> Option<usize> {
    let rank = |text: &str| {
        let stem = text.strip_suffix("/**").unwrap_or(text);
        let literal: usize =
            stem.split('/').skip(1).take_while(|part| *part != "*").map(|part| part.len() + 1).sum();
        (!text.contains('*'), literal, stem.len() == text.len(), stem.matches('/').count())
    };
    let of_place =
        |(_, text): &(&Rule, String)| Pattern::parse_path(text).is_ok_and(|pattern| pattern.matches(place));
    let mut found: Vec<_> = rules.filter(of_place).collect();
    let best = found.iter().map(|(_, text)| rank(text)).max()?;
    found.retain(|(_, text)| rank(text) == best);
    found.sort_by_key(|(rule, _)| rule.methods.is_empty());
    let rule =
        found.iter().find(|(rule, _)| rule.methods.is_empty() || rule.methods.contains(&Method::GET))?.0;
    Some(match rule.allow {
        Allow::Public => 0,
        Allow::SignedIn => 1,
        Allow::Roles(_) => 2,
    })
}

fn fold(place: &[u8]) -> Vec<u8> {
    let mut folded = Vec::new();
    for chunk in place.utf8_chunks() {
        folded.extend(lower(chunk.valid()).into_bytes());
        folded.extend(chunk.invalid());
    }
    let is_end = |byte: &u8| matches!(byte, b'.' | b' ');
    let mut segments: Vec<&[u8]> = folded.split(|byte| *byte == b'/').collect();
    for segment in &mut segments {
        let kept = segment.len() - segment.iter().rev().take_while(|byte| is_end(byte)).count();
        *segment = if kept == 0 { segment } else { &segment[..kept] };
    }
    let mut folded = segments.join(&b'/');
    while folded.last().is_some_and(|byte| *byte == b'/' || is_end(byte)) {
        folded.pop();
    }
    if folded.is_empty() { b"/".to_vec() } else { folded }
}

fn fold_segment(segment: &str) -> String {
    let cut = segment.trim_end_matches(['.', ' ']);
    if cut.is_empty() { segment.to_owned() } else { lower(cut) }
}

fn lower(text: &str) -> String {
    // A server may compare in upper case, and `i` has two more spellings in Turkish.
    let turkish = text.replace(['\u{130}', '\u{131}'], "i");
    let upper = turkish.chars().map(|c| {
        let all: Vec<char> = c.to_uppercase().collect();
        if all.len() == 1 { all[0] } else { c }
    });
    upper.flat_map(char::to_lowercase).collect()
}

fn under_ours(place: &[u8]) -> bool {
    place.strip_prefix(b"/.portcullis").is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Reads a rule as an input writes it.
pub fn rule(line: &str) -> Option<Rule> {
    let (path, allows) = line.rsplit_once('=')?;
    let allow = match allows.chars().next()? {
        'p' => Allow::Public,
        's' => Allow::SignedIn,
        'r' => Allow::Roles(Arc::new(["r".into()])),
        _ => return None,
    };
    let methods = match allows.get(1..)? {
        "" => vec![],
        "g" => vec![Method::GET],
        "o" => vec![Method::POST],
        _ => return None,
    };
    Some(Rule {
        pattern: Pattern::parse_path(path).ok()?,
        methods,
        allow,
        on_change: OnChange::Cut,
        upstream: None,
    })
}

fn person(policy: &Policy, groups: &[&str]) -> Option<Principal> {
    let facts = Facts {
        account: AccountId(1),
        org: OrgId::ONLY,
        stable_id: "alice".into(),
        user_name: Some("alice".into()),
        id: None,
        external_id: None,
        subject: None,
        email: None,
        attributes: Attributes::default(),
        groups: groups.iter().map(|group| Arc::from(*group)).collect(),
    };
    policy.describe_person(&Arc::new(facts), Seq(1)).ok()
}
