//! The way of a line to standard error: a bounded queue and a thread, so that whoever serves never waits for whoever
//! reads the log.
//!
//! A full queue drops lines and counts them; once lines get through again, a line says how many are missing. The last
//! words of the process have a limit too: a reader that is alive gets them, one that stalls holds nothing up.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;

/// The most lines that may wait.
const LINES: usize = 2048;
/// The most lines that are written at once.
const BATCH: usize = 256;
/// Missing lines are told at most so often.
const TELL: Duration = Duration::from_secs(1);
/// The interval at which a full queue is tried again where somebody waits for its end.
const LOOK: Duration = Duration::from_millis(5);

/// The queue's near end. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    lines: SyncSender<QueueMessage>,
    dropped: Counter,
}

enum QueueMessage {
    Line(String),
    Flush(SyncSender<()>),
}

impl Queue {
    /// Starts the thread that writes to `out`. `tell` makes the line that says how many lines are missing.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        dropped: Counter,
        tell: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let (lines, queued) = sync_channel(LINES);
        let counted = dropped.clone();
        thread::Builder::new().name("log".into()).spawn(move || write_all(&queued, out, &counted, tell))?;
        Ok(Self { lines, dropped })
    }

    /// Hands a line over, or counts it as dropped. Never waits.
    pub(super) fn queue_line(&self, line: String) {
        if self.lines.try_send(QueueMessage::Line(line)).is_err() {
            self.dropped.inc();
        }
    }

    /// Waits until everything handed over so far is written, for `limit` at most; whether it is.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let (done, written) = sync_channel(1);
        let mut message = QueueMessage::Flush(done);
        loop {
            match self.lines.try_send(message) {
                Ok(()) => {
                    return written.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok();
                }
                Err(TrySendError::Full(back)) if Instant::now() < until => message = back,
                Err(_) => return false,
            }
            thread::sleep(LOOK);
        }
    }
}

fn write_all(
    lines: &Receiver<QueueMessage>,
    mut out: impl Write,
    dropped: &Counter,
    tell: impl Fn(u64) -> String,
) {
    let (mut told, mut last) = (0, None::<Instant>);
    let mut buffer = String::new();
    loop {
        let first = match lines.recv_timeout(if dropped.get() > told { TELL } else { Duration::MAX }) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let (mut count, mut waiting) = (0, Vec::new());
        for message in first.into_iter().chain(lines.try_iter().take(BATCH)) {
            match message {
                QueueMessage::Line(line) => {
                    buffer.push_str(&line);
                    count += 1;
                }
                QueueMessage::Flush(done) => waiting.push(done),
            }
        }
        // A log that cannot be written is no reason to stop serving.
        if out.write_all(buffer.as_bytes()).is_err() {
            dropped.inc_by(count);
        }
        buffer.clear();
        let missing = dropped.get() - told;
        let is_time = !waiting.is_empty() || last.is_none_or(|last| last.elapsed() >= TELL);
        if missing > 0 && is_time && out.write_all(tell(missing).as_bytes()).is_ok() {
            (told, last) = (told + missing, Some(Instant::now()));
        }
        for done in waiting {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_reader_that_stalls_holds_nobody_up_and_is_told_what_is_missing() {
        let (mut reader, writer) = io::pipe().unwrap();
        let dropped = Counter::default();
        let queue = Queue::start(writer, dropped.clone(), |lost| format!("{lost} lost\n")).unwrap();
        // Far more than pipe, batch and queue hold; were it to wait, this would never end.
        let all = 20_000;
        for n in 0..all {
            queue.queue_line(format!("{n:0>99}\n"));
        }
        let lost = dropped.get();
        assert!(lost > 0);
        assert!(!queue.flush(Duration::from_millis(50)), "the limit holds");
        let reading = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        // The reader is back: the last words come out, and with them the count.
        queue.queue_line("the last\n".to_owned());
        while !queue.flush(Duration::from_secs(10)) {}
        drop(queue);
        let text = reading.join().unwrap().unwrap();
        let told: u64 = text.lines().filter_map(|line| line.strip_suffix(" lost")?.parse::<u64>().ok()).sum();
        assert_eq!(told, dropped.get());
        let written = text.lines().filter(|line| line.len() == 99).count() as u64;
        assert_eq!(written + lost, all);
        assert!(text.contains("the last\n") || dropped.get() > lost);
    }

    #[test]
    fn a_log_that_cannot_be_written_counts_its_lines() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let dropped = Counter::default();
        let queue = Queue::start(writer, dropped.clone(), |lost| format!("{lost} lost\n")).unwrap();
        queue.queue_line("a\n".to_owned());
        queue.queue_line("b\n".to_owned());
        assert!(queue.flush(Duration::from_secs(10)));
        assert_eq!(dropped.get(), 2);
    }
}
