//! One connection: simple queries, and the stream of a slot.

use super::fields::Fields;
use super::handshake;
use super::{Lsn, identifier};
use crate::address::Address;
use bytes::{Buf as _, Bytes, BytesMut};
use postgres_protocol::message::frontend;
use std::fmt;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// Bytes that are read at a time.
const READ_BYTES: usize = 64 << 10;
/// Bytes of one message at most: the server's own limit on a value.
const MESSAGE_BYTES_MAX: usize = (1 << 30) + (1 << 20);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Queries,
    /// Queries, and the commands of replication.
    Replication,
}

/// What went wrong on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The connection ended or cannot be made; it may be worth trying again.
    Broken(String),
    /// There was no answer for so long.
    Silent(Duration),
    /// What the server answers to a command; the connection may go on.
    Server { code: String, message: String, attempted: String },
    /// What makes no sense, on either side.
    Protocol(String),
}

impl Failure {
    /// Returns the server's code (SQLSTATE), if it answered.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Server { code, .. } => code,
            _ => "",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(what) => f.write_str(what),
            Self::Silent(limit) => write!(f, "the server did not answer within {} ms", limit.as_millis()),
            Self::Server { code, message, attempted } if attempted.is_empty() => {
                write!(f, "{message} (SQLSTATE {code})")
            }
            Self::Server { code, message, attempted } => {
                write!(f, "{message} (SQLSTATE {code}) at {attempted}")
            }
            Self::Protocol(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// The rows of an answer: the text of each column, `None` for NULL.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// Both directions of a connection, encrypted or not.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// What the stream of a slot brings.
#[derive(Clone, Debug)]
pub(crate) enum Copied {
    /// A message of the output plug-in.
    Data(Bytes),
    /// The server has sent everything up to `wal_end`; with `reply`, it wants to hear from its reader soon.
    KeepAlive { wal_end: Lsn, reply: bool },
    /// The server ended the stream.
    Done,
}

/// A connection.
pub(crate) struct Link {
    stream: Box<dyn Duplex>,
    inbound: BytesMut,
    outbound: BytesMut,
    /// How long an answer may take.
    answer_max: Duration,
}

impl Link {
    /// Connects to the first of the address's hosts that can be written to.
    pub(crate) async fn connect(
        address: &Address,
        purpose: Purpose,
        answer_max: Duration,
    ) -> Result<Self, Failure> {
        handshake::connect(address, purpose, answer_max).await
    }

    pub(super) fn new(stream: Box<dyn Duplex>, answer_max: Duration) -> Self {
        Self { stream, inbound: BytesMut::new(), outbound: BytesMut::new(), answer_max }
    }

    /// Writes a message with `write` and sends it.
    pub(super) async fn send(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), Failure> {
        self.outbound.clear();
        write(&mut self.outbound).map_err(|e| Failure::Protocol(e.to_string()))?;
        let sent = timeout(self.answer_max, async {
            self.stream.write_all(&self.outbound).await?;
            self.stream.flush().await
        });
        sent.await.map_err(|_| Failure::Silent(self.answer_max))??;
        Ok(())
    }

    /// Takes the next message that has arrived as a whole: its tag and its body.
    fn arrived(&mut self) -> Result<Option<(u8, Bytes)>, Failure> {
        let Some(head) = self.inbound.first_chunk::<5>() else { return Ok(None) };
        let (tag, length) = (head[0], u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize);
        if !(4..=MESSAGE_BYTES_MAX).contains(&length) {
            return Err(Failure::Protocol(format!("a message of {length} bytes")));
        }
        if self.inbound.len() < length + 1 {
            return Ok(None);
        }
        let mut message = self.inbound.split_to(length + 1).freeze();
        message.advance(5);
        Ok(Some((tag, message)))
    }

    /// Waits for the next message. Safe to drop: nothing that arrived is lost.
    async fn message(&mut self) -> Result<(u8, Bytes), Failure> {
        loop {
            match self.arrived()? {
                // A notice, a setting of the server, a notification: of no use here.
                Some((b'N' | b'S' | b'A', _)) => {}
                Some(message) => return Ok(message),
                None => {
                    self.inbound.reserve(READ_BYTES);
                    if self.stream.read_buf(&mut self.inbound).await? == 0 {
                        return Err(Failure::Broken("the server ended the connection".to_owned()));
                    }
                }
            }
        }
    }

    /// Waits for the next message, for a bounded time.
    pub(super) async fn answer(&mut self) -> Result<(u8, Bytes), Failure> {
        let limit = self.answer_max;
        timeout(limit, self.message()).await.map_err(|_| Failure::Silent(limit))?
    }

    /// Runs one or several commands; returns the rows of all of them. Not safe to drop.
    ///
    /// # Errors
    /// [`Failure::Server`] if the server refuses it; the connection may be used again then.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Rows, Failure> {
        self.run(sql, Some(self.answer_max)).await
    }

    /// As [`Link::query`], for what may take any time.
    pub(crate) async fn query_patiently(&mut self, sql: &str) -> Result<Rows, Failure> {
        self.run(sql, None).await
    }

    async fn run(&mut self, sql: &str, limit: Option<Duration>) -> Result<Rows, Failure> {
        self.send(|out| frontend::query(sql, out)).await?;
        let (mut rows, mut failure) = (Vec::new(), None);
        loop {
            let (tag, body) = match limit {
                Some(limit) => timeout(limit, self.message()).await.map_err(|_| Failure::Silent(limit))??,
                None => self.message().await?,
            };
            match tag {
                b'D' => rows.push(row(body).ok_or_else(|| malformed("a row"))?),
                b'E' => failure = Some(refusal(body, sql)),
                b'Z' => return failure.map_or(Ok(rows), Err),
                b'T' | b'C' | b'I' => {}
                _ => return Err(unexpected(tag)),
            }
            // A session that ends says so, and then nothing more.
            if let Some(Failure::Server { code, message, .. }) = &failure
                && code.starts_with("57P")
            {
                return Err(Failure::Broken(message.clone()));
            }
        }
    }

    /// Returns the first column of the first row.
    pub(crate) async fn query_one(&mut self, sql: &str) -> Result<Option<String>, Failure> {
        let rows = self.query(sql).await?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
    }

    /// Begins the stream of a slot where its reader stopped, with the changes of the tables of `publication`.
    pub(crate) async fn start(&mut self, slot: &str, publication: &str) -> Result<(), Failure> {
        let names = super::literal(&identifier(publication));
        let sql = format!(
            "START_REPLICATION SLOT {} LOGICAL 0/0 (proto_version '1', publication_names {names})",
            identifier(slot)
        );
        self.send(|out| frontend::query(&sql, out)).await?;
        match self.answer().await? {
            (b'W', _) => Ok(()),
            (b'E', body) => Err(refusal(body, "START_REPLICATION")),
            (tag, _) => Err(unexpected(tag)),
        }
    }

    /// Tells whether something has arrived that [`Link::copied`] returns without waiting.
    pub(crate) fn has_arrived(&self) -> bool {
        self.inbound.first_chunk::<5>().is_some_and(|head| {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            self.inbound.len() > length
        })
    }

    /// Waits for what the stream brings next. Safe to drop: nothing that arrived is lost.
    pub(crate) async fn copied(&mut self) -> Result<Copied, Failure> {
        loop {
            match self.message().await? {
                (b'd', body) => {
                    let mut fields = Fields(body);
                    return copied(&mut fields).ok_or_else(|| malformed("a part of the stream"));
                }
                (b'c', _) => return Ok(Copied::Done),
                (b'E', body) => return Err(refusal(body, "the stream of the slot")),
                (b'C' | b'Z', _) => {}
                (tag, _) => return Err(unexpected(tag)),
            }
        }
    }

    /// Says that everything up to `flushed` need not be sent again; with `reply`, asks for a sign of life.
    pub(crate) async fn confirm(&mut self, flushed: Lsn, reply: bool) -> Result<(), Failure> {
        let mut status = Vec::with_capacity(34);
        status.push(b'r');
        for place in [flushed, flushed, flushed] {
            status.extend_from_slice(&place.0.to_be_bytes());
        }
        // The time of the reader, which only the server's statistics show.
        status.extend_from_slice(&0u64.to_be_bytes());
        status.push(u8::from(reply));
        self.send(|out| {
            frontend::CopyData::new(&status[..])?.write(out);
            Ok(())
        })
        .await
    }

    /// Ends the stream in an orderly way: what was confirmed is kept by the server when this returns.
    pub(crate) async fn finish(mut self) -> Result<(), Failure> {
        self.send(|out| {
            frontend::copy_done(out);
            Ok(())
        })
        .await?;
        let limit = self.answer_max;
        let ended = async {
            // What was on its way comes first.
            while !matches!(self.message().await?, (b'Z', _)) {}
            Ok::<_, Failure>(())
        };
        timeout(limit, ended).await.map_err(|_| Failure::Silent(limit))??;
        self.close().await
    }

    /// Says goodbye.
    pub(crate) async fn close(mut self) -> Result<(), Failure> {
        self.send(|out| {
            frontend::terminate(out);
            Ok(())
        })
        .await?;
        Ok(self.stream.shutdown().await?)
    }
}

fn copied(fields: &mut Fields) -> Option<Copied> {
    match fields.u8()? {
        b'w' => {
            // Where it stands, where the log ends, and the server's time.
            fields.take(24)?;
            Some(Copied::Data(std::mem::take(&mut fields.0)))
        }
        b'k' => {
            let wal_end = Lsn(fields.u64()?);
            fields.u64()?;
            Some(Copied::KeepAlive { wal_end, reply: fields.u8()? == 1 })
        }
        _ => None,
    }
}

fn row(body: Bytes) -> Option<Vec<Option<String>>> {
    let mut fields = Fields(body);
    let count = fields.u16()?;
    let column = |fields: &mut Fields| match fields.u32()? {
        u32::MAX => Some(None),
        length => String::from_utf8(fields.take(length as usize)?.to_vec()).ok().map(Some),
    };
    (0..count).map(|_| column(&mut fields)).collect()
}

/// Reads what the server refuses `attempted` with.
pub(super) fn refusal(body: Bytes, attempted: &str) -> Failure {
    let mut fields = Fields(body);
    let (mut code, mut message) = (String::new(), String::new());
    while let Some(kind) = fields.u8().filter(|kind| *kind != 0) {
        let Some(text) = fields.zero_ended() else { break };
        let text = String::from_utf8_lossy(&text).into_owned();
        match kind {
            b'C' => code = text,
            b'M' => message = text,
            b'D' | b'H' => message = format!("{message}; {text}"),
            _ => {}
        }
    }
    Failure::Server { code, message, attempted: attempted.to_owned() }
}

pub(super) fn unexpected(tag: u8) -> Failure {
    Failure::Protocol(format!("the server sends an unexpected message {:?}", char::from(tag)))
}

fn malformed(what: &str) -> Failure {
    Failure::Protocol(format!("the server sends {what} that cannot be read"))
}
