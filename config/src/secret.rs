//! Secrets: never written in the file, only referred to. `${env:NAME}`, `${file:/path}`, `${run:command args}`.
//!
//! A secret hides in `Debug` and is wiped when dropped. What a reference yields is never part of a message, nor is a
//! value that stands where a reference belongs: it may be the secret itself. Of a command only its name is told.

use std::borrow::Cow;
use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use zeroize::Zeroizing;

use crate::at::{At, show_value};
use crate::environment::ReadDepth;
use crate::node::{YamlNode, YamlValue};
use crate::read::{FromYaml, missing_value};
use crate::report::Report;
use crate::source::error_text;

/// The longest time a command may take.
const COMMAND_TIME: Duration = Duration::from_secs(5);
/// The bytes that a file or a command may yield.
const MOST_BYTES: usize = 64 * 1024;

/// A secret's text. It hides in `Debug` and is wiped when dropped.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The text itself; keep it short-lived.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl FromYaml for SecretText {
    const WANTED: &'static str = "a reference such as ${file:/path}";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        // A problem refuses the whole; without a value here the rest of its block could not be judged.
        Self::find_secret(node, at, report).or_else(|| Some(Self(Zeroizing::new(String::new()))))
    }
}

impl SecretText {
    fn find_secret(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        const REMEDY: &str = "Write ${env:NAME}, ${file:/path} or ${run:command args}";
        let text = match &node.value {
            YamlValue::Text(text) => text.trim(),
            YamlValue::Nothing => return missing_value::<Self>(node, at, report),
            other => {
                return report.add_problem(
                    node,
                    at,
                    format!("{} where a secret is referred to", other.kind()),
                    REMEDY,
                );
            }
        };
        let reference = match SecretSource::parse_reference(text) {
            Ok(reference) => reference,
            Err(fault) => return report.add_problem(node, at, fault.what, fault.remedy),
        };
        if let SecretSource::File(path) = reference {
            report.watch_file(path);
        }
        let yielded = match (reference, report.environment.read_depth()) {
            (_, ReadDepth::TextOnly) => return Some(Self(Zeroizing::new(String::new()))),
            (SecretSource::Run(_), ReadDepth::NoCommands) => {
                report.not_run.push(at.to_string());
                return Some(Self(Zeroizing::new(String::new())));
            }
            (SecretSource::Env(name), _) => from_variable(name, report),
            (SecretSource::File(path), _) => from_file(&report.resolve_path(path)),
            (SecretSource::Run(line), _) => from_command(line, report.folder(), COMMAND_TIME),
        };
        match yielded.and_then(|bytes| Self::from_bytes(bytes, reference)) {
            Ok(secret) => {
                if let SecretSource::File(path) = reference {
                    warn_of_readers(&report.resolve_path(path), node.line, at, report);
                }
                Some(secret)
            }
            Err(fault) => report.add_problem(node, at, fault.what, fault.remedy),
        }
    }

    /// Takes the line ends off and refuses what cannot be meant.
    fn from_bytes(mut bytes: Zeroizing<Vec<u8>>, reference: SecretSource<'_>) -> Result<Self, SecretFault> {
        let kept = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
        bytes.truncate(kept);
        let wrong = |what: &str| SecretFault {
            what: format!("{reference} {what}"),
            remedy: reference.check_remedy(),
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong("is not text in UTF-8"))?;
        if text.trim().is_empty() {
            return Err(wrong(if matches!(reference, SecretSource::Run(_)) {
                "printed nothing"
            } else {
                "is empty"
            }));
        }
        if text.contains(char::is_control) {
            return Err(wrong("holds more than one line, or a control character"));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl JsonSchema for SecretText {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^\$\{(env|file|run):.+\}$" })
    }
}

/// The key everything else is derived from: 32 bytes, written as 64 hexadecimal digits.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// Tells whether it was read: not where secrets, or commands, are left alone.
    pub fn is_read(&self) -> bool {
        *self.0 != [0; 32]
    }

    /// The key itself; keep it short-lived.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

impl FromYaml for MasterKey {
    const WANTED: &'static str = SecretText::WANTED;

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let secret = SecretText::read(node, at, report)?;
        let mut key = Zeroizing::new([0; 32]);
        if secret.expose().is_empty() {
            return Some(Self(key)); // not read in this reach, or a problem was noted
        }
        let digits = secret.expose().as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let whole = digits.len() == 64
            && key.iter_mut().zip(digits.chunks_exact(2)).all(|(byte, pair)| {
                let value = digit(pair[0]).zip(digit(pair[1])).map(|(high, low)| high << 4 | low);
                *byte = value.unwrap_or_default();
                value.is_some()
            });
        if whole {
            return Some(Self(key));
        }
        report.add_problem(
            node,
            at,
            "the master key is not 64 hexadecimal digits",
            "Make one with `openssl rand -hex 32`",
        )
    }
}

impl JsonSchema for MasterKey {
    fn schema_name() -> Cow<'static, str> {
        "MasterKey".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        SecretText::json_schema(generator)
    }
}

