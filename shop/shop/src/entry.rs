//! The gateway's settings for the shop: whose tokens count, the page of a signed-in customer, an order followed live, the
//! storefront, the pages of the shop's reasons.

use banyan::Config;
use banyan::core::Result;
use banyan_gateway::{Aggregate, GatewayOptions, Live, Part, Tokens};
use banyan_identity::{Jwk, Jwks};
use include_dir::{Dir, File, include_dir};
use shop_contracts::loyalty::v1::GetPointsRequest;
use shop_contracts::orders::v1::{ListOrdersRequest, WatchOrderRequest};
use shop_contracts::users::v1::{GetUserRequest, ListKeysRequest, UserServiceClient};
use shop_contracts::{loyalty, orders, users};

/// One page for each reason.
static PAGES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/docs/errors");

/// What `/openapi.json` says of the shop.
const DESCRIPTION: &str = "\
A shop for gifts: accounts, a catalog, carts, orders with payment and shipment, points, and sales figures.

Register (`POST /v1/users`), sign in (`POST /v1/users:login`) and send the token as `Authorization: Bearer …`. Money is \
counted in pence. A request that changes something can carry an `Idempotency-Key`: sent again with the same key, it acts \
once. A refusal is a problem (RFC 9457) with a stable `reason`, explained at `/errors/{reason}`.";

/// Makes the gateway's options. It accepts the tokens that the users service signs by its settings (`services.users.issuer`
/// and `audience`).
///
/// # Errors
/// If those settings are not valid.
pub(crate) fn options(config: &Config) -> Result<GatewayOptions> {
    let users: shop_users::Settings = config.settings("users")?;
    let tokens = Tokens::new(&users.issuer, &users.audience, |directory, cx| async move {
        let keys = directory.client::<UserServiceClient>().list_keys(&cx, ListKeysRequest {}).await?.keys;
        Ok(Jwks { keys: keys.into_iter().map(jwk).collect() })
    });
    Ok(GatewayOptions {
        title: "The shop".to_owned(),
        description: DESCRIPTION.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        tokens: Some(tokens),
        aggregates: vec![me()],
        live: vec![order()],
        router: Some(crate::storefront::router()),
        pages: pages(),
    })
}

/// Returns the pages of the reasons that only the shop has.
fn pages() -> Vec<(&'static str, &'static str)> {
    let page = |file: &'static File<'static>| {
        Some((file.path().file_name()?.to_str()?.strip_suffix(".md")?, file.contents_utf8()?))
    };
    PAGES.files().filter_map(page).collect()
}

/// `GET /v1/me`: who I am, what I ordered last, and my points.
fn me() -> Aggregate {
    let profile = Part::new("profile", &users::v1::user_service::GET_USER, |identity| GetUserRequest {
        user_id: identity.subject().to_owned(),
    });
    let orders =
        Part::new("orders", &orders::v1::order_service::LIST_ORDERS, |_| ListOrdersRequest::default());
    let points =
        Part::new("points", &loyalty::v1::loyalty_service::GET_POINTS, |_| GetPointsRequest::default());
    Aggregate::new("/v1/me", [profile, orders, points]).description(
        "Returns the signed-in customer's profile, latest orders and points. A part that does not come in time is \
         missing, and `errors` says why.",
    )
}

/// `GET /v1/orders/{order_id}/events`: the order as it is, and whenever its state changes.
fn order() -> Live {
    Live::new("/v1/orders/{order_id}/events", &orders::v1::order_service::WATCH_ORDER, |order_id| {
        WatchOrderRequest { order_id: order_id.to_owned() }
    })
    .description(
        "Follows an order as server-sent events. It is sent as it is and then whenever its state changes; the event `end` \
         comes once it is no longer pending. A stream without it was cut off: connect again with `Last-Event-ID`.",
    )
}

fn jwk(key: users::v1::Jwk) -> Jwk {
    Jwk { kty: key.kty, crv: key.crv, x: key.x, kid: key.kid, alg: key.alg, usage: key.r#use }
}
