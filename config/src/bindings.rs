//! The bindings file: which groups give which roles. It is meant to live in the operator's own repository.

use std::borrow::Cow;
use std::collections::HashSet;

use portcullis_policy::{Bindings, GroupBinding};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::{At, show_value};
use crate::nearest;
use crate::node::YamlNode;
use crate::read::{FromYaml, read_text, section};
use crate::report::Report;
use crate::routes::WORDS;
use crate::source::parse_tree;

section! {
    /// Which groups give which roles.
    pub(crate) struct BindingsFile {
        /// The version of this form: 1.
        pub(crate) version: FormVersion,
        /// Every role there is. A person's roles add up.
        pub(crate) roles: Vec<String>,
        /// Roles of which a person has only one: the leftmost, the strictest, wins. Required where there is more than
        /// one role; `[]` says that there are none.
        pub(crate) conflicts: Option<Vec<Vec<String>>>,
        /// What gives a role.
        pub(crate) bindings: Vec<Binding>,
    }
}

section! {
    /// One group that gives one role.
    pub(crate) struct Binding {
        /// The whole `displayName` of the group; ASCII letters may differ in case.
        pub(crate) group: String,
        /// The role it gives.
        pub(crate) role: String,
    }
}

/// The version of the form: 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FormVersion;

impl FromYaml for FormVersion {
    const WANTED: &'static str = "1";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        match read_text(node, at, report, Self::WANTED)? {
            "1" => Some(Self),
            other => report.add_problem(
                node,
                at,
                format!("{} is not a version of this form", show_value(other)),
                "Write 1",
            ),
        }
    }
}

impl JsonSchema for FormVersion {
    fn schema_name() -> Cow<'static, str> {
        "FormVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": 1 })
    }
}

/// Reads the text of a bindings file; `name` is how its problems call it.
pub(crate) fn parse_bindings(text: &[u8], name: &str, report: &mut Report<'_>) -> Option<Bindings> {
    report.in_file(name, |report| {
        let root = parse_tree(text, "Write version, roles and bindings", report)?;
        let file = BindingsFile::read(&root, &At::root(), report)?;
        judge_roles(&file, &root, report)
    })
}

/// Checks what the form cannot say: roles that are known, written once, able to stand in a header.
fn judge_roles(file: &BindingsFile, root: &YamlNode, report: &mut Report<'_>) -> Option<Bindings> {
    let FormVersion = file.version;
    let before = report.problems.len();
    let mut say = |path: String, what: String, remedy: String| {
        let at = At::from(path.as_str());
        report.problem_on(root.line_of(&at), &at, what, remedy);
    };
    let mut seen = HashSet::new();
    for (nth, role) in file.roles.iter().enumerate() {
        let path = format!("roles[{nth}]");
        if let Err(error) = Bindings::new(std::slice::from_ref(role), &[], &[]) {
            say(path, error.to_string(), "Give it a name that can stand in a header".into());
        } else if WORDS.contains(&role.as_str()) {
            say(
                path,
                format!("\"{role}\" is a word of routes, and no route could ask for it"),
                "Rename it".into(),
            );
        } else if !seen.insert(role.as_str()) {
            say(path, format!("\"{}\" is listed twice", show_value(role)), "Keep one".into());
        }
    }
    let known = || file.roles.iter().map(String::as_str);
    let unknown = |role: &str| format!("\"{}\" is not among the roles of this file", show_value(role));
    match &file.conflicts {
        None if file.roles.len() > 1 && root.find_node(&At::from("conflicts")).is_none() => say(
            "conflicts".into(),
            "missing, and there is more than one role".into(),
            "List roles of which a person has only one, the strictest first, or write [] for none".into(),
        ),
        conflicts => {
            for (nth, line) in conflicts.iter().flatten().enumerate() {
                let mut seen = HashSet::new();
                if line.len() < 2 {
                    say(
                        format!("conflicts[{nth}]"),
                        "a conflict is between two roles or more".into(),
                        String::new(),
                    );
                }
                for (place, role) in line.iter().enumerate() {
                    let path = format!("conflicts[{nth}][{place}]");
                    if !file.roles.contains(role) {
                        say(path, unknown(role), nearest::suggest_word(role, known()));
                    } else if !seen.insert(role) {
                        say(path, format!("\"{}\" is listed twice", show_value(role)), "Keep one".into());
                    }
                }
            }
        }
    }
    for (nth, binding) in file.bindings.iter().enumerate() {
        if !file.roles.contains(&binding.role) {
            say(
                format!("bindings[{nth}].role"),
                unknown(&binding.role),
                nearest::suggest_word(&binding.role, known()),
            );
        }
    }
    if report.problems.len() > before {
        return None;
    }
    for (nth, role) in file.roles.iter().enumerate() {
        if !file.bindings.iter().any(|binding| binding.role == *role) {
            let at = At::root().below_key("roles").below_index(nth);
            report.add_warning(
                root.line_of(&at),
                &at,
                format!("no group gives \"{}\"", show_value(role)),
                "Bind it, or leave it out",
            );
        }
    }
    let groups: Vec<GroupBinding> = file
        .bindings
        .iter()
        .map(|binding| GroupBinding { group: binding.group.clone(), role: binding.role.clone() })
        .collect();
    match Bindings::new(&file.roles, file.conflicts.as_deref().unwrap_or_default(), &groups) {
        Ok(bindings) => Some(bindings),
        Err(error) => report.add_problem(root, &At::root(), error.to_string(), ""),
    }
}
