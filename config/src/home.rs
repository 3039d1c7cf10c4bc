//! Where a program keeps its state, read from a configuration that may have problems elsewhere.
//!
//! Orders by hand are given when something is wrong, and then the file on disk is often wrong too, or its secrets are
//! in another shell. So of the file only the few keys are read that say where the store is; secrets and certificates
//! are left alone. What is refused is a doubt about those keys themselves: an order must not reach another store than
//! the one that was meant.

use std::path::{Path, PathBuf};

use portcullis_policy::Bindings;

use crate::at::At;
use crate::bindings;
use crate::cross::KnownAttributes;
use crate::document::ProvisioningWord;
use crate::environment::Environment;
use crate::extensions::ScimExtensions;
use crate::nearest;
use crate::node::{YamlKey, YamlNode, YamlValue};
use crate::problem::Problems;
use crate::read::FromYaml;
use crate::report::Report;
use crate::schema;
use crate::secret::MasterKey;
use crate::source::bytes_of;
use crate::store::{IN_STATE, StoreLocation};

/// The place where a program keeps its state, and the little that an order needs beside it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Home {
    /// The state folder.
    pub state: PathBuf,
    /// The file of the database.
    pub database: PathBuf,
    /// The authority on who there is (`provisioning`); `None` where the file does not say it readably.
    pub people: Option<HomePeople>,
    /// The address of the app as the file has it (`public_url`), to be shown and not to be asked.
    pub address: Option<String>,
    /// The role bindings; none where they cannot be read.
    pub bindings: Bindings,
    /// The extensions of User that are in force (`scim.extensions`; none without `provisioning: scim`); `None` where the
    /// file does not say it readably.
    pub extensions: Option<ScimExtensions>,
}

/// The authority on who there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HomePeople {
    /// A directory's.
    Directory,
    /// An operator's.
    Invited,
    /// A login's.
    Login,
}

impl Home {
    /// A state folder that was named, with its database in it. Nothing else is known of it.
    pub fn in_folder(state: &Path) -> Self {
        let state = std::path::absolute(state).unwrap_or_else(|_| state.into());
        let database = state.join(IN_STATE);
        let bindings = Bindings::default();
        Self { state, database, people: None, address: None, bindings, extensions: None }
    }
}

/// The keys that are read; the last four help where they can be read and harm nobody where not.
const STATE: &str = "state";
const STORE: &str = "store";
const KEYS: &str = "keys";
const PROVISIONING: &str = "provisioning";
const BINDINGS: &str = "bindings";
const PUBLIC_URL: &str = "public_url";
const SCIM: &str = "scim";
const EXTENSIONS: &str = "extensions";

/// Reads where the program of a configuration keeps its state, whatever else is wrong with the file.
///
/// `state`, where it was named on the command line, takes the place of the file's.
///
/// # Errors
/// [`Problems`] where the file cannot be read at all, or leaves a doubt about `state` or `store`: written twice,
/// misspelt, indented, or with a value that is none.
pub fn read_home(path: &Path, state: Option<&Path>, environment: &Environment) -> Result<Home, Problems> {
    let name = path.display().to_string();
    let whole_path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let environment = environment.clone().text_only();
    let mut report =
        Report::new(&name, whole_path.parent().unwrap_or(Path::new("/")), &environment, schema::list_paths);
    let found = match bytes_of(&whole_path) {
        Ok(bytes) => find_home(&String::from_utf8_lossy(&bytes), state, &mut report),
        Err(what) => report.problem_of_file(None, what, OTHERWISE),
    };
    match found {
        Some(home) if report.problems.is_empty() => Ok(home),
        _ => Err(Problems::new(report.problems, &name)),
    }
}

/// The master key of a configuration, whatever else is wrong with the file; `None` where it names none, so that it is
/// the state folder's.
///
/// # Errors
/// [`Problems`] where the file cannot be read, or `keys` is there and its secret is not.
pub fn master_key(path: &Path, environment: &Environment) -> Result<Option<MasterKey>, Problems> {
    let name = path.display().to_string();
    let whole_path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let mut environment = environment.clone();
    environment.read_everything();
    let mut report =
        Report::new(&name, whole_path.parent().unwrap_or(Path::new("/")), &environment, schema::list_paths);
    let key = match bytes_of(&whole_path) {
        Ok(bytes) => read_entries(&String::from_utf8_lossy(&bytes), &mut report).and_then(|keys| {
            let node = the_only(&keys, KEYS, &mut report)??;
            MasterKey::read(node, &At::from(KEYS), &mut report)
        }),
        Err(what) => report.problem_of_file(None, what, ""),
    };
    if report.problems.is_empty() { Ok(key) } else { Err(Problems::new(report.problems, &name)) }
}

