//! From a path to a valid configuration, or to all its problems.

use std::path::{Path, PathBuf};

use portcullis_policy::{IdentityHeaders, LogTarget, PublicUrl};

use crate::at::At;
use crate::cross;
use crate::document::RootBlock;
use crate::environment::Environment;
use crate::file::{File, UserSource};
use crate::idps::IdpEntry;
use crate::import::ImportBlock;
use crate::lines::KeyLines;
use crate::node::YamlNode;
use crate::problem::{Problem, Problems, sort_problems};
use crate::read::FromYaml;
use crate::report::Report;
use crate::schema;
use crate::secret::MasterKey;
use crate::source::{bytes_of, parse_tree};
use crate::urls::list_urls;

/// A valid configuration and what stands around it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub file: File,
    /// The things that work and deserve a look, by line.
    pub warnings: Vec<Problem>,
    /// Every file it was read from, with absolute paths: a change of one is a change of the configuration.
    pub watched: Vec<PathBuf>,
    /// The lines of its keys, for problems that are found later.
    pub lines: KeyLines,
    /// Secrets whose command was not run: none where a configuration is loaded to be used.
    not_run: Vec<String>,
}

/// The findings of a check in a configuration that has no problem.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Checked {
    /// The things that work and deserve a look, by line.
    pub warnings: Vec<Problem>,
    /// Every file it was read from, with absolute paths.
    pub watched: Vec<PathBuf>,
    /// The addresses to paste into the identity providers, each with the vendors' word for it.
    pub urls: Vec<(String, String)>,
    /// The identity providers.
    pub idps: Vec<IdpEntry>,
    /// The URL at which people reach the application.
    pub public_url: PublicUrl,
    /// The path of our own pages, below that of `public_url`.
    pub prefix: String,
    /// True where people are matched in a directory.
    pub has_directory: bool,
    /// True where a directory writes and the file has no token for it.
    pub lacks_scim_token: bool,
    /// The lines of its keys, for problems that are found later.
    pub lines: KeyLines,
    /// The things that a start opens on this machine, beside the files that were read.
    pub opens: Opens,
    /// Secrets whose command was not run, so that nobody knows what it prints: where they stand.
    pub not_run: Vec<String>,
}

/// The things that a start opens on this machine, beside the files that a configuration is read from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Opens {
    /// The state folder.
    pub state: PathBuf,
    /// The database.
    pub database: PathBuf,
    /// The access log, where it is a file.
    pub access_log: Option<PathBuf>,
    /// The master key, where it is not the file in the state folder.
    pub keys: Option<MasterKey>,
    /// The folder that files of people are taken from; it is opened again and again.
    pub import: Option<ImportBlock>,
}

impl File {
    /// Lists what a start opens on this machine.
    pub fn opens(&self) -> Opens {
        Opens {
            state: self.state.clone(),
            database: self.database.clone(),
            access_log: match &self.log.access {
                LogTarget::File(path) => Some(path.clone()),
                LogTarget::Stdout | LogTarget::Off => None,
            },
            keys: self.keys.clone(),
            import: self.import.clone(),
        }
    }
}

/// Reads a configuration file, the bindings file it names, and its secrets.
///
/// It blocks: files are read and the commands of `${run:…}` are waited for, each 5 s at most. An `environment` that
/// leaves secrets alone is for [`check_file`]; here everything is read.
///
/// # Errors
/// All [`Problems`], by line.
pub fn load_file(path: &Path, environment: &Environment) -> Result<Loaded, Problems> {
    let mut environment = environment.clone();
    environment.read_everything();
    load_whole(path, None, &environment)
}

/// The identity headers of a configuration, as far as its text says them: secrets are not read. `None` where anything of it is
/// wrong.
pub fn read_headers(path: &Path, environment: &Environment) -> Option<IdentityHeaders> {
    load_whole(path, None, &environment.clone().text_only()).ok().map(|loaded| loaded.file.identity)
}

/// The same with the text at hand: `path` says how problems call it and where relative paths start.
///
/// # Errors
/// All [`Problems`], by line.
pub fn load_text(path: &Path, text: &[u8], environment: &Environment) -> Result<Loaded, Problems> {
    let mut environment = environment.clone();
    environment.read_everything();
    load_whole(path, Some(text), &environment)
}

/// Checks a configuration as far as `environment` reaches, and yields none: secrets may be missing here.
///
/// # Errors
/// All [`Problems`], by line.
pub fn check_file(path: &Path, environment: &Environment) -> Result<Checked, Problems> {
    load_whole(path, None, environment).map(Checked::from_loaded)
}

/// The same with the text at hand.
///
/// # Errors
/// All [`Problems`], by line.
pub fn check_text(path: &Path, text: &[u8], environment: &Environment) -> Result<Checked, Problems> {
    load_whole(path, Some(text), environment).map(Checked::from_loaded)
}

impl Checked {
    fn from_loaded(loaded: Loaded) -> Self {
        let Loaded { file, warnings, watched, lines, not_run } = loaded;
        let has_directory = !matches!(file.provisioning, UserSource::None);
        let lacks_scim_token = matches!(&file.provisioning, UserSource::Scim(scim) if scim.token.is_none());
        let (urls, opens) = (list_urls(&file), file.opens());
        let File { idps, public_url, prefix, .. } = file;
        Self {
            warnings,
            watched,
            urls,
            idps,
            public_url,
            prefix,
            has_directory,
            lacks_scim_token,
            lines,
            opens,
            not_run,
        }
    }
}

/// The configuration file where none is named: `portcullis.yaml` in the working folder, else in the system's
/// configuration folder.
///
/// # Errors
/// One problem that names both, where neither is there.
pub fn find_default_path() -> Result<PathBuf, Problems> {
    const PLACES: [&str; 2] = ["portcullis.yaml", "/etc/portcullis/portcullis.yaml"];
    PLACES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
        let problem = Problem {
            file: PLACES[0].into(),
            line: None,
            path: String::new(),
            what: format!("no configuration: neither here nor at {}", PLACES[1]),
            remedy: "Name one with -c FILE".into(),
        };
        Problems::new(vec![problem], PLACES[0])
    })
}

fn load_whole(path: &Path, text: Option<&[u8]>, environment: &Environment) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    let whole_path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let folder = whole_path.parent().unwrap_or(Path::new("/"));
    let mut report = Report::new(&name, folder, environment, schema::list_paths);
    report.watch_file(&whole_path);
    let file = match text {
        Some(bytes) => make_file(bytes, &mut report),
        None => match bytes_of(&whole_path) {
            Ok(bytes) => make_file(&bytes, &mut report),
            Err(what) => report.problem_of_file(None, what, ""),
        },
    };
    let Report { mut problems, mut warnings, watched, not_run, .. } = report;
    match file {
        Some((file, root)) if problems.is_empty() => {
            sort_problems(&mut warnings, &name);
            Ok(Loaded { file, warnings, watched, lines: KeyLines::new(&name, root), not_run })
        }
        _ => {
            problems.dedup();
            Err(Problems::new(problems, &name))
        }
    }
}

fn make_file(text: &[u8], report: &mut Report<'_>) -> Option<(File, YamlNode)> {
    let root = parse_tree(text, "docs/configuration.md begins with the smallest one", report)?;
    let document = RootBlock::read(&root, &At::root(), report)?;
    let file = cross::settle_file(document, &root, report)?;
    Some((file, root))
}
