//! A transcript of `tests/journeys`, and its replay: its files are written as they are printed, its commands are given to a
//! shell word for word, what they print is compared line by line, and what a person does in a browser a browser does.
//!
//! `…` in what is printed is anything on its line; `‹name›` too, and it is remembered for later commands.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use super::browser::{BrowserPage, HeadlessBrowser};
use super::program::without_settings;
use super::stream::AnswerStream;
use super::{peer, ports};

/// How long a command may take: a foreign program in Python needs its seconds on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(90);
/// The line behind what a command printed.
const OVER: &str = "--- the command is over ---";
/// The title of the table of replacements.
const REPLACED: &str = "| Here | In the test |";

/// One thing that whoever follows the transcript does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JourneyStep {
    /// A file is written.
    File { name: String, text: String },
    /// A command is given, and prints these lines.
    Command { line: String, printed: Vec<String> },
    /// Something is done in the browser, or at a provider: the word in brackets, and what stands in backquotes behind it.
    Act { action: String, words: Vec<String> },
}

/// A transcript, read.
pub struct Transcript {
    pub steps: Vec<JourneyStep>,
    /// What is another text in the test, and what it is there.
    pub replaced: Vec<(String, String)>,
    /// The sentence about how much it was.
    sum: String,
}

impl Transcript {
    /// Reads one of `tests/journeys`.
    pub fn load(name: &str) -> Self {
        Self::parse(&fs::read_to_string(folder().join(name)).unwrap())
    }

    /// Reads the text of one. Whatever it holds that is not understood is a fault.
    pub fn parse(text: &str) -> Self {
        let (mut steps, mut replaced, mut name, mut sum) = (Vec::new(), Vec::new(), None, String::new());
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(language) = line.strip_prefix("```") {
                let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
                if language == "console" {
                    steps.extend(read_console(&block));
                    name = None;
                } else {
                    let name = name.take().unwrap_or_else(|| panic!("a file without a name: {block:?}"));
                    steps.push(JourneyStep::File { name, text: block.join("\n") + "\n" });
                }
            } else if let Some(act) = read_act(line) {
                steps.push(act);
            } else if line == REPLACED {
                let rows = lines.by_ref().skip(1).take_while(|line| line.starts_with('|'));
                replaced.extend(rows.flat_map(read_row));
            } else if let Some(said) = line.strip_prefix("**That was ") {
                said.clone_into(&mut sum);
            } else if line.ends_with(':') {
                name = spans(line).pop();
            }
        }
        Self { steps, replaced, sum }
    }

    /// What the sentence at its end has to say, from behind `That was`.
    fn counted(&self) -> String {
        let count = |is: fn(&JourneyStep) -> bool| self.steps.iter().filter(|step| is(step)).count();
        format!(
            "{} commands, {} files and {} steps by hand.**",
            count(|step| matches!(step, JourneyStep::Command { .. })),
            count(|step| matches!(step, JourneyStep::File { .. })),
            count(|step| matches!(step, JourneyStep::Act { .. })),
        )
    }
}

/// The folder of the transcripts.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/journeys")
}

/// What stands in backquotes on a line.
pub fn spans(line: &str) -> Vec<String> {
    line.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn read_console(block: &[&str]) -> Vec<JourneyStep> {
    let (mut steps, mut goes_on) = (Vec::new(), false);
    for line in block {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (None, Some(JourneyStep::Command { line: command, .. })) if goes_on => {
                *command += &format!("\n{line}");
            }
            (Some(command), _) => {
                steps.push(JourneyStep::Command { line: command.to_owned(), printed: Vec::new() });
            }
            (None, Some(JourneyStep::Command { printed, .. })) => printed.push((*line).to_owned()),
            (None, _) => panic!("printed before any command: {line}"),
        }
        goes_on = line.ends_with('\\') && (goes_on || line.starts_with("$ "));
    }
    steps
}

/// `1. [open] …`
fn read_act(line: &str) -> Option<JourneyStep> {
    let (number, rest) = line.split_once(". [")?;
    if number.is_empty() || !number.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let (action, rest) = rest.split_once(']')?;
    Some(JourneyStep::Act { action: action.to_owned(), words: spans(rest) })
}

