//! Imports that are killed in the middle, at random points, and what must stand then: every acknowledged write, no half
//! of a person, and an attribute table that agrees with the documents.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use portcullis_scim::{Resource, ResourceKind, Schemas};
use sqlx::sqlite::SqliteConnection;

use super::application::Application;
use super::program::{Program, binary};
use super::settings::{Settings, rand};
use super::sqlite_lock;

/// How often, and in the middle of how many people.
pub struct Crash {
    pub people: usize,
    pub kills: usize,
}

/// What a file says of one person: display name, groups, active.
type Said = (String, BTreeSet<String>, bool);

/// Imports a file of everybody and then one after another that changes some, and kills the program in the middle of
/// each. After every kill the store is looked at, the program started and the file imported to its end.
pub async fn survive_kills(crash: Crash) {
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    settings.provisioning = "invited";
    settings.level = "info";
    let mut program = Program::start(settings).await;
    let mut before: BTreeMap<usize, Said> = BTreeMap::new();
    for round in 0..crash.kills {
        let after = next_file(&before, round, crash.people);
        let changed = after.iter().filter(|(n, said)| before.get(n) != Some(said)).count();
        let file = write_file(program.folder(), round, &after);
        let start = last_event(&program).await;
        // Far enough from both ends: a piece of the work is under way.
        let middle =
            i64::try_from(32 + usize::try_from(rand() % 1_000_000).unwrap() % (changed - 64)).unwrap();
        let mut import = import(&program, &file);
        let acknowledged = acknowledge_until(&program, round, start + middle, &mut import).await;
        let seen = last_event(&program).await;
        program.kill();
        program.assert_sound();
        let status = import.wait().unwrap();
        assert_eq!(status.code(), Some(1), "round {round}: nobody was told that the import is done");

        let mut database = sqlite_lock::open(&program.database()).await;
        let kept: i64 =
            sqlx::query_scalar("select max(seq) from event").fetch_one(&mut database).await.unwrap();
        assert!(kept >= seen, "round {round}: what was committed is there: {kept} of {seen}");
        let found = look_at_store(&mut database).await;
        for name in &acknowledged {
            assert!(found.contains_key(name), "round {round}: {name} was acknowledged");
        }
        let applied = compare(&found, &before, &after, round);
        assert!(applied > 0 && applied < changed, "round {round}: in the middle, {applied} of {changed}");
        drop(database);

        program.begin().await;
        let finished = import_to_end(&program, &file);
        assert!(
            finished
                .contains(&format!("{} people in the file", after.values().filter(|said| said.2).count()))
        );
        let found = look_at_store(&mut sqlite_lock::open(&program.database()).await).await;
        assert_eq!(
            compare(&found, &before, &after, round),
            changed,
            "round {round}: the second import finishes it"
        );
        let again = import_to_end(&program, &file);
        assert!(again.contains("0 created, 0 changed, 0 deactivated, 0 reactivated"), "{again}");
        program.assert_sound();
        println!("round {round}: killed after {applied} of {changed}");
        before = after;
    }
}

/// The first file names everybody. Each later one changes every fifth person, and leaves out every tenth of the others
/// who come back with the file behind it.
fn next_file(before: &BTreeMap<usize, Said>, round: usize, people: usize) -> BTreeMap<usize, Said> {
    let say = |n: usize| -> Said {
        let groups = [format!("Team {}", n % 20), format!("Team {}", (n + round + 1) % 20)];
        (format!("Person {n} of {round}"), BTreeSet::from(groups), true)
    };
    let mut after = BTreeMap::new();
    for n in 0..people {
        let said = match before.get(&n) {
            None => say(n),
            Some(_) if n % 5 == round % 5 => say(n),
            Some(said) => (said.0.clone(), said.1.clone(), n % 10 != (round + 3) % 10),
        };
        after.insert(n, said);
    }
    after
}

fn name_of(n: usize) -> String {
    format!("p{n}@corp.test")
}

/// A full file: whoever is to be inactive is not in it.
fn write_file(folder: &Path, round: usize, people: &BTreeMap<usize, Said>) -> PathBuf {
    let mut text = "userName,email,displayName,groups\r\n".to_owned();
    for (n, (display, groups, _)) in people.iter().filter(|(_, said)| said.2) {
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        text += &format!("{},{},{display},{}\r\n", name_of(*n), name_of(*n), groups.join("|"));
    }
    let path = folder.join(format!("people-{round}.csv"));
    std::fs::write(&path, text).unwrap();
    path
}

