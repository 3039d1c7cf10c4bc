//! The program's own log: one line an event on standard error, JSON for machines or text for a terminal.
//!
//! Four rules are kept here, whatever is asked for. *No secret*: a library is heard at `warn` at most, because below
//! that some print the heads of requests, and what it says at `warn` is cut where it begins to quote a request; a
//! field with the name of a secret is not printed. *One event, one line*: text from outside cannot begin a second
//! line or turn a terminal around. *Nobody waits*: lines go through a queue to a thread of their own. *No stranger
//! writes it*: what a library says of one socket or one exchange is counted, and a line at `debug` only. The access log
//! is not made here: it is the data plane's (`docs/logging.md`).

mod queue;

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis_policy::{escaped, shown};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry as Metrics;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry, reload};

use queue::Queue;

/// The look of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text {
        /// True where the level is coloured.
        colour: bool,
    },
}

impl Format {
    /// Text where standard error is a terminal, else JSON.
    pub(crate) fn for_this_terminal() -> Self {
        if io::stderr().is_terminal() { Self::text() } else { Self::Json }
    }

    /// Text, coloured where standard error is a terminal and nobody said `NO_COLOR`.
    pub(crate) fn text() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::Text { colour: io::stderr().is_terminal() && !plain }
    }
}

/// The log that runs. Its level may change with a reload.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    filter: reload::Handle<Targets, Registry>,
    queue: Queue,
    counts: Counts,
}

/// The counters of the log, and the switch for lines at debug.
#[derive(Clone, Debug, Default)]
struct Counts {
    dropped: Counter,
    peers: Counter,
    debug: Arc<AtomicBool>,
}

/// The log could not be started, because another one is running in this process.
#[derive(Debug, thiserror::Error)]
#[error("the log could not be started: {0}")]
pub(crate) struct LogStartError(String);

/// The time that the last words of the process may take to be read.
const LAST: Duration = Duration::from_secs(2);

impl Log {
    /// Starts the log of this process, also for libraries that speak through the crate `log`.
    ///
    /// # Errors
    /// Where the process has a log already, or gets no thread for it.
    pub(crate) fn start(format: Format, level: LevelFilter) -> Result<Self, LogStartError> {
        let failed = |error: &dyn Error| LogStartError(error.to_string());
        // All that comes this way is a library's, so nothing below `warn` is ever wanted.
        tracing_log::LogTracer::builder()
            .with_max_level(tracing_log::log::LevelFilter::Warn)
            .init()
            .map_err(|error| failed(&error))?;
        let (filter, handle) = reload::Layer::new(log_targets(level));
        let counts = Counts::of_level(level);
        let told = move |lost| lost_line(format, lost);
        let queue =
            Queue::start(io::stderr(), counts.dropped.clone(), told).map_err(|error| failed(&error))?;
        let lines = EventWriter { format, queue: queue.clone(), counts: counts.clone() };
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(filter).with(lines))
            .map_err(|error| failed(&error))?;
        Ok(Self { filter: handle, queue, counts })
    }

    /// Has a panic told like everything else. The hook that Rust brings writes to standard error itself, and the thread
    /// that serves would wait there with it.
    pub(crate) fn tell_panics(&self) {
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            tracing::error!(thread = thread.name(), "the program has a fault: {panic}");
        }));
    }

    /// Enters what the log counts.
    pub(crate) fn register(&self, metrics: &mut Metrics) {
        metrics.register(
            "portcullis_log_dropped",
            "Lines of the program's log dropped because nobody read them fast enough",
            self.counts.dropped.clone(),
        );
        metrics.register(
            "portcullis_peer_faults",
            "What libraries told of single sockets, such as a frame of HTTP/2 that is none",
            self.counts.peers.clone(),
        );
    }

    /// Waits until what was said so far is written, as long as somebody reads it, and two seconds at most.
    pub(crate) fn flush(&self) {
        let _ = self.queue.flush(LAST);
    }

    /// Takes another level from now on.
    pub(crate) fn set_level(&self, level: LevelFilter) {
        // It fails only where the log is gone, and then there is nobody to tell.
        let _ = self.filter.reload(log_targets(level));
        self.counts.debug.store(level >= LevelFilter::DEBUG, Ordering::Relaxed);
    }
}

