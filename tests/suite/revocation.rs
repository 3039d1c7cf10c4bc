//! Promise 3: success means out. Once the answer to a write that takes access away was read, no new request of that
//! person is served, and every exchange that was open is gone.
//!
//! Asserted by order, never by time: after the answer was read the application writes a marker on every stream, and no
//! client may ever read it. `rig_itself` shows that without the program the same marker arrives on each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::{Method, StatusCode, Version};
use serde_json::{Value, json};

use crate::rig::directory::{DirectoryClient, entra, okta, patch, user};
use crate::rig::stage::Stage;
use crate::rig::stream::next_piece;
use crate::rig::visitor::{Held, Visitor};
use crate::rig::websocket::WebSocket;
use crate::rig::wire::{Connection, Dial, whole};
use crate::rig::{must, until};

const ALICE: &str = "alice@corp.test";
const BOB: &str = "bob@corp.test";
const MARK: &str = "written-after-the-answer";

/// A way to take access away, for the resource with an id; the answer must say success.
type Removal = (&'static str, fn(&str) -> (Method, Option<Value>));

const REMOVALS: [Removal; 4] = [
    ("PATCH as Okta sends it", |_| (Method::PATCH, Some(patch(okta::deactivate())))),
    ("PATCH as Entra sends it", |_| (Method::PATCH, Some(patch(entra::old_deactivate())))),
    ("PUT with active false", |_| {
        let mut gone = user(ALICE, ALICE);
        gone["active"] = false.into();
        (Method::PUT, Some(gone))
    }),
    ("DELETE", |_| (Method::DELETE, None)),
];

async fn remove(directory: &DirectoryClient, id: &str, removal: &Removal) {
    let (method, body) = removal.1(id);
    let answer = directory.send(method, &format!("/Users/{id}"), body.as_ref()).await;
    assert!(answer.status.is_success(), "{}: {}", removal.0, answer.text());
}

/// Nothing of this person is served any more, and the application does not hear of it.
async fn is_out(stage: &Stage, who: &Visitor) {
    let before = stage.app.count();
    for path in ["/", "/some/page"] {
        assert_eq!(who.status(path).await, 401, "{path}");
    }
    assert_eq!(who.socket("/ws").await.err(), Some(401));
    let h2 = who.request_h2(Method::GET, "/h2").body(whole("")).unwrap();
    assert_eq!(Connection::open_h2(who.address).await.unwrap().send(h2).await.unwrap().status, 401);
    assert_eq!(stage.app.count(), before, "a request of somebody who is out reached the application");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_exchange_is_gone_before_the_directory_has_its_answer() {
    for removal in &REMOVALS {
        let stage = Stage::seeded(|_| {}, &[ALICE, BOB]).await;
        let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
        let held = Held::open(&alice, &stage.app).await;
        let mut other = bob.socket("/ws").await.unwrap();
        other.echo("mine").await.unwrap();

        remove(&stage.directory, stage.id(ALICE), removal).await;
        stage.app.mark(MARK).await;

        held.ends_without(MARK).await;
        is_out(&stage, &alice).await;
        // Nobody else is touched: the very marker arrives at Bob's socket.
        assert_eq!(must("the marker at Bob's", other.next()).await.as_deref(), Some(MARK), "{}", removal.0);
        assert_eq!(bob.status("/").await, 200);
    }
}

/// Six removals of one person at once. Whichever answer comes first, by then nothing of that person is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_removal_waits_like_the_first() {
    const SOCKETS: usize = 800;
    for removal in [&REMOVALS[0], &REMOVALS[3]] {
        let stage = Stage::seeded(|_| {}, &[ALICE]).await;
        let (alice, id) = (stage.visitor(ALICE), stage.id(ALICE));
        let mut sockets = Vec::new();
        for _ in 0..SOCKETS {
            sockets.push(alice.socket("/ws").await.unwrap());
        }
        stage.app.has_open(SOCKETS).await;
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let (directory, path, (method, body)) =
                (stage.directory.clone(), format!("/Users/{id}"), removal.1(id));
            all.spawn(async move { directory.send(method, &path, body.as_ref()).await.status });
        }
        let first = must("an answer", all.join_next()).await.unwrap().unwrap();
        let left = stage.program.metric("portcullis_exchanges_enrolled").await;
        assert_eq!(left, Some(0.0), "{}: {first} came while exchanges had not left", removal.0);
        stage.app.mark(MARK).await;
        let mut answers = vec![first];
        while let Some(answer) = must("an answer", all.join_next()).await {
            answers.push(answer.unwrap());
        }
        assert!(answers.iter().any(StatusCode::is_success), "{}: {answers:?}", removal.0);
        let honest = |status: &StatusCode| status.is_success() || *status == StatusCode::NOT_FOUND;
        assert!(answers.iter().all(honest), "{}: {answers:?}", removal.0);
        for socket in sockets {
            assert!(!socket.read_out().await.iter().any(|text| text == MARK));
        }
        is_out(&stage, &alice).await;
    }
}

