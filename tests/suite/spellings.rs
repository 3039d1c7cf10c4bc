//! Another spelling of a path is no way around a rule: some hundred spellings of one page, before the servers and routers
//! that applications are made of. Asked directly, some of the spellings do lead each of them to the page; through the
//! gate, without a session, none does.

use crate::needs;
use crate::rig::foreign::{ForeignApplication, SECRET, ask_raw};
use crate::rig::program::Program;
use crate::rig::seed::Seed;
use crate::rig::settings::Settings;

const PAGE: &str = "/admin/secret";

/// What somebody may try who wants the page and may not have it.
const SPELLINGS: &[&str] = &[
    // case, letters encoded once and twice
    "/Admin/secret",
    "/ADMIN/secret",
    "/ADMIN/SECRET",
    "/admin/SECRET",
    "/%61dmin/secret",
    "/adm%69n/secret",
    "/%61%64%6d%69%6E/secret",
    "/admin/%73ecret",
    "/%41dmin/secret",
    "/%2561dmin/secret",
    "/%25%36%31dmin/secret",
    "/adm%2569n/%2573ecret",
    "/%2541DMIN/secret",
    "/%25252561dmin/secret",
    // slashes
    "//admin/secret",
    "///admin/secret",
    "////admin//secret",
    "/admin//secret",
    "/admin///secret",
    "/%2Fadmin/secret",
    "/%2f%2fadmin/secret",
    "/admin%2Fsecret",
    "/admin%2fsecret",
    "/admin%252Fsecret",
    "/%252Fadmin%252fsecret",
    "/admin/%2Fsecret",
    "//%61dmin//secret",
    "/admin\\secret",
    "/\\admin/secret",
    "\\admin",
    "/admin%5Csecret",
    "/%5Cadmin/secret",
    "/%5c%5cadmin%5csecret",
    "/admin/\\secret",
    "/%255Cadmin%255csecret",
    // dot segments
    "/./admin/secret",
    "/admin/./secret",
    "/.//admin/secret",
    "/x/../admin/secret",
    "/x/./../admin/secret",
    "/x/y/../../admin/secret",
    "/x//../admin/secret",
    "/x//../../admin/secret",
    "/../admin/secret",
    "/../../../admin/secret",
    "/admin/x/../secret",
    "/admin/../admin/secret",
    "/%2e/admin/secret",
    "/admin/%2e/secret",
    "/x/%2e%2e/admin/secret",
    "/x/.%2e/admin/secret",
    "/x/%2E./admin/secret",
    "/%2e%2e/admin/secret",
    "/x/..%2fadmin/secret",
    "/x%2f..%2fadmin/secret",
    "/x%2F%2e%2e%2Fadmin%2Fsecret",
    "/x/..%2Fadmin%2Fsecret",
    "/x/%252e%252e/admin/secret",
    "/x/..%252fadmin/secret",
    "/x%252f%252e%252e%252fadmin%252fsecret",
    "/x/..\\admin\\secret",
    "/x\\..\\admin\\secret",
    "/x/..%5cadmin%5csecret",
    "/x%5c..%5cadmin/secret",
    "/x/.../admin/secret",
    "/.%5cadmin/secret",
    "/.\\admin/secret",
    // parameters
    "/admin;/secret",
    "/admin;a=b/secret",
    "/;/admin/secret",
    "/;x/admin/secret",
    "/x/..;/admin/secret",
    "/x/..;a=b/admin/secret",
    "/x;/../admin/secret",
    "/.;/admin/secret",
    "/;x=1/../admin/secret",
    "/admin/;/secret",
    "/admin/secret;jsessionid=1",
    "/admin/secret;/",
    "/admin%3B/secret",
    "/admin%3Bx/secret",
    "/x/..%3B/admin/secret",
    "/%3B/admin/secret",
    "/x/%2e%2e;/admin/secret",
    "/x/%2e%2e%3bx/admin/secret",
    "/%61dmin;x/secret",
    // a host in the place of the first segment
    "//host/admin/secret",
    "///host/admin/secret",
    "//app.localhost/admin/secret",
    "//host:80/admin/secret",
    "//user@host/admin/secret",
    "//@/admin/secret",
    "/\\host/admin/secret",
    "/\\/host/admin/secret",
    "//.//admin/secret",
    "//host/x/../admin/secret",
    "//host/%61dmin/secret",
    "//host\\admin\\secret",
    "/%2Fhost/admin/secret",
    // the end of the path and of its segments
    "/admin/secret/",
    "/admin/secret//",
    "/admin/secret/.",
    "/admin/secret.",
    "/admin/secret..",
    "/admin/secret%20",
    "/admin/secret%2e",
    "/admin/secret%2F",
    "/admin./secret",
    "/admin%20/secret",
    "/admin%2E/secret",
    "/admin%2e%20/secret",
    "/admin/secret/x/..",
    "/Admin./secret",
    // a URL in a URL
    "/admin/secret%3F",
    "/admin/secret%3Fx=1",
    "/admin/secret%23",
    "/admin/secret%23x",
    "/admin/secret?x",
    "/admin/?x",
    "/admin%3F/secret",
    "/x?/../admin/secret",
    "/?/admin/secret",
    "http://app.localhost/admin/secret",
    "http://other/admin/secret",
    // control characters, characters spelt too long, broken escapes
    "/admin%00/secret",
    "/admin/secret%00",
    "/admin/secret%00.html",
    "/admin/secret%0a",
    "/%09admin/secret",
    "/%0aadmin/secret",
    "/admin%0d%0a/secret",
    "/x/..%00/admin/secret",
    "/admin%2500/secret",
    "/%c0%afadmin/secret",
    "/admin%c0%afsecret",
    "/x/%c0%ae%c0%ae/admin/secret",
    "/%c1%a1dmin/secret",
    "/%e0%80%afadmin/secret",
    "/%ef%bc%8fadmin/secret",
    "/%u0061dmin/secret",
    "/%/admin/secret",
    "/%zz/../admin/secret",
    "/admin/secret%",
    "/x%/../admin/secret",
    "/%25zz/../admin/secret",
    "/%2561dmin/%25zz/../secret",
    // several at once
    "//%2e/%61dmin;x//secret",
    "/x/..;/%2561dmin%2fsecret",
    "/%5c%5chost%5cadmin%5csecret",
    "/X/..%2f/ADMIN./secret/",
    "/%2e%2f%61dmin/secret",
    "/;/%2e%2e//admin/secret",
    "/admin/x%2f..%2f..%2fadmin%2fsecret",
    "/a/b/c/%2e%2e/..;/..%2fadmin/secret",
    "/x/..%255cadmin/secret",
    "//x//..//..//admin//secret",
];

