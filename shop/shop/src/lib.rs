//! The shop: ten services as one system, and the program that runs it.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     shop::program().main()
//! }
//! ```
//!
//! The program is the command line of any Banyan system (`run`, `status`, `move`, `sagas`, …) with the services linked
//! in, and with what only a shop needs: what runs [beside] it, the [entry] for customers, and the commands `import`,
//! `replay` and `audit`.

mod beside;
mod commands;
mod dataset;
mod entry;
mod http;
mod progress;
mod replay;

use banyan::System;
use banyan_cli::{Extra, Program};

/// Describes the system: its services and their contracts.
pub fn system() -> System {
    System::new("shop")
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
        .service(shop_analytics::service())
}

/// Makes the shop's program.
pub fn program() -> Program {
    Program::new(system())
        .gateway(entry::options())
        .prepare(|config| Box::pin(beside::prepare(config)))
        .command(Extra::new("import", commands::import::run))
        .command(Extra::new("replay", commands::replay::run))
        .command(Extra::new("audit", commands::audit::run))
        .command(Extra::new(commands::card_processor::NAME, commands::card_processor::run))
}
