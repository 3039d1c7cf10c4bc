//! The bindings file: which groups give which roles. It is meant to live in the operator's own repository.

use std::borrow::Cow;
use std::collections::HashSet;

use portcullis_policy::{AttributeBinding, Bindings, GroupBinding};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::{At, show_value};
use crate::cross::KnownAttributes;
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
    /// One group, or one value of an attribute, that gives one role.
    pub(crate) struct Binding {
        /// The whole `displayName` of the group; ASCII letters may differ in case.
        pub(crate) group: Option<String>,
        /// An attribute of the directory, such as department; with `equals`.
        pub(crate) attribute: Option<String>,
        /// Its whole value, of a list any one; ASCII letters may differ in case unless the attribute is caseExact.
        pub(crate) equals: Option<String>,
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
///
/// `attributes` are those of the directory; `None` where there is none.
pub(crate) fn parse_bindings(
    text: &[u8],
    name: &str,
    attributes: Option<&KnownAttributes>,
    report: &mut Report<'_>,
) -> Option<Bindings> {
    report.in_file(name, |report| {
        let root = parse_tree(text, "Write version, roles and bindings", report)?;
        let file = BindingsFile::read(&root, &At::root(), report)?;
        let bound = judge_bindings(&file, &root, attributes, report);
        judge_roles(&file, &root, bound, report)
    })
}

/// What the entries of `bindings` bind.
struct Bound {
    groups: Vec<GroupBinding>,
    attributes: Vec<AttributeBinding>,
}

/// Checks that each entry binds one thing, and finds the attributes.
fn judge_bindings(
    file: &BindingsFile,
    root: &YamlNode,
    known: Option<&KnownAttributes>,
    report: &mut Report<'_>,
) -> Option<Bound> {
    let before = report.problems.len();
    let mut bound = Bound { groups: Vec::new(), attributes: Vec::new() };
    for (nth, binding) in file.bindings.iter().enumerate() {
        let mut say = |key: &str, what: String, remedy: String| {
            let at = At::root().below_key("bindings").below_index(nth);
            let at = if key.is_empty() { at } else { at.below_key(key) };
            report.problem_on(root.line_of(&at), &at, what, remedy);
        };
        let role = binding.role.clone();
        match (&binding.group, &binding.attribute, &binding.equals) {
            (Some(group), None, None) => bound.groups.push(GroupBinding { group: group.clone(), role }),
            (None, Some(asked), Some(value)) => match known.map(|known| known.find_bindable(asked)) {
                Some(Ok(found)) => bound.attributes.push(AttributeBinding {
                    attribute: found.whole.clone(),
                    written: asked.clone(),
                    equals: value.clone(),
                    is_exact: found.is_exact,
                    role,
                }),
                Some(Err((what, remedy))) => say("attribute", what, remedy),
                None => say(
                    "attribute",
                    "with provisioning: none there is no directory that has attributes".into(),
                    "Bind by group".into(),
                ),
            },
            (None, Some(_), None) => {
                say(
                    "attribute",
                    "there is no equals beside it".into(),
                    "Write the value it must have".into(),
                );
            }
            (_, None, Some(_)) => {
                say("equals", "there is no attribute beside it".into(), "Write attribute: department".into());
            }
            (Some(_), Some(_), _) => {
                say("attribute", "a binding is by group or by attribute".into(), "Write two bindings".into());
            }
            (None, None, None) => say(
                "",
                "it binds nothing".into(),
                "Write group: and the name of one, or attribute: and equals:".into(),
            ),
        }
    }
    (report.problems.len() == before).then_some(bound)
}

/// Checks what the form cannot say: roles that are known, written once, able to stand in a header.
fn judge_roles(
    file: &BindingsFile,
    root: &YamlNode,
    bound: Option<Bound>,
    report: &mut Report<'_>,
) -> Option<Bindings> {
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
                format!("nothing gives \"{}\"", show_value(role)),
                "Bind it, or leave it out",
            );
        }
    }
    let Bound { groups, attributes } = bound?;
    let conflicts = file.conflicts.as_deref().unwrap_or_default();
    let joined = Bindings::new(&file.roles, conflicts, &groups);
    match joined.and_then(|bindings| bindings.with_attributes(&attributes)) {
        Ok(bindings) => Some(bindings),
        Err(error) => report.add_problem(root, &At::root(), error.to_string(), ""),
    }
}
