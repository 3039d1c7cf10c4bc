//! `import`: the folder into which files of people are dropped.

use std::path::PathBuf;

use crate::read::section;
use crate::units::Percent;

section! {
    /// The folder into which files of people are dropped, for a directory that is fed by SFTP.
    pub struct ImportBlock {
        /// The folder that is watched: what is renamed to `*.csv` in it is imported.
        pub folder: PathBuf,
        /// Each file names everybody: whoever is not in it is deactivated.
        pub full: bool = "false",
        /// The most people that one file may put out, of those who are active.
        pub max_removals: Percent = "10%",
        /// The user, or the number of the user, whose files are taken beside the program's own and root's.
        pub owner: Option<String>,
        /// Columns that are not known and are passed over.
        pub ignore: Vec<String> = "[]",
    }
}
