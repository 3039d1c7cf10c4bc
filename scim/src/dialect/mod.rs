//! What identity providers really send, rewritten into what the standard says: named rules, each pure.
//!
//! A body goes in, a body comes out; what is already as the standard has it stays as it is, so rewriting twice
//! changes nothing. No rule asks who the client is: one Entra tenant speaks both of its dialects. What a rule does
//! not know it leaves alone, and the strict engine behind refuses it. The rules are those of `docs/scim.md`.

mod operation;
mod value;

use std::collections::{HashMap, VecDeque};
use std::fmt;

use portcullis_policy::shown;
use serde_json::{Map, Value};

use crate::error::ScimError;
use crate::schema::{ENTERPRISE_USER, ResourceKind, Schemas};

/// One rewrite that an identity provider's habit needs; counted, so that an operator sees which dialect is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rewrite {
    /// `"op": "Replace"` is `replace`.
    OperationCase,
    /// `remove` of a list with a value removes the listed elements, not the list.
    RemoveListed,
    /// `"True"` is `true` where a boolean is due.
    BooleanText,
    /// The keys of a PATCH value without a path are paths themselves.
    KeysAsPaths,
    /// A manager that is text, a list of one, or empty.
    ManagerShape,
    /// `add` at an element that is not there makes it.
    AddToElement,
    /// Schemas nobody here knows, and one object where a list is due.
    LooseShape,
    /// An attribute of an extension, named without the extension.
    BareExtension,
}

impl Rewrite {
    /// All of them, in the order of their numbers from 1 to 8.
    pub const ALL: [Rewrite; 8] = [
        Rewrite::OperationCase,
        Rewrite::RemoveListed,
        Rewrite::BooleanText,
        Rewrite::KeysAsPaths,
        Rewrite::ManagerShape,
        Rewrite::AddToElement,
        Rewrite::LooseShape,
        Rewrite::BareExtension,
    ];

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Rewrite::OperationCase => "operation-case",
            Rewrite::RemoveListed => "remove-listed",
            Rewrite::BooleanText => "boolean-text",
            Rewrite::KeysAsPaths => "keys-as-paths",
            Rewrite::ManagerShape => "manager-shape",
            Rewrite::AddToElement => "add-to-element",
            Rewrite::LooseShape => "loose-shape",
            Rewrite::BareExtension => "bare-extension",
        }
    }
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Rewrites bodies of one kind of resource and remembers by which rules.
pub(crate) struct Dialect<'a> {
    schemas: &'a Schemas,
    kind: ResourceKind,
    applied: Vec<Rewrite>,
}

impl<'a> Dialect<'a> {
    pub(crate) fn new(schemas: &'a Schemas, kind: ResourceKind) -> Self {
        Self { schemas, kind, applied: Vec::new() }
    }

    /// The rules that were needed, each once, in order.
    pub(crate) fn applied_rules(mut self) -> Vec<Rewrite> {
        self.applied.sort_unstable();
        self.applied.dedup();
        self.applied
    }

    fn note_rule(&mut self, rule: Rewrite) {
        if !self.applied.contains(&rule) {
            self.applied.push(rule);
        }
    }

    /// Rewrites the body of a POST or PUT.
    ///
    /// # Errors
    /// `invalidSyntax` where a value stands there under two names, or a part of a list by itself.
    pub(crate) fn rewrite_resource(
        &mut self,
        body: Map<String, Value>,
    ) -> Result<Map<String, Value>, ScimError> {
        let mut rewritten = Map::new();
        for (name, mut given) in self.unfold_names(body)? {
            if name.eq_ignore_ascii_case("schemas") {
                given = self.known_schemas(given);
            } else if let Some(attribute) = self.schemas.attribute(self.kind, &name) {
                given = self.rewrite_value(attribute, given);
            } else if let Some(extension) = self.schemas.extension(self.kind, &name) {
                given = match given {
                    Value::Object(part) => Value::Object(self.rewrite_part(extension, part)),
                    other => other,
                };
            }
            rewritten.insert(name, given);
        }
        Ok(rewritten)
    }

