//! `import`: a file of people, or of what an application calls them, made true of the directory.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use http::{Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use portcullis_config::{Home, parse_percent};
use portcullis_policy::escaped;
use portcullis_roster::{Coverage, LARGEST_FILE};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::home::StateFolder;
use super::reach::{ReachError, StoreReach, WithoutDatabase};
use crate::import::mapping::{MappingOrder, MappingReport};
use crate::import::{ImportOrder, ImportReport};
use crate::terminal::{Exit, print_error, print_text};

/// Imports a file of people.
#[derive(Args, Clone, Debug)]
pub(crate) struct Import {
    #[command(flatten)]
    named: StateFolder,
    /// The file: CSV in UTF-8, whose first line names its columns.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The file is a mapping sheet: a column that names people (email, userName or externalId), and beside it what an
    /// application calls them, below the names of attributes that are declared with `mutability: readOnly`.
    #[arg(long, conflicts_with_all = ["full", "max_removals", "accept_removals"])]
    map: bool,
    /// The file names everybody: whoever is not in it is deactivated.
    #[arg(long)]
    full: bool,
    /// Print what would change, a line each, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Pass over a column that is not known; may be said several times.
    #[arg(long, value_name = "COLUMN")]
    ignore: Vec<String>,
    /// The most people that may be put out at once, of those who are active.
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = read_percent)]
    max_removals: u8,
    /// Put out as many people as the file of this SHA-256 does, whatever their number.
    #[arg(long, value_name = "SHA256")]
    accept_removals: Option<String>,
}

fn read_percent(text: &str) -> Result<u8, &'static str> {
    parse_percent(text).ok_or("a whole number from 0 to 100 and its sign is wanted: 10%")
}

impl Import {
    pub(super) fn answer(self, config: Option<&Path>) -> Exit {
        let home = match self.named.home(config) {
            Ok(home) => home,
            Err(exit) => return exit,
        };
        let file = match read_file(&self.file) {
            Ok(file) => Bytes::from(file),
            Err(error) => {
                eprintln!(
                    "portcullis: {} cannot be read: {error}",
                    escaped(&self.file.display().to_string())
                );
                return Exit::Failed;
            }
        };
        let is_dry = self.dry_run;
        if self.map {
            let order = MappingOrder { ignored: self.ignore, dry_run: is_dry };
            return match send_file(&home, "/mapping", &order, file, WithoutDatabase::Refuse) {
                Ok(report) => tell_mapping(&report, is_dry),
                Err(error) => tell_error(error),
            };
        }
        let order = ImportOrder {
            name: self.file.display().to_string(),
            coverage: if self.full { Coverage::Full } else { Coverage::Partial },
            ignored: self.ignore,
            dry_run: is_dry,
            max_removals: self.max_removals,
            accepted: self.accept_removals,
        };
        // People may be imported before the first start.
        match send_file(&home, "/import", &order, file, WithoutDatabase::Make) {
            Ok(report) => tell_report(&report, is_dry),
            Err(error) => tell_error(error),
        }
    }
}

/// Sends an order, which stands in the address, and a file.
fn send_file<T: DeserializeOwned>(
    home: &Home,
    to: &str,
    order: &impl Serialize,
    file: Bytes,
    missing: WithoutDatabase,
) -> Result<T, ReachError> {
    let order = serde_json::json!(order).to_string();
    let address = format!("{to}?order={}", utf8_percent_encode(&order, NON_ALPHANUMERIC));
    let request = Request::builder().method(Method::POST).uri(address);
    super::reach::build_runtime()?.block_on(async {
        let reach = StoreReach::open_home(home, missing).await?;
        let answer = reach.ask_with(request, file).await;
        reach.leave().await;
        answer
    })
}

fn tell_error(error: ReachError) -> Exit {
    match error {
        // Problems are many, and each has its line.
        ReachError::Said(said) => {
            said.lines().for_each(|line| eprintln!("portcullis: {}", escaped(line)));
            Exit::Failed
        }
        error => {
            if matches!(error, ReachError::Broken { .. }) {
                eprintln!(
                    "portcullis: what was done until then stands: import the file again, and it does what is left"
                );
            }
            print_error(&error)
        }
    }
}

/// No more than is imported is read, and one byte to see that there is more.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(LARGEST_FILE).unwrap_or(u64::MAX);
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > LARGEST_FILE {
        return Err(std::io::Error::other(
            "it is larger than 64 MiB. Split it, and import the parts as partial files",
        ));
    }
    Ok(bytes)
}

fn tell_report(report: &ImportReport, is_dry: bool) -> Exit {
    let mut text = String::new();
    for change in &report.changes {
        text.push_str(&format!("{}\n", escaped(change)));
    }
    text.push_str(&format!("{}\n", report.summary(is_dry)));
    print_text(&text);
    tell_rest(&report.refused, report.fault.as_deref());
    if report.is_whole() { Exit::Fine } else { Exit::Failed }
}

fn tell_mapping(report: &MappingReport, is_dry: bool) -> Exit {
    let mut text = String::new();
    for change in &report.changes {
        text.push_str(&format!("{}\n", escaped(change)));
    }
    for (what, names) in [
        ("In the sheet, and nobody's here:", &report.unknown),
        ("Here, and not in the sheet:", &report.unnamed),
    ] {
        if !names.is_empty() {
            text.push_str(&format!("{what}\n"));
            names.iter().for_each(|name| text.push_str(&format!("  {}\n", escaped(name))));
        }
    }
    text.push_str(&format!("{}\n", report.summary(is_dry)));
    print_text(&text);
    tell_rest(&report.refused, report.fault.as_deref());
    if report.is_whole() { Exit::Fine } else { Exit::Failed }
}

/// What was refused, and how it ended early.
fn tell_rest(refused: &[String], fault: Option<&str>) {
    for refused in refused {
        eprintln!("portcullis: {}", escaped(refused));
    }
    if let Some(fault) = fault {
        eprintln!(
            "portcullis: the import ended early ({}). What is counted above stands: import the file again",
            escaped(fault)
        );
    }
}
