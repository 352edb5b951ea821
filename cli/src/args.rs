//! The command line.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command as ClapCommand, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::clients::ClientOptions;
use crate::commands::{
    buy, check, commit, copies, export, grant, history, import, list, reservation, reserve, revoke, status,
    stock, transfer, watch, why,
};
use crate::example::Example;
use crate::output::Output;
use crate::{ports, services, up};

/// Which customer owns which game: a store's one source of truth, and the services around it
#[derive(Debug, Parser)]
#[command(name = "gameshelf", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands that are one service, which reads neither of the options of [`Common`].
const SERVICES: [&str; 4] =
    [ports::ARBITER.name, ports::PURCHASE.name, ports::GAME_LIST.name, ports::PAYMENT_SANDBOX.name];

impl Cli {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// Wrong usage, and the request for help or version.
    pub(crate) fn read(
        line: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(line)?;
        refuse_what_a_service_ignores(&mut command, &matches)?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

/// An option that was typed and has no effect misleads; one from the environment is meant for other commands.
fn refuse_what_a_service_ignores(command: &mut ClapCommand, matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some((service, options)) = matches.subcommand().filter(|(name, _)| SERVICES.contains(name)) else {
        return Ok(());
    };
    for (id, flag, instead) in [
        ("port_base", "--port-base", "; say where it listens with --listen ADDRESS"),
        ("output", "--output", ", which prints no result"),
    ] {
        if options.value_source(id) == Some(ValueSource::CommandLine) {
            let message = format!("{flag} has no effect on the service {service}{instead}");
            return Err(command.error(ErrorKind::ArgumentConflict, message));
        }
    }
    Ok(())
}

/// What stands before or after any command.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Common {
    /// The port of the arbiter; purchase, game-list and payment-sandbox have the three after it
    #[arg(
        long,
        global = true,
        env = "GAMESHELF_PORT_BASE",
        value_name = "PORT",
        default_value_t = ports::DEFAULT_BASE,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(ports::MAX_BASE)),
    )]
    pub(crate) port_base: u16,
    /// The form of the result
    #[arg(long, global = true, value_enum, env = "GAMESHELF_OUTPUT", default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(up::Options),
    Buy(buy::Options),
    List(list::Options),
    History(history::Options),
    Why(why::Options),
    Grant(grant::Options),
    Revoke(revoke::Options),
    Transfer(transfer::Options),
    Commit(commit::Options),
    Reserve(reserve::Options),
    Confirm(reservation::Confirm),
    Release(reservation::Release),
    Reservation(reservation::Options),
    #[command(mut_args(stock::with_effect))]
    Stock(stock::Options),
    Watch(watch::Options),
    Import(import::Options),
    Export(export::Options),
    Copies(copies::Options),
    Check(check::Options),
    Status(status::Options),
    /// Runs an example to its end
    #[command(subcommand)]
    Example(Example),
    /// Runs the arbiter: the only way to the data that says which customer owns which game
    #[command(mut_arg("listen", services::arbiter_listen))]
    Arbiter(Box<services::Arbiter>),
    /// Runs purchase, which sells games
    #[command(mut_arg("listen", services::purchase_listen))]
    Purchase(Box<services::Purchase>),
    /// Runs game-list, which shows customers their games
    #[command(mut_arg("listen", services::game_list_listen))]
    GameList(Box<services::GameList>),
    /// Runs payment-sandbox, a payment provider for trying and testing
    #[command(mut_arg("listen", services::payment_sandbox_listen))]
    PaymentSandbox(Box<services::PaymentSandbox>),
}

impl Command {
    /// Where the services are that it calls; none where it is one, or starts them.
    pub(crate) fn client(&self) -> Option<&ClientOptions> {
        Some(match self {
            Self::Buy(options) => &options.client,
            Self::List(options) => &options.client,
            Self::History(options) => &options.client,
            Self::Why(options) => &options.client,
            Self::Grant(options) => &options.client,
            Self::Revoke(options) => &options.client,
            Self::Transfer(options) => &options.client,
            Self::Commit(options) => &options.client,
            Self::Reserve(options) => &options.client,
            Self::Confirm(options) => &options.client,
            Self::Release(options) => &options.client,
            Self::Reservation(options) => &options.client,
            Self::Stock(options) => &options.client,
            Self::Watch(options) => &options.client,
            Self::Import(options) => &options.client,
            Self::Export(options) => &options.client,
            Self::Copies(options) => &options.client,
            Self::Check(options) => &options.client,
            Self::Status(options) => &options.client,
            Self::Example(example) => return example.client(),
            Self::Up(_)
            | Self::Arbiter(_)
            | Self::Purchase(_)
            | Self::GameList(_)
            | Self::PaymentSandbox(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_ports_may_be_named_before_or_after_the_command() {
        for line in ["gameshelf --port-base 7500 watch", "gameshelf watch --port-base 7500"] {
            assert_eq!(Cli::parse_from(line.split(' ')).common.port_base, 7500);
        }
    }

    #[test]
    fn a_service_alone_refuses_what_it_would_ignore() {
        let refused = |line: &str| Cli::read(line.split(' ')).expect_err(line).to_string();
        for service in SERVICES {
            let needed = if matches!(service, "purchase" | "game-list") { " --catalog c.csv" } else { "" };
            for line in [
                format!("gameshelf {service}{needed} --port-base 7500"),
                format!("gameshelf --port-base 7400 {service}{needed}"),
            ] {
                assert!(refused(&line).contains("say where it listens with --listen"), "{line}");
            }
            let line = format!("gameshelf {service}{needed} --output json");
            assert!(refused(&line).contains("--output has no effect"), "{line}");
        }
        assert!(Cli::read("gameshelf watch --port-base 7500 --output json".split(' ')).is_ok());
        assert!(Cli::read("gameshelf --port-base 7500 --output json up".split(' ')).is_ok());
    }

    #[test]
    fn bad_values_are_wrong_usage() {
        for line in [
            "gameshelf buy 42 Not-A-Slug",
            "gameshelf list 42 --token t --at-most-ms 5",
            "gameshelf grant 42",
            "gameshelf buy 42 tiny-forest --expected-price-minor-units 5",
            "gameshelf up --port-base 65535",
            "gameshelf why 42 tiny-forest --as-of 0",
            "gameshelf history 42 --limit 0",
            "gameshelf history 42 --token t --at-most-ms 5",
            "gameshelf grant 42 tiny-forest --until tomorrow",
            "gameshelf transfer 42 43",
            "gameshelf reserve 42 tiny-forest --hold 15",
            "gameshelf confirm not-a-uuid",
            "gameshelf commit changes.json",
            "gameshelf stock tiny-forest --set 2 --add 2",
            "gameshelf stock tiny-forest --reason promotion",
            "gameshelf stock tiny-forest --set 2 --freshness any",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
        for line in ["gameshelf stock tiny-forest", "gameshelf stock tiny-forest --set 2 --actor bo"] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }
}