    /// Attributes under their whole names (RFC 7644 §3.10), at their places: `urn:…:core:2.0:User:active`, the base schema as an
    /// object of its own, `name.givenName`.
    fn unfold_names(&mut self, body: Map<String, Value>) -> Result<Map<String, Value>, ScimError> {
        let mut unfolded = Unfolding::default();
        let mut open: VecDeque<(String, Value)> = body.into_iter().collect();
        while let Some((name, given)) = open.pop_front() {
            let name = match corrected_name(&name) {
                Some(corrected) => {
                    self.note_rule(Rewrite::LooseShape);
                    corrected
                }
                None => name,
            };
            let extension = self.schemas.extension(self.kind, &name);
            let given = match given {
                Value::Object(parts) if name.eq_ignore_ascii_case(self.kind.urn()) => {
                    self.note_rule(Rewrite::KeysAsPaths);
                    open.extend(parts);
                    continue;
                }
                Value::Object(parts) if extension.is_some() => {
                    let (named, plain) = parts.into_iter().partition(|(part, _)| part.contains([':', '.']));
                    let named: Map<String, Value> = named;
                    let whole =
                        |part: String| if part.contains(':') { part } else { format!("{name}:{part}") };
                    open.extend(named.into_iter().map(|(part, given)| (whole(part), given)));
                    Value::Object(plain)
                }
                given => given,
            };
            if let Some(extension) = extension {
                unfolded.place(&extension.urn, given)?;
                continue;
            }
            if !name.contains([':', '.']) {
                unfolded.place(&name, given)?;
                continue;
            }
            let path = match self.schemas.resolve_name(self.kind, &name) {
                // An attribute of an extension is one under its whole name alone.
                Ok(path) if path.extension().is_none() || name.contains(':') => path,
                _ => {
                    unfolded.place(&name, given)?;
                    continue;
                }
            };
            if path.attribute().multi && path.sub_attribute().is_some() {
                let what = format!("{path}: which element of the list is meant is not said");
                return Err(ScimError::invalid_syntax(what));
            }
            self.note_rule(Rewrite::KeysAsPaths);
            let within = |name: &str, given| Value::Object(Map::from_iter([(name.to_owned(), given)]));
            let given = match path.sub_attribute() {
                Some(sub) => within(&sub.name, given),
                None => given,
            };
            let attribute = &path.attribute().name;
            match path.extension() {
                Some(extension) => unfolded.place(extension, within(attribute, given))?,
                None => unfolded.place(attribute, given)?,
            }
        }
        Ok(unfolded.values)
    }

    /// The keys of a PATCH value with those that stand in the base schema as an object of its own.
    fn spread_base(&mut self, keys: Map<String, Value>) -> Result<Map<String, Value>, ScimError> {
        let mut spread = Unfolding::default();
        let mut open: VecDeque<(String, Value)> = keys.into_iter().collect();
        while let Some((name, given)) = open.pop_front() {
            match given {
                Value::Object(parts) if name.eq_ignore_ascii_case(self.kind.urn()) => {
                    self.note_rule(Rewrite::KeysAsPaths);
                    open.extend(parts);
                }
                given => spread.place(&name, given)?,
            }
        }
        Ok(spread.values)
    }

    fn rewrite_part(
        &mut self,
        extension: &crate::schema::Schema,
        part: Map<String, Value>,
    ) -> Map<String, Value> {
        let rewrite = |(name, given): (String, Value)| match extension.attribute(&name) {
            Some(attribute) => (name, self.rewrite_value(attribute, given)),
            None => (name, given),
        };
        part.into_iter().map(rewrite).collect()
    }

    /// Rule 7: schemas nobody here knows are left out. Whether the base schema is there is the engine's question.
    fn known_schemas(&mut self, given: Value) -> Value {
        let Value::Array(list) = given else { return given };
        let mut known = Vec::with_capacity(list.len());
        for urn in list {
            let is_known = match urn.as_str().map(corrected_urn) {
                Some(name) => {
                    name.eq_ignore_ascii_case(self.kind.urn())
                        || self.schemas.extension(self.kind, name).is_some()
                }
                None => true,
            };
            match (is_known, urn.as_str()) {
                (true, Some(name)) if corrected_urn(name) != name => {
                    self.note_rule(Rewrite::LooseShape);
                    known.push(corrected_urn(name).into());
                }
                (true, _) => known.push(urn),
                (false, _) => self.note_rule(Rewrite::LooseShape),
            }
        }
        Value::Array(known)
    }
}

