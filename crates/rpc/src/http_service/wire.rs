//! The messages of `banyan.http.v1`.

use banyan_core::{Error, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HttpRequest {
    #[prost(string, tag = "1")]
    pub(crate) method: String,
    #[prost(string, tag = "2")]
    pub(crate) target: String,
    #[prost(string, tag = "3")]
    pub(crate) prefix: String,
    #[prost(message, repeated, tag = "4")]
    pub(crate) headers: Vec<HttpHeader>,
    #[prost(bytes = "bytes", tag = "5")]
    pub(crate) body: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HttpHeader {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HttpResponsePart {
    #[prost(oneof = "Part", tags = "1, 2")]
    pub(crate) part: Option<Part>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Part {
    #[prost(message, tag = "1")]
    Head(HttpResponseHead),
    #[prost(bytes = "bytes", tag = "2")]
    Chunk(Bytes),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HttpResponseHead {
    #[prost(uint32, tag = "1")]
    pub(crate) status: u32,
    #[prost(message, repeated, tag = "2")]
    pub(crate) headers: Vec<HttpHeader>,
}

impl HttpHeader {
    pub(crate) fn write_all(headers: &HeaderMap) -> Vec<Self> {
        let write = |(name, value): (&HeaderName, &HeaderValue)| Self {
            name: name.as_str().to_owned(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        };
        headers.iter().map(write).collect()
    }

    /// # Errors
    /// [`banyan_core::Code::Internal`] if one is no header: only the system itself writes them.
    pub(crate) fn read_all(headers: Vec<Self>) -> Result<HeaderMap> {
        let mut map = HeaderMap::with_capacity(headers.len());
        for header in headers {
            let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(Error::internal)?;
            map.append(name, HeaderValue::from_maybe_shared(header.value).map_err(Error::internal)?);
        }
        Ok(map)
    }
}

impl HttpResponsePart {
    pub(crate) fn head(status: StatusCode, headers: &HeaderMap) -> Self {
        let head =
            HttpResponseHead { status: status.as_u16().into(), headers: HttpHeader::write_all(headers) };
        Self { part: Some(Part::Head(head)) }
    }

    pub(crate) fn chunk(bytes: Bytes) -> Self {
        Self { part: Some(Part::Chunk(bytes)) }
    }
}
