use serde_json::{Value, json};

use super::*;

/// A program whose people are invited, or not, with its state in a folder of its own.
fn home(state: &Path, invites: bool) -> Home {
    let mut home = Home::in_folder(state);
    home.people = Some(if invites { HomePeople::Invited } else { HomePeople::Directory });
    home.address = Some("https://wiki.example.com".to_owned());
    home
}

async fn ask(reach: &StoreReach, method: &str, path: &str, body: Option<Value>) -> Result<Value, ReachError> {
    reach.ask_store(Request::builder().method(method).uri(path), body).await
}

fn said(outcome: Result<Value, ReachError>) -> String {
    match outcome {
        Err(ReachError::Said(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// What every way must do alike.
async fn the_whole_round(reach: &StoreReach) {
    let alice = json!({"name": "alice@example.com", "email": "alice@example.com"});
    let added = ask(reach, "POST", "/users", Some(alice.clone())).await.unwrap();
    assert!(added["id"].as_str().is_some_and(|id| id.len() == 36), "{added}");
    assert_eq!(added["address"], "https://wiki.example.com/");
    let taken = said(ask(reach, "POST", "/users", Some(alice)).await);
    assert!(taken.contains("could not be added"), "{taken}");
    let unknown = said(ask(reach, "POST", "/users", Some(json!({"name": "x", "admin": true}))).await);
    assert!(unknown.contains("admin"), "{unknown}");

    for (verb, state) in [("disable", "disabled"), ("disable", "disabled"), ("enable", "active")] {
        let mut user =
            ask(reach, "POST", &format!("/users/alice%40example%2Ecom/{verb}"), None).await.unwrap();
        assert_eq!((&user["state"], &user["ended"]), (&state.into(), &0.into()));
        user.as_object_mut().unwrap().remove("ended");
        let listed = ask(reach, "GET", "/users", None).await.unwrap();
        assert_eq!(listed["users"], json!([user]));
    }
    for (method, path) in [
        ("POST", "/users/nobody/disable"),
        ("POST", "/users/nobody/end-sessions"),
        ("GET", "/users/nobody"),
        ("DELETE", "/users/nobody"),
    ] {
        let nobody = said(ask(reach, method, path, None).await);
        assert_eq!(nobody, "there is no user \"nobody\"", "{method} {path}");
    }
    let shown = ask(reach, "GET", "/users/alice%40example%2Ecom", None).await.unwrap();
    assert_eq!((&shown["state"], &shown["email"]), (&"active".into(), &"alice@example.com".into()));
    let ended = ask(reach, "POST", "/users/alice%40example%2Ecom/end-sessions", None).await.unwrap();
    assert_eq!((&ended["state"], &ended["ended"]), (&"active".into(), &0.into()));
    let page = ask(reach, "GET", "/audit?limit=2", None).await.unwrap();
    assert_eq!(page["audits"][0]["action"], "session.end");
    let before = format!("/audit?limit=2&before={}", page["next"].as_str().unwrap());
    let page = ask(reach, "GET", &before, None).await.unwrap();
    assert_eq!(page["audits"][0]["action"], "user.disabled", "{page}");
    let wrong = said(ask(reach, "GET", "/audit?limit=2&before=x", None).await);
    assert_eq!(wrong, "\"x\" is not where an answer ended");
    for _ in 0..2 {
        let id = format!("/users/{}", added["id"].as_str().unwrap());
        assert_eq!(ask(reach, "DELETE", &id, None).await.unwrap()["state"], "deleted");
    }
    let nothing = said(ask(reach, "GET", "/refs/7Q2M-X4KD", None).await);
    assert!(nothing.starts_with("nothing is kept under 7Q2M-X4KD"), "{nothing}");
    assert_eq!(said(ask(reach, "GET", "/secrets", None).await), "there is nothing here");
}

#[tokio::test]
async fn without_a_program_the_command_does_it_under_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path(), true);
    let reach = StoreReach::open_home(&home, WithoutDatabase::Make).await.unwrap();
    the_whole_round(&reach).await;

    let second = StoreReach::open_home(&home, WithoutDatabase::Make).await;
    assert!(matches!(second, Err(ReachError::Elsewhere { .. })));
    reach.leave().await;
    let after = StoreReach::open_home(&home, WithoutDatabase::Make).await.unwrap();
    assert_eq!(ask(&after, "GET", "/users", None).await.unwrap()["users"][0]["name"], "alice@example.com");
}

#[tokio::test(start_paused = true)]
async fn a_program_that_hangs_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path(), true);
    std::fs::create_dir_all(&home.state).unwrap();
    let _silent = tokio::net::UnixListener::bind(home.state.join(SOCKET)).unwrap();
    let reached = StoreReach::open_home(&home, WithoutDatabase::Refuse).await;
    assert!(matches!(reached, Err(ReachError::Silent { .. })));
}

