//! What is measured, on the real program: whose share of a request was whose, and what the system says of the process.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use http::Request;

use crate::needs;
use crate::rig::stage::Stage;
use crate::rig::{peer, until, wire};

async fn text(stage: &Stage) -> String {
    let health = stage.program.settings.health;
    let request = Request::get("/metrics").header("host", "localhost");
    let request = request.header("accept", "application/openmetrics-text").body(wire::whole("")).unwrap();
    wire::ask(health, request).await.unwrap().text()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_share_of_a_request_is_counted_once() {
    let stage = Stage::seeded(|_| {}, &["alice@corp.test"]).await;
    let alice = stage.visitor("alice@corp.test");
    for _ in 0..5 {
        assert_eq!(alice.status("/page").await, 200);
    }
    assert_eq!(stage.stranger().status("/page").await, 401);
    assert_eq!(alice.status("/.portcullis/me").await, 200);
    let metric = async |name: &str| stage.program.metric(name).await.unwrap();
    until("five of each", || async {
        stage.program.metric("portcullis_upstream_seconds_count").await == Some(5.0)
    })
    .await;
    assert_eq!(metric("portcullis_gate_seconds_count").await, 5.0);
    assert!(metric("portcullis_gate_seconds_sum").await > 0.0);
    assert!(metric("portcullis_upstream_seconds_sum").await > 0.0);

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let started = metric("process_start_time_seconds").await;
    assert!((now - started).abs() < 600.0, "{started} at {now}");
    assert!(metric("process_resident_memory_bytes").await > 1e6);
    assert!(metric("process_virtual_memory_bytes").await > metric("process_resident_memory_bytes").await);
    assert!(metric("process_threads").await > 2.0);
    assert!(metric("process_cpu_seconds_total").await > 0.0);
    let (open, most) = (metric("process_open_fds").await, metric("process_max_fds").await);
    assert!(open > 10.0 && open < most, "{open} of {most}");
}

/// The older text, which a scrape gets that names nothing.
#[tokio::test(flavor = "multi_thread")]
async fn promtool_has_nothing_to_say_of_the_older_text() {
    needs!("promtool");
    let stage = Stage::seeded(|_| {}, &["alice@corp.test"]).await;
    assert_eq!(stage.visitor("alice@corp.test").status("/page").await, 200);
    let older = wire::get(stage.program.settings.health, "localhost", "/metrics").await.unwrap().text();
    let mut command = Command::new(peer::cache().join("prometheus/usr/bin/promtool"));
    let (told, output) = read_by(command.args(["check", "metrics"]), &older);
    assert!(output.status.success() && told.is_empty(), "{told}\n{older}");
    let described = "# TYPE portcullis_peer_faults_total counter\n";
    assert!(older.contains(described) && !older.contains("# EOF"), "{older}");
}

/// What a reader of a text says on standard error, and how it ends.
fn read_by(command: &mut Command, text: &str) -> (String, Output) {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut reader = piped.env("PYTHONDONTWRITEBYTECODE", "1").spawn().unwrap();
    reader.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    (String::from_utf8_lossy(&output.stderr).into_owned(), output)
}

/// The strict reader of those whose format it is.
#[tokio::test(flavor = "multi_thread")]
async fn the_format_is_as_its_authors_read_it() {
    needs!("openmetrics");
    const READ: &str = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
        families = list(read(sys.stdin.read()))\n\
        names = [family.name for family in families]\n\
        followed = {sample.name: sample.exemplar.labels['trace_id'] for family in families for sample in family.samples if sample.exemplar}\n\
        assert followed == {name: sys.argv[1] for name in ['portcullis_gate_seconds_bucket', 'portcullis_upstream_seconds_bucket']}, followed\n\
        assert 'portcullis_gate_seconds' in names and 'process_open_fds' in names, names\n\
        print(len(names))";
    let stage = Stage::seeded(|_| {}, &["alice@corp.test"]).await;
    // It is asked for by a look; an older reader gets none.
    assert!(!text(&stage).await.contains("trace_id"));
    assert_eq!(stage.visitor("alice@corp.test").status("/page").await, 200);
    let trace = stage.app.last("/page").unwrap().header("x-request-id").unwrap();
    let older = wire::get(stage.program.settings.health, "localhost", "/metrics").await.unwrap().text();
    assert!(!older.contains("trace_id"), "{older}");
    let text = text(&stage).await;
    let mut command = Command::new(peer::cache().join("openmetrics/bin/python"));
    let (said, output) = read_by(command.args(["-c", READ, &trace]), &text);
    assert!(output.status.success(), "{said}\n{text}");
    let families: usize = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
    assert!(families > 30, "{families}");
}
