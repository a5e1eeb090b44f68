//! Whose tokens count follows from the settings of the service that signs them.

use crate::support::{Draft, Person, Setup, Shop, state};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_accepts_what_the_users_service_is_set_to_sign() {
    let setup = Setup::one_process()
        .set("services.users.issuer=https://shop.example")
        .set("services.users.audience=customers");
    let shop = Shop::start(setup).await;
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(400, 10).await;
    assert_eq!(state(&customer.buy(&Draft::of(&lamp, 1)).await), "CONFIRMED");
    shop.stop().await;
}