/// The place where a secret is to be found.
#[derive(Clone, Copy)]
enum SecretSource<'a> {
    Env(&'a str),
    File(&'a str),
    Run(&'a str),
}

/// The fault of one; never holds what was read.
struct SecretFault {
    what: String,
    remedy: String,
}

impl<'a> SecretSource<'a> {
    fn parse_reference(text: &'a str) -> Result<Self, SecretFault> {
        let fault = |what: &str, remedy: &str| SecretFault { what: what.into(), remedy: remedy.into() };
        let remedy = "Write ${env:NAME}, ${file:/path} or ${run:command args}";
        let Some(inner) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
            return Err(fault("a secret is not written in the file; it is referred to", remedy));
        };
        if inner.contains("${") || inner.contains('}') {
            return Err(fault("a reference stands alone: one, and nothing beside it", remedy));
        }
        let (kind, rest) = inner.split_once(':').unwrap_or((inner, ""));
        let rest = rest.trim();
        if rest.is_empty() {
            return Err(fault("the reference names nothing behind its colon", remedy));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match kind {
            "env" if rest.chars().all(is_name) && !rest.starts_with(|c: char| c.is_ascii_digit()) => {
                Ok(Self::Env(rest))
            }
            "env" => Err(fault(
                "what follows env: is no name of a variable",
                "Such a name has letters, digits and _ only",
            )),
            "file" => Ok(Self::File(rest)),
            "run" => Ok(Self::Run(rest)),
            _ => Err(fault("a reference of this kind is not known", "Known: env, file, run")),
        }
    }

    fn check_remedy(self) -> String {
        match self {
            Self::Env(name) => format!("Set {} to the secret before the start", show_value(name)),
            Self::File(_) => "Put the secret, and nothing else, into it".into(),
            Self::Run(_) => "It must print the secret, and nothing else, on its standard output".into(),
        }
    }
}

impl fmt::Display for SecretSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the variable {}", show_value(name)),
            Self::File(path) => write!(f, "the file {}", show_value(path)),
            // Arguments may be secrets themselves.
            Self::Run(line) => {
                write!(f, "the command {}", show_value(line.split_whitespace().next().unwrap_or("")))
            }
        }
    }
}

fn from_variable(name: &str, report: &Report<'_>) -> Result<Zeroizing<Vec<u8>>, SecretFault> {
    let value = report.environment.variable(name).map(|value| Zeroizing::new(value.as_bytes().to_vec()));
    let reference = SecretSource::Env(name);
    value.ok_or_else(|| SecretFault {
        what: format!("{reference} is not set"),
        remedy: reference.check_remedy(),
    })
}

fn from_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFault> {
    let name = show_value(&path.to_string_lossy());
    let fault = |what: String| SecretFault {
        what: format!("the file {name} {what}"),
        remedy: "It must be there, and readable for the user Portcullis runs as, before the start".into(),
    };
    let unread = |error: std::io::Error| fault(format!("cannot be read: {}", error_text(&error)));
    // A pipe or a device could block the start for good.
    if !std::fs::metadata(path).map_err(unread)?.is_file() {
        return Err(fault("is not a plain file".into()));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_BYTES + 1));
    let file = std::fs::File::open(path).map_err(unread)?;
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() > MOST_BYTES {
        return Err(fault("is larger than 64 KiB".into()));
    }
    Ok(bytes)
}

