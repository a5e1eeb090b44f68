//! What a quorum queue does to its messages: why no part of the log is one (docs/decisions/0010-rabbitmq-streams.md). A server
//! of another version may answer otherwise; then the decision is to be looked at again.

use banyan_engines::{Engine, Kind};
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

async fn channel() -> (Connection, Channel, String) {
    let rabbit = Engine::shared(Kind::RabbitMq).await.unwrap();
    let connection = Connection::connect(rabbit.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    (connection, channel, rabbit.unique_name("quorum"))
}

fn quorum(more: &[(&str, i32)]) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    for (name, value) in more {
        arguments.insert((*name).into(), AMQPValue::LongInt(*value));
    }
    arguments
}

async fn declare(
    channel: &Channel,
    name: &str,
    options: QueueDeclareOptions,
    arguments: FieldTable,
) -> lapin::Result<u32> {
    Box::pin(channel.queue_declare(name.into(), options, arguments)).await.map(|queue| queue.message_count())
}

async fn publish(channel: &Channel, queue: &str, body: &str) {
    let sent = channel.basic_publish(
        "".into(),
        queue.into(),
        BasicPublishOptions::default(),
        body.as_bytes(),
        BasicProperties::default().with_delivery_mode(2),
    );
    sent.await.unwrap().await.unwrap();
}

async fn get(channel: &Channel, queue: &str) -> Option<(String, u64)> {
    let got = channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap()?;
    Some((String::from_utf8(got.data.clone()).unwrap(), got.delivery_tag))
}

/// A member lives as long as its connection, which is what an exclusive queue tells; a quorum queue cannot be one.
#[tokio::test]
async fn it_does_not_end_with_its_connection() {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    for options in [
        QueueDeclareOptions { exclusive: true, ..durable },
        QueueDeclareOptions { auto_delete: true, ..durable },
    ] {
        let (_connection, channel, name) = channel().await;
        let refused = declare(&channel, &name, options, quorum(&[])).await.unwrap_err();
        assert!(
            refused.to_string().contains("quorum") || refused.to_string().contains("PRECONDITION"),
            "{refused}"
        );
    }
}

/// A replay, a second group, a journal that all members fold: all of them read what somebody else has read before.
#[tokio::test]
async fn it_forgets_what_one_reader_has_acknowledged() {
    let (_connection, channel, name) = channel().await;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    declare(&channel, &name, durable, quorum(&[])).await.unwrap();
    for body in ["one", "two"] {
        publish(&channel, &name, body).await;
    }
    for body in ["one", "two"] {
        let (got, tag) = get(&channel, &name).await.unwrap();
        assert_eq!(got, body);
        channel.basic_ack(tag, BasicAckOptions::default()).await.unwrap();
    }
    assert!(get(&channel, &name).await.is_none());
}

/// A dead letter is looked at as often as somebody likes, stays in its place, and is found by it.
#[tokio::test]
async fn who_looks_takes_a_message_out_of_its_place_and_uses_it_up() {
    let (_connection, channel, name) = channel().await;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    declare(&channel, &name, durable, quorum(&[("x-delivery-limit", 2)])).await.unwrap();
    publish(&channel, &name, "letter").await;
    let back = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
    let mut looks = 0;
    while let Some((_, tag)) = get(&channel, &name).await {
        channel.basic_nack(tag, back).await.unwrap();
        looks += 1;
        assert!(looks <= 3, "it is given back for ever");
    }
    assert_eq!(looks, 3);
}
