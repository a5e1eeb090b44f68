//! Charges and refunds that are asked for directly, as an orchestrated checkout does.

use crate::{Fixture, NOTHING, PRICE, charge, processor};
use banyan::prelude::*;
use banyan_testkit::until;
use shop_contracts::payments::v1::PaymentState;
use shop_contracts::types::v1::Money;

#[tokio::test]
async fn a_card_is_charged_once_whatever_goes_wrong_and_is_repeated() {
    let it = Fixture::new().await;
    it.system.duplicate_calls();
    for card in ["tok_visa", "tok_slow", "tok_error", "tok_timeout"] {
        let first = it.charge(card, card).await.unwrap();
        assert_eq!((first.state(), &first.amount), (PaymentState::Captured, &Some(Money::gbp(PRICE))));
        assert_eq!(it.charge(card, card).await.unwrap(), first);
        assert_eq!(it.get(card).await.unwrap(), first);
        assert_eq!(it.moved(card).await, [PRICE], "{card}");
    }
}

#[tokio::test]
async fn a_declined_card_stays_declined_and_pays_nothing() {
    let it = Fixture::new().await;
    for (card, reason) in [("tok_declined", "generic_decline"), ("tok_unheard_of", "invalid_card")] {
        for _ in 0..2 {
            let error = it.charge(card, card).await.unwrap_err();
            assert_eq!((error.code(), error.reason()), (Code::FailedPrecondition, "CARD_DECLINED"));
        }
        // Another card does not make another payment of the order.
        assert_eq!(it.charge(card, "tok_visa").await.unwrap_err().reason(), "CARD_DECLINED");
        let payment = it.get(card).await.unwrap();
        assert_eq!((payment.state(), payment.decline_reason.as_str()), (PaymentState::Declined, reason));
        assert_eq!(it.refund(card).await.unwrap(), payment);
        assert_eq!(it.moved(card).await, NOTHING);
    }
}

#[tokio::test]
async fn money_is_given_back_once_and_then_none_is_taken() {
    let it = Fixture::new().await;
    it.system.duplicate_calls();
    it.charge("o-1", "tok_visa").await.unwrap();
    let refunded = it.refund("o-1").await.unwrap();
    assert_eq!(refunded.state(), PaymentState::Refunded);
    assert_eq!(it.refund("o-1").await.unwrap(), refunded);
    assert_eq!(it.charge("o-1", "tok_visa").await.unwrap_err().reason(), "PAYMENT_CLOSED");
    assert_eq!(it.moved("o-1").await, [PRICE, -PRICE]);
}

#[tokio::test]
async fn a_charge_that_comes_after_its_refund_takes_no_money() {
    let it = Fixture::new().await;
    let closed = it.refund("o-1").await.unwrap();
    assert_eq!(closed.state(), PaymentState::Refunded);
    for _ in 0..2 {
        let late = it.charge("o-1", "tok_visa").await.unwrap_err();
        assert_eq!((late.code(), late.reason()), (Code::FailedPrecondition, "PAYMENT_CLOSED"));
    }
    assert_eq!(it.refund("o-1").await.unwrap(), closed);
    assert_eq!(it.moved("o-1").await, NOTHING);
}

#[tokio::test]
async fn a_refund_finds_out_what_became_of_a_charge_that_is_under_way() {
    for card in ["tok_slow", "tok_timeout", "tok_declined"] {
        let it = Fixture::new().await;
        let refund = async {
            until("the charge to begin", async || it.get("o-1").await.is_ok()).await;
            it.refund("o-1").await
        };
        let (charged, refunded) = tokio::join!(it.charge("o-1", card), refund);
        let (state, reason, moved) = match card {
            "tok_declined" => (PaymentState::Declined, "CARD_DECLINED", vec![]),
            _ => (PaymentState::Refunded, "PAYMENT_CLOSED", vec![PRICE, -PRICE]),
        };
        assert_eq!(refunded.unwrap().state(), state, "{card}");
        // The charge may have been answered before the refund began.
        assert!(charged.is_ok() || charged.is_err_and(|error| error.reason() == reason), "{card}");
        assert_eq!(it.moved("o-1").await, moved, "{card}");
    }
}

#[tokio::test]
async fn an_outage_of_the_processor_and_a_restart_lose_no_charge() {
    let it = Fixture::new().await;
    it.charge("o-1", "tok_visa").await.unwrap();
    let port = it.processor.url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let Fixture { system, payments, processor: first, cx, folder } = it;
    first.stop().await.unwrap();

    let short = cx.with_timeout(Duration::from_secs(2));
    let error = payments.charge(&short, charge("o-2", "tok_visa")).await.unwrap_err();
    assert!(matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded), "{error}");
    system.restart("payments").await;
    let it = Fixture { processor: processor(folder.path(), port).await, system, payments, cx, folder };
    assert_eq!(it.get("o-2").await.unwrap().state(), PaymentState::Pending);
    let charged = it.charge("o-2", "tok_visa").await.unwrap();
    assert_eq!(charged.state(), PaymentState::Captured);
    it.refund("o-1").await.unwrap();
    assert_eq!((it.moved("o-1").await, it.moved("o-2").await), (vec![PRICE, -PRICE], vec![PRICE]));
}

#[tokio::test]
async fn what_is_invalid_names_its_field_and_is_not_kept() {
    let it = Fixture::new().await;
    let mut dollars = charge("o-1", "tok_visa");
    dollars.amount = Some(Money { currency_code: "USD".into(), minor_units: 1 });
    let mut free = charge("o-1", "tok_visa");
    free.amount = Some(Money::gbp(0));
    for (request, field) in [
        (charge("", "tok_visa"), "order_id"),
        (charge("o-1", " "), "card_token"),
        (charge("o-1", &"x".repeat(201)), "card_token"),
        (dollars, "amount.currency_code"),
        (free, "amount.minor_units"),
    ] {
        let error = it.payments.charge(&it.cx, request).await.unwrap_err();
        assert_eq!(error.violations()[0].field, field);
    }
    assert_eq!(it.refund("").await.unwrap_err().violations()[0].field, "order_id");
    assert_eq!(it.get("o-1").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_wrong_setting_keeps_the_service_from_starting() {
    for (settings, field) in [
        ("processor_url = 'https://bank.example'", "services.payments.processor_url"),
        ("processor_key = \"a\\nb\"", "services.payments.processor_key"),
        ("processor = 'x'", "services.payments.processor"),
    ] {
        let setup = banyan_testkit::TestSystem::of([shop_payments::service()]).settings("payments", settings);
        let error = setup.start().await.err().expect("it does not start");
        assert_eq!(error.violations()[0].field, field);
    }
}