const OTHERWISE: &str = "Name the state folder with --state DIR, and leave -c out";

fn read_entries(text: &str, report: &mut Report<'_>) -> Option<Vec<(YamlKey, YamlNode)>> {
    match YamlNode::parse_document(text) {
        Ok(YamlNode { value: YamlValue::Map(entries), .. }) => Some(entries),
        Ok(_) => report.problem_of_file(None, "is not a block of keys", OTHERWISE),
        Err(_) => read_edge_keys(text, report),
    }
}

fn find_home(text: &str, named: Option<&Path>, report: &mut Report<'_>) -> Option<Home> {
    let keys = read_entries(text, report)?;
    let state = match named {
        Some(named) => Some(std::path::absolute(named).unwrap_or_else(|_| named.into())),
        None => match the_only(&keys, STATE, report)? {
            Some(node) => read_certain::<PathBuf>(node, STATE, report),
            None => report.environment.state_folder().or_else(|| {
                report.problem_of_file(
                    None,
                    "names no state folder, and without HOME there is none",
                    OTHERWISE,
                )
            }),
        },
    }?;
    let database = match the_only(&keys, STORE, report)? {
        Some(node) => match read_certain::<StoreLocation>(node, STORE, report)? {
            StoreLocation::InState => state.join(IN_STATE),
            StoreLocation::File(path) => path,
        },
        None => state.join(IN_STATE),
    };
    // What these say, or fail to say, takes no order to another store.
    let before = report.problems.len();
    let value = |key: &str| keys.iter().find(|(other, _)| other.name == key).map(|(_, node)| node);
    let word = value(PROVISIONING)
        .map(|node| ProvisioningWord::read(node, &At::from(PROVISIONING), report))
        .unwrap_or(Some(ProvisioningWord::Scim));
    let address = value(PUBLIC_URL).and_then(|node| String::read(node, &At::from(PUBLIC_URL), report));
    let written = value(BINDINGS).and_then(|node| String::read(node, &At::from(BINDINGS), report));
    report.problems.truncate(before);
    let extensions = word.and_then(|word| match word {
        ProvisioningWord::Scim => read_extensions(value(SCIM), report),
        _ => Some(ScimExtensions::default()),
    });
    let bindings = written.and_then(|path| {
        let text = bytes_of(&report.resolve_path(&path)).ok()?;
        let word = word.unwrap_or(ProvisioningWord::Scim);
        let known = KnownAttributes::new(word, extensions.as_ref());
        let known = Some(&known).filter(|known| known.has_directory);
        bindings::parse_bindings(&text, &path, known, report)
    });
    report.problems.truncate(before);
    Some(Home {
        state,
        database,
        people: word.map(|word| match word {
            ProvisioningWord::Scim => HomePeople::Directory,
            ProvisioningWord::Invited => HomePeople::Invited,
            ProvisioningWord::None => HomePeople::Login,
        }),
        address,
        bindings: bindings.unwrap_or_default(),
        extensions,
    })
}

/// The declared extensions; `None` where anything about them is in doubt.
fn read_extensions(scim: Option<&YamlNode>, report: &mut Report<'_>) -> Option<ScimExtensions> {
    let YamlValue::Map(entries) = &scim?.value else { return None };
    let mut of_name = entries.iter().filter(|(key, _)| key.name == EXTENSIONS);
    let Some((_, node)) = of_name.next() else { return Some(ScimExtensions::default()) };
    let before = report.problems.len();
    let read = ScimExtensions::read(node, &At::from(SCIM).below_key(EXTENSIONS), report);
    read.filter(|_| report.problems.len() == before && of_name.next().is_none())
}

/// The value of a key that says which store is meant, or a problem.
fn read_certain<T: FromYaml>(node: &YamlNode, key: &str, report: &mut Report<'_>) -> Option<T> {
    if let YamlValue::Text(text) = &node.value
        && text.contains(char::REPLACEMENT_CHARACTER)
    {
        return report.add_problem(node, &At::from(key), "not text in UTF-8", OTHERWISE);
    }
    let before = report.problems.len();
    let value = T::read(node, &At::from(key), report);
    for problem in &mut report.problems[before..] {
        problem.remedy = OTHERWISE.into();
    }
    value
}