/// Warns where every user of the machine may read a file that holds a secret.
pub(crate) fn warn_of_readers(path: &Path, line: usize, at: &At, report: &mut Report<'_>) {
    if everybody_may_read(path) {
        let name = show_value(&path.to_string_lossy());
        let what = format!("every user of this machine may read {name}, and it holds a secret");
        report.add_warning(line, at, what, format!("chmod o= {name}"));
    }
}

/// Tells whether others than its owner and group may read a file: its own mode says so, and that of every folder
/// above it.
fn everybody_may_read(path: &Path) -> bool {
    let mode = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.mode());
    let Ok(real) = std::fs::canonicalize(path) else { return false };
    mode(&real) & 0o004 != 0 && real.ancestors().skip(1).all(|folder| mode(folder) & 0o001 != 0)
}

/// Runs a command, split at blanks and without a shell, and takes what it prints on standard output.
fn from_command(line: &str, folder: &Path, time: Duration) -> Result<Zeroizing<Vec<u8>>, SecretFault> {
    let name = SecretSource::Run(line);
    let fault =
        |what: String, remedy: &str| SecretFault { what: format!("{name} {what}"), remedy: remedy.into() };
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    if !folder.as_os_str().is_empty() {
        command.current_dir(folder);
    }
    let mut child = command.spawn().map_err(|error| {
        fault(format!("cannot be started: {}", error_text(&error)), "Name it with its whole path")
    })?;
    let started = Instant::now();
    let Some(mut output) = child.stdout.take() else {
        end_command(&mut child);
        return Err(fault("has no standard output".into(), ""));
    };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_BYTES + 1));
        let read = output.by_ref().take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes);
        let _ = sender.send(read.map(|_| bytes));
    });
    let remaining = || time.saturating_sub(started.elapsed());
    let too_slow = |child: &mut Child| {
        end_command(child);
        fault("did not end within 5 s".into(), "It is run at the start and at each reload, and must be quick")
    };
    let bytes = match receiver.recv_timeout(remaining()) {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => {
            end_command(&mut child);
            return Err(fault(format!("cannot be listened to: {}", error_text(&error)), ""));
        }
        Err(_) => return Err(too_slow(&mut child)),
    };
    if bytes.len() > MOST_BYTES {
        end_command(&mut child);
        return Err(fault("printed more than 64 KiB".into(), &name.check_remedy()));
    }
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(bytes),
            Ok(Some(status)) => {
                return Err(fault(format!("ended with {status}"), "Run it by hand as the same user"));
            }
            Ok(None) if remaining().is_zero() => return Err(too_slow(&mut child)),
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(error) => return Err(fault(format!("cannot be waited for: {}", error_text(&error)), "")),
        }
    }
}

