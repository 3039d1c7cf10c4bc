//! The access log: lines are handed to one thread, formatted there into a buffer that is used again, and written in
//! batches. A queue that is full drops lines and says so; no request ever waits for the log, and neither does a reload
//! or an end of the program: only its own thread waits for whoever reads it.
//!
//! The fields are a contract (`docs/logging.md`). Never in it: cookies, tokens, secrets, query strings.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use portcullis_policy::{Timestamp, shown};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use portcullis_policy::{LogFormat, LogTarget};

use crate::line::{AskedHost, Line};

/// The number of lines that may wait.
const QUEUE: usize = 8192;
/// After a batch the writer rests, so that a busy log costs a few hundred wake-ups a second and not one a request.
const REST: Duration = Duration::from_millis(5);

/// The reason why there is no access log.
#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    /// The file cannot be opened.
    #[error("the access log {} cannot be opened for writing", .0.display())]
    Open(PathBuf, #[source] io::Error),
    /// Its thread cannot be started.
    #[error("the thread of the access log cannot be started")]
    Thread(#[source] io::Error),
}

/// The queue's near end. Cloning shares it.
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: Option<SyncSender<WriterMessage>>,
    /// The file was moved away.
    moved: Arc<AtomicBool>,
}

enum WriterMessage {
    Line(Box<Line>),
    Wake,
    Flush(SyncSender<()>),
}

impl AccessLog {
    /// Opens the log and starts its writer.
    ///
    /// # Errors
    /// [`AccessLogError`] for a file that cannot be opened, or a thread that cannot be started.
    pub fn start_writer(target: &LogTarget, format: LogFormat) -> Result<Self, AccessLogError> {
        let sink = match target {
            LogTarget::Off => return Ok(Self { queue: None, moved: Arc::default() }),
            LogTarget::Stdout => Sink::Stdout,
            LogTarget::File(path) => Sink::File(path.clone(), open_file(path)?),
        };
        let (queue, lines) = sync_channel(QUEUE);
        let writer = thread::Builder::new().name("access-log".into());
        let moved = Arc::new(AtomicBool::new(false));
        let told = moved.clone();
        writer.spawn(move || write_all(&lines, sink, format, &told)).map_err(AccessLogError::Thread)?;
        Ok(Self { queue: Some(queue), moved })
    }

    /// Hands a line over; false where it had to be dropped.
    pub(crate) fn write_line(&self, line: Box<Line>) -> bool {
        self.queue.as_ref().is_none_or(|queue| queue.try_send(WriterMessage::Line(line)).is_ok())
    }

    /// Has the file opened again, for whoever has moved it away: by its own thread, which never holds up the caller.
    pub fn reopen(&self) {
        if let Some(queue) = &self.queue {
            self.moved.store(true, Ordering::Release);
            let _ = queue.try_send(WriterMessage::Wake); // a full queue wakes it too
        }
    }

    /// Waits until everything handed over so far is written, for `limit` at most; whether it is.
    pub fn flush(&self, limit: Duration) -> bool {
        let Some(queue) = &self.queue else { return true };
        let until = Instant::now() + limit;
        let (done, written) = sync_channel(1);
        let mut message = WriterMessage::Flush(done);
        loop {
            match queue.try_send(message) {
                Ok(()) => {
                    return written.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok();
                }
                Err(TrySendError::Full(back)) if Instant::now() < until => message = back,
                Err(_) => return false,
            }
            thread::sleep(REST);
        }
    }
}

enum Sink {
    Stdout,
    File(PathBuf, File),
}

impl Sink {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::File(_, file) => file.write_all(bytes),
        }
    }

    fn reopen(&mut self) {
        let Self::File(path, file) = self else { return };
        match open_file(path) {
            Ok(new) => *file = new,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!("{error}: {cause}. The old file is written on.");
            }
        }
    }
}

/// A log that is made here is its owner's, and its group may read it: it has names and addresses.
const MODE: u32 = 0o640;

/// Opens a file for appending. One that is a pipe must have its reader already: to wait for one could take for ever.
fn open_file(path: &Path) -> Result<File, AccessLogError> {
    let fault = |cause| AccessLogError::Open(path.into(), cause);
    let waits_not = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(MODE).custom_flags(waits_not);
    let file = options.open(path).map_err(fault)?;
    // Written to it is with waiting, by a thread that may wait.
    let flags = fcntl_getfl(&file).map_err(|cause| fault(cause.into()))?;
    fcntl_setfl(&file, flags - OFlags::NONBLOCK).map_err(|cause| fault(cause.into()))?;
    Ok(file)
}