fn read_row(line: &str) -> Vec<(String, String)> {
    let (here, there) = line.trim_matches('|').split_once('|').unwrap();
    spans(here).into_iter().map(|here| (here, there.trim().to_owned())).collect()
}

/// Tells whether a line is as the pattern has it, and what its named holes are.
pub fn fits(pattern: &str, line: &str) -> Option<Vec<(String, String)>> {
    let mut named = Vec::new();
    let (first, mut pattern) = split_at_hole(pattern);
    let mut rest = line.strip_prefix(first)?;
    while let Some(hole) = pattern {
        let (name, after) = match hole.strip_prefix('‹') {
            Some(of_name) => of_name.split_once('›')?,
            None => ("", hole.strip_prefix('…')?),
        };
        let (literal, next) = split_at_hole(after);
        let at = if next.is_none() { rest.len().checked_sub(literal.len())? } else { rest.find(literal)? };
        let (held, behind) = (rest.get(..at)?, rest.get(at..)?);
        rest = behind.strip_prefix(literal)?;
        if !name.is_empty() {
            named.push((name.to_owned(), held.to_owned()));
        }
        pattern = next;
    }
    rest.is_empty().then_some(named)
}

fn split_at_hole(text: &str) -> (&str, Option<&str>) {
    match text.find(['…', '‹']) {
        Some(at) => (&text[..at], Some(&text[at..])),
        None => (text, None),
    }
}

/// A replay under way. Dropped, everything that it began ends.
pub struct Journey {
    pub transcript: Transcript,
    folder: TempDir,
    programs: TempDir,
    shell: Shell,
    /// What is written, and what stands in its place here.
    swaps: Vec<(String, String)>,
    named: HashMap<String, String>,
    browser: HeadlessBrowser,
    page: Option<BrowserPage>,
    open: Option<AnswerStream>,
}

impl Journey {
    /// Prepares the replay in an empty folder. The commands of these peers are found there, beside the machine's own.
    pub fn prepare(transcript: Transcript, peers: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("portcullis-journey-").tempdir().unwrap();
        let programs = tempfile::tempdir().unwrap();
        let program = env!("CARGO_BIN_EXE_portcullis");
        std::os::unix::fs::symlink(program, programs.path().join("portcullis")).unwrap();
        let mut path = vec![programs.path().to_owned()];
        path.extend(peers.iter().map(|peer| peer::cache().join(peer).join("bin")));
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
        let shell = Shell::start(folder.path(), &std::env::join_paths(path).unwrap());
        let mut journey = Self {
            transcript,
            folder,
            programs,
            shell,
            swaps: Vec::new(),
            named: HashMap::new(),
            browser: HeadlessBrowser::new("http://localhost"),
            page: None,
            open: None,
        };
        for (here, there) in journey.transcript.replaced.clone() {
            match there.as_str() {
                "a free port" => journey.swap(&here, &ports::free().port().to_string()),
                "the folder of the test" => {
                    let folder = journey.folder().display().to_string();
                    journey.swap(&here, &folder);
                }
                _ => {}
            }
        }
        journey
    }

    /// Puts another text in the place of one of the table of replacements.
    pub fn swap(&mut self, here: &str, there: &str) {
        let is_listed = self.transcript.replaced.iter().any(|(listed, _)| listed == here);
        assert!(is_listed, "{here} is not in the table of replacements");
        self.swaps.push((here.to_owned(), there.to_owned()));
    }

    /// The folder that it began with empty.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A text of the transcript as it is here.
    pub fn here(&self, text: &str) -> String {
        let told = self.swaps.iter().fold(text.to_owned(), |text, (here, there)| replace(&text, here, there));
        self.named.iter().fold(told, |text, (name, value)| text.replace(&format!("‹{name}›"), value))
    }

    /// Follows the whole of it. What is in brackets and no matter of the browser's is `other`'s to do.
    pub async fn follow(&mut self, mut other: impl AsyncFnMut(&mut Self, &str, &[String])) {
        for (here, there) in &self.transcript.replaced {
            assert!(self.swaps.iter().any(|(swapped, _)| swapped == here), "{here}: what is {there}?");
        }
        for step in self.transcript.steps.clone() {
            match step {
                JourneyStep::File { name, text } => self.write(&name, &text),
                JourneyStep::Command { line, printed } => self.give(&line, &printed),
                JourneyStep::Act { action, words } if action == "note" => self.note(&words[0]),
                JourneyStep::Act { action, words } => {
                    let words: Vec<String> = words.iter().map(|word| self.here(word)).collect();
                    if !self.act(&action, &words).await {
                        other(self, &action, &words).await;
                    }
                }
            }
        }
        assert_eq!(self.transcript.sum, self.transcript.counted(), "how much it was");
    }

