//! The alerts and the dashboard of `examples/`: promtool takes the rules and plays their tests, and whatever they name is
//! something that the program shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::needs;
use crate::rig::program::bounded;
use crate::rig::shape::{examples, read_example};
use crate::rig::stage::Stage;
use crate::rig::{peer, until, wire};

/// What Prometheus adds to every series of a program.
const OF_PROMETHEUS: [&str; 3] = ["job", "instance", "le"];

/// Each series that the program shows, with the names of its labels.
type Shown = BTreeMap<String, BTreeSet<String>>;

/// Everything that a program shows once a directory has spoken to it, with a certificate of its own.
async fn shown_series() -> Shown {
    let stage = Stage::with(|settings| settings.scheme = "https").await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    until("the count of sessions", || async { stage.program.metric("portcullis_sessions").await.is_some() })
        .await;
    let text = wire::get(stage.program.settings.health, "localhost", "/metrics").await.unwrap().text();
    let mut shown = Shown::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        shown.entry(name.to_owned()).or_default().extend(matched_labels(labels));
    }
    shown
}

/// The names of labels up to the end of a brace: `kind="a",le="b"}`.
fn matched_labels(text: &str) -> impl Iterator<Item = String> {
    let inside = text.split('}').next().unwrap_or_default();
    inside
        .split(',')
        .filter_map(|label| label.split(['=', '!']).next())
        .map(|label| label.trim().to_owned())
        .filter(|label| !label.is_empty())
}

/// The series that an expression names, and whatever else is wrong with it.
fn look_at_expression(
    expression: &str,
    shown: &Shown,
    named: &mut BTreeSet<String>,
    wrong: &mut Vec<String>,
) {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut known: BTreeSet<&str> = OF_PROMETHEUS.into();
    let mut rest = expression;
    while let Some(start) = rest.find(is_of_name) {
        rest = &rest[start..];
        let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        rest = behind;
        if !name.starts_with("portcullis_") && !name.starts_with("process_") {
            continue;
        }
        let Some(labels) = shown.get(name) else {
            wrong.push(format!("{name} is shown by no program: {expression}"));
            continue;
        };
        named.insert(name.to_owned());
        known.extend(labels.iter().map(String::as_str));
        for label in behind.strip_prefix('{').into_iter().flat_map(matched_labels) {
            if !labels.contains(&label) && !OF_PROMETHEUS.contains(&&*label) {
                wrong.push(format!("{name} has no label {label}: {expression}"));
            }
        }
    }
    for list in expression.split(" by (").skip(1) {
        for label in list.split(')').next().unwrap_or_default().split(',').map(str::trim) {
            if !known.contains(label) {
                wrong.push(format!("nothing in it has a label {label}: {expression}"));
            }
        }
    }
}

fn read_rules() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read_example("prometheus/portcullis.rules.yml")).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// The expressions of the dashboard.
fn panel_expressions() -> Vec<String> {
    let board: Value = serde_json::from_str(&read_example("grafana/portcullis.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut expressions = Vec::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels of one number: {panel}");
        if panel["type"] == "row" {
            continue;
        }
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
            expressions.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    expressions
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_they_name_is_shown_by_the_program() {
    let shown = shown_series().await;
    let (mut named, mut wrong) = (BTreeSet::new(), Vec::new());
    for rule in read_rules() {
        look_at_expression(rule["expr"].as_str().unwrap(), &shown, &mut named, &mut wrong);
    }
    for expression in panel_expressions() {
        look_at_expression(&expression, &shown, &mut named, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What is shown and in no panel is seen by nobody who looks.
    let family = |name: &str| name.trim_end_matches("_bucket").to_owned();
    let looked_at: BTreeSet<String> = named.iter().map(|name| family(name)).collect();
    let of_counts = |name: &str| name.ends_with("_sum") || name.ends_with("_count");
    let left: Vec<&String> = shown
        .keys()
        .filter(|name| {
            name.starts_with("portcullis_") && !of_counts(name) && !looked_at.contains(&family(name))
        })
        .collect();
    assert!(left.is_empty(), "in no rule and no panel: {left:?}");
}

#[test]
fn what_is_wrong_with_an_expression_is_seen() {
    let shown = Shown::from([("portcullis_holds".to_owned(), BTreeSet::from(["kind".to_owned()]))]);
    let look = |expression| {
        let (mut named, mut wrong) = (BTreeSet::new(), Vec::new());
        look_at_expression(expression, &shown, &mut named, &mut wrong);
        (named.len(), wrong.len())
    };
    assert_eq!(look("sum by (kind, job) (portcullis_holds{kind=~\"a|b\", instance!=\"c\"}) > 0"), (1, 0));
    assert_eq!(look("portcullis_hold > 0"), (0, 1));
    assert_eq!(look("portcullis_holds{reason=\"x\"}"), (1, 1));
    assert_eq!(look("sum by (reason) (portcullis_holds)"), (1, 1));
}

#[test]
fn each_alert_says_what_happened_why_it_matters_and_what_to_do() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = read_example("prometheus/portcullis.rules_test.yml");
    let rules = read_rules();
    assert!(rules.len() > 15);
    for rule in &rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(["page", "ticket"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        for said in ["summary", "why", "do", "doc"] {
            assert!(rule["annotations"][said].as_str().is_some_and(|text| text.len() > 10), "{name}: {said}");
        }
        let doc = rule["annotations"]["doc"].as_str().unwrap();
        let (file, section) = doc.split_once('#').unwrap_or((doc, ""));
        let text =
            fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{name}: {doc}: {error}"));
        let is_there =
            text.lines().filter(|line| line.starts_with('#')).any(|line| anchor_of(line) == section);
        assert!(section.is_empty() || is_there, "{name}: there is no section {doc}");
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "no test of {name}");
    }
    // Whatever the documentation would wake somebody for does.
    let documented = fs::read_to_string(root.join("docs/metrics.md")).unwrap();
    let table = documented.split_once("## What to be woken for").unwrap().1;
    let expressions: String = rules.iter().map(|rule| rule["expr"].as_str().unwrap()).collect();
    let is_of_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        let start = row.find("portcullis_").unwrap();
        let name = row[start..].split(|c| !is_of_name(c)).next().unwrap();
        assert!(expressions.contains(name), "no alert is about {name}");
    }
}

/// The anchor of a heading, as the pages of a repository have it.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
}

#[test]
fn promtool_takes_the_rules_and_plays_their_tests() {
    needs!("promtool");
    for (words, file) in [
        (["check", "rules"], "prometheus/portcullis.rules.yml"),
        (["test", "rules"], "prometheus/portcullis.rules_test.yml"),
    ] {
        let mut promtool = Command::new(peer::cache().join("prometheus/usr/bin/promtool"));
        promtool.args(words).arg(examples().join(file));
        let output = bounded(promtool);
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("SUCCESS"), "{said}");
    }
}
