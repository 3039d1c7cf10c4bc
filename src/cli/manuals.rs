//! `manuals`: the manual pages and the completions of shells, from the definitions that parse the
//! command line. What a build leaves out, such as SAML, is not in its manuals either.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::terminal::{Exit, print_error};

/// Writes the manuals.
#[derive(Args, Clone, Debug)]
pub(crate) struct Manuals {
    /// A folder for them, which is made: man1 for the pages, and one for each shell.
    folder: PathBuf,
}

impl Manuals {
    pub(super) fn answer(self) -> Exit {
        match self.write() {
            Ok(()) => Exit::Fine,
            Err(error) => print_error(&error),
        }
    }

    fn write(&self) -> io::Result<()> {
        let folder = |name: &str| -> io::Result<PathBuf> {
            let path = self.folder.join(name);
            fs::create_dir_all(&path)?;
            Ok(path)
        };
        clap_mangen::generate_to(super::Cli::command(), folder("man1")?)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let to = folder(&shell.to_string())?;
            clap_complete::generate_to(shell, &mut super::Cli::command(), "portcullis", to)?;
        }
        Ok(())
    }
}
