//! What tests of services need: a system in a folder of its own, and bounded waiting.
//!
//! ```ignore
//! let system = TestSystem::of([shop_shipping::service()]).settings("shipping", "delivery_ms = 0").start().await?;
//! let shipping: ShippingServiceClient = system.client();
//! system.publish_twice("payments", &captured).await;
//! system.settled().await;
//! assert!(shipping.get_shipment(&system.as_user("u-1"), request).await.is_ok());
//! system.assert_redelivery_changes_nothing().await;
//! ```
//!
//! A [`TestSystem`] is a real [`banyan::Process`] with the embedded event log and real stores: nothing is mocked. What a
//! test waits for it names ([`until`], [`eventually`], [`TestSystem::settled`]), and every wait ends.
//!
//! It is a dev-dependency only. What goes wrong here makes the test fail: most functions panic and say why.

mod listener;
mod redelivery;
mod rest;
mod seal;
mod setup;
mod system;
mod wait;

pub use listener::Listener;
pub use seal::assert_sealed;
pub use setup::Setup;
pub use system::TestSystem;
pub use wait::{WAIT_MAX, eventually, until};
