//! Presets of headers before the products that they are called after: whoever is signed in is that person there, under their
//! name and address, and stays it whatever they say of themselves.

use http::{Method, Request};
use serde_json::{Value, json};

use crate::needs;
use crate::rig::directory::GROUP;
use crate::rig::ports;
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;
use crate::rig::wire::{Answer, Connection, RequestBody, whole};
use crate::rig_products::{Product, superset_home};

const ALICE: &str = "alice@corp.test";
const BOB: &str = "bob@corp.test";

/// A browser: somebody, what they say of themselves, and the cookies that the application gave it.
struct Browser {
    visitor: Visitor,
    says: Vec<(&'static str, String)>,
    cookies: Vec<(String, String)>,
}

impl Browser {
    /// Somebody who says that they are another by these headers.
    fn of(stage: &Stage, name: &str, headers: &[&'static str], other: &str) -> Self {
        let says = headers.iter().map(|header| (*header, other.to_owned())).collect();
        Self { visitor: stage.visitor(name), says, cookies: Vec::new() }
    }

    /// Somebody else at the same machine: the application's cookies stay.
    fn handed_to(self, stage: &Stage, name: &str) -> Self {
        Self { visitor: stage.visitor(name), ..self }
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send(self.visitor.request(Method::GET, path).body(whole("")).unwrap()).await
    }

    async fn post(&mut self, path: &str, form: &'static str) -> Answer {
        let request = self.visitor.request(Method::POST, path).header("origin", &self.visitor.origin);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(whole(form)).unwrap()).await
    }

    async fn send(&mut self, mut request: Request<RequestBody>) -> Answer {
        let mut cookies = vec![self.visitor.cookie.clone()];
        cookies.extend(self.cookies.iter().map(|(name, value)| format!("{name}={value}")));
        request.headers_mut().insert("cookie", cookies.join("; ").parse().unwrap());
        for (header, text) in &self.says {
            request.headers_mut().append(*header, text.parse().unwrap());
        }
        let answer = Connection::open(self.visitor.address).await.unwrap().send(request).await.unwrap();
        for set in answer.headers.get_all("set-cookie") {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        answer
    }
}

/// Gives somebody another name for people.
async fn call(stage: &Stage, name: &str, display_name: &str) {
    let operations = json!([{ "op": "replace", "path": "displayName", "value": display_name }]);
    let answer = stage.directory.patch(stage.id(name), operations).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn superset_takes_people_for_whom_they_are() {
    needs!("superset");
    let address = ports::free();
    let stage = Stage::seeded(
        |settings| {
            settings.upstream = format!("http://{address}");
            settings.more = "headers:\n  preset: superset\n".to_owned();
        },
        &[ALICE, BOB],
    )
    .await;
    let home = superset_home().await;
    {
        // By the settings for it alone Superset has a page of its own before, which fails.
        let _superset = Product::superset(address, home.path(), false).await;
        let mut alice = Browser::of(&stage, ALICE, &[], "");
        let login = alice.get("/login/").await;
        assert_eq!(login.status, 500, "{}", login.text());
        assert_eq!(alice.get("/api/v1/me/").await.status, 401);
    }
    let _superset = Product::superset(address, home.path(), true).await;
    let mut browser = Browser::of(&stage, ALICE, &[], "");
    for (name, other) in [(ALICE, BOB), (BOB, ALICE)] {
        browser = browser.handed_to(&stage, name);
        browser.says = vec![("x-remote-user", other.to_owned()), ("x_remote_user", other.to_owned())];
        // A session of Superset's own, of whoever was there before, is nobody's.
        assert_eq!(browser.get("/api/v1/me/").await.status, 401, "{name}");
        let login = browser.get("/login/").await;
        assert_eq!((login.status.as_u16(), login.header("location")), (302, Some("/")), "{}", login.text());
        let me = browser.get("/api/v1/me/").await.json()["result"].clone();
        assert_eq!((me["username"].as_str(), me["first_name"].as_str()), (Some(name), Some(name)), "{me}");
        assert_eq!(me["is_active"], true, "{me}");
        assert_eq!(browser.get("/superset/welcome/").await.status, 200);
    }
    assert_eq!(stage.stranger().status("/api/v1/me/").await, 401);
}

const DECLARED: &str = "  extensions:
    urn:ietf:params:scim:schemas:extension:acme:2.0:User:
      appUserName: { type: string, mutability: readOnly, unique: true }
";
const WEBAUTH: [&str; 3] = ["x-webauth-user", "x-webauth-email", "x_webauth_user"];

/// The user name, the full name and the address on Gitea's page of somebody's settings.
fn on_settings(page: &str) -> [Option<String>; 3] {
    let between = |from: &str, to: &str| {
        let (_, rest) = page.split_once(from)?;
        Some(rest.split_once(to)?.0.to_owned())
    };
    let field = |id: &str| {
        let input = between(&format!("<input id=\"{id}\""), ">")?;
        Some(input.split_once("value=\"")?.1.split_once('"')?.0.to_owned())
    };
    [field("username"), field("full_name"), between("id=\"signed-user-email\">", "<")]
}

#[tokio::test(flavor = "multi_thread")]
async fn gitea_takes_people_for_whom_they_are() {
    needs!("gitea");
    let address = ports::free();
    let mut stage = Stage::seeded(
        |settings| {
            settings.upstream = format!("http://{address}");
            settings.scim_more = DECLARED;
            settings.more = "headers:\n  preset: gitea\n".to_owned();
        },
        &[ALICE, BOB],
    )
    .await;
    call(&stage, ALICE, "Alice Łódź").await;
    let gitea = Product::gitea(address, &stage.program.settings.origin()).await;

    // A name that is an address is none to Gitea: nobody is signed in, and its log says why.
    let mut alice = Browser::of(&stage, ALICE, &WEBAUTH, BOB);
    let refused = alice.get("/user/settings").await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("location")),
        (303, Some("/user/login?redirect_to=%2Fuser%2Fsettings")),
        "{}",
        refused.text()
    );
    let why = "name is invalid [alice@corp.test]";
    assert!(gitea.log().contains(why), "{}", gitea.log());

