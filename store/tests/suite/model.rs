//! A model of the whole directory: random SCIM writes, logins and ends, and after each the model says who is there, who
//! may sign in, and which sessions are in. It knows the design's rules and nothing of the store.

use std::collections::HashMap;

use portcullis_policy::{Change, ResourceId, SessionHash};
use portcullis_scim::{Outcome, ResourceRecord};
use portcullis_store::{Origin, Which};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Done, GROUP, NOW, ORG, Rig, USER};

#[derive(Clone, Debug)]
enum Step {
    Post { name: usize, external: usize, active: bool },
    Put { who: usize, name: usize, external: usize, active: Option<bool> },
    Activate { who: usize, active: bool },
    Delete { who: usize },
    Crew { members: Vec<usize> },
    Login { subject: usize, name: usize },
    Logout { session: usize },
    Disable { who: usize, disabled: bool },
    EndAll,
}

const NAMES: [&str; 4] = ["alice", "ALICE", "bob", "b\u{f6}b"];
const EXTERNALS: [Option<&str>; 3] = [None, Some("x1"), Some("x2")];

fn step() -> impl Strategy<Value = Step> {
    let (who, name, external) = (0..6usize, 0..NAMES.len(), 0..EXTERNALS.len());
    prop_oneof![
        3 => (name.clone(), external.clone(), prop::bool::weighted(0.8))
            .prop_map(|(name, external, active)| Step::Post { name, external, active }),
        3 => (who.clone(), name.clone(), external, prop::option::of(any::<bool>()))
            .prop_map(|(who, name, external, active)| Step::Put { who, name, external, active }),
        4 => (who.clone(), any::<bool>()).prop_map(|(who, active)| Step::Activate { who, active }),
        2 => who.clone().prop_map(|who| Step::Delete { who }),
        2 => prop::collection::vec(0..6usize, 0..4).prop_map(|members| Step::Crew { members }),
        6 => (0..3usize, name).prop_map(|(subject, name)| Step::Login { subject, name }),
        1 => (0..8usize).prop_map(|session| Step::Logout { session }),
        1 => (who, any::<bool>()).prop_map(|(who, disabled)| Step::Disable { who, disabled }),
        1 => Just(Step::EndAll),
    ]
}

/// A person as the model sees them.
#[derive(Clone, Debug)]
struct Person {
    id: ResourceId,
    name: &'static str,
    external: Option<&'static str>,
    had_external: bool,
    active: bool,
    deleted: bool,
    disabled: bool,
    in_crew: bool,
    link: Option<usize>,
}

/// A session: whose, and whether it is in.
struct Live {
    hash: SessionHash,
    person: usize,
    is_in: bool,
}

#[derive(Default)]
struct Model {
    people: Vec<Person>,
    sessions: Vec<Live>,
    /// Subjects that an operator keeps out, and by whose account that is taken back.
    barred: HashMap<usize, usize>,
}

impl Model {
    fn person(&self, who: usize) -> Option<usize> {
        (!self.people.is_empty()).then(|| who % self.people.len())
    }

    fn holder(&self, key: impl Fn(&Person) -> bool) -> Option<usize> {
        self.people.iter().position(|person| !person.deleted && key(person))
    }

    fn taken(&self, name: &str, external: Option<&str>, but: Option<usize>) -> bool {
        let unique = portcullis_policy::fold::unique_key;
        let named = self.holder(|person| unique(person.name) == unique(name));
        let known = external.and_then(|external| self.holder(|person| person.external == Some(external)));
        [named, known].into_iter().flatten().any(|holder| Some(holder) != but)
    }

    fn put_out(&mut self, person: usize) {
        self.sessions.iter_mut().filter(|live| live.person == person).for_each(|live| live.is_in = false);
    }

    /// The tombstone that a new user fits: the last one removed goes first, which the order of `people` stands for,
    /// since a restored person moves nowhere and at most one tombstone fits.
    fn fitting(&self, name: &str, external: Option<&str>) -> Vec<usize> {
        let same = portcullis_policy::fold::same_key;
        let fits = |person: &Person| match external {
            Some(_) => person.external == external,
            None => !person.had_external && same(person.name) == same(name),
        };
        (0..self.people.len()).filter(|n| self.people[*n].deleted && fits(&self.people[*n])).collect()
    }
}

