//! `schema`: the JSON Schema of the configuration, from the same types that read it.

use crate::terminal::{Exit, print_text};
use clap::Args;

/// Prints a JSON Schema.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct PrintSchema {
    /// That of the bindings file instead.
    #[arg(long)]
    bindings: bool,
}

impl PrintSchema {
    pub(super) fn answer(self) -> Exit {
        let schema = if self.bindings {
            portcullis_config::bindings_schema()
        } else {
            portcullis_config::json_schema()
        };
        print_text(&format!("{schema:#}\n"));
        Exit::Fine
    }
}
