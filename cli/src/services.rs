//! One service as the whole process.

use std::process::ExitCode;

use clap::Args;
use mesh::process::{Failure, ProcessConfig, run_service};
use tickets::{feed as tickets_feed, service as tickets_service};

macro_rules! service {
    ($(#[doc = $documentation:literal])+ $name:ident, $crate_name:ident, $subcommand:literal, $listen:ident, $variable:literal, $default:literal) => {
        $(#[doc = $documentation])+
        #[derive(Args, Debug)]
        pub(crate) struct $name {
            #[command(flatten)]
            process: ProcessConfig,
            #[command(flatten)]
            config: $crate_name::Config,
        }

        impl $name {
            /// Runs it until it is told to stop.
            pub(crate) fn run(self) -> ExitCode {
                let config = self.config;
                run_service($subcommand, &self.process, async |environment, listener, shutdown| {
                    $crate_name::run(config, environment, listener, shutdown)
                        .await
                        .map_err(|error| Failure::classified(&error, error.is_misconfigured()))
                })
            }
        }

        /// Where it listens unless it is told otherwise.
        pub(crate) fn $listen(argument: clap::Arg) -> clap::Arg {
            ProcessConfig::listen(argument, $variable, $default)
        }
    };
}

service!(
    /// The arbiter.
    Arbiter, arbiter, "arbiter", arbiter_listen, "GAMESHELF_ARBITER_LISTEN", "127.0.0.1:7400"
);
service!(
    /// Purchase.
    Purchase, purchase, "purchase", purchase_listen, "GAMESHELF_PURCHASE_LISTEN", "127.0.0.1:7401"
);
service!(
    /// Game-list.
    GameList, game_list, "game-list", game_list_listen, "GAMESHELF_GAME_LIST_LISTEN", "127.0.0.1:7402"
);
service!(
    /// Payment-sandbox.
    PaymentSandbox, payment_sandbox, "payment-sandbox", payment_sandbox_listen, "GAMESHELF_PAYMENT_SANDBOX_LISTEN", "127.0.0.1:7403"
);
service!(
    /// The tickets of the example.
    TicketsService, tickets_service, "tickets-service", tickets_service_listen, "GAMESHELF_TICKETS_LISTEN", "127.0.0.1:7420"
);
service!(
    /// The feed of the example.
    TicketsFeed, tickets_feed, "tickets-feed", tickets_feed_listen, "GAMESHELF_TICKETS_FEED_LISTEN", "127.0.0.1:7430"
);
