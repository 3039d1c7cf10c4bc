//! `routes`: the rules of the app, each for itself and against each other.

use portcullis_policy::{Allow, App, AppId, Bindings, Clash, OrgId, Rule, RuleError, UpstreamPath};

use super::findings::Findings;
use super::listeners::all_upstreams;
use crate::at::{At, show_value};
use crate::document::RootBlock;
use crate::nearest;
use crate::read::Given;
use crate::routes::RouteBlock;
use crate::upstream::UpstreamBlock;

/// More rules than anybody reads; each is compared with each.
const MOST_ROUTES: usize = 500;

/// Makes the app of its rules, after each was asked for itself and against the others.
pub(super) fn join_app(
    findings: &mut Findings<'_, '_>,
    document: &RootBlock,
    bindings: Option<&Bindings>,
) -> Option<App> {
    let prefix = &document.prefix.0;
    let (host, base) = match &document.public_url.0 {
        Some(url) => (url.host(), url.path()),
        None => ("unknown.invalid", ""),
    };
    let routes = document.routes.as_deref().unwrap_or_default();
    if document.routes.is_some() && routes.is_empty() {
        let remedy = "Leave it out, and the whole site is for signed-in people; or write a rule";
        findings.add_problem("routes", "an empty list names no path", remedy);
    }
    if routes.len() > MOST_ROUTES {
        findings.add_problem("routes", format!("more than {MOST_ROUTES} rules"), "Join some with * and /**");
        return None;
    }
    let mut rules: Vec<(usize, Rule)> = Vec::new();
    for (nth, route) in routes.iter().enumerate() {
        let Given(Some(route)) = route else { continue };
        check_route(findings, nth, route, base, prefix);
        check_upstream(findings, nth, route, document);
        check_roles(findings, nth, route, document.bindings.as_deref(), bindings);
        rules.push((nth, route.compile_rule()));
    }
    let whole_site = format!("{base}/**");
    let takes_all =
        |route: &RouteBlock| matches!(route.path.as_written(), text if text == "/**" || text == whole_site);
    if !routes.is_empty() && !rules.iter().any(|(nth, _)| routes[*nth].0.as_ref().is_some_and(takes_all)) {
        findings.add_warning(
            "routes",
            format!("no rule is for {whole_site}, so every path that no rule names is refused, to everybody"),
            format!("Write a last rule for {whole_site}, for the rest of the site"),
        );
    }
    check_stripped(findings, document, &rules, base);
    let app = |rules| {
        let app = App::new(AppId::ONLY, OrgId::ONLY, host, base, prefix, rules)?;
        let main = document.upstream.0.as_ref().map(UpstreamBlock::path).unwrap_or_default();
        let others = document.upstreams.0.iter();
        Ok(others.fold(app.with_path(None, main), |app, (name, upstream)| {
            app.with_path(Some(name), upstream.path())
        }))
    };
    let whole = app(rules.iter().map(|(_, rule)| rule.clone()).collect()).ok();
    if whole.is_some() {
        return whole;
    }
    // Policy names the first pair that clashes; here each rule is told of the first one before it.
    for (nth, (later, rule)) in rules.iter().enumerate() {
        let clash = rules[..nth].iter().find_map(|(earlier, other)| {
            let RuleError(_, _, how): RuleError = app(vec![other.clone(), rule.clone()]).err()?;
            Some((earlier, other, how))
        });
        let Some((earlier, other, how)) = clash else { continue };
        let line = findings.root.line_of(&At::from(format!("routes[{earlier}]").as_str()));
        let written = show_value(rule.pattern.as_written());
        let (what, remedy) = match how {
            Clash::Same => (
                format!(
                    "\"{written}\" takes the same paths and methods as routes[{earlier}] on line {line}, and \
                     differs in what it allows, or in where it leads"
                ),
                "Leave one out, or make one more exact",
            ),
            Clash::Folded => (
                format!(
                    "\"{written}\" is \"{}\" of routes[{earlier}] on line {line} to an application that does not \
                     tell upper from lower case, nor a slash, dot or blank at the end, and differs in what it \
                     allows, or in where it leads",
                    show_value(other.pattern.as_written())
                ),
                "Let both allow the same, or leave one out",
            ),
        };
        findings.add_problem(&format!("routes[{later}].path"), what, remedy);
    }
    None
}