    /// Writes a file as it is printed, but for what is replaced.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.folder().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, self.here(text)).unwrap();
    }

    /// Gives a command whose output is not written down, and says what it printed.
    pub fn run(&mut self, line: &str) -> String {
        self.shell.give(&self.here(line)).join("\n")
    }

    fn give(&mut self, line: &str, wanted: &[String]) {
        let printed = self.shell.give(&self.here(line));
        let mut held = Vec::new();
        let is_so = printed.len() == wanted.len()
            && wanted.iter().zip(&printed).all(|(wanted, printed)| {
                let found = fits(self.here(wanted).trim_end(), printed.trim_end());
                found.map(|found| held.extend(found)).is_some()
            });
        assert!(
            is_so,
            "$ {line}\nprints\n{}\nand not\n{}\n{}",
            printed.join("\n"),
            wanted.join("\n"),
            self.logs()
        );
        self.named.extend(held);
    }

    /// The last lines of every log of the folder, for whoever reads why it failed.
    fn logs(&self) -> String {
        let mut told = String::new();
        for entry in fs::read_dir(self.folder()).unwrap().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "log") {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(12).collect();
                told += &format!("{}:\n", entry.path().display());
                tail.iter()
                    .rev()
                    .for_each(|line| told += &format!("  {}\n", line.chars().take(500).collect::<String>()));
            }
        }
        told
    }

    fn page(&self) -> &BrowserPage {
        self.page.as_ref().expect("a page is open")
    }

    /// Remembers the number on the page under a name.
    fn note(&mut self, name: &str) {
        let said = self.page().text();
        let number = reference_on(&said).unwrap_or_else(|| panic!("no number on the page:\n{said}"));
        self.named.insert(name.trim_matches(['‹', '›']).to_owned(), number);
    }

    /// Fills in the form that has the first of these fields, and sends it.
    pub async fn fill(&mut self, fields: &[(&str, &str)]) {
        self.send_form(fields[0].0, fields).await;
    }

    async fn send_form(&mut self, field: &str, fields: &[(&str, &str)]) {
        let page = self.page.clone().unwrap();
        let form = page.form_with(field);
        let form = form.unwrap_or_else(|| panic!("no {field} on {}:\n{}", page.url, page.text()));
        let form = fields.iter().fold(form, |form, (name, value)| form.with(name, value));
        self.page = Some(self.browser.submit(&page, &form).await);
    }

    /// Does one thing in the browser; false where it is none.
    async fn act(&mut self, action: &str, words: &[String]) -> bool {
        match (action, words) {
            ("open", [address]) => self.page = Some(self.browser.open(address).await),
            // A button that is pressed says its name too, as canaille's.
            ("enter", [value, field]) => self.fill(&[(field, value), ("answer", "")]).await,
            ("press", [field]) => self.send_form(field, &[]).await,
            ("read", texts) if !texts.is_empty() => {
                let (page, said) = (self.page(), self.page().text());
                for text in texts {
                    let (at, logs) = (&page.url, self.logs());
                    assert!(
                        said.contains(text),
                        "{text} is not on {at} ({}):\n{said}\n{logs}",
                        page.status()
                    );
                }
            }
            ("refused", [status]) => {
                let (page, said) = (self.page(), self.page().text());
                assert_eq!(page.status().as_str(), status, "{}:\n{said}\n{}", page.url, self.logs());
            }
            ("leave open", [address]) => {
                let mut stream = self.browser.try_stream(address, &[]).await.unwrap();
                stream.at_least(1).await;
                self.open = Some(stream);
            }
            ("cut", []) => {
                let mut stream = self.open.take().expect("something is open");
                stream.read_out("\0").await;
            }
            ("new browser", []) => {
                self.browser = HeadlessBrowser::new("http://localhost");
                self.page = None;
            }
            _ => return false,
        }
        true
    }
}