fn import(program: &Program, file: &Path) -> Child {
    let mut command = binary();
    command.arg("-c").arg(program.folder().join("portcullis.yaml")).arg("import").arg(file);
    command.args(["--full", "--max-removals", "100%"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn import_to_end(program: &Program, file: &Path) -> String {
    let output = import(program, file).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", program.log());
    said
}

async fn last_event(program: &Program) -> i64 {
    let mut database = sqlite_lock::open(&program.database()).await;
    let sql = "select coalesce(max(seq), 0) from event";
    sqlx::query_scalar(sql).fetch_one(&mut database).await.unwrap()
}

/// Adds people by hand beside the import, until so much is committed: whoever was acknowledged. They are in no file, so
/// they are not among those that are compared.
async fn acknowledge_until(program: &Program, round: usize, until: i64, import: &mut Child) -> Vec<String> {
    let mut database = sqlite_lock::open(&program.database()).await;
    let mut acknowledged = Vec::new();
    loop {
        let sql = "select coalesce(max(seq), 0) from event";
        let seq: i64 = sqlx::query_scalar(sql).fetch_one(&mut database).await.unwrap();
        if seq >= until {
            return acknowledged;
        }
        assert!(import.try_wait().unwrap().is_none(), "the import ended before it was killed");
        if acknowledged.len() < 3 && seq > 0 {
            let name = format!("by-hand-{round}-{}@corp.test", acknowledged.len());
            let added = program.command(&["user", "add", &name]);
            assert_eq!(added.status.code(), Some(0), "{}", String::from_utf8_lossy(&added.stderr));
            acknowledged.push(name);
        } else {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Everybody in the store by name, with what is said of them. Each document has its rows in the attribute table and no
/// others, an account that agrees with it, and an event.
async fn look_at_store(database: &mut SqliteConnection) -> HashMap<String, Said> {
    let schemas = Schemas::core_schemas();
    let mut rows: HashMap<i64, BTreeSet<(String, i64, String)>> = HashMap::new();
    let all = sqlx::query_as::<_, (i64, String, i64, String)>("select rid, path, item, value from attr");
    for (rid, path, item, value) in all.fetch_all(&mut *database).await.unwrap() {
        rows.entry(rid).or_default().insert((path, item, value));
    }
    let mut groups: HashMap<i64, BTreeSet<String>> = HashMap::new();
    let all = "select m.member, g.display from member m join resource g on g.organization = m.organization \
               and g.directory = m.directory and g.rid = m.team";
    for (member, group) in sqlx::query_as::<_, (i64, String)>(all).fetch_all(&mut *database).await.unwrap() {
        groups.entry(member).or_default().insert(group);
    }
    // Read whole: an event is not found by its subject without looking through all.
    let created = "select subject from event where kind in ('user.created', 'group.created')";
    let created: HashSet<String> =
        sqlx::query_scalar(created).fetch_all(&mut *database).await.unwrap().into_iter().collect();
    let mut people = HashMap::new();
    let all = "select r.rid, r.kind, r.doc, a.active, r.id \
               from resource r left join account a on a.organization = r.organization and a.id = r.account";
    let all = sqlx::query_as::<_, (i64, String, String, Option<i64>, String)>(all);
    for (rid, kind, document, active, id) in all.fetch_all(&mut *database).await.unwrap() {
        let kind = if kind == "User" { ResourceKind::User } else { ResourceKind::Group };
        let resource = Resource::from_json(kind, &document).unwrap();
        let wanted = resource
            .search_rows(&schemas)
            .into_iter()
            .map(|row| (row.path, i64::from(row.element), row.value));
        assert_eq!(rows.remove(&rid).unwrap_or_default(), wanted.collect(), "the rows of {document}");
        assert!(created.contains(&id), "the event of {document}");
        if kind == ResourceKind::User {
            assert_eq!(active, resource.active().map(i64::from), "the account of {document}");
            let said = (
                resource.display_name().unwrap_or_default().to_owned(),
                groups.remove(&rid).unwrap_or_default(),
                resource.active() == Some(true),
            );
            people.insert(resource.user_name().unwrap().to_owned(), said);
        }
    }
    assert!(rows.is_empty(), "rows of nobody: {rows:?}");
    people
}

/// Everybody is as one of the two files says, whole. Returns how many are as the later one says who were not before.
fn compare(
    found: &HashMap<String, Said>,
    before: &BTreeMap<usize, Said>,
    after: &BTreeMap<usize, Said>,
    round: usize,
) -> usize {
    let mut applied = 0;
    for (n, new) in after {
        let (old, is) = (before.get(n), found.get(&name_of(*n)));
        assert!(is == Some(new) || is == old, "round {round}: {is:?} is neither {old:?} nor {new:?}");
        applied += usize::from(is == Some(new) && old != Some(new));
    }
    applied
}