impl Counts {
    /// Series that are there from the start can be alerted on before the first one is counted.
    fn of_level(level: LevelFilter) -> Self {
        let counts = Self::default();
        counts.debug.store(level >= LevelFilter::DEBUG, Ordering::Relaxed);
        counts
    }
}

/// An error and what caused it, on one line: `the store could not be opened: unable to open database file`.
pub(crate) fn error_chain(error: &dyn Error) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        write!(f, "{error}")?;
        let mut cause = error.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    })
}

/// Ours at `level`, everybody else's at `warn` or less.
fn log_targets(level: LevelFilter) -> Targets {
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target(OURS, level)
}

/// The beginning of every target of a crate of ours.
const OURS: &str = "portcullis";

/// Fields whose value is never printed. Ours hold no secret anyway; this is the net below.
const HIDDEN: [&str; 9] = [
    "authorization",
    "cookie",
    "set_cookie",
    "token",
    "id_token",
    "secret",
    "password",
    "assertion",
    "verifier",
];

/// Libraries that speak of one socket or one exchange at a time: whatever they say, a stranger may have made them say.
const OF_PEERS: [&str; 6] = ["pingora", "h2", "hyper", "rustls", "tokio_rustls", "hickory"];

/// Tells whether an event is of what went wrong at one socket, and not of the program's trouble.
fn of_a_peer(target: &str, message: &str) -> bool {
    let crate_name = target.split("::").next().unwrap_or_default();
    let is_theirs = OF_PEERS.iter().any(|name| crate_name == *name || crate_name.starts_with("pingora_"));
    // A listener that takes no more sockets is everybody's.
    is_theirs && !message.starts_with("Accept() failed")
}

/// Writes each event as one line.
struct EventWriter {
    format: Format,
    queue: Queue,
    counts: Counts,
}

impl<S: Subscriber> Layer<S> for EventWriter {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let bridged = event.normalized_metadata();
        let metadata = bridged.as_ref().unwrap_or_else(|| event.metadata());
        let mut said = LogRecord { ours: metadata.target().starts_with(OURS), ..LogRecord::default() };
        event.record(&mut said);
        let mut level = *metadata.level();
        if of_a_peer(metadata.target(), &said.message) {
            self.counts.peers.inc();
            if !self.counts.debug.load(Ordering::Relaxed) {
                return;
            }
            level = Level::DEBUG;
        }
        self.queue.queue_line(log_line(self.format, level, metadata.target(), &said));
    }
}

fn log_line(format: Format, level: Level, target: &str, said: &LogRecord) -> String {
    let time = jiff::Timestamp::now();
    match format {
        Format::Json => json_line(time, level, target, said),
        Format::Text { colour } => text_line(time, level, target, said, colour),
    }
}

/// The line that says how many are missing before it.
fn lost_line(format: Format, lost: u64) -> String {
    let message = "lines of this log were dropped: they were not read fast enough".to_owned();
    let fields = vec![("lost", FieldValue::Bare(lost.to_string()))];
    log_line(format, Level::WARN, "portcullis::log", &LogRecord { ours: true, message, fields })
}

