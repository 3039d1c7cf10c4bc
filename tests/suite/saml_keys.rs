//! An operator's word on the keys of an identity provider, through the front door: a new key waits, a distrusted one ends
//! everybody who came by it before the command answers, and neither a restart nor newer metadata changes that.

use std::time::Instant;

use serde_json::Value;

use crate::needs;
use crate::rig::application::Application;
use crate::rig::program::Program;
use crate::rig::saml_idp::{SimpleSaml, SpAtIdp, sign_in_saml, sign_in_saml_until};
use crate::rig::settings::Settings;
use crate::rig::sqlite_lock::WriteLock;
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;
use crate::saml::{BY_NAME_ID, person, saml, stage_at};

const APPROVE: &str = "      keys: approve\n";

async fn approving(idp: &SimpleSaml) -> Stage {
    let idps = saml("corp", &idp.metadata_url(), "[corp.test]", BY_NAME_ID, APPROVE);
    stage_at(idp, |settings| settings.idps = idps, |_| {}).await.0
}

/// The keys of the list: fingerprint and state.
fn listed(program: &Program) -> Vec<(String, String)> {
    let output = program.command(&["idp", "list", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let listing: Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys = listing["idps"][0]["keys"].as_array().unwrap().iter();
    keys.map(|key| {
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        (text("certificate"), text("state"))
    })
    .collect()
}

fn states(program: &Program) -> Vec<String> {
    listed(program).into_iter().map(|(_, state)| state).collect()
}

fn done(program: &Program, words: &[&str]) -> String {
    let output = program.command(words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(program: &Program, words: &[&str]) -> String {
    let output = program.command(words);
    assert_eq!(output.status.code(), Some(1), "{words:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

async fn status(stage: &Stage, uid: &str) -> u16 {
    sign_in_saml(&mut stage.program.browser(), "/", uid).await.status().as_u16()
}

/// Rows of the audit about keys, by their outcome.
fn audited(program: &Program, outcome: &str) -> usize {
    let rows = done(program, &["audit", "tail", "-n", "1000", "--json"]);
    let rows = rows.lines().map(|row| serde_json::from_str::<Value>(row).unwrap());
    rows.filter(|row| row["action"] == "idp.keys" && row["outcome"] == outcome).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_waits_for_an_operator_over_restarts() {
    needs!("simplesamlphp");
    let idp = SimpleSaml::start();
    let mut stage = approving(&idp).await;
    let uid = person(&idp, "mira", "mira@corp.test", &[]);
    stage.directory.person("mira@corp.test", &uid).await;
    assert_eq!(status(&stage, &uid).await, 200, "the first metadata is the operator's word");
    assert_eq!(states(&stage.program), ["in force"]);

    // Signed by the new key, and the old one is still published.
    idp.rotate(true);
    assert_eq!(status(&stage, &uid).await, 403);
    let told = stage.program.logged(&["saml_key_waiting", "login refused"]).await;
    let (new, state) = listed(&stage.program).into_iter().find(|(_, state)| state == "waiting").unwrap();
    assert!(told.contains(&new) && told.contains("portcullis idp approve"), "{told}");
    let line = stage.program.logged(&["a new signing key of the identity provider waits"]).await;
    assert!(line.contains(&format!("portcullis idp approve corp {new}")), "{line}");
    assert_eq!(state, "waiting");
    for _ in 0..2 {
        stage.restart().await;
        assert_eq!(status(&stage, &uid).await, 403, "a restart approves nobody");
        stage.program.reload(|settings| settings.idps.push_str("      skew: 2m\n")).await;
        stage.program.logged(&["the configuration is in force"]).await;
        assert_eq!(status(&stage, &uid).await, 403, "nor does a reload");
        stage.program.settings.idps = stage.program.settings.idps.replace("      skew: 2m\n", "");
        stage.program.write();
    }
    assert_eq!(audited(&stage.program, "waiting"), 1, "written down once");
    assert_eq!(states(&stage.program), ["in force", "waiting"]);

    let unknown = refused(&stage.program, &["idp", "approve", "corp", &"0".repeat(64)]);
    assert!(unknown.contains("no signing key of that fingerprint waits"), "{unknown}");
    refused(&stage.program, &["idp", "approve", "other", &new]);
    let beginning = refused(&stage.program, &["idp", "approve", "corp", &new[..32]]);
    assert!(beginning.contains("all 64 digits"), "{beginning}");
    done(&stage.program, &["idp", "approve", "corp", &new]);
    assert_eq!(status(&stage, &uid).await, 200);
    assert_eq!(
        (states(&stage.program), audited(&stage.program, "approved")),
        (vec!["in force".into(); 2], 1)
    );
    assert!(refused(&stage.program, &["idp", "approve", &new]).contains("is in force"));

    // Every key replaced: nobody is let in silently, and the command works without a program too.
    idp.rotate(false);
    assert_eq!(status(&stage, &uid).await, 403);
    stage.program.logged(&["saml_key_waiting"]).await;
    assert_eq!(states(&stage.program), ["waiting", "gone", "gone"]);
    stage.stop().await;
    let newest = &listed(&stage.program)[0].0;
    done(&stage.program, &["idp", "approve", newest]);
    stage.program.begin().await;
    assert_eq!(status(&stage, &uid).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distrusted_key_cuts_everybody_before_the_command_answers_and_for_ever() {
    needs!("simplesamlphp");
    let idp = SimpleSaml::start();
    let (mut stage, _) = stage_at(&idp, |_| {}, |_| {}).await;
    let uid = person(&idp, "mira", "mira@corp.test", &[]);
    stage.directory.person("mira@corp.test", &uid).await;
    let mut browser = stage.program.browser();
    assert_eq!(sign_in_saml(&mut browser, "/", &uid).await.status(), 200);
    let visitor = Visitor::new(&stage.program.settings, &browser.cookies());
    let socket = visitor.socket("/ws").await.unwrap();
    let key = listed(&stage.program)[0].0.clone();

    for wrong in [&key[..15], "4f1c", "not-a-print", &format!("{key}0")] {
        assert!(
            refused(&stage.program, &["idp", "distrust", wrong]).contains("is no fingerprint"),
            "{wrong}"
        );
    }
    let thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    let said = refused(&stage.program, &["idp", "distrust", thumbprint]);
    assert!(said.contains("OpenID Connect"), "{said}");
    assert_eq!(visitor.status("/").await, 200);

    let said = done(&stage.program, &["idp", "distrust", &key]);
    stage.app.mark("after the answer").await;
    assert!(said.contains("Every session of corp has ended (1 live)"), "{said}");
    assert!(!socket.read_out().await.iter().any(|text| text == "after the answer"));
    assert_eq!(visitor.status("/").await, 401);
    assert_eq!(status(&stage, &uid).await, 403);
    let told = stage.program.logged(&["saml_key_distrusted", "login refused"]).await;
    assert!(told.contains(&key), "{told}");
    assert_eq!(
        (states(&stage.program), audited(&stage.program, "distrusted")),
        (vec!["distrusted".into()], 1)
    );
    assert!(refused(&stage.program, &["idp", "approve", &key]).contains("nothing undoes that"));
    assert!(done(&stage.program, &["idp", "distrust", &key]).contains("It was before"));
    assert_eq!(audited(&stage.program, "distrusted"), 1);

    stage.restart().await;
    assert_eq!((status(&stage, &uid).await, visitor.status("/").await), (403, 401));
    // With another key people come in again, and the old one stays what it is, though it is published.
    idp.rotate(true);
    assert_eq!(status(&stage, &uid).await, 200);
    assert_eq!(states(&stage.program), ["in force", "distrusted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_distrusted_without_a_program_and_nobody_elses_sessions_end() {
    needs!("simplesamlphp");
    let (idp, other) = (SimpleSaml::start(), SimpleSaml::shared());
    let more = |settings: &mut Settings| {
        settings.idps = saml("corp", &idp.metadata_url(), "[corp.test]", BY_NAME_ID, "");
        settings.idps += &saml("other", &other.metadata_url(), "[other.test]", BY_NAME_ID, "");
    };
    let (mut stage, _) = stage_at(&idp, more, |_| {}).await;
    let ours = |page: &str| format!("{}/.portcullis/saml/other/{page}", stage.program.settings.origin());
    other.register(&SpAtIdp::new(&ours("metadata"), &ours("acs")));
    let mut visitors = Vec::new();
    for (provider, name, mail) in [(&idp, "corp", "mira@corp.test"), (other, "other", "nora@other.test")] {
        let uid = person(provider, name, mail, &[]);
        stage.directory.person(mail, &uid).await;
        let mut browser = stage.program.browser();
        let page = sign_in_saml(&mut browser, &format!("/.portcullis/login?idp={name}"), &uid).await;
        assert_eq!(page.status(), 200, "{}", page.text());
        visitors.push(Visitor::new(&stage.program.settings, &browser.cookies()));
    }
    let key = listed(&stage.program)[0].0.clone();
    stage.stop().await;
    let said = done(&stage.program, &["idp", "distrust", &key]);
    assert!(said.contains("Every session of corp has ended (1 live)"), "{said}");
    stage.program.begin().await;
    assert_eq!((visitors[0].status("/").await, visitors[1].status("/").await), (401, 200));
}

/// The hold: taking away never waits for the disk, and what is stored at last is not behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_distrust_that_cannot_be_stored_puts_everybody_out_all_the_same() {
    needs!("simplesamlphp");
    let idp = SimpleSaml::start();
    let (stage, _) = stage_at(&idp, |_| {}, |_| {}).await;
    let uid = person(&idp, "mira", "mira@corp.test", &[]);
    stage.directory.person("mira@corp.test", &uid).await;
    let mut browser = stage.program.browser();
    assert_eq!(sign_in_saml(&mut browser, "/", &uid).await.status(), 200);
    let visitor = Visitor::new(&stage.program.settings, &browser.cookies());
    let socket = visitor.socket("/ws").await.unwrap();
    let key = listed(&stage.program)[0].0.clone();
    let lock = WriteLock::take(&stage.program.database()).await;
    for _ in 0..2 {
        let said = refused(&stage.program, &["idp", "distrust", &key]);
        assert!(said.contains("is not stored") && said.contains("stays out"), "{said}");
    }
    socket.read_out().await;
    assert_eq!(visitor.status("/").await, 401);
    lock.release().await;
    done(&stage.program, &["idp", "distrust", &key]);
    assert_eq!((visitor.status("/").await, status(&stage, &uid).await), (401, 403));
    idp.rotate(false);
    let mut browser = stage.program.browser();
    assert_eq!(sign_in_saml(&mut browser, "/", &uid).await.status(), 200);
    let visitor = Visitor::new(&stage.program.settings, &browser.cookies());
    assert_eq!(visitor.status("/").await, 200, "who comes by another key stays in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_a_new_key_waits_too_and_check_says_so() {
    needs!("simplesamlphp");
    let idp = SimpleSaml::start();
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    settings.idps = saml("corp", "{folder}/idp.xml", "[corp.test]", BY_NAME_ID, APPROVE);
    let mut program = Program::install(settings);
    let file = program.folder().join("idp.xml");
    std::fs::write(&file, idp.metadata().await).unwrap();
    program.begin().await;
    let ours = |page: &str| format!("{}/.portcullis/saml/corp/{page}", program.settings.origin());
    idp.register(&SpAtIdp::new(&ours("metadata"), &ours("acs")));
    let uid = person(&idp, "mira", "mira@corp.test", &[]);
    program.directory().person("mira@corp.test", &uid).await;
    assert_eq!(sign_in_saml(&mut program.browser(), "/", &uid).await.status(), 200);

    idp.rotate(false);
    std::fs::write(&file, idp.metadata().await).unwrap();
    program.reload(|_| {}).await;
    program.logged(&["waits: nobody signs in by it"]).await;
    assert_eq!(sign_in_saml(&mut program.browser(), "/", &uid).await.status(), 403);
    let checked = program.command(&["check"]);
    let warned = String::from_utf8(checked.stderr).unwrap();
    assert!(checked.status.success() && warned.contains("portcullis idp approve corp"), "{warned}");
    let key = listed(&program)[0].0.clone();
    done(&program, &["idp", "distrust", &key]);
    let warned = String::from_utf8(program.command(&["check"]).stderr).unwrap();
    assert!(warned.contains(&key) && warned.contains("was distrusted"), "{warned}");
    // A captured response is judged by the same word, whether the program runs or not.
    let (_, form) = sign_in_saml_until(&mut program.browser(), "/", &uid).await;
    let capture = program.folder().join("capture.txt");
    std::fs::write(&capture, form.encoded()).unwrap();
    let examined = program.command(&["doctor", "saml", capture.to_str().unwrap(), "--json"]);
    let said = String::from_utf8(examined.stdout).unwrap();
    assert!(examined.status.code() == Some(1) && said.contains("key_distrusted"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_sessions_end_as_one() {
    needs!("simplesamlphp");
    let idp = SimpleSaml::start();
    let (mut stage, _) = stage_at(&idp, |_| {}, |_| {}).await;
    let uid = person(&idp, "mira", "mira@corp.test", &[]);
    stage.directory.person("mira@corp.test", &uid).await;
    let mut browser = stage.program.browser();
    assert_eq!(sign_in_saml(&mut browser, "/", &uid).await.status(), 200);
    stage.stop().await;
    // As copies of her row, as another hash each.
    let copies = "with recursive n(n) as (select 1 union all select n + 1 from n where n < 19999) \
                  insert into session select organization, cast(hash || n as blob), account, app, idp, generation, \
                    epoch_deployment, epoch_organization, epoch_idp, created, seen, expires, ended, logout_hint, \
                    idp_subject, idp_session from session, n";
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(stage.program.database());
    let mut database = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql(copies).execute(&mut database).await.unwrap();
    sqlx::Connection::close(database).await.unwrap();
    stage.program.begin().await;
    let visitor = Visitor::new(&stage.program.settings, &browser.cookies());
    assert_eq!(visitor.status("/").await, 200);
    let key = listed(&stage.program)[0].0.clone();
    let began = Instant::now();
    let said = done(&stage.program, &["idp", "distrust", &key]);
    println!("20,000 sessions ended in {:?}", began.elapsed());
    // They are counted for as long as nobody has to wait for the number; on a busy machine it is left out.
    assert!(said.contains("Every session of corp has ended"), "{said}");
    assert!(said.contains("(20000 live)") || !said.contains("live)"), "{said}");
    assert_eq!(visitor.status("/").await, 401);
}