fn write_all(lines: &Receiver<WriterMessage>, mut sink: Sink, format: LogFormat, moved: &AtomicBool) {
    let mut buffer = Vec::with_capacity(64 * 1024);
    let mut failing = false;
    while let Ok(first) = lines.recv() {
        let mut waiting = Vec::new();
        for message in std::iter::once(first).chain(lines.try_iter().take(QUEUE)) {
            match message {
                WriterMessage::Line(line) => write_line(&mut buffer, &line, format),
                WriterMessage::Wake => {}
                WriterMessage::Flush(done) => waiting.push(done),
            }
        }
        match sink.write_bytes(&buffer) {
            Ok(()) => failing = false,
            // Said once until it works again; whoever reads the log finds the gap by the counter of requests.
            Err(error) if !failing => {
                failing = true;
                tracing::error!("the access log cannot be written: {error}; lines are lost until it can");
            }
            Err(_) => {}
        }
        buffer.clear();
        if moved.swap(false, Ordering::Acquire) {
            sink.reopen();
        }
        if waiting.is_empty() {
            thread::sleep(REST);
        }
        for done in waiting {
            let _ = done.send(());
        }
    }
}

impl Line {
    /// The record that a reference number leads to: the line as the JSON log has it, and what there is to tell beside.
    pub fn to_record(&self) -> String {
        let mut out = Vec::with_capacity(512);
        write_line(&mut out, self, LogFormat::Json);
        let mut record = String::from_utf8_lossy(out.trim_ascii_end()).into_owned();
        if let Some(detail) = self.detail.as_ref().filter(|detail| !detail.is_empty())
            && let Ok(detail) = serde_json::to_string(&**detail)
            && let (Some(line), Some(detail)) = (record.strip_suffix('}'), detail.strip_prefix('{'))
        {
            record = format!("{line},{detail}"); // no name of the one is a name of the other
        }
        record
    }
}

/// The name of a field, with what stands around it: one piece in either format.
struct FieldName {
    json: &'static [u8],
    text: &'static [u8],
}

macro_rules! field {
    ($name:literal) => {
        &FieldName {
            json: concat!(",\"", $name, "\":").as_bytes(),
            text: concat!(" ", $name, "=").as_bytes(),
        }
    };
}

fn write_line(out: &mut Vec<u8>, line: &Line, format: LogFormat) {
    let mut fields = LineFields { out, format };
    let detail = line.log;
    fields.write_time(line.time);
    fields.write_text(field!("ref"), line.reference.as_deref());
    fields.write_text(field!("trace"), line.trace.as_ref().map(crate::trace::Trace::id));
    let site = line.place.as_ref().map(crate::rules::AppRules::site);
    fields.write_text(field!("org"), site.map(|site| &*site.org));
    fields.write_text(field!("app"), site.map(|site| &*site.name));
    let refused_by = line.refused_by.as_ref().map(|rule| rule.pattern.as_written());
    fields.write_text(field!("rule"), line.pass.as_ref().map(portcullis_policy::Pass::rule).or(refused_by));
    fields.write_text(field!("decision"), Some(line.decision.log_word()));
    fields.write_text(field!("reason"), Some(line.reason).filter(|reason| !reason.is_empty()));
    fields.write_text(
        field!("user"),
        line.who.as_ref().and_then(|who| detail.shown_user(who.facts(), Some(who.name()))).as_deref(),
    );
    fields.write_text(field!("idp"), line.idp.as_deref());
    fields.write_text(field!("method"), Some(line.method.as_str()));
    fields.write_bytes(
        field!("host"),
        match &line.host {
            AskedHost::Field(value) => Some(value.as_bytes()),
            AskedHost::Authority(authority) => Some(authority.as_str().as_bytes()),
            AskedHost::Nothing => None,
        },
    );
    fields.write_text(field!("path"), line.target.as_ref().map(http::uri::PathAndQuery::path));
    fields.write_number(field!("status"), Some(u64::from(line.status)));
    fields.write_number(field!("in"), Some(line.bytes_in));
    fields.write_number(field!("out"), Some(line.bytes_out));
    fields.write_number(field!("gate_us"), Some(line.gate_us));
    fields.write_number(field!("upstream_ms"), line.upstream_ms);
    fields.write_text(field!("ended"), Some(line.over.log_word()));
    fields.write_text(field!("client"), detail.shown_client(line.client).as_deref());
    fields.end_line();
}

struct LineFields<'a> {
    out: &'a mut Vec<u8>,
    format: LogFormat,
}