/// The message and the fields of one event.
#[derive(Default)]
struct LogRecord {
    ours: bool,
    message: String,
    fields: Vec<(&'static str, FieldValue)>,
}

enum FieldValue {
    Text(String),
    /// A number or a truth, printed as it is.
    Bare(String),
}

impl LogRecord {
    fn take_field(&mut self, field: &Field, value: FieldValue) {
        match (field.name(), value) {
            ("message", FieldValue::Text(text) | FieldValue::Bare(text)) => {
                self.message = if self.ours { one_line(&text) } else { one_line(&drop_quotations(&text)) };
            }
            // Of a record that came by the crate `log`: target and place, which the metadata says already.
            (name, _) if name.starts_with("log.") => {}
            (name, _) if HIDDEN.contains(&name) => {
                self.fields.push((name, FieldValue::Text("(hidden)".to_owned())));
            }
            // Errors are sentences with values in them.
            ("error", FieldValue::Text(text)) if self.ours => {
                self.fields.push(("error", FieldValue::Text(one_line(&text))));
            }
            (name, FieldValue::Text(text)) => {
                let text = if self.ours { text } else { drop_quotations(&text) };
                self.fields.push((name, FieldValue::Text(shown(&text).into_owned())));
            }
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for LogRecord {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take_field(field, FieldValue::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take_field(field, FieldValue::Text(value.to_owned()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.take_field(field, FieldValue::Text(error_chain(value).to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take_field(field, FieldValue::Bare(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take_field(field, FieldValue::Bare(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take_field(field, FieldValue::Bare(value.to_string()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON knows no infinity.
        let bare = value.is_finite();
        self.take_field(
            field,
            if bare { FieldValue::Bare(value.to_string()) } else { FieldValue::Text(value.to_string()) },
        );
    }
}

fn json_line(time: jiff::Timestamp, level: Level, target: &str, said: &LogRecord) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut line = format!(
        r#"{{"time":"{time:.3}","level":"{}","target":{},"message":{}"#,
        level_word(level),
        quoted(target),
        quoted(&said.message)
    );
    for (name, value) in &said.fields {
        let value = match value {
            FieldValue::Text(text) => quoted(text),
            FieldValue::Bare(bare) => bare.clone(),
        };
        // Writing to a String does not fail.
        let _ = write!(line, ",{}:{value}", quoted(name));
    }
    line.push_str("}\n");
    line
}

fn text_line(time: jiff::Timestamp, level: Level, target: &str, said: &LogRecord, colour: bool) -> String {
    let mut line = format!("{time:.3} ");
    let word = level_word(level);
    let paint = match level {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        _ => "2",
    };
    let _ = if colour { write!(line, "\x1b[{paint}m{word:5}\x1b[0m ") } else { write!(line, "{word:5} ") };
    if !said.ours || level > Level::INFO {
        let _ = write!(line, "{target}: ");
    }
    let _ = write!(line, "{}", said.message);
    for (name, value) in &said.fields {
        let _ = write!(line, " {name}=");
        match value {
            FieldValue::Bare(bare) => line.push_str(bare),
            FieldValue::Text(text) if text.is_empty() || text.contains([' ', '"', '=']) => {
                let _ = write!(line, "\"{}\"", text.replace('"', "\\\""));
            }
            FieldValue::Text(text) => line.push_str(text),
        }
    }
    line.push('\n');
    line
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// A whole sentence on one line. It repeats few values, and each was cut where it came in; this is the net below.
fn one_line(text: &str) -> String {
    const MOST: usize = 4000;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", escaped(&text[..end])),
        None => escaped(text).to_string(),
    }
}

/// Cuts what a library says to what it cannot be quoting of a request or an answer: nothing after `buf:`, no query
/// string, nothing as long as a token, 300 characters at most.
fn drop_quotations(text: &str) -> String {
    const MOST: usize = 300;
    const TOKEN: usize = 24;
    let token_like =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '/' | '=' | '.' | '%' | '~');
    let (kept, quoted) = match text.find("buf:") {
        Some(at) => (&text[..at], "(a quotation is left out)"),
        None => (text, ""),
    };
    let mut out = String::with_capacity(kept.len().min(MOST));
    let mut rest = kept;
    while let Some(first) = rest.chars().next() {
        if first == '?' {
            let end = rest.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(rest.len());
            out.push_str(if end > 1 { "?…" } else { "?" });
            rest = &rest[end..];
            continue;
        }
        let end = rest.find(|c: char| !token_like(c)).unwrap_or(rest.len());
        match end {
            0 => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
            // A word of a sentence, a path, an address, a module of Rust.
            short
                if short < TOKEN
                    || !rest[..short].contains(|c: char| c.is_ascii_digit())
                        && rest[..short].contains('_') =>
            {
                out.push_str(&rest[..short]);
                rest = &rest[short..];
            }
            long => {
                out.push('…');
                rest = &rest[long..];
            }
        }
        if out.chars().count() > MOST {
            out = out.chars().take(MOST).collect();
            out.push('…');
            break;
        }
    }
    out + quoted
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

    /// Runs `speak` under a log of this format and level and returns its lines.
    fn lines(format: Format, level: LevelFilter, speak: impl FnOnce()) -> Vec<String> {
        counted(format, level, speak).0
    }

    /// The same, with what was counted.
    fn counted(format: Format, level: LevelFilter, speak: impl FnOnce()) -> (Vec<String>, Counts) {
        let written = Arc::new(Mutex::new(Vec::new()));
        let counts = Counts::of_level(level);
        let tell = move |lost| lost_line(format, lost);
        let queue = Queue::start(Shared(written.clone()), counts.dropped.clone(), tell).unwrap();
        let lines = EventWriter { format, queue: queue.clone(), counts: counts.clone() };
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(log_targets(level)).with(lines),
            speak,
        );
        assert!(queue.flush(Duration::from_secs(30)));
        let written = written.lock().unwrap();
        let lines = String::from_utf8(written.clone()).unwrap().lines().map(str::to_owned).collect();
        (lines, counts)
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const TEXT: Format = Format::Text { colour: false };

    #[test]
    fn a_line_of_json_has_what_was_said() {
        let said = lines(Format::Json, LevelFilter::INFO, || {
            let text = "reason=\"x\"\n";
            tracing::warn!(target: "portcullis::login", idp = "okta", rounds = 3, "login refused: {text}");
            tracing::debug!(target: "portcullis::login", "not heard");
        });
        assert_eq!(said.len(), 1);
        let value: serde_json::Value = serde_json::from_str(&said[0]).unwrap();
        assert_eq!(value["level"], "warn");
        assert_eq!(value["target"], "portcullis::login");
        assert_eq!(value["message"], r#"login refused: reason="x"\n"#);
        assert_eq!((&value["idp"], &value["rounds"]), (&"okta".into(), &3.into()));
        let time = value["time"].as_str().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok() && time.len() == 24, "{time}");
    }

    #[test]
    fn a_line_of_text_stays_one_line() {
        let said = lines(TEXT, LevelFilter::INFO, || {
            let got = "a\nb \u{1b}[31m\u{202e}";
            tracing::warn!(target: "portcullis", got, "login refused\r\nforged: line");
        });
        assert_eq!(said.len(), 1, "{said:?}");
        let expected = r#"warn  login refused\r\nforged: line got="a\nb \u{1b}[31m\u{202e}""#;
        assert!(said[0].ends_with(expected), "{}", said[0]);
    }

    #[test]
    fn a_value_from_outside_is_cut_and_turns_nothing_around() {
        let claim = format!("\u{202e}\u{9b}{}", "x".repeat(100_000));
        for format in [Format::Json, TEXT] {
            let said = lines(format, LevelFilter::INFO, || {
                tracing::warn!(target: "portcullis", got = %claim, error = %claim, "refused: {claim}");
            });
            assert!(said[0].len() < 10_000 && !said[0].contains(['\u{202e}', '\u{9b}']), "{}", said[0].len());
            assert!(!said[0].contains(&"x".repeat(4001)));
        }
    }

    #[test]
    fn a_library_is_never_heard_below_warn() {
        for level in [LevelFilter::TRACE, LevelFilter::DEBUG] {
            let said = lines(TEXT, level, || {
                tracing::debug!(target: "hyper::proto::h1", "cookie: session=1");
                tracing::trace!(target: "h2::codec", "headers");
                tracing::info!(target: "pingora_core::server", "bound");
                tracing::debug!(target: "portcullis_proxy::gate", "ours");
            });
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].ends_with("portcullis_proxy::gate: ours"));
        }
        assert!(lines(TEXT, LevelFilter::ERROR, || tracing::warn!(target: "h2", "no")).is_empty());
    }

    #[test]
    fn what_a_library_quotes_is_left_out() {
        let cookie = "__Host-portcullis-1f2e=Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFy";
        let head =
            format!("fails to read: InvalidHTTPHeader context: buf: GET / HTTP/1.1\\r\\nCookie: {cookie}");
        let query = "Fail to proxy: timeout, status: 502, GET /callback?code=abc&state=def, Host: h";
        let bare = format!("odd value {cookie}");
        let said = lines(TEXT, LevelFilter::TRACE, || {
            tracing::error!(target: "pingora_core::apps", "{head}");
            tracing::error!(target: "pingora_proxy", "{query}");
            tracing::warn!(target: "hyper", value = %bare, "{bare}");
        });
        let all = said.join("\n");
        for secret in ["Zm9v", "GET / HTTP", "code=abc", "state=def"] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
        assert!(said[0].ends_with("InvalidHTTPHeader context: (a quotation is left out)"), "{}", said[0]);
        assert!(said[1].ends_with("timeout, status: 502, GET /callback?…, Host: h"), "{}", said[1]);
    }

    #[test]
    fn what_a_stranger_makes_a_library_say_is_counted_and_no_line() {
        let speak = || {
            tracing::error!(target: "pingora_core::services::listening", "Downstream handshake error: eof");
            tracing::error!(target: "pingora_core::protocols", "a socket failed");
            tracing::error!(target: "hyper::proto", "a connection failed");
            tracing::warn!(target: "rustls::msgs::handshake", "Illegal SNI hostname received");
            tracing::error!(target: "pingora_core::services::listening", "Accept() failed too many open files");
            tracing::error!(target: "sqlx::query", "the disk");
        };
        let (said, counts) = counted(TEXT, LevelFilter::INFO, speak);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("Accept() failed") && said[1].contains("the disk"), "{said:?}");
        assert_eq!(counts.peers.get(), 4);
        let (said, _) = counted(TEXT, LevelFilter::DEBUG, speak);
        assert_eq!(said.iter().filter(|line| line.contains(" debug ")).count(), 4, "{said:?}");
    }

    #[test]
    fn the_crate_log_is_heard_and_treated_alike() {
        // The bridge is the process's; whoever sets it first in a test run sets the same one.
        let _ = tracing_log::LogTracer::init();
        let said = lines(Format::Json, LevelFilter::TRACE, || {
            tracing_log::log::error!(target: "pingora_core::protocols", "bad head, buf: Cookie: a=b");
            tracing_log::log::info!(target: "pingora_core::server", "not heard");
        });
        assert_eq!(said.len(), 1, "{said:?}");
        let value: serde_json::Value = serde_json::from_str(&said[0]).unwrap();
        assert_eq!(value["target"], "pingora_core::protocols");
        assert_eq!(value["message"], "bad head, (a quotation is left out)");
        assert!(value.get("log.target").is_none());
    }

    #[test]
    fn a_field_named_like_a_secret_is_not_printed() {
        let said = lines(TEXT, LevelFilter::INFO, || {
            tracing::error!(target: "portcullis", cookie = "a", token = 17, password = ?"b", "x");
        });
        assert!(said[0].ends_with("x cookie=(hidden) token=(hidden) password=(hidden)"), "{}", said[0]);
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let cause = io::Error::other("disk full");
        let error = crate::lock::LockError::Make { state: "/s".into(), source: cause };
        assert_eq!(error_chain(&error).to_string(), "the state folder /s could not be made: disk full");
        let said = lines(TEXT, LevelFilter::INFO, || {
            tracing::error!(target: "portcullis", error = &error as &dyn Error, "not started");
        });
        assert!(
            said[0].ends_with(r#"error="the state folder /s could not be made: disk full""#),
            "{}",
            said[0]
        );
    }

    proptest::proptest! {
        /// Whatever somebody sends, it is one line, and JSON is JSON.
        #[test]
        fn one_event_is_one_line(foreign in "(?s).{0,80}") {
            for format in [Format::Json, TEXT, Format::Text { colour: true }] {
                let said = lines(format, LevelFilter::INFO, || {
                    tracing::warn!(target: "portcullis", got = %foreign, "said {foreign}");
                    tracing::warn!(target: "sqlx", got = %foreign, "said {foreign}");
                });
                proptest::prop_assert_eq!(said.len(), 2);
                if format == Format::Json {
                    let is_json = |line: &String| serde_json::from_str::<serde_json::Value>(line).is_ok();
                    proptest::prop_assert!(said.iter().all(is_json));
                }
            }
        }
    }
}