/// R10: whatever was handed down before the cut, at most 256 KiB of it may still arrive at a client that was slow.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_download_gets_at_most_256_kib_after_the_cut() {
    for (version, window) in
        [(Version::HTTP_11, 0), (Version::HTTP_2, 64 * 1024), (Version::HTTP_2, 16 * 1024 * 1024)]
    {
        let stage = Stage::seeded(|_| {}, &[ALICE]).await;
        let alice = stage.visitor(ALICE);
        let how = Dial { version, receive_buffer: Some(16 * 1024), window: window.max(64 * 1024), tls: None };
        let mut download = alice.stream("/download", how).await;
        download.at_least(1024 * 1024).await;
        download.tap().shut();
        stage.app.stalls().await;

        stage.directory.deactivate(stage.id(ALICE)).await;
        // Counted at the socket: what the client's own library holds has arrived long before.
        let before = download.tap().taken();
        download.tap().open();
        assert!(!download.read_out(MARK).await);
        let after = download.tap().taken() - before;
        // A reset of HTTP/1 throws away what our kernel held: what comes was in the client's own.
        let limit = if version == Version::HTTP_11 { 64 * 1024 } else { 256 * 1024 };
        assert!(after <= limit, "{version:?} with a window of {window}: {after} bytes after the cut");
    }
}