/// Refuses a rule that no request would ever reach.
fn check_route(findings: &mut Findings<'_, '_>, nth: usize, route: &RouteBlock, base: &str, prefix: &str) {
    let text = route.path.as_written();
    let path = format!("routes[{nth}].path");
    let own = format!("{base}{prefix}");
    if is_below(text.strip_suffix("/**").unwrap_or(text), &own) && !findings.has_failed("prefix") {
        let what = format!("below {own} are our own pages, and no rule is asked there");
        findings.add_problem(&path, what, "Leave the rule out");
    } else if !reaches_below(text, base) {
        let what = format!("\"{}\" is outside {base}, the path of public_url", show_value(text));
        findings.add_problem(&path, what, format!("Write the whole path: {base}{}", show_value(text)));
    }
}

/// Refuses a rule that leads nowhere.
fn check_upstream(findings: &mut Findings<'_, '_>, nth: usize, route: &RouteBlock, document: &RootBlock) {
    let Some(name) = &route.upstream else { return };
    let known = document.upstreams.0.iter().map(|(known, _)| known.as_str());
    // One that is there and cannot be read is told of where it stands.
    let is_written = findings.has_key(&At::from("upstreams").below_key(name).to_string());
    if known.clone().all(|known| known != name) && !is_written {
        let what = format!("there is no upstream \"{}\"", show_value(name));
        let remedy = match document.upstreams.0.is_empty() {
            true => format!("Write it below upstreams: {}: http://127.0.0.1:3001", show_value(name)),
            false => nearest::suggest_word(name, known),
        };
        findings.add_problem(&format!("routes[{nth}].upstream"), what, remedy);
    }
}

/// Refuses a rule of which no path goes up, and warns of one of which some do not: they are not below what is taken off.
fn check_stripped(
    findings: &mut Findings<'_, '_>,
    document: &RootBlock,
    rules: &[(usize, Rule)],
    base: &str,
) {
    for (path, upstream) in all_upstreams(document) {
        let UpstreamPath { strip, .. } = upstream.path();
        if strip.is_empty() {
            continue;
        }
        let name = path.strip_prefix("upstreams.");
        let place = format!("{path}.strip_prefix");
        for (nth, rule) in rules.iter().filter(|(_, rule)| rule.upstream.as_deref() == name) {
            let text = rule.pattern.as_written();
            if !reaches_below(text, &strip) {
                let what = format!("\"{}\" is outside {strip}, which {place} takes off", show_value(text));
                findings.add_problem(
                    &format!("routes[{nth}].path"),
                    what,
                    format!("Write {strip}{}", show_value(text)),
                );
            }
        }
        if name.is_none() && rules.is_empty() && !is_below(base, &strip) {
            let what = format!("whatever is not below {strip} is answered 404");
            findings.add_warning(&place, what, format!("Write it in public_url too: …{strip}"));
        }
    }
}

/// Refuses roles that nobody can have.
fn check_roles(
    findings: &mut Findings<'_, '_>,
    nth: usize,
    route: &RouteBlock,
    file: Option<&str>,
    bindings: Option<&Bindings>,
) {
    let (Allow::Roles(roles), Some(bindings)) = (&route.allow.0, bindings) else { return };
    for (item, role) in roles.iter().enumerate() {
        if bindings.known_roles().contains(role) {
            continue;
        }
        let line = findings.root.line_of(&At::from(format!("routes[{nth}].allow[{item}]").as_str()));
        let (what, remedy) = match file {
            Some(file) => (
                format!("\"{}\" is not a role of {}", show_value(role), show_value(file)),
                nearest::list_known(bindings.known_roles().iter().map(|role| &**role)),
            ),
            None => (
                format!("\"{}\" is a role, and there is no bindings file that gives roles", show_value(role)),
                "Write bindings: with the path of one".into(),
            ),
        };
        findings.report.problem_on(line, &At::from(format!("routes[{nth}].allow").as_str()), what, remedy);
    }
}

/// Tells whether a path is `base` or below it.
fn is_below(path: &str, base: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Tells whether a pattern matches any path at or below `base`.
fn reaches_below(pattern: &str, base: &str) -> bool {
    let mut own = base.split('/').skip(1);
    let mut parts = pattern.split('/').skip(1);
    loop {
        match (own.next(), parts.next()) {
            (None, _) | (Some(_), Some("**")) => return true,
            (Some(own), Some(part)) if part == "*" || part == own => {}
            (Some(_), _) => return false,
        }
    }
}