    // By the directory's id they are somebody, under the name for people and the address that they have.
    stage
        .program
        .reload(|settings| settings.more = "headers:\n  preset: gitea\n  user: id\n".to_owned())
        .await;
    let id = stage.id(ALICE).to_owned();
    let page = alice.get("/user/settings").await;
    assert_eq!(page.status, 200, "{}", page.text());
    let known = [Some(id), Some("Alice Łódź".to_owned()), Some(ALICE.to_owned())];
    assert_eq!(on_settings(&page.text()), known, "{}", page.text());

    // By an attribute of their own they have a name that people can read. Gitea's cookies of somebody else change nothing.
    let named = "headers:\n  preset: gitea\n  names: { user: off }\n  templates: { X-WEBAUTH-USER: \"${user.appUserName}\" }\n";
    stage.program.reload(|settings| settings.more = named.to_owned()).await;
    let sheet = stage.program.folder().join("names.csv");
    std::fs::write(&sheet, format!("userName,appUserName\n{BOB},bob.b\n")).unwrap();
    let mapped = stage.program.command(&["import", "--map", sheet.to_str().unwrap()]);
    assert!(mapped.status.success(), "{}", String::from_utf8_lossy(&mapped.stderr));
    let mut bob = alice.handed_to(&stage, BOB);
    bob.says = WEBAUTH.iter().map(|header| (*header, ALICE.to_owned())).collect();
    let page = bob.get("/user/settings").await;
    let known = [Some("bob.b".to_owned()), Some(BOB.to_owned()), Some(BOB.to_owned())];
    assert_eq!(on_settings(&page.text()), known, "{}", page.text());

    // Nobody takes another's name or address there, by which Gitea would take that other for them.
    let form = "name=alice&full_name=Mallory&visibility=0";
    assert_eq!(bob.post("/user/settings", form).await.status, 303);
    let page = bob.get("/user/settings").await;
    assert_eq!(on_settings(&page.text()), known, "{}", page.text());
    let form = "email=carol%40corp.test";
    assert_eq!(bob.post("/user/settings/account/email", form).await.status, 404);