/// Beside somebody else's exchange the connection is not reset: what waits in the kernel still goes out.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_download_beside_somebody_elses_exchange_gets_no_more() {
    let stage = Stage::seeded(|_| {}, &[ALICE, BOB]).await;
    let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
    let version = Version::HTTP_2;
    let how = Dial { version, receive_buffer: Some(16 * 1024), window: 16 * 1024 * 1024, tls: None };
    let mut line = Connection::dial(alice.address, how).await.unwrap();
    let ask = |who: &Visitor, path| who.request_h2(Method::GET, path).body(whole("")).unwrap();
    let events = line.begin(ask(&bob, "/events")).await.unwrap();
    let mut download = line.begin(ask(&alice, "/download")).await.unwrap().into_body();
    let mut read = 0;
    while read < 1024 * 1024 {
        read += next_piece(&mut download).await.unwrap().unwrap().len();
    }
    line.tap.shut();
    stage.app.stalls().await;

    stage.directory.deactivate(stage.id(ALICE)).await;
    let before = line.tap.taken();
    line.tap.open();
    while let Some(Ok(_)) = must("the end of a download", next_piece(&mut download)).await {}
    let after = line.tap.taken() - before;
    assert!(after <= 256 * 1024, "{after} bytes after the cut");
    // Bob was not disturbed.
    stage.app.mark(MARK).await;
    let piece = must("a piece for Bob", next_piece(&mut events.into_body())).await;
    assert!(piece.is_some_and(|piece| piece.is_ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_thousand_idle_websockets_of_one_person_are_gone() {
    const SOCKETS: usize = 3000;
    crate::rig::raise_open_files();
    let stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let alice = stage.visitor(ALICE);
    let mut sockets = Vec::with_capacity(SOCKETS);
    while sockets.len() < SOCKETS {
        let some = (0..50).map(|_| {
            let alice = alice.clone();
            tokio::spawn(async move { alice.socket("/ws").await })
        });
        for socket in some.collect::<Vec<_>>() {
            sockets.push(socket.await.unwrap().expect("a WebSocket"));
        }
    }
    stage.app.has_open(SOCKETS).await;

    // A machine that is busy with other tests may need more than two seconds: then the IdP repeats, and so do we.
    let id = stage.id(ALICE);
    until("a success", || async {
        let answer = stage.directory.patch(id, okta::deactivate()).await;
        assert!(answer.status == 200 || answer.status == 503, "{}", answer.text());
        answer.status == 200
    })
    .await;
    let left = stage.program.metric("portcullis_exchanges_enrolled").await;
    assert_eq!(left, Some(0.0), "the answer came while exchanges had not left");
    stage.app.mark(MARK).await;
    for socket in sockets {
        assert!(!socket.read_out().await.iter().any(|text| text == MARK));
    }
    is_out(&stage, &alice).await;
}

/// Requests without end, many at a time, warm and cold, while the person is removed: none that began after the answer
/// was read is served. The answer comes although somebody reloads for ever.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_race_a_removal_lose() {
    for cold in [false, true] {
        let people: Vec<String> = (0..8).map(|number| format!("racer{number}@corp.test")).collect();
        let names: Vec<&str> = people.iter().map(String::as_str).collect();
        let mut stage = Stage::seeded(|_| {}, &names).await;
        for name in &names {
            if cold {
                // Nothing in memory: the first requests load while the removal commits.
                stage.restart().await;
            } else {
                assert_eq!(stage.visitor(name).status("/warm").await, 200);
            }
            let (answered, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
            let racers: Vec<_> = (0..8)
                .map(|_| {
                    let (visitor, answered, served) = (stage.visitor(name), answered.clone(), served.clone());
                    tokio::spawn(async move { race(&visitor, &answered, &served).await })
                })
                .collect();
            if !cold {
                until("some requests", || async { served.load(Ordering::SeqCst) > 50 }).await;
            }
            stage.directory.deactivate(stage.id(name)).await;
            answered.store(true, Ordering::SeqCst);
            for racer in racers {
                must("a racer", racer).await.unwrap();
            }
            assert_eq!(stage.visitor(name).status("/after").await, 401);
            assert_eq!(stage.app.count_of("/after"), 0);
        }
    }
}

/// Asks again and again on one connection. What begins after the answer was read must be refused.
async fn race(visitor: &Visitor, answered: &AtomicBool, served: &AtomicUsize) {
    let (mut line, mut refusals) = (None, 0);
    while refusals < 20 {
        let began_after = answered.load(Ordering::SeqCst);
        let mut open = match line.take() {
            Some(open) => open,
            None => Connection::open(visitor.address).await.unwrap(),
        };
        let request = visitor.request(Method::GET, "/race").body(whole("")).unwrap();
        match must("an answer", open.send(request)).await {
            Ok(answer) if answer.status == 200 => {
                assert!(!began_after, "served after the answer was read");
                served.fetch_add(1, Ordering::SeqCst);
                line = Some(open);
            }
            Ok(answer) => {
                assert!(answer.status == 401 || answer.status == 503, "{}", answer.status);
                if began_after {
                    assert_eq!(answer.status, 401, "{}", answer.text());
                    refusals += 1;
                }
                line = Some(open);
            }
            // A cut closes the connection under a request; that is as good as a refusal.
            Err(_) => {}
        }
    }
}

/// The transaction and the cut run in a task nobody can drop: a client that hangs up after its last byte stops nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_hangs_up_has_removed_everybody_all_the_same() {
    const PEOPLE: usize = 1000;
    let people: Vec<String> = (0..PEOPLE).map(|number| format!("gone{number}@corp.test")).collect();
    let names: Vec<&str> = people.iter().map(String::as_str).collect();
    let stage = Stage::seeded(|_| {}, &names).await;
    let mut sockets = Vec::new();
    for name in names.iter().step_by(20) {
        sockets.push(stage.visitor(name).socket("/ws").await.unwrap());
    }
    for name in &names {
        let path = format!("/Users/{}", stage.id(name));
        stage.directory.send_and_hang_up(Method::PATCH, &path, Some(&patch(okta::deactivate()))).await;
    }
    for socket in sockets {
        socket.read_out().await;
    }
    for name in &names {
        let visitor = stage.visitor(name);
        until("everybody out", || async { visitor.status("/").await == 401 }).await;
    }
    for name in names.iter().step_by(50) {
        assert_eq!(stage.directory.read(stage.id(name)).await.json()["active"], false, "{name}");
    }
}

/// Promise 4: what was answered survives a power cut.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_removed_is_out_after_a_crash_right_behind_the_answer() {
    for removal in &REMOVALS {
        let mut stage = Stage::seeded(|_| {}, &[ALICE, BOB]).await;
        let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
        assert_eq!(alice.status("/").await, 200);
        remove(&stage.directory, stage.id(ALICE), removal).await;
        stage.program.kill();
        stage.program.begin().await;
        is_out(&stage, &alice).await;
        assert_eq!(bob.status("/").await, 200, "nobody else has to sign in again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_needs_a_new_session() {
    let stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let (alice, id) = (stage.visitor(ALICE), stage.id(ALICE));
    stage.directory.deactivate(id).await;
    stage.directory.reactivate(id).await;
    is_out(&stage, &alice).await;
    // However often, and in whatever order two clients of the directory have it.
    for _ in 0..10 {
        let both = [okta::deactivate(), okta::reactivate()].map(|operations| {
            let (directory, id) = (stage.directory.clone(), id.to_owned());
            tokio::spawn(async move { directory.patch(&id, operations).await.status })
        });
        for one in both {
            assert_eq!(must("an answer", one).await.unwrap(), 200);
        }
        assert_eq!(alice.status("/").await, 401);
    }
}

/// Bindings: the one group that matters, and a route that asks for its role.
fn guarded(settings: &mut crate::rig::settings::Settings) {
    settings.bindings = Some(
        "version: 1\nroles: [app.ops]\nconflicts: []\nbindings:\n  - group: Ops\n    role: app.ops\n"
            .to_owned(),
    );
    settings.more = "routes:\n  - path: /ops/**\n    allow: [app.ops]\n  - path: /ws\n    allow: [app.ops]\n  - path: /**\n    \
                     allow: signed-in\n"
        .to_owned();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_lost_ends_what_stood_on_it() {
    let ways: [Removal; 4] = [
        ("a member removed as Okta does", |id| (Method::PATCH, Some(patch(okta::remove_member(id))))),
        ("a member removed as Entra does", |id| (Method::PATCH, Some(patch(entra::old_remove_member(id))))),
        ("all members replaced by none", |_| {
            (Method::PATCH, Some(patch(json!([{ "op": "replace", "path": "members", "value": [] }]))))
        }),
        ("the group deleted", |_| (Method::DELETE, None)),
    ];
    for (what, way) in ways {
        let stage = Stage::seeded(guarded, &[ALICE]).await;
        let (alice, id) = (stage.visitor(ALICE), stage.id(ALICE));
        assert_eq!(alice.status("/ops/panel").await, 403, "not yet");
        let group = stage.directory.group("Ops", &[id]).await;
        assert_eq!(alice.status("/ops/panel").await, 200);
        let mut socket = alice.socket("/ws").await.unwrap();
        socket.echo("mine").await.unwrap();
        let (method, body) = way(id);
        let answer = stage.directory.send(method, &format!("/Groups/{group}"), body.as_ref()).await;
        assert!(answer.status.is_success(), "{what}: {}", answer.text());
        stage.app.mark(MARK).await;
        assert!(!socket.read_out().await.iter().any(|text| text == MARK), "{what}");
        let before = stage.app.count();
        assert_eq!(alice.status("/ops/panel").await, 403, "{what}");
        assert_eq!(stage.app.count(), before);
        assert_eq!(alice.status("/elsewhere").await, 200, "{what}: the session itself lives on");
    }
}

/// R8: who is still allowed but is described differently loses streams; a plain answer under way runs to its end.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_carry_an_outdated_description_end() {
    let stage = Stage::seeded(guarded, &[ALICE]).await;
    let (alice, id) = (stage.visitor(ALICE), stage.id(ALICE));
    let mut events = alice.stream("/events", Dial::default()).await;
    events.at_least(5).await;
    let plain = alice.waiting("/hold");
    let becomes = alice.waiting("/becomes-events");
    stage.app.has_open(3).await;

    stage.directory.group("Ops", &[id]).await;
    assert!(!events.read_out(MARK).await, "an event stream with other groups in its headers is over");
    stage.app.release();
    let answer = plain.outcome().await.expect("a plain answer runs to its end");
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "released"));
    // Judged again when its head makes it a stream, before that head is passed on.
    if let Ok(answer) = becomes.outcome().await {
        assert_ne!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains("hello"), "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_ends_what_the_new_rules_forbid() {
    let mut stage = Stage::seeded(guarded, &[ALICE, BOB]).await;
    let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
    stage.directory.group("Ops", &[stage.id(ALICE), stage.id(BOB)]).await;
    stage.directory.group("Watch", &[stage.id(BOB)]).await;
    let (mut hers, mut his) = (alice.socket("/ws").await.unwrap(), bob.socket("/ws").await.unwrap());
    hers.echo("mine").await.unwrap();
    his.echo("mine").await.unwrap();
    stage
        .program
        .reload(|settings| {
            settings.bindings = Some(
                "version: 1\nroles: [app.ops]\nconflicts: []\nbindings:\n  - group: Watch\n    role: app.ops\n".to_owned(),
            );
        })
        .await;
    hers.read_out().await;
    assert_eq!(alice.status("/ops/panel").await, 403);
    assert_eq!(alice.status("/elsewhere").await, 200);
    assert_eq!(bob.status("/ops/panel").await, 200);

    // A bad file changes nothing.
    let before = stage.program.settings.more.clone();
    stage.program.reload(|settings| settings.more.push_str("no_such_key: 1\n")).await;
    assert_eq!(bob.status("/ops/panel").await, 200);
    assert_eq!(alice.status("/ops/panel").await, 403);
    stage.program.settings.more = before;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_ends_strangers_where_a_rule_is_public_no_more() {
    let open = "routes:\n  - path: /ws\n    allow: public\n  - path: /**\n    allow: signed-in\n";
    let mut stage = Stage::seeded(|settings| settings.more = open.to_owned(), &[]).await;
    let (address, origin) = (stage.program.proxy(), stage.program.settings.origin());
    let mut socket = WebSocket::open_with(address, &origin, "/ws", &[]).await.unwrap();
    socket.echo("in").await.unwrap();
    stage
        .program
        .reload(|settings| settings.more = "routes:\n  - path: /**\n    allow: signed-in\n".to_owned())
        .await;
    socket.read_out().await;
    assert_eq!(
        WebSocket::open_with(address, &origin, "/ws", &[]).await.map_err(|fault| fault.refusal()).err(),
        Some(401)
    );
}

/// A directory and an operator are heard although strangers hold every socket they can get.
#[tokio::test(flavor = "multi_thread")]
async fn sockets_of_strangers_do_not_use_up_what_a_removal_needs() {
    crate::rig::raise_open_files();
    let stage = Stage::seeded(|settings| settings.files = Some(256), &[ALICE, BOB]).await;
    let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
    let (mut hers, mut his) = (alice.socket("/ws").await.unwrap(), bob.socket("/ws").await.unwrap());
    hers.echo("in").await.unwrap();
    his.echo("in").await.unwrap();
    let mut strangers = Vec::new();
    for _ in 0..500 {
        strangers.push(tokio::net::TcpStream::connect(stage.program.proxy()).await.unwrap());
    }
    until("the door to be closed", || async {
        stage.program.metric("portcullis_sockets_turned_away_total").await.is_some_and(|count| count > 300.0)
    })
    .await;
    remove(&stage.directory, stage.id(ALICE), &REMOVALS[0]).await;
    stage.app.mark(MARK).await;
    assert!(!hers.read_out().await.iter().any(|text| text == MARK));
    assert_eq!(must("the marker, to whoever stays", his.next()).await.as_deref(), Some(MARK));
    let shown = stage.program.command(&["user", "list"]);
    assert!(shown.status.success(), "the admin socket answers: {shown:?}");
    assert!(stage.program.log().contains("few files may be open"), "and the start says so");
    drop(strangers);
    until("room for somebody", || async { bob.status("/").await == 200 }).await;
    is_out(&stage, &alice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_ends_with_its_streams_and_words_of_the_client_keep_it() {
    let stage = Stage::seeded(|settings| settings.idle = "2s", &[ALICE, BOB]).await;
    let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
    // Alice's socket hears a clock and says nothing; what the application sends keeps nobody signed in.
    let mut hers = alice.socket("/ws/clock").await.unwrap();
    let mut his = bob.socket("/ws").await.unwrap();
    let talking = async {
        loop {
            his.echo("still here").await.expect("words of the client keep the session");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    let silence = async { while hers.next().await.is_some() {} };
    tokio::select! {
        () = must("the end of an idle WebSocket", silence) => {}
        () = talking => {}
    }
    assert_eq!(alice.status("/").await, 401);
    assert_eq!(bob.status("/").await, 200);
    his.say("now silent").await.unwrap();
    his.read_out().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_absolute_end_comes_however_busy_somebody_is() {
    let stage = Stage::seeded(|settings| settings.absolute = "3s", &[ALICE]).await;
    let alice = stage.visitor(ALICE);
    let mut socket = alice.socket("/ws").await.unwrap();
    let talking = async { while socket.echo("still here").await.is_ok() {} };
    must("the absolute end", talking).await;
    assert_eq!(alice.status("/").await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_that_session_only() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let two = stage.another_session(ALICE).await;
    let one = stage.visitor(ALICE);
    let held = Held::open(&one, &stage.app).await;
    let mut other = two.socket("/ws").await.unwrap();
    other.echo("mine").await.unwrap();
    let request = one.request(Method::POST, "/.portcullis/logout").header("origin", &one.origin);
    let answer =
        Connection::open(one.address).await.unwrap().send(request.body(whole("")).unwrap()).await.unwrap();
    assert!(answer.status.is_redirection(), "{} {}", answer.status, answer.text());
    stage.app.mark(MARK).await;
    held.ends_without(MARK).await;
    is_out(&stage, &one).await;
    assert_eq!(must("the marker", other.next()).await.as_deref(), Some(MARK));
    assert_eq!(two.status("/").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_that_races_cold_loads_wins() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
    for _ in 0..5 {
        // Made while the program is down: nothing of it is in memory.
        let visitor = stage.another_session(ALICE).await;
        let racers: Vec<_> = (0..6)
            .map(|_| {
                let visitor = visitor.clone();
                tokio::spawn(async move { visitor.status("/race").await })
            })
            .collect();
        let request = visitor.request(Method::POST, "/.portcullis/logout").header("origin", &visitor.origin);
        let mut line = Connection::open(visitor.address).await.unwrap();
        let answer = line.send(request.body(whole("")).unwrap()).await.unwrap();
        assert!(answer.status.is_redirection(), "{}", answer.status);
        is_out(&stage, &visitor).await;
        for racer in racers {
            // Before or after: what came through had begun before the answer.
            let _ = racer.await;
        }
    }
}