fn body(name: &str, external: Option<&str>, active: Option<bool>) -> Value {
    let mut body = json!({ "schemas": [USER], "userName": name });
    if let Some(external) = external {
        body["externalId"] = json!(external);
    }
    if let Some(active) = active {
        body["active"] = json!(active);
    }
    body
}

fn says_out<T>(done: &Done<T>) -> bool {
    done.takes_away && done.changes.iter().any(|change| matches!(change, Change::Out(..)))
}

async fn play(rig: &Rig, model: &mut Model, crew: &ResourceRecord, step: &Step) {
    match step {
        Step::Post { name, external, active } => {
            let (name, external) = (NAMES[*name], EXTERNALS[*external]);
            let done = rig.write("POST", "/Users", body(name, external, Some(*active))).await;
            if model.taken(name, external, None) {
                assert!(done.value.is_err());
                return;
            }
            let Ok(Outcome::Created(made)) = done.value else { panic!("{:?}", done.value) };
            let fitting = model.fitting(name, external);
            if let Some(n) = fitting.into_iter().find(|n| model.people[*n].id == made.id) {
                let person = &mut model.people[n];
                (person.name, person.external, person.active) = (name, external, *active);
                (person.deleted, person.in_crew, person.link) = (false, false, None);
                model.put_out(n);
            } else {
                assert!(model.fitting(name, external).is_empty(), "a tombstone fits and was not restored");
                assert!(model.people.iter().all(|person| person.id != made.id), "an id was given again");
                model.people.push(Person {
                    id: made.id,
                    name,
                    external,
                    had_external: external.is_some(),
                    active: *active,
                    deleted: false,
                    disabled: false,
                    in_crew: false,
                    link: None,
                });
            }
        }
        Step::Put { who, name, external, active } => {
            let Some(n) = model.person(*who) else { return };
            let (name, external) = (NAMES[*name], EXTERNALS[*external]);
            let before = model.people[n].clone();
            let done = rig.put(&format!("/Users/{}", before.id), body(name, external, *active)).await;
            let refused = before.deleted || model.taken(name, external, Some(n));
            assert_eq!(done.value.is_err(), refused, "{:?}", done.value);
            if !refused {
                let person = &mut model.people[n];
                (person.name, person.external) = (name, external);
                person.active = active.unwrap_or(before.active);
                person.had_external |= external.is_some();
                if external != before.external {
                    person.link = None;
                }
                if external != before.external || !person.active {
                    model.put_out(n);
                }
            }
            let person = &model.people[n];
            assert!(
                says_out(&done) || (person.active && !person.deleted),
                "it leaves them out and says nothing"
            );
        }
        Step::Activate { who, active } => {
            let Some(n) = model.person(*who) else { return };
            let before = model.people[n].clone();
            let operations = json!([{ "op": "replace", "value": { "active": active } }]);
            let done = rig.patch(&format!("/Users/{}", before.id), operations).await;
            if before.deleted {
                let back = *active && !model.taken(before.name, before.external, None);
                assert_eq!(done.value.is_ok(), back);
                assert!(says_out(&done));
                if back {
                    (model.people[n].deleted, model.people[n].active) = (false, true);
                    (model.people[n].in_crew, model.people[n].link) = (false, None);
                    model.put_out(n);
                }
                return;
            }
            assert!(done.value.is_ok());
            model.people[n].active = *active;
            if !active {
                assert!(says_out(&done));
                model.put_out(n);
            }
        }
        Step::Delete { who } => {
            let Some(n) = model.person(*who) else { return };
            let done = rig.delete(&format!("/Users/{}", model.people[n].id)).await;
            assert_eq!(done.value.is_err(), model.people[n].deleted);
            assert!(says_out(&done));
            let person = &mut model.people[n];
            (person.deleted, person.in_crew, person.link) = (true, false, None);
            model.put_out(n);
        }
        Step::Crew { members } => {
            let mut chosen: Vec<usize> = members.iter().filter_map(|who| model.person(*who)).collect();
            chosen.sort_unstable();
            chosen.dedup();
            let list: Vec<Value> =
                chosen.iter().map(|n| json!({ "value": model.people[*n].id.as_str() })).collect();
            let body = json!({ "schemas": [GROUP], "displayName": "crew", "members": list });
            let done = rig.put(&format!("/Groups/{}", crew.id), body).await;
            let stranger = chosen.iter().any(|n| model.people[*n].deleted);
            assert_eq!(done.value.is_err(), stranger);
            if !stranger {
                for (n, person) in model.people.iter_mut().enumerate() {
                    person.in_crew = chosen.contains(&n);
                }
            }
        }
        Step::Login { subject, name } => {
            let same = portcullis_policy::fold::same_key;
            let login = rig.login(&format!("s{subject}"), NAMES[*name]);
            let hash = login.session.hash;
            let known = model.people.iter().position(|person| person.link == Some(*subject));
            let found = known.or_else(|| model.holder(|person| same(person.name) == same(NAMES[*name])));
            let admitted = found.filter(|_| !model.barred.contains_key(subject)).filter(|n| {
                let person = &model.people[*n];
                person.active && !person.disabled && person.link.is_none_or(|link| link == *subject)
            });
            let answer = rig.try_sign_in(login).await;
            assert_eq!(answer.is_ok(), admitted.is_some(), "{:?}", answer.err());
            if let Some(n) = admitted {
                model.people[n].link = Some(*subject);
                model.sessions.push(Live { hash, person: n, is_in: true });
            }
        }
        Step::Logout { session } => {
            if model.sessions.is_empty() {
                return;
            }
            let n = session % model.sessions.len();
            let which = Which::Session(model.sessions[n].hash);
            let done = rig
                .done(rig.store.end_sessions_of(which, &Origin::of_actor("logout"), NOW).await.unwrap())
                .await;
            assert!(done.takes_away, "a repeat is enforced too");
            model.sessions[n].is_in = false;
        }
        Step::Disable { who, disabled } => {
            let Some(n) = model.person(*who) else { return };
            let id = model.people[n].id.clone();
            let cli = Origin::of_actor("cli");
            if *disabled {
                let done = rig.done(rig.store.user_disable(ORG, id.as_str(), &cli, NOW).await.unwrap()).await;
                assert!(says_out(&done));
                model.put_out(n);
                if let Some(subject) = model.people[n].link.filter(|_| !model.people[n].disabled) {
                    model.barred.insert(subject, n);
                }
            } else {
                model.barred.retain(|_, by| *by != n);
                rig.done(rig.store.user_enable(ORG, id.as_str(), &cli, NOW).await.unwrap()).await;
            }
            model.people[n].disabled = *disabled;
        }
        Step::EndAll => {
            rig.done(
                rig.store.end_sessions_of(Which::Org(ORG), &Origin::of_actor("cli"), NOW).await.unwrap(),
            )
            .await;
            model.sessions.iter_mut().for_each(|live| live.is_in = false);
        }
    }
}

