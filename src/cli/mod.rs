//! The command line: noun, then verb.
//!
//! Every command ends with one of four codes: 0 fine, 1 failed, 2 used wrongly, 78 bad configuration. What a command
//! was asked for goes to standard output, everything else to standard error, so that both can be piped. Text that came
//! from outside is made fit for a terminal before it is printed.

mod audit;
mod check;
mod doctor;
mod explain;
mod home;
#[cfg(feature = "saml")]
mod idp;
mod import;
mod keys;
mod manuals;
mod reach;
mod reference;
mod relink;
mod schema;
mod status;
mod store;
mod token;
mod upgrade;
mod user;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::terminal::Exit;

/// A sign-in proxy that takes people out the moment the directory removes them.
///
/// Portcullis stands in front of one web application. Nobody reaches it without a single-sign-on session, the
/// application learns from request headers who is there, and whom the directory removes is out before the directory
/// gets its answer.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version = crate::build_info::VERSION.as_str(),
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Example: portcullis -c /etc/portcullis/portcullis.yaml run\n\n\
                  Exit codes: 0 fine, 1 failed, 2 used wrongly, 78 bad configuration."
)]
pub(crate) struct Cli {
    /// The configuration file. Without it: portcullis.yaml in this folder, else /etc/portcullis/portcullis.yaml.
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve, until SIGTERM. SIGHUP reads the configuration and the bindings again.
    #[command(after_help = "Example: portcullis -c portcullis.yaml run")]
    Run(Run),
    #[command(flatten)]
    Ask(ShortCommand),
}

/// How to serve.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Take the place of the program that serves, which starts this one for `portcullis upgrade`. Nobody else uses it.
    #[arg(long, hide = true)]
    pub(crate) take_over: bool,
}

/// The commands that answer and end.
#[derive(Debug, Subcommand)]
pub(crate) enum ShortCommand {
    /// Check the configuration, without a network and without starting anything. Fit for a pipeline.
    #[command(after_help = "Example: portcullis -c portcullis.yaml check --text-only")]
    Check(check::Check),
    /// Print every address to paste into the identity provider, under its own words.
    #[command(after_help = "Example: portcullis -c portcullis.yaml urls")]
    Urls,
    /// Print the JSON Schema of the configuration file, for an editor.
    #[command(after_help = "Example: portcullis schema > portcullis.schema.json")]
    Schema(schema::PrintSchema),
    /// Print what is known about a reference number that somebody was shown.
    #[command(after_help = "Example: portcullis ref 7Q2M-X4KD")]
    Ref(reference::Ref),
    /// List people, show what is known of one, add them, and put them out by hand.
    #[command(arg_required_else_help = true, after_help = "Example: portcullis user list")]
    User(user::UserOrders),
    /// Explain what the application is told of a person.
    #[command(
        arg_required_else_help = true,
        after_help = "Example: portcullis explain headers --as alice@example.com"
    )]
    Explain(explain::ExplainOrders),
    /// Make the directory say what a file of people says, for those whose directory cannot speak SCIM.
    #[command(after_help = "Example: portcullis import people.csv --full --dry-run")]
    Import(import::Import),
    /// List identity providers with their signing keys, approve a key that waits, and distrust one for ever.
    #[cfg(feature = "saml")]
    #[command(arg_required_else_help = true, after_help = "Example: portcullis idp list")]
    Idp(idp::IdpOrders),
    /// Make, list, rotate and revoke the tokens by which the directory writes.
    #[command(arg_required_else_help = true, after_help = "Example: portcullis token list")]
    Token(token::TokenOrders),
    /// Check the database: whether it keeps every rule that the program relies on.
    #[command(arg_required_else_help = true, after_help = "Example: portcullis store check")]
    Store(store::StoreOrders),
    /// List and rotate the keys of the signed header; go on with another master key.
    #[command(subcommand, arg_required_else_help = true, after_help = "Example: portcullis keys list")]
    Keys(keys::Keys),
    /// Look into everything, by reaching out: what works, and what to change. It changes nothing.
    ///
    /// It asks the identity providers, the application, the public address and the program, and looks at the database. Exit
    /// codes: 0 nothing failed, 1 something did, 78 bad configuration.
    #[command(after_help = "Example: portcullis doctor --json")]
    Doctor(doctor::Doctor),
    /// Tell whether the program serves. It is asked, and nobody else: fit for the health check of a container.
    #[command(after_help = "Example: portcullis status")]
    Status(status::Status),
    /// Put the program file that is there now in the place of the process that serves, without a gap.
    ///
    /// The next process takes over the sockets. The one before carries what has begun there to its end, and hears every
    /// removal until then. Where the next one does not come to serve, the one before serves on.
    #[command(after_help = "Example: portcullis upgrade")]
    Upgrade(upgrade::Upgrade),
    /// Read the audit: who did what, and when.
    #[command(arg_required_else_help = true, after_help = "Example: portcullis audit tail")]
    Audit(audit::AuditOrders),
    /// Write the manual pages and the completions of shells into a folder, for a package.
    #[command(after_help = "Example: portcullis manuals target/manuals")]
    Manuals(manuals::Manuals),
}