/// Asks for every spelling, directly and through the gate; `bites` is how many lead an application to the page at least.
async fn nobody_gets_there(name: &str, bites: usize) {
    let application = ForeignApplication::start(name).await;
    let mut settings = Settings::new(application.address);
    settings.more =
        "routes:\n  - path: /admin/**\n    allow: signed-in\n  - path: /**\n    allow: public\n".to_owned();
    let mut program = Program::install(settings);
    let seed = Seed::open(program.folder(), &program.settings).await;
    let cookie = seed.people(&["alice"]).await.0["alice"].1.clone();
    seed.close().await;
    program.watch.secret("a session cookie", cookie.split_once('=').unwrap().1);
    program.begin().await;

    let (gate, alice) = (program.proxy(), format!("Cookie: {cookie}\r\n"));
    assert!(ask_raw(application.address, PAGE, "").await.1.contains(SECRET), "{name} has the page");
    assert!(ask_raw(gate, PAGE, &alice).await.1.contains(SECRET), "{name} shows it to alice");
    assert_eq!(ask_raw(gate, PAGE, "").await.0, 401);
    assert_eq!(ask_raw(gate, "/", "").await.0, 200, "{name} has an open page");

    let (mut led, mut open) = (Vec::new(), 0);
    for spelling in SPELLINGS {
        let (status, answer) = ask_raw(gate, spelling, "").await;
        assert!(!answer.contains(SECRET), "{name}: {spelling} leads past the rule");
        open += usize::from(status == 200);
        if ask_raw(application.address, spelling, "").await.1.contains(SECRET) {
            assert!(matches!(status, 400 | 401 | 404), "{name}: {spelling} is answered with {status}");
            led.push(*spelling);
        }
    }
    println!(
        "{name}: {} of {} spellings lead to the page, {open} to an open one",
        led.len(),
        SPELLINGS.len()
    );
    assert!(led.len() >= bites, "{name}: {led:?}");
    // Whoever may see the page may spell it as the application likes it, if all readings are allowed.
    for spelling in led.iter().filter(|spelling| ["/admin//secret", "/admin/./secret"].contains(spelling)) {
        assert!(ask_raw(gate, spelling, &alice).await.1.contains(SECRET), "{name}: {spelling}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_files_that_python_serves() {
    nobody_gets_there("http.server", 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_routes_behind_wsgi() {
    needs!("gunicorn");
    nobody_gets_there("wsgi:routed", 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_application_that_decodes_twice() {
    needs!("gunicorn");
    nobody_gets_there("wsgi:legacy", 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_server_that_reads_urls() {
    needs!("express");
    nobody_gets_there("url", 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_routes_of_express() {
    needs!("express");
    nobody_gets_there("express", 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_files_that_php_serves() {
    needs!("php");
    nobody_gets_there("php", 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_front_page_of_php() {
    needs!("php");
    nobody_gets_there("router.php", 25).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_files_that_nginx_serves() {
    needs!("nginx");
    nobody_gets_there("nginx", 25).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_servlets_of_tomcat() {
    needs!("tomcat");
    nobody_gets_there("Servlets", 30).await;
}