impl LineFields<'_> {
    fn end_line(&mut self) {
        if self.format == LogFormat::Json {
            self.out.push(b'}');
        }
        self.out.push(b'\n');
    }

    fn write_name(&mut self, name: &FieldName) {
        self.out.extend_from_slice(match self.format {
            LogFormat::Json => name.json,
            LogFormat::Text => name.text,
        });
    }

    /// The first field of a line, for which nothing is between it and the one before.
    fn write_time(&mut self, time: Timestamp) {
        let (before, after): (&[u8], &[u8]) = match self.format {
            LogFormat::Json => (b"{\"time\":\"", b"\""),
            LogFormat::Text => (b"time=", b""),
        };
        self.out.extend_from_slice(before);
        self.out.extend_from_slice(&format_time(time));
        self.out.extend_from_slice(after);
    }

    fn write_nothing(&mut self) {
        self.out.extend_from_slice(if self.format == LogFormat::Json { b"null" } else { b"-" });
    }

    fn write_text(&mut self, name: &FieldName, value: Option<&str>) {
        self.write_bytes(name, value.map(str::as_bytes));
    }

    fn write_bytes(&mut self, name: &FieldName, value: Option<&[u8]>) {
        self.write_name(name);
        match value {
            None => self.write_nothing(),
            Some(value) if value.len() <= portcullis_policy::MOST && is_plain(value) => {
                if self.format == LogFormat::Text && is_word(value) {
                    self.out.extend_from_slice(value);
                } else {
                    self.out.push(b'"');
                    self.out.extend_from_slice(value);
                    self.out.push(b'"');
                }
            }
            Some(value) => {
                let text = String::from_utf8_lossy(value); // a line is always text
                let text = shown(&text);
                if self.format == LogFormat::Text && is_word(text.as_bytes()) {
                    self.out.extend_from_slice(text.as_bytes());
                } else {
                    write_quoted(self.out, &text);
                }
            }
        }
    }

    fn write_number(&mut self, name: &FieldName, value: Option<u64>) {
        self.write_name(name);
        match value {
            None => self.write_nothing(),
            Some(value) => self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        }
    }
}

/// Tells whether a value can stand in a text line without quotes and is not taken for an absent one.
fn is_word(value: &[u8]) -> bool {
    !value.is_empty()
        && value != b"-"
        && value.iter().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'='))
}

/// Tells whether a value is shown as it is, between quotes too. Nearly all are, and all bytes are looked at together.
fn is_plain(value: &[u8]) -> bool {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\');
    value.iter().fold(true, |all, byte| all & plain(*byte))
}

/// A JSON string (RFC 8259 §7) of a text that is fit to be shown: it holds no control character.
fn write_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// `2026-03-01T12:00:00.123Z`.
fn format_time(time: Timestamp) -> [u8; 24] {
    fn put_digits(place: &mut [u8], number: i64) {
        let mut left = number.unsigned_abs();
        for digit in place.iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
    }
    let (days, second) = (time.seconds().div_euclid(86_400), time.seconds().rem_euclid(86_400));
    let (year, month, day) = civil_date(days);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    put_digits(&mut text[0..4], year);
    put_digits(&mut text[5..7], month);
    put_digits(&mut text[8..10], day);
    put_digits(&mut text[11..13], second / 3600);
    put_digits(&mut text[14..16], second / 60 % 60);
    put_digits(&mut text[17..19], second % 60);
    put_digits(&mut text[20..23], time.0.rem_euclid(1000));
    text
}