impl ShortCommand {
    /// Does it. `config` is what `-c` named.
    pub(crate) fn answer(self, config: Option<&Path>) -> Exit {
        match self {
            Self::Check(check) => check.answer(config),
            Self::Urls => check::print_urls(config),
            Self::Schema(schema) => schema.answer(),
            Self::Ref(reference) => reference.answer(config),
            Self::User(orders) => orders.answer(config),
            Self::Explain(orders) => orders.answer(config),
            Self::Import(import) => import.answer(config),
            #[cfg(feature = "saml")]
            Self::Idp(orders) => orders.answer(config),
            Self::Token(orders) => orders.answer(config),
            Self::Store(orders) => orders.answer(config),
            Self::Keys(keys) => keys.answer(config),
            Self::Doctor(doctor) => doctor.answer(config),
            Self::Status(status) => status.answer(config),
            Self::Upgrade(upgrade) => upgrade.answer(config),
            Self::Audit(orders) => orders.answer(config),
            Self::Manuals(manuals) => manuals.answer(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_agree_with_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_text_is_a_sentence_and_every_command_has_an_example() {
        // clap takes the dot away from a text of one sentence.
        let is_sentence = |text: &str| text.contains(' ') && text.starts_with(char::is_uppercase);
        fn look(command: &clap::Command, is_sentence: &impl Fn(&str) -> bool) {
            let name = command.get_name();
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(is_sentence(&about), "{name}: {about:?}");
            if name != "help" {
                let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(example.starts_with("Example: portcullis "), "{name}: {example:?}");
            }
            for argument in
                command.get_arguments().filter(|a| !matches!(a.get_id().as_str(), "help" | "version"))
            {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(is_sentence(&help), "{name} {}: {help:?}", argument.get_id());
            }
            command.get_subcommands().for_each(|command| look(command, is_sentence));
        }
        look(&Cli::command(), &is_sentence);
    }

    #[test]
    fn every_example_is_one() {
        fn look(command: &clap::Command) {
            let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in example.lines().filter_map(|line| line.strip_prefix("Example: ")) {
                let line = line.split(" > ").next().unwrap_or_default();
                let words = line.split(' ').map(|word| word.trim_matches('"'));
                assert!(Cli::try_parse_from(words).is_ok(), "{line}");
            }
            command.get_subcommands().for_each(look);
        }
        look(&Cli::command());
    }

    #[test]
    fn without_a_command_there_is_help_and_it_is_a_wrong_use() {
        let refused = Cli::try_parse_from(["portcullis"]).unwrap_err();
        assert_eq!(refused.kind(), clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
        assert_eq!(refused.exit_code(), 2);
        for wrong in [&["portcullis", "walk"][..], &["portcullis", "user", "add"], &["portcullis", "ref"]] {
            assert_eq!(Cli::try_parse_from(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn the_file_may_be_named_before_or_behind_the_command() {
        for words in [["portcullis", "-c", "a.yaml", "check"], ["portcullis", "check", "--config", "a.yaml"]]
        {
            let cli = Cli::try_parse_from(words).unwrap();
            assert_eq!(cli.config.as_deref(), Some(Path::new("a.yaml")));
            assert!(matches!(cli.command, Command::Ask(ShortCommand::Check(_))));
        }
    }
}