/// The number on a page of a refusal: eight letters and digits in two groups.
pub fn reference_on(page: &str) -> Option<String> {
    let is_group =
        |group: &str| group.len() == 4 && group.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
    let words = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let found = words
        .into_iter()
        .find(|word| word.split_once('-').is_some_and(|(first, second)| is_group(first) && is_group(second)));
    found.map(str::to_owned)
}

/// Replaces a text where it stands by itself: `8080`, and not the middle of `180801`.
fn replace(text: &str, here: &str, there: &str) -> String {
    let (mut replaced, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(here) {
        let (before, behind) = (&rest[..at], &rest[at + here.len()..]);
        let goes_on = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let inside = goes_on(before.chars().next_back()) || goes_on(behind.chars().next());
        replaced.push_str(before);
        replaced.push_str(if inside { here } else { there });
        rest = behind;
    }
    replaced + rest
}

/// One shell for the whole of it, as one terminal. Its processes are one group, and end with it.
struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    fn start(folder: &Path, path: &std::ffi::OsStr) -> Self {
        let mut command = without_settings(Command::new("bash"));
        for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
        command.args(["--norc", "--noprofile"]).current_dir(folder).process_group(0);
        command.env("PATH", path).env("HOME", folder).env("LC_ALL", "C.UTF-8").env("no_proxy", "*");
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // One pipe for both, as a terminal is one.
        writeln!(input, "exec 2>&1").unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (said, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, input, lines }
    }

    /// Gives a command and waits until it is done, or in the background. The lines that it printed.
    fn give(&mut self, command: &str) -> Vec<String> {
        write!(self.input, "{{ {command}\n}} </dev/null\nprintf '\\n{OVER}\\n'\n").unwrap();
        let mut printed = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line == OVER => break,
                Ok(line) => printed.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("$ {command}\ndoes not end: {printed:#?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("$ {command}\nended the shell: {printed:#?}"),
            }
        }
        // What ended its last line itself has an empty one behind it now.
        if printed.last().is_some_and(String::is_empty) {
            printed.pop();
        }
        printed
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        // The folder goes after whatever writes into it.
        let _ = kill_process_group(Pid::from_child(&self.shell.child), Signal::KILL);
        debug_assert!(self.programs.path().exists());
    }
}

#[test]
fn a_transcript_is_read_whole() {
    let text = "# A\n\n| Here | In the test |\n|---|---|\n| `8080`, `8081` | a free port |\n\nThe file `a.yaml`:\n\n```yaml\nk: v\n```\n\n\
                ```console\n$ one \\\n  --two\nsaid …\n$ three\n```\n\n1. [open] `http://x/`, and\n2. [refused] with `403`\n\n\
                **That was 2 commands, 1 files and 2 steps by hand.**\n";
    let read = Transcript::parse(text);
    let replaced = [("8080", "a free port"), ("8081", "a free port")];
    assert_eq!(read.replaced, replaced.map(|(here, there)| (here.to_owned(), there.to_owned())));
    let act = |action: &str, word: &str| JourneyStep::Act {
        action: action.to_owned(),
        words: vec![word.to_owned()],
    };
    let command = |line: &str, printed: &[&str]| JourneyStep::Command {
        line: line.to_owned(),
        printed: printed.iter().map(|line| (*line).to_owned()).collect(),
    };
    assert_eq!(
        read.steps,
        [
            JourneyStep::File { name: "a.yaml".to_owned(), text: "k: v\n".to_owned() },
            command("one \\\n  --two", &["said …"]),
            command("three", &[]),
            act("open", "http://x/"),
            act("refused", "403"),
        ]
    );
    assert_eq!(read.sum, read.counted());
}

#[test]
fn a_hole_is_anything_on_its_line() {
    assert_eq!(fits("a … c", "a b b c"), Some(vec![]));
    assert_eq!(fits("a ‹n› c …", "a b c d"), Some(vec![("n".to_owned(), "b".to_owned())]));
    assert_eq!(fits("…", ""), Some(vec![]));
    for (pattern, line) in [("a … c", "a b d"), ("a", "a b"), ("a … c", "b c"), ("…b…d", "a b c")] {
        assert_eq!(fits(pattern, line), None, "{pattern} and {line}");
    }
    assert_eq!(replace("x:80 180 80", "80", "99"), "x:99 180 99");
}
