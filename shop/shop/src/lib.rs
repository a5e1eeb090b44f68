//! The shop: ten services as one system, and the program that runs it.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     shop::program().main()
//! }
//! ```
//!
//! The program is the command line of any Banyan system (`run`, `status`, `move`, `sagas`, …) with the services linked
//! in, and with what only a shop needs: what runs [beside] it, the [entry] for customers with its [storefront], and the
//! commands `import`, `replay`, `demo` and `audit`.

mod beside;
mod commands;
mod dataset;
mod demo;
mod entry;
mod http;
mod progress;
mod replay;
mod storefront;

use banyan::System;
use banyan_cli::{Extra, Program};

/// Describes the system: its services and their contracts.
pub fn system() -> System {
    let system = System::new("shop")
        .of_version(env!("CARGO_PKG_VERSION"))
        .contracts(shop_contracts::DESCRIPTORS)
        .service(shop_users::service())
        .service(shop_catalog::service())
        .service(shop_cart::service())
        .service(shop_orders::service())
        .service(shop_inventory::service())
        .service(shop_payments::service())
        .service(shop_shipping::service())
        .service(shop_notifications::service())
        .service(shop_loyalty::service())
        .service(shop_analytics::service());
    with_engines(system)
}

/// Links in what keeps stores, events and secrets on servers, as the program's features say.
fn with_engines(system: System) -> System {
    #[cfg(feature = "postgres")]
    let system = system.stores(banyan_postgres::PostgresStores);
    #[cfg(feature = "etcd")]
    let system = system.config_source(banyan_etcd::EtcdSources);
    #[cfg(feature = "kafka")]
    let system = system.events(banyan_kafka::KafkaLogs);
    #[cfg(feature = "mysql")]
    let system = system.stores(banyan_mysql::MySqlStores);
    #[cfg(feature = "nats")]
    let system = system.events(banyan_nats::NatsLogs).config_source(banyan_nats::NatsConfigs);
    #[cfg(feature = "rabbitmq")]
    let system = system.events(banyan_rabbitmq::RabbitLogs);
    #[cfg(feature = "redis")]
    let system = system.caches(banyan_redis::RedisCaches);
    #[cfg(feature = "openbao")]
    let system = system.secrets(banyan_openbao::OpenBao::from_environment(banyan::core::Env::default()));
    system
}

/// What the program's help begins with.
const ABOUT: &str = "\
The shop: ten services, a gateway and a card processor, started with one command.

Try first:
  shop                        starts it at http://127.0.0.1:8080; Ctrl-C stops it
  shop import                 in a second terminal: products, customers and stock from real order lines
  shop replay --orders 100    places real orders, follows each to its end, and audits the books
  shop demo                   visitors browse, fill carts and pay, some with bad cards, until Ctrl-C
  shop load checkout          customers come at a rate that the shop does not influence; --report FILE.html shows how it was

The storefront is at the same address: open it in a browser.";

/// Makes the shop's program.
pub fn program() -> Program {
    Program::new(system())
        .settings(include_str!("settings.toml"))
        .profile("fleet", include_str!("../profiles/fleet.toml"))
        .profile("nats", include_str!("../profiles/nats.toml"))
        .about(ABOUT)
        .gateway(entry::options)
        .prepare(|config| Box::pin(beside::prepare(config)))
        .companions(beside::companions)
        .load_scenario("browse", include_str!("../load/browse.toml"))
        .load_scenario("checkout", include_str!("../load/checkout.toml"))
        .load_scenario("mixed", include_str!("../load/mixed.toml"))
        .command(Extra::new("import", commands::import::run))
        .command(Extra::new("replay", commands::replay::run))
        .command(Extra::new("demo", commands::demo::run))
        .command(Extra::new("audit", commands::audit::run))
        .command(Extra::new("invariants", commands::invariants::run))
        .command(Extra::new(commands::auditor::NAME, commands::auditor::run))
        .command(Extra::new(commands::card_processor::NAME, commands::card_processor::run))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Command;

    /// Checks a command and those below it.
    fn check(command: &Command) {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name} does not say what it does");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{name}: {} is not described", argument.get_id());
        }
        // A paragraph is one line, which the terminal wraps where it ends; only examples keep their lines.
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for pair in text.lines().collect::<Vec<_>>().windows(2) {
            let wrapped = !pair[0].is_empty() && !pair[1].is_empty() && !pair[1].starts_with(' ');
            assert!(!wrapped, "{name} wraps its help itself: {pair:?}");
        }
        command.get_subcommands().for_each(check);
    }

    #[test]
    fn every_command_and_argument_is_described() {
        let command = program().command_line();
        command.clone().debug_assert();
        check(&command);
        let names: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
        assert!(names.contains(&"topics") && names.contains(&"replay"), "{names:?}");
        for hidden in [commands::card_processor::NAME, commands::auditor::NAME] {
            assert!(!names.contains(&hidden), "{names:?}");
        }
    }

    #[test]
    fn the_help_begins_with_the_shop() {
        let help = program().command_line().render_help().to_string();
        assert!(help.starts_with("The shop: ten services") && help.contains("\n  shop import "), "{help}");
    }
}