/// The one entry of a key; `Some(None)` where it is not written, `None` with a problem where it may be meant.
fn the_only<'n>(
    keys: &'n [(YamlKey, YamlNode)],
    name: &str,
    report: &mut Report<'_>,
) -> Option<Option<&'n YamlNode>> {
    let mut of_name = keys.iter().filter(|(key, _)| key.name == name);
    let first = of_name.next();
    if let Some((second, _)) = of_name.next() {
        report.problem_on(second.line, &At::from(name), "written twice", OTHERWISE);
        return None;
    }
    if let Some((_, node)) = first {
        return Some(Some(node));
    }
    let all: Vec<String> =
        schema::list_paths().into_iter().filter(|path| !path.contains(['.', '['])).collect();
    let misspelt = |key: &&(YamlKey, YamlNode)| {
        let known = all.contains(&key.0.name);
        !known && nearest::find_nearest(&key.0.name, all.iter().map(String::as_str)) == Some(name)
    };
    match keys.iter().find(misspelt) {
        Some((key, _)) => {
            let at = At::root().below_key(&key.name);
            report.problem_on(key.line, &at, format!("no such key; perhaps {name} is meant"), OTHERWISE);
            None
        }
        None => Some(None),
    }
}

/// The keys at the left edge of a text that is not YAML as a whole, each read by itself.
fn read_edge_keys(text: &str, report: &mut Report<'_>) -> Option<Vec<(YamlKey, YamlNode)>> {
    let all: Vec<&str> = text.lines().collect();
    let at_the_edge = |line: &str| line.starts_with(|c: char| !c.is_whitespace() && c != '#');
    let starts: Vec<usize> = (0..all.len()).filter(|nth| at_the_edge(all[*nth])).collect();
    let mut keys = Vec::new();
    for (nth, start) in starts.iter().copied().enumerate() {
        let end = starts.get(nth + 1).copied().unwrap_or(all.len());
        let (name, line) = (all[start].split(':').next().unwrap_or_default().trim(), start + 1);
        // Blank lines before it, so that its problems have their line.
        let alone = "\n".repeat(start) + &all[start..end].join("\n");
        let value = match YamlNode::parse_document(&alone) {
            Ok(YamlNode { value: YamlValue::Map(mut entries), .. }) if entries.len() == 1 => {
                entries.remove(0)
            }
            _ if matches!(name, STATE | STORE) => {
                report.problem_on(line, &At::from(name), "cannot be read", OTHERWISE);
                return None;
            }
            _ => (YamlKey { line, name: name.to_owned() }, YamlNode { line, value: YamlValue::Nothing }),
        };
        keys.push(value);
    }
    // One that a slip of the hand has moved from the edge, or a file of another form.
    let moved = |line: &str| !at_the_edge(line) && line.trim_start().starts_with("state:");
    let other_form = |line: &str| line.starts_with(['{', '[', '"', '\'', '?', '!', '&', '%']);
    let has_state = keys.iter().any(|(key, _)| key.name == STATE);
    if !has_state && all.iter().any(|line| moved(line)) || all.iter().any(|line| other_form(line)) {
        return report.problem_of_file(
            None,
            "is not valid YAML, and where its state is cannot be told",
            OTHERWISE,
        );
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_in(text: &str, state: Option<&str>) -> Result<Home, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.yaml");
        std::fs::write(&path, text).unwrap();
        std::fs::write(
            folder.path().join("roles.yml"),
            "version: 1\nroles: [a]\nbindings:\n  - group: G\n    role: a\n",
        )
        .unwrap();
        let environment = Environment::with_variables([("HOME", "/home/nora")]);
        read_home(&path, state.map(Path::new), &environment)
            .map_err(|problems| problems.to_string().replace(&format!("{}:", path.display()), ""))
    }

    fn state_of(text: &str) -> PathBuf {
        read_in(text, None).unwrap().state
    }

    #[test]
    fn what_is_wrong_elsewhere_is_no_matter() {
        for text in [
            "state: /srv/state\n",
            // unknown keys, values that are none, a second provider, secrets that are not there
            "state: /srv/state\nheadrs:\n  user: userName\nlimits: 7\nidps:\n  okta:\n    oidc:\n      client_secret: ${env:GONE}\n",
            // no YAML at all
            "public_url: https://a.example\nstate: /srv/state # ours\nidps: { oidc: ${file:/x} }\n",
            "listen:\n\tproxy: 1\nstate: \"/srv/state\"\n",
            "log: \"unended\nstate: /srv/state\n",
            "a: b: c\nstate:\n  /srv/state\n# state: /elsewhere\n",
            "keys: [\nstate: /srv/state\n",
        ] {
            assert_eq!(state_of(text), Path::new("/srv/state"), "{text}");
        }
        let home = read_in("keys: [\n", None).unwrap();
        assert_eq!(home.state, Path::new("/home/nora/.local/state/portcullis"));
        assert_eq!(home.database, home.state.join("portcullis.db"));
    }

    #[test]
    fn text_that_is_not_utf_8_elsewhere_is_no_matter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.yaml");
        let environment = Environment::with_variables([("HOME", "/home/nora")]);
        std::fs::write(&path, b"# caf\xe9\nstate: /srv/state\n").unwrap();
        assert_eq!(read_home(&path, None, &environment).unwrap().state, Path::new("/srv/state"));
        std::fs::write(&path, b"state: /srv/caf\xe9\n").unwrap();
        assert!(
            read_home(&path, None, &environment).unwrap_err().to_string().contains(":1: state: not text")
        );
    }

    #[test]
    fn a_doubt_about_the_store_itself_is_refused() {
        for (text, said) in [
            ("state: /a\nstate: /b\n", "2: state: written twice"),
            ("keys: [\nstate: /a\nstate: /b\n", "3: state: written twice"),
            ("stat: /a\n", "1: stat: no such key; perhaps state is meant"),
            ("State: /a\n", "1: State: no such key; perhaps state is meant"),
            ("state: [/a]\n", "1: state: a list where a path belongs"),
            ("state:\n", "1: state: nothing stands behind the colon"),
            ("state: ${env:STATE}\n", "1: state: a reference stands only where a secret belongs"),
            ("x: [\nstate: [/a\n", "2: state: cannot be read"),
            ("x: [\n state: /a\n", "is not valid YAML, and where its state is cannot be told"),
            ("{ state: /a, b: [ }\n", "is not valid YAML, and where its state is cannot be told"),
            ("- state: /a\n", "is not a block of keys"),
            ("", "is not a block of keys"),
            ("store: { postgres: x }\n", "1: store.postgres: not in this version"),
            ("store: mysql\n", "1: store: \"mysql\" is not a store"),
        ] {
            let problems = read_in(text, None).unwrap_err();
            assert!(problems.contains(said), "{text}: {problems}");
            assert!(problems.contains("--state DIR"), "{text}: {problems}");
        }
        let environment = Environment::with_variables([]);
        let gone = read_home(Path::new("/nowhere/p.yaml"), None, &environment).unwrap_err().to_string();
        assert!(gone.contains("cannot be read") && gone.contains("--state DIR"), "{gone}");
    }

    #[test]
    fn a_folder_that_was_named_takes_the_place_of_the_file_s() {
        let home = read_in("state: [no]\nstore:\n  sqlite: /db/p.db\n", Some("/named")).unwrap();
        assert_eq!((home.state, home.database), ("/named".into(), "/db/p.db".into()));
        let home = Home::in_folder(Path::new("/named"));
        assert_eq!(home.database, Path::new("/named/portcullis.db"));
        assert_eq!((home.people, home.address), (None, None));
    }

    #[test]
    fn what_else_can_be_read_is_known_and_what_cannot_is_not() {
        let known = "provisioning: invited\npublic_url: https://a.example\nbindings: roles.yml\nrotues: []\n";
        let home = read_in(known, None).unwrap();
        assert_eq!((home.people, home.bindings.known_roles().len()), (Some(HomePeople::Invited), 1));
        assert_eq!(home.address.as_deref(), Some("https://a.example"));
        let home = read_in("provisioning: invted\nbindings: gone.yml\n", None).unwrap();
        assert_eq!((home.people, home.bindings.known_roles().len()), (None, 0));
        assert_eq!(read_in("log: {}\n", None).unwrap().people, Some(HomePeople::Directory));
    }

    #[test]
    fn declared_extensions_are_known_or_they_are_not() {
        let acme = "urn:ietf:params:scim:schemas:extension:acme:2.0:User: { desk: string }";
        let names = |text: &str| -> Option<Vec<String>> {
            let found = read_in(text, None).unwrap().extensions?;
            Some(found.0.into_iter().map(|extension| extension.name).collect())
        };
        let none = Some(Vec::new());
        assert_eq!(
            names(&format!("scim:\n  rate: [no]\n  extensions:\n    {acme}\n")),
            Some(vec!["acme".to_owned()])
        );
        assert_eq!(names("scim: { public_url: https://a.example }\n"), none);
        assert_eq!(names("provisioning: invited\n"), none);
        for doubtful in [
            "log: {}\n",
            "scim: 7\n",
            "provisioning: invted\n",
            "scim:\n  extensions: [no]\n",
            &format!("scim:\n  extensions:\n    {acme}\n    urn:x: {{ desk: string }}\n"),
            &format!("scim:\n  extensions:\n    {acme}\n  extensions: {{}}\n"),
        ] {
            assert_eq!(names(doubtful), None, "{doubtful}");
        }
        assert_eq!(Home::in_folder(Path::new("/named")).extensions, None);
    }
}