/// An object that values are laid into by name, in any case; parts of one object may come one by one.
#[derive(Default)]
struct Unfolding {
    values: Map<String, Value>,
    /// Each name in lower case, with the one that stands there.
    names: HashMap<String, String>,
}

impl Unfolding {
    fn of_object(values: Map<String, Value>) -> Self {
        let names = values.keys().map(|name| (name.to_ascii_lowercase(), name.clone())).collect();
        Self { values, names }
    }

    /// Lays a value at its name.
    ///
    /// # Errors
    /// `invalidSyntax` where another stands there, and not both are objects with other parts.
    fn place(&mut self, name: &str, given: Value) -> Result<(), ScimError> {
        let Some(known) = self.names.get(&name.to_ascii_lowercase()) else {
            self.names.insert(name.to_ascii_lowercase(), name.to_owned());
            self.values.insert(name.to_owned(), given);
            return Ok(());
        };
        match (self.values.get_mut(known), given) {
            (Some(Value::Object(present)), Value::Object(parts)) => {
                let mut within = Self::of_object(std::mem::take(present));
                parts.into_iter().try_for_each(|(name, given)| within.place(&name, given))?;
                *present = within.values;
                Ok(())
            }
            _ => Err(ScimError::invalid_syntax(format!("{} stands there twice", shown(name)))),
        }
    }
}

/// The name of an extension or of an attribute of one, where its URN is misspelt like that.
fn corrected_name(name: &str) -> Option<String> {
    let length = MISSPELT.len();
    let begins = name.get(..length).is_some_and(|start| start.eq_ignore_ascii_case(MISSPELT));
    let rest = name.get(length..).filter(|rest| begins && (rest.is_empty() || rest.starts_with(':')))?;
    Some(format!("{ENTERPRISE_USER}{rest}"))
}

/// As one of Entra's documented samples has it.
const MISSPELT: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0User";