#[tokio::test]
async fn a_queue_that_is_full_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join(SOCKET);
    let listener = tokio::net::UnixSocket::new_stream().unwrap();
    listener.bind(&socket).unwrap();
    let listener = listener.listen(0).unwrap();
    let _first = UnixStream::connect(&socket).await.unwrap();
    let full = UnixStream::connect(&socket).await.unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    let (connected, accepted) = tokio::join!(connect_socket(&socket), listener.accept());
    connected.unwrap();
    accepted.unwrap();
}

#[tokio::test]
async fn a_backup_in_a_folder_too_deep_for_any_socket_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(&folder.path().join("backups/".repeat(20)), true);
    StoreReach::open_home(&home, WithoutDatabase::Make).await.unwrap().leave().await;
    let reach = StoreReach::open_home(&home, WithoutDatabase::Refuse).await.unwrap();
    assert!(matches!(reach.0, StoreWay::Here { .. }));
    reach.leave().await;
}

#[tokio::test]
async fn with_a_program_it_is_asked_on_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path(), true);
    let StoreReach(StoreWay::Here { router, store, _lock, .. }) =
        StoreReach::open_home(&home, WithoutDatabase::Make).await.unwrap()
    else {
        panic!()
    };
    let socket = tokio::net::UnixListener::bind(home.state.join(SOCKET)).unwrap();
    let program = tokio::spawn(async move { axum::serve(socket, router).await });

    let reach = StoreReach::open_home(&home, WithoutDatabase::Make).await.unwrap();
    assert!(matches!(reach.0, StoreWay::Program(_)));
    the_whole_round(&reach).await;

    // It ended without tidying up: the socket is there, nobody listens, and the lock is free.
    program.abort();
    assert!(program.await.is_err());
    store.close().await;
    drop(_lock);
    assert!(matches!(
        StoreReach::open_home(&home, WithoutDatabase::Make).await.unwrap().0,
        StoreWay::Here { .. }
    ));
}

#[tokio::test]
async fn nobody_is_removed_by_hand_where_a_directory_would_bring_them_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut home = home(folder.path(), true);
    StoreReach::open_home(&home, WithoutDatabase::Make).await.unwrap().leave().await;
    for (people, word) in [
        (Some(HomePeople::Directory), "Remove the person at the identity provider"),
        (None, "name it with -c FILE"),
    ] {
        home.people = people;
        let reach = StoreReach::open_home(&home, WithoutDatabase::Refuse).await.unwrap();
        let refused = said(ask(&reach, "DELETE", "/users/alice", None).await);
        assert!(refused.contains(word) && refused.contains("user disable"), "{refused}");
        reach.leave().await;
    }
}

#[tokio::test]
async fn nobody_is_added_by_hand_where_a_directory_says_who_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let reach = StoreReach::open_home(&home(folder.path(), false), WithoutDatabase::Make).await.unwrap();
    let refused = said(ask(&reach, "POST", "/users", Some(json!({"name": "alice"}))).await);
    assert!(refused.contains("provisioning: invited"), "{refused}");
}

#[tokio::test]
async fn a_folder_in_which_nothing_was_started_gets_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(&folder.path().join("mistyped"), true);
    let refused = StoreReach::open_home(&home, WithoutDatabase::Refuse).await.err().unwrap();
    assert!(matches!(refused, ReachError::Nothing { .. }), "{refused}");
    assert!(refused.to_string().contains("mistyped") && refused.to_string().contains("--state DIR"));
    assert!(!home.state.exists());
}