/// The date of a day counted from 1970-01-01, in the Gregorian calendar. A year begins in March here, so that the
/// leap day is its last; an era has 400 of them.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::line::Over;
    use crate::logged_decision::LoggedDecision;
    use proptest::prelude::*;

    fn line() -> Line {
        Line {
            time: Timestamp(1_772_366_400_123),
            reference: Some("7Q2M-X4KD".into()),
            detail: None,
            is_kept: false,
            is_known: false,
            trace: None,
            place: None,
            pass: None,
            refused_by: None,
            decision: LoggedDecision::Deny,
            reason: "role",
            who: None,
            untold: None,
            idp: Some("okta".into()),
            method: http::Method::GET,
            host: AskedHost::Field(http::HeaderValue::from_static("wiki.example.com")),
            target: Some("/a?secret=1".parse().unwrap()),
            status: 403,
            bytes_in: 1,
            bytes_out: 2,
            gate_us: 3,
            upstream_ms: None,
            over: Over::Done,
            client: IpAddr::from([192, 0, 2, 7]),
            log: crate::LogDetail::default(),
        }
    }

    fn written(line: &Line, format: LogFormat) -> String {
        let mut out = Vec::new();
        write_line(&mut out, line, format);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_fields_are_the_contract() {
        assert_eq!(
            written(&line(), LogFormat::Json),
            concat!(
                r#"{"time":"2026-03-01T12:00:00.123Z","ref":"7Q2M-X4KD","trace":null,"org":null,"app":null,"rule":null,"#,
                r#""decision":"deny","reason":"role","user":null,"idp":"okta","method":"GET","host":"wiki.example.com","#,
                r#""path":"/a","status":403,"in":1,"out":2,"gate_us":3,"upstream_ms":null,"ended":"done","client":"192.0.2.7"}"#,
                "\n"
            )
        );
        assert_eq!(
            written(&line(), LogFormat::Text),
            "time=2026-03-01T12:00:00.123Z ref=7Q2M-X4KD trace=- org=- app=- rule=- decision=deny reason=role user=- \
             idp=okta method=GET host=wiki.example.com path=/a status=403 in=1 out=2 gate_us=3 upstream_ms=- ended=done \
             client=192.0.2.7\n"
        );
    }

    #[test]
    fn a_record_is_the_line_and_what_there_is_to_tell_beside() {
        assert_eq!(format!("{}\n", line().to_record()), written(&line(), LogFormat::Json));
        let detail = [("help".to_owned(), "say \"please\"".into()), ("groups".to_owned(), ["a", "b"].into())];
        let told = Line { detail: Some(Box::new(detail.into_iter().collect())), ..line() };
        assert_eq!(
            written(&told, LogFormat::Json),
            written(&line(), LogFormat::Json),
            "the log has none of it"
        );
        let record: serde_json::Value = serde_json::from_str(&told.to_record()).unwrap();
        assert_eq!((&record["reason"], &record["client"]), (&"role".into(), &"192.0.2.7".into()));
        assert_eq!((&record["help"], &record["groups"][1]), (&"say \"please\"".into(), &"b".into()));
    }

    #[test]
    fn dates_are_right_across_leap_years() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(format_time(Timestamp(seconds * 1000)), expected.as_bytes());
        }
    }

    #[test]
    fn what_a_client_sends_is_cut_and_turns_nothing_around() {
        let path = format!("/{}", "a".repeat(60_000)).parse().unwrap();
        let host = http::HeaderValue::from_bytes("wiki\u{202e}\u{2028}".as_bytes()).unwrap();
        let line = Line { target: Some(path), host: AskedHost::Field(host), ..line() };
        for format in [LogFormat::Json, LogFormat::Text] {
            let text = written(&line, format);
            assert!(text.len() < 800 && !text.contains(['\u{202e}', '\u{2028}']), "{text}");
        }
        let read: serde_json::Value = serde_json::from_str(&line.to_record()).unwrap();
        assert_eq!(read["path"].as_str().unwrap().chars().count(), 200);
        assert_eq!(read["host"], "wiki\\u{202e}\\u{2028}");
    }

    #[test]
    fn lines_reach_the_file_and_a_moved_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::start_writer(&LogTarget::File(path.clone()), LogFormat::Text).unwrap();
        assert!(log.write_line(Box::new(line())));
        assert!(log.flush(Duration::from_secs(30)));
        let moved = folder.path().join("access.log.1");
        std::fs::rename(&path, &moved).unwrap();
        log.reopen();
        assert!(log.flush(Duration::from_secs(30)));
        assert!(log.write_line(Box::new(line())));
        assert!(log.write_line(Box::new(line())));
        assert!(log.flush(Duration::from_secs(30)));
        let lines = |path| std::fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&moved), lines(&path)), (1, 2));
    }

    #[test]
    fn a_reader_that_stalls_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let target = LogTarget::File(path.clone());
        let error = AccessLog::start_writer(&target, LogFormat::Json).unwrap_err();
        assert!(
            matches!(&error, AccessLogError::Open(..)),
            "a pipe nobody reads is an error, not a wait: {error:?}"
        );

        let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap(); // both, so that it does not wait
        let log = AccessLog::start_writer(&target, LogFormat::Json).unwrap();
        while log.write_line(Box::new(line())) {} // until pipe, batch and queue are full
        log.reopen();
        assert!(!log.flush(Duration::from_millis(50)), "the limit holds");
        drop(reader);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let target = LogTarget::File("/nonexistent/folder/access.log".into());
        let error = AccessLog::start_writer(&target, LogFormat::Json).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/folder/access.log"));
    }

    proptest! {
        /// Whatever a client sends, a line is one line, and its JSON says what was sent.
        #[test]
        fn no_host_breaks_a_line(host in prop::collection::vec(32u8..=255, 0..30), reason in 0..3usize) {
            let Ok(value) = http::HeaderValue::from_bytes(&host) else { return Ok(()) };
            let line = Line { host: AskedHost::Field(value), reason: ["", "a b", "-"][reason], ..line() };
            for format in [LogFormat::Json, LogFormat::Text] {
                let text = written(&line, format);
                prop_assert_eq!(text.lines().count(), 1);
            }
            let read: serde_json::Value = serde_json::from_str(&written(&line, LogFormat::Json)).unwrap();
            let host = String::from_utf8_lossy(&host);
            prop_assert_eq!(read["host"].as_str().unwrap(), &*shown(&host));
        }
    }
}