/// The schema that is meant by a URN which one of Entra's documented samples misspells.
fn corrected_urn(urn: &str) -> &str {
    if urn.eq_ignore_ascii_case(MISSPELT) { ENTERPRISE_USER } else { urn }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::schema::{GROUP, USER};

    const MANAGER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager";

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(object) => object,
            other => panic!("{other} is no object"),
        }
    }

    fn patched(kind: ResourceKind, operations: Value) -> (Value, Vec<Rewrite>) {
        let schemas = Schemas::core_schemas();
        let mut dialect = Dialect::new(&schemas, kind);
        let body = dialect.rewrite_patch(object(json!({ "Operations": operations }))).expect("a list");
        (body["Operations"].clone(), dialect.applied_rules())
    }

    fn posted(kind: ResourceKind, body: Value) -> (Value, Vec<Rewrite>) {
        let schemas = Schemas::core_schemas();
        let mut dialect = Dialect::new(&schemas, kind);
        let body = dialect.rewrite_resource(object(body)).expect("a body");
        (Value::Object(body), dialect.applied_rules())
    }

    #[test]
    fn a_whole_name_is_the_attribute_wherever_it_stands() {
        let enterprise = crate::schema::ENTERPRISE_USER;
        let expected = json!({ "userName": "n", "active": false, "name": { "givenName": "G", "familyName": "F" },
            enterprise: { "department": "D", "manager": { "value": "m" } } });
        for body in [
            json!({ format!("{USER}:userName"): "n", format!("{USER}:Active"): "False", "name.givenName": "G",
                format!("{USER}:name.familyName"): "F", format!("{enterprise}:department"): "D",
                enterprise: { "manager": { "value": "m" } } }),
            json!({ USER: { "userName": "n", "active": false, "name.givenName": "G" }, "name": { "familyName": "F" },
                enterprise: { "manager.value": "m" }, format!("{enterprise}:department"): "D" }),
            json!({ "userName": "n", "active": false, "name": { "familyName": "F", "givenName": "G" },
                MISSPELT: { "manager.value": "m", format!("{enterprise}:department"): "D" } }),
            json!({ "userName": "n", "active": false, "name": { "familyName": "F", "givenName": "G" },
                enterprise: { "manager": { "value": "m" } }, format!("{MISSPELT}:department"): "D" }),
        ] {
            let (rewritten, rules) = posted(ResourceKind::User, body);
            assert_eq!(rewritten, expected);
            assert!(rules.contains(&Rewrite::KeysAsPaths), "{rules:?}");
            assert_eq!(posted(ResourceKind::User, rewritten.clone()), (rewritten, vec![]));
        }
        let schemas = Schemas::core_schemas();
        for twice in [
            json!({ "active": true, format!("{USER}:active"): false }),
            json!({ USER: { "active": false }, "ACTIVE": true }),
            json!({ "name.givenName": "a", "name": { "GivenName": "b" } }),
            json!({ "emails.value": "a" }),
        ] {
            let refused = Dialect::new(&schemas, ResourceKind::User).rewrite_resource(object(twice.clone()));
            assert!(refused.is_err(), "{twice}");
        }
        // What no schema has, or has under another name, stays as it is.
        let other = json!({ "manager.value": "a", "urn:example:x": 1, format!("{USER}:nope"): 2 });
        assert_eq!(posted(ResourceKind::User, other.clone()), (other, vec![]));
    }

    #[test]
    fn each_rule_rewrites_its_habit_and_says_its_name() {
        use ResourceKind::{Group, User};
        let table = [
            (
                User,
                json!({ "op": "Replace", "path": "title", "value": "T" }),
                json!([{ "op": "replace", "path": "title", "value": "T" }]),
                vec![Rewrite::OperationCase],
            ),
            (
                Group,
                json!({ "op": "remove", "path": "members", "value": { "value": "u" } }),
                json!([{ "op": "remove", "path": "members", "value": [{ "value": "u" }] }]),
                vec![Rewrite::RemoveListed, Rewrite::LooseShape],
            ),
            (
                User,
                json!({ "op": "replace", "path": "active", "value": "FALSE" }),
                json!([{ "op": "replace", "path": "active", "value": false }]),
                vec![Rewrite::BooleanText],
            ),
            (
                User,
                json!({ "op": "replace", "value": { "name.givenName": "J", "active": false } }),
                json!([{ "op": "replace", "path": "active", "value": false },
                    { "op": "replace", "path": "name.givenName", "value": "J" }]),
                vec![Rewrite::KeysAsPaths],
            ),
            (
                User,
                json!({ "op": "add", "path": MANAGER, "value": [{ "value": "m" }] }),
                json!([{ "op": "add", "path": MANAGER, "value": { "value": "m" } }]),
                vec![Rewrite::ManagerShape],
            ),
            (
                User,
                json!({ "op": "add", "path": "emails[type eq \"work\"].value", "value": "w" }),
                json!([{ "op": "add", "path": "emails[type eq \"work\"].value", "value": "w" }]),
                vec![Rewrite::AddToElement],
            ),
            (
                User,
                json!({ "op": "replace", "path": "emails", "value": { "value": "w" } }),
                json!([{ "op": "replace", "path": "emails", "value": [{ "value": "w" }] }]),
                vec![Rewrite::LooseShape],
            ),
            (
                User,
                json!({ "op": "replace", "path": "manager", "value": { "value": "m" } }),
                json!([{ "op": "replace", "path": MANAGER, "value": { "value": "m" } }]),
                vec![Rewrite::BareExtension],
            ),
            // The standard's own words need no rule.
            (
                User,
                json!({ "op": "replace", "value": { "active": false } }),
                json!([{ "op": "replace", "path": "active", "value": false }]),
                vec![],
            ),
            (
                Group,
                json!({ "op": "remove", "path": "members[value eq \"u\"]", "value": null }),
                json!([{ "op": "remove", "path": "members[value eq \"u\"]" }]),
                vec![],
            ),
            // What means nothing stays for the engine to refuse.
            (
                User,
                json!({ "op": "add", "path": "emails[type eq \"work\"]", "value": [[{ "value": "w" }]] }),
                json!([{ "op": "add", "path": "emails[type eq \"work\"]", "value": [[{ "value": "w" }]] }]),
                vec![Rewrite::AddToElement],
            ),
            (
                User,
                json!({ "op": "add", "path": MANAGER, "value": [["m"]] }),
                json!([{ "op": "add", "path": MANAGER, "value": [["m"]] }]),
                vec![],
            ),
            (
                User,
                json!({ "op": "replace", "path": "active", "value": "no" }),
                json!([{ "op": "replace", "path": "active", "value": "no" }]),
                vec![],
            ),
            (
                User,
                json!({ "op": "add", "path": "nobody", "value": 1 }),
                json!([{ "op": "add", "path": "nobody", "value": 1 }]),
                vec![],
            ),
        ];
        for (kind, given, expected, rules) in table {
            assert_eq!(patched(kind, json!([given])), (expected, rules), "{given}");
        }
        let legacy = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group";
        assert_eq!(
            posted(Group, json!({ "schemas": [GROUP, legacy] })),
            (json!({ "schemas": [GROUP] }), vec![Rewrite::LooseShape])
        );
        let misspelt = "urn:ietf:params:scim:schemas:extension:enterprise:2.0User";
        assert_eq!(
            posted(User, json!({ "schemas": [USER, misspelt], misspelt: { "manager": "" } })),
            (
                json!({ "schemas": [USER, ENTERPRISE_USER], ENTERPRISE_USER: { "manager": null } }),
                vec![Rewrite::ManagerShape, Rewrite::LooseShape]
            )
        );
        assert_eq!(Rewrite::ALL.map(Rewrite::name).len(), 8);
        assert!(Rewrite::ALL.is_sorted());
    }

    fn habits() -> impl Strategy<Value = Value> {
        let paths = prop::sample::select(vec![
            "active",
            "emails",
            "emails[type eq \"work\"]",
            "emails[type eq \"work\"].value",
            "emails.primary",
            "manager",
            MANAGER,
            "department",
            "name",
            "name.givenName",
            "nobody",
            "members",
            ENTERPRISE_USER,
            "title x",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0User",
            "schemas",
            "id",
        ]);
        let leaf = prop::sample::select(vec![
            json!("True"),
            json!(false),
            json!("x"),
            json!(""),
            json!(null),
            json!([]),
            json!({}),
            json!(1),
            json!([{ "value": "a", "primary": "TRUE" }]),
            json!({ "value": "" }),
            json!([{ "value": "m" }]),
            json!([[{ "value": "m" }]]),
            json!({ "Value": "m", "$ref": "r" }),
            json!(["a"]),
            json!([{ "value": "a" }, { "value": "b" }]),
        ]);
        let keys = prop::collection::vec((paths.clone(), leaf.clone()), 0..4)
            .prop_map(|keys| Value::from_iter(keys.into_iter().map(|(key, value)| (key.to_owned(), value))));
        let value = prop_oneof![3 => leaf, 1 => keys];
        let op = prop::sample::select(vec![
            json!("Add"),
            json!("REPLACE"),
            json!("remove"),
            json!("add"),
            json!(7),
        ]);
        (op, prop::option::of(paths), prop::option::weighted(0.9, value)).prop_map(|(op, path, value)| {
            let mut operation = json!({ "op": op });
            if let Some(path) = path {
                operation["path"] = path.into();
            }
            if let Some(value) = value {
                operation["value"] = value;
            }
            operation
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn rewriting_twice_changes_nothing(operations in prop::collection::vec(habits(), 1..4)) {
            let schemas = Schemas::core_schemas();
            for kind in ResourceKind::ALL {
                let body = object(json!({ "schemas": ["x"], "Operations": operations }));
                let Ok(once) = Dialect::new(&schemas, kind).rewrite_patch(body) else { continue };
                prop_assert_eq!(Dialect::new(&schemas, kind).rewrite_patch(once.clone()), Ok(once));
                for operation in &operations {
                    let Some(Value::Object(body)) = operation.get("value") else { continue };
                    let Ok(once) = Dialect::new(&schemas, kind).rewrite_resource(body.clone()) else { continue };
                    prop_assert_eq!(Dialect::new(&schemas, kind).rewrite_resource(once.clone()), Ok(once));
                }
            }
        }
    }
}
