//! Connections that are made again when they are lost.

use crate::errors::{not_connected, unavailable};
use crate::options::RabbitOptions;
use banyan_core::{Error, Result};
use banyan_event_log::url::TlsFiles;
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::{Channel, Connection, ConnectionProperties};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Makes a connection. Each side takes it for broken after `heartbeat` (whole seconds) without a sign of the other.
pub(crate) async fn connect(options: &RabbitOptions, heartbeat: Duration) -> Result<Connection> {
    let mut uri = options.check()?;
    uri.query.heartbeat = Some(heartbeat.as_secs().clamp(1, u64::from(u16::MAX)) as u16);
    let properties =
        ConnectionProperties::default().with_connection_name(options.client_name.as_str().into());
    let tls = tls_config(&options.tls).await?;
    let runtime = async_rs::Runtime::tokio_current();
    let connected = Connection::connect_uri_with_config(uri, properties, tls, runtime);
    // The client's futures are large.
    match tokio::time::timeout(options.request_timeout, Box::pin(connected)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(not_connected(&options.host(), error)),
        Err(_) => Err(Error::unavailable(format!("RabbitMQ at {} does not answer", options.host()))),
    }
}

/// Reads the files of an encrypted connection, anew for each: they may have been renewed.
async fn tls_config(files: &TlsFiles) -> Result<OwnedTLSConfig> {
    let read = async |name: &str, path: &Path| {
        let unreadable = |error| {
            Error::invalid(format!("rabbitmq.{name}"), format!("{} cannot be read: {error}", path.display()))
        };
        tokio::fs::read(path).await.map_err(unreadable)
    };
    let mut config = OwnedTLSConfig::default();
    if let Some(ca) = &files.ca {
        let text = String::from_utf8(read("ca", ca).await?);
        let text = text.map_err(|_| Error::invalid("rabbitmq.ca", "is no file in PEM"))?;
        config.cert_chain = Some(text);
    }
    if let Some((certificate, key)) = &files.identity {
        let (pem, key) = (read("cert", certificate).await?, read("key", key).await?);
        config.identity = Some(OwnedIdentity::PKCS8 { pem, key });
    }
    Ok(config)
}

/// Waits for the server's answer, within the time limit.
pub(crate) async fn ask<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = lapin::Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(limit, Box::pin(work)).await {
        Ok(outcome) => outcome.map_err(|e| unavailable(what, e)),
        Err(_) => Err(Error::unavailable(format!("RabbitMQ did not answer in time: {what}"))),
    }
}

/// The connection that everything but members shares.
pub(crate) struct Link {
    options: RabbitOptions,
    present: Mutex<Option<Arc<Connection>>>,
}

impl Link {
    pub(crate) async fn open(options: RabbitOptions) -> Result<Self> {
        let connection = connect(&options, options.heartbeat).await?;
        Ok(Self { options, present: Mutex::new(Some(Arc::new(connection))) })
    }

    /// Opens a channel, on a new connection if the present one is lost.
    pub(crate) async fn channel(&self) -> Result<Channel> {
        let connection = self.connection().await?;
        let opened =
            ask(self.options.request_timeout, "opening a channel", connection.create_channel()).await;
        if opened.is_err() {
            // It may be a connection that nothing comes through any more.
            let mut present = self.present.lock().await;
            if present.as_ref().is_some_and(|p| Arc::ptr_eq(p, &connection)) {
                *present = None;
            }
        }
        opened
    }

    async fn connection(&self) -> Result<Arc<Connection>> {
        let mut present = self.present.lock().await;
        if let Some(connection) = present.as_ref().filter(|c| c.status().connected()) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(connect(&self.options, self.options.heartbeat).await?);
        tracing::info!(host = %self.options.host(), "connected to RabbitMQ again");
        *present = Some(Arc::clone(&connection));
        Ok(connection)
    }

    pub(crate) async fn close(&self) {
        if let Some(connection) = self.present.lock().await.take() {
            let _ = connection.close(200, "done".into()).await;
        }
    }
}