/// Everything that can be seen is as the model says.
async fn agrees(rig: &Rig, model: &Model, crew: &ResourceRecord) {
    for live in &model.sessions {
        assert_eq!(rig.is_in(&live.hash).await, live.is_in, "{:?}", model.people[live.person]);
    }
    let mut there = 0;
    for person in &model.people {
        let record = rig.get(&format!("/Users/{}", person.id)).await;
        assert_eq!(record.is_err(), person.deleted);
        let Ok(record) = record else { continue };
        there += 1;
        assert_eq!(record.resource.user_name(), Some(person.name));
        assert_eq!(record.resource.external_id(), person.external);
        assert_eq!(record.resource.active(), Some(person.active));
        assert_eq!(!record.groups.is_empty(), person.in_crew);
    }
    assert_eq!(rig.list("/Users").await.total, there);
    let mut members: Vec<String> =
        model.people.iter().filter(|person| person.in_crew).map(|person| person.id.to_string()).collect();
    let crew = rig.get(&format!("/Groups/{}", crew.id)).await.unwrap();
    let mut told: Vec<String> = crew.resource.members().map(str::to_owned).collect();
    members.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, members);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_says(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut rig = Rig::new().await;
            let crew = rig.add_group("crew", &[]).await;
            let mut model = Model::default();
            for (n, step) in steps.iter().enumerate() {
                play(&rig, &mut model, &crew, step).await;
                agrees(&rig, &model, &crew).await;
                if n == 20 {
                    rig = rig.reopened().await;
                }
            }
        });
    }
}