    // Who has no such name is known by the address, as Gitea has it then.
    let mut alice = bob.handed_to(&stage, ALICE);
    let page = alice.get("/user/settings").await;
    assert_eq!(on_settings(&page.text())[2].as_deref(), Some(ALICE), "{}", page.text());
    assert_eq!(stage.stranger().status("/user/settings").await, 401);
}

const FORWARDED: [&str; 4] =
    ["x-forwarded-login", "x_forwarded_login", "x-forwarded-email", "x-forwarded-groups"];

async fn current(browser: &mut Browser) -> Value {
    let answer = browser.get("/api/users/current").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn sonarqube_takes_people_for_whom_they_are() {
    needs!("sonarqube");
    let address = ports::free();
    let stage = Stage::seeded(
        |settings| {
            settings.upstream = format!("http://{address}");
            settings.more = "headers:\n  preset: sonarqube\n".to_owned();
        },
        &[ALICE, BOB, "a+b@corp.test"],
    )
    .await;
    call(&stage, ALICE, "Alice Süd").await;
    call(&stage, BOB, "Bob Łódź").await;
    let group = json!({ "schemas": [GROUP], "displayName": "sonar-administrators", "members": [{ "value": stage.id(ALICE) }] });
    let made = stage.directory.send(Method::POST, "/Groups", Some(&group)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let _sonarqube = Product::sonarqube(address, [ports::free(), ports::free(), ports::free()]).await;

    let mut browser = Browser::of(&stage, ALICE, &FORWARDED, BOB);
    let alice = current(&mut browser).await;
    assert_eq!(
        [&alice["login"], &alice["name"], &alice["email"]],
        [&json!(ALICE), &json!("Alice Süd"), &json!(ALICE)],
        "{alice}"
    );
    assert_eq!(alice["groups"], json!(["sonar-administrators", "sonar-users"]), "{alice}");

    // At the same machine, with the cookie that SonarQube gave to Alice. The name has a letter that it cannot read.
    let mut browser = browser.handed_to(&stage, BOB);
    browser.says = FORWARDED.iter().map(|header| (*header, ALICE.to_owned())).collect();
    browser.says.push(("x-forwarded-groups", "sonar-administrators".to_owned()));
    let bob = current(&mut browser).await;
    assert_eq!(
        [&bob["login"], &bob["name"], &bob["email"]],
        [&json!(BOB), &json!(BOB), &json!(BOB)],
        "{bob}"
    );
    assert_eq!(bob["groups"], json!(["sonar-users"]), "{bob}");

    // A name with another sign than letters, digits and `_-.@` is none to SonarQube.
    let mut browser = Browser::of(&stage, "a+b@corp.test", &[], "");
    assert_eq!(browser.get("/api/users/current").await.status, 401);
    assert_eq!(stage.stranger().status("/api/users/current").await, 401);
}

/// The name by which MediaWiki knows a browser.
async fn wiki_name(browser: &mut Browser) -> String {
    let answer = browser.get("/api.php?action=query&meta=userinfo&format=json").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let user = answer.json()["query"]["userinfo"].clone();
    assert!(user["anon"].is_null(), "{user}");
    user["name"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn mediawiki_takes_people_for_whom_they_are() {
    needs!("mediawiki");
    let address = ports::free();
    let stage = Stage::seeded(
        |settings| {
            settings.upstream = format!("http://{address}");
            settings.more = "headers:\n  preset: mediawiki\n".to_owned();
        },
        &[ALICE, BOB, "zoë", "rob b", "rob_b", "user:operator", "a/b"],
    )
    .await;
    let _wiki = Product::mediawiki(address, &stage.program.settings.origin()).await;
    let mut browser = Browser::of(&stage, ALICE, &[], "");
    // Its cookies of whoever was there before name nobody.
    for (name, other, known) in [
        (ALICE, BOB, "Alice@corp.test"),
        (BOB, ALICE, "Bob@corp.test"),
        ("zoë", ALICE, "Zoë"),
        ("rob b", ALICE, "Rob b"),
    ] {
        browser = browser.handed_to(&stage, name);
        browser.says = vec![("x-remote-user", other.to_owned()), ("x_remote_user", other.to_owned())];
        assert_eq!(wiki_name(&mut browser).await, known);
    }
    // What MediaWiki takes for another name (the operator's, who may do all) is not told.
    for name in ["rob_b", "user:operator", "a/b"] {
        let mut browser = Browser::of(&stage, name, &[], "");
        assert_eq!(
            browser.get("/api.php?action=query&meta=userinfo&format=json").await.status,
            403,
            "{name}"
        );
    }
    assert_eq!(stage.stranger().status("/api.php").await, 401);
}
