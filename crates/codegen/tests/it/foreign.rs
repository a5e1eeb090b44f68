//! A contract without our options compiles and serves, in all four kinds of method.

use crate::golden::acme::fleet::v1::{
    Context as Ask, Credentials, Event, GarageClient, Result as Outcome, Tracker, TrackerClient, Vehicle,
    credentials, tracker, vehicle,
};
use crate::golden::acme::geo::Point;
use banyan_codegen::{Options, check};
use banyan_core::{Code, Context, Env, Error, Payload, Result};
use banyan_rpc::{Client, Directory, Streaming, Target};
use futures::StreamExt;
use std::sync::Arc;

#[test]
fn the_committed_code_is_what_the_contracts_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let report = check(&Options::new(format!("{folder}/foreign"), format!("{folder}/golden"))).unwrap();
    assert_eq!(report.unchanged.len(), 4);
}

struct Fleet;

impl Tracker for Fleet {
    async fn ping(&self, _: &Context, _: ()) -> Result<()> {
        Ok(())
    }

    async fn register(&self, _: &Context, vehicle: Vehicle) -> Result<Outcome> {
        if vehicle.id.is_empty() {
            return Err(Error::invalid("id", "must be set"));
        }
        Ok(Outcome { ok: true, count: vehicle.odometer_by_day.values().sum() })
    }

    async fn watch(&self, _: &Context, ask: Ask) -> Result<Streaming<Event>> {
        let positions = (0..3).map(|n| Point { latitude: f64::from(n), longitude: 0.0 });
        let note = Some(ask.vehicle_id);
        Ok(Streaming::of(positions.map(move |p| Event {
            position: Some(p),
            note: note.clone(),
            ..Event::default()
        })))
    }

    async fn upload(&self, _: &Context, points: Streaming<Point>) -> Result<Outcome> {
        let points = points.collect(100).await?;
        Ok(Outcome { ok: true, count: i64::try_from(points.len()).unwrap() })
    }

    async fn converse(&self, _: &Context, events: Streaming<Event>) -> Result<Streaming<Outcome>> {
        let answer = |event: Result<Event>| event.map(|event| Outcome { ok: event.note.is_some(), count: 1 });
        Ok(Streaming::new(events.map(answer)))
    }

    async fn r#type(&self, _: &Context, _: Ask) -> Result<Outcome> {
        Err(Error::unimplemented("no longer"))
    }
}

fn client() -> TrackerClient {
    let directory = Directory::new(&Env::default());
    directory.set(TrackerClient::SERVICE, Target::Local(tracker(Arc::new(Fleet))));
    TrackerClient::new(directory.channel(TrackerClient::SERVICE))
}

#[tokio::test]
async fn one_message_each_way() {
    let (client, cx) = (client(), Context::background());
    client.ping(&cx, ()).await.unwrap();
    let vehicle = Vehicle {
        id: "v1".into(),
        odometer_by_day: [("mon".into(), 3), ("tue".into(), 4)].into(),
        ..Vehicle::default()
    };
    assert_eq!(client.register(&cx, vehicle).await.unwrap(), Outcome { ok: true, count: 7 });
    let error = client.register(&cx, Vehicle::default()).await.unwrap_err();
    assert_eq!(error.violations()[0].field, "id");
    assert_eq!(client.r#type(&cx, Ask::default()).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn streams_in_every_direction() {
    let (client, cx) = (client(), Context::background());
    let ask = Ask { vehicle_id: "v1".into(), within: None };
    let events = client.watch(&cx, ask).await.unwrap().collect(10).await.unwrap();
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| event.note.as_deref() == Some("v1")));

    let points = Streaming::of(vec![Point::default(); 5]);
    assert_eq!(client.upload(&cx, points).await.unwrap().count, 5);

    let said = vec![Event { note: Some("hello".into()), ..Event::default() }, Event::default()];
    let answers = client.converse(&cx, Streaming::of(said)).await.unwrap().collect(10).await.unwrap();
    assert_eq!(answers.iter().map(|answer| answer.ok).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn services_of_one_package_may_share_method_names() {
    use crate::golden::acme::fleet::v1::{garage, tracker};
    assert_eq!(garage::REGISTER.path, "/acme.fleet.v1.Garage/Register");
    assert_eq!(tracker::REGISTER.path, "/acme.fleet.v1.Tracker/Register");
    assert_eq!(GarageClient::SERVICE, "acme.fleet.v1.Garage");
}

#[test]
fn messages_survive_their_bytes() {
    let maker = vehicle::engine::Maker { name: "Acme".into() };
    let engine =
        vehicle::Engine { drive: vehicle::Drive::Electric.into(), power_kw: 150, maker: Some(maker) };
    let vehicle = Vehicle {
        id: "v1".into(),
        engine: Some(engine.clone()),
        spare_engines: [(2, engine.clone()), (1, engine)].into(),
        nickname: Some(String::new()),
        photo: vec![0, 255].into(),
        owner: Some(vehicle::Owner::Company(vehicle::Company { name: "Acme".into(), rating: -3 })),
        ..Vehicle::default()
    };
    assert_eq!(Vehicle::from_bytes(&vehicle.to_bytes()).unwrap(), vehicle);
    let error = Vehicle::from_bytes(&[0xff]).unwrap_err();
    assert_eq!(error.code(), Code::DataLoss);
    assert!(error.message().contains("acme.fleet.v1.Vehicle"));
}

#[test]
fn secrets_are_not_printed() {
    let code = Some(credentials::SecondFactor::Code("123456".into()));
    let shown =
        format!("{:?}", Credentials { user: "ann".into(), password: "hunter2".into(), second_factor: code });
    assert_eq!(shown, r#"Credentials { user: "ann", password: ***, second_factor: Some(Code(***)) }"#);
    let key = credentials::Key { id: "k1".into(), kind: credentials::Kind::Usb.into() };
    let shown = format!("{:?}", credentials::SecondFactor::Key(key));
    assert_eq!(shown, r#"Key(Key { id: "k1", kind: 1 })"#);
}
