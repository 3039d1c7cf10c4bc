//! The rehearsal of the program, as a child: another binary, which starts the program itself.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::program::without_settings;
use super::until;

/// A rehearsal that runs. Dropped, it is asked to end, so that it ends the program that it started.
pub struct Rehearsal {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Rehearsal {
    /// Starts it with these words on its command line.
    pub fn start(words: &[&str]) -> Self {
        let mut child = binary()
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        hear(child.stdout.take().unwrap(), said.clone());
        hear(child.stderr.take().unwrap(), said.clone());
        Self { child, said }
    }

    /// Everything that it and its program said so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said this.
    pub async fn says(&self, words: &str) {
        until(&format!("{words:?} of the rehearsal"), || {
            let text = self.said();
            assert!(!text.contains("did not come out"), "{text}");
            async move { text.contains(words) }
        })
        .await;
    }

    /// The first address of a host that it printed.
    pub fn address(&self, host: &str) -> String {
        let text = self.said();
        let address = text.split_whitespace().find(|word| word.starts_with(&format!("http://{host}:")));
        address.unwrap_or_else(|| panic!("no address of {host} in:\n{text}")).to_owned()
    }

    /// The folder that it said everything lies in.
    pub fn folder(&self) -> PathBuf {
        let text = self.said();
        let (_, rest) = text.split_once("state folder").unwrap();
        rest.split_whitespace().next().unwrap().into()
    }

    /// The program that it started, while it runs.
    pub fn program(&self) -> Option<Pid> {
        let ours = self.child.id().to_string();
        let of = |folder: PathBuf| {
            // The name, in brackets, may hold anything: what is behind it is the state, then the parent.
            let stat = fs::read_to_string(folder.join("stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            Pid::from_raw((parent == ours).then(|| folder.file_name()?.to_str()?.parse().ok())??)
        };
        fs::read_dir("/proc").unwrap().find_map(|entry| of(entry.unwrap().path()))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the end of the rehearsal", || {
            status = self.child.try_wait().unwrap();
            let over = status.is_some();
            async move { over }
        })
        .await;
        status.unwrap()
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the rehearsal said:\n{}", self.said());
        }
    }
}

/// The binary beside the program's. Cargo builds it with the tests of the whole workspace, not with those of the program
/// alone.
fn binary() -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_portcullis")).with_file_name("portcullis-rehearsal");
    assert!(path.is_file(), "{} is missing: cargo build --workspace --bins", path.display());
    without_settings(Command::new(path))
}

fn hear(mut output: impl Read + Send + 'static, said: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(size) = output.read(&mut bytes) {
            if size == 0 {
                return;
            }
            said.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..size]));
        }
    });
}