/// Ends a command and what it started. Its group's number cannot be another's yet, since it was not waited for.
fn end_command(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    /// What a reference yields, or the whole message.
    fn read_in(text: &str, environment: &Environment) -> Result<String, String> {
        let node = YamlNode { line: 1, value: YamlValue::Text(text.into()) };
        let mut report = Report::new("c.yaml", Path::new(""), environment, Vec::new);
        match SecretText::read(&node, &At::from("keys"), &mut report) {
            Some(secret) if report.problems.is_empty() => Ok(secret.expose().to_owned()),
            _ => Err(report.problems[0].to_string()),
        }
    }

    fn read(text: &str) -> Result<String, String> {
        read_in(
            text,
            &Environment::with_variables([("GOOD", "hunter2\n"), ("BLANK", " \n"), ("TWO", "a\nb")]),
        )
    }

    #[test]
    fn a_secret_written_in_the_file_is_refused_and_not_printed() {
        for text in
            ["hunter2", "pre${env:hunter2}", "${vault:hunter2}", "${env:hunter2}${env:B}", "${hunter2}"]
        {
            let message = read(text).unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
        }
        assert_eq!(
            read("hunter2").unwrap_err(),
            "c.yaml:1: keys: a secret is not written in the file; it is referred to. \
             Write ${env:NAME}, ${file:/path} or ${run:command args}."
        );
    }

    #[test]
    fn a_variable_is_read() {
        assert_eq!(read("${env:GOOD}").unwrap(), "hunter2");
        assert_eq!(
            read("${env:NONE}").unwrap_err(),
            "c.yaml:1: keys: the variable NONE is not set. Set NONE to the secret before the start."
        );
        assert!(read("${env:BLANK}").unwrap_err().contains("the variable BLANK is empty"));
        assert!(read("${env:TWO}").unwrap_err().contains("more than one line"));
        assert!(read("${env:A-B}").unwrap_err().contains("no name of a variable"));
    }

    #[test]
    fn a_file_is_read_without_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let reference = format!("${{file:{}}}", path.display());
        assert!(read(&reference).unwrap_err().contains("cannot be read: No such file or directory."));
        for (content, wanted) in [("s3\r\n\n", Ok("s3")), ("", Err("is empty")), ("\n", Err("is empty"))] {
            std::fs::write(&path, content).unwrap();
            match wanted {
                Ok(text) => assert_eq!(read(&reference).unwrap(), text),
                Err(part) => assert!(read(&reference).unwrap_err().contains(part)),
            }
        }
        std::fs::write(&path, [0xff]).unwrap();
        assert!(read(&reference).unwrap_err().contains("is not text in UTF-8"));
        std::fs::write(&path, vec![b'x'; 65 * 1024]).unwrap();
        assert!(read(&reference).unwrap_err().contains("is larger than 64 KiB"));
        assert!(read("${file:/dev/zero}").unwrap_err().contains("is not a plain file"));
    }

    #[test]
    fn a_command_prints_the_secret() {
        assert_eq!(read("${run:echo hunter2}").unwrap(), "hunter2");
        assert!(
            read("${run:/nowhere/vault hunter2}")
                .unwrap_err()
                .contains("the command /nowhere/vault cannot be")
        );
        let failed = read("${run:false hunter2}").unwrap_err();
        assert!(failed.contains("the command false ended with exit status: 1"), "{failed}");
        assert!(!failed.contains("hunter2"));
        assert!(read("${run:yes}").unwrap_err().contains("printed more than 64 KiB"));
        assert!(read("${run:true}").unwrap_err().contains("the command true printed nothing"));
    }

    #[test]
    fn a_command_that_hangs_is_ended_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("s.sh");
        let pid = folder.path().join("pid");
        std::fs::write(&script, format!("sleep 600 &\necho $! > {}\nwait\n", pid.display())).unwrap();
        let line = format!("sh {}", script.display());
        let fault = from_command(&line, folder.path(), Duration::from_millis(500)).err().unwrap();
        assert!(fault.what.contains("did not end"), "{}", fault.what);
        let pid: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let until = Instant::now() + Duration::from_secs(5);
        // Gone, or a zombie nobody has waited for yet.
        let gone = || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            state.map_or(true, |state| state.contains(") Z "))
        };
        while !gone() {
            assert!(Instant::now() < until, "the child of the command lives on");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_check_can_leave_commands_and_secrets_alone() {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("trace");
        let reference = format!("${{run:touch {}}}", trace.display());
        let environment = Environment::with_variables([]);
        assert_eq!(read_in(&reference, &environment.clone().without_commands()).unwrap(), "");
        assert!(read_in("${env:NONE}", &environment.clone().without_commands()).is_err());
        assert_eq!(read_in("${env:NONE}", &environment.clone().text_only()).unwrap(), "");
        assert_eq!(read_in(&reference, &environment.clone().text_only()).unwrap(), "");
        assert!(!trace.exists());
        assert!(read_in(&reference, &environment).is_err() && trace.exists());
    }

    #[test]
    fn a_master_key_is_64_digits() {
        let read = |value: &str| {
            let environment = Environment::with_variables([("K", value)]);
            let node = YamlNode { line: 1, value: YamlValue::Text("${env:K}".into()) };
            let mut report = Report::new("c.yaml", Path::new(""), &environment, Vec::new);
            MasterKey::read(&node, &At::from("keys"), &mut report).map(|key| *key.expose())
        };
        assert_eq!(read(&"0f".repeat(32)), Some([0x0f; 32]));
        assert_eq!(read(&"0F".repeat(32)), Some([0x0f; 32]));
        for wrong in ["0f", &"0g".repeat(32), &"0f".repeat(33), &"ü".repeat(32)] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn secrets_hide_in_debug() {
        let secret = SecretText(Zeroizing::new("hunter2".into()));
        assert_eq!(format!("{secret:?} {:?}", MasterKey(Zeroizing::new([7; 32]))), "Secret MasterKey");
    }
}
