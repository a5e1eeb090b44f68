//! Users knows who a person is: it makes accounts, checks passwords, and signs the tokens that prove a login.
//!
//! Contract: `shop/contracts/shop/users/v1/users.proto`. Owns the `users` store: accounts with their password hashes,
//! and the signing keys. Publishes `UserRegistered`. Calls nobody.
//!
//! A token is verified by whoever receives it, with the public keys that `ListKeys` returns; nobody asks this service
//! whether a token is good. That is why tokens live for minutes, and why keys follow each other with an overlap: the
//! next key is announced before it signs, a previous one is announced until the last token signed with it has expired.
//!
//! `domain.rs` decides (pure), `store.rs` keeps (SQL), `api.rs` does what the contract says, `settings.rs` is what an
//! operator may set. This file wires them.

mod api;
mod domain;
mod settings;
mod store;

pub use api::{CREDENTIALS_INVALID, Users};
pub use settings::{AdminSettings, Settings};
pub use store::MIGRATIONS;

use banyan::prelude::*;
use shop_contracts::users::v1::{UserServiceClient, user_service};

/// How often it is checked whether the signing key is old enough to be followed by the next.
const KEY_CHECK_PERIOD: Duration = Duration::from_secs(10 * 60);

/// Defines the service.
pub fn service() -> ServiceDef {
    ServiceDef::new("users", [UserServiceClient::SERVICE], |host| async move {
        let store = host.store(MIGRATIONS, store::STATEMENTS).await?;
        let users = Arc::new(Users::start(&host.context(), store, host.settings()?).await?);
        host.serve(user_service(users.clone()));
        host.every("rotate_keys", KEY_CHECK_PERIOD, move |cx| {
            let users = users.clone();
            async move { users.keep_keys_fresh(&cx).await }
        });
        Ok(())
    })
    .settings_within(Settings::validate)
}
