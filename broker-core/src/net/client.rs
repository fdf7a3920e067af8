//! The tests' client: one connection, one request at a time, any version.

use std::io;

use bytes::{Bytes, BytesMut};
use kafka_wire::RequestResponsePair;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, ToSocketAddrs};

use crate::protocol::client::{
    decode_fetch, decode_produce, decode_response, encode_fetch, encode_produce, encode_request,
};
use crate::protocol::fetch::{FetchRequest, FetchResponse};
use crate::protocol::frame::{PREFIX_BYTES, frame_length};
use crate::protocol::produce::{ProduceRequest, ProduceResponse};

/// Largest response accepted, in bytes.
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A connection to one broker.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    client_id: String,
    correlation_id: i32,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When no address accepts the connection.
    pub(super) async fn connect(address: impl ToSocketAddrs, client_id: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            client_id: client_id.to_owned(),
            correlation_id: 0,
        })
    }

    fn next_id(&mut self) -> i32 {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        self.correlation_id
    }

    /// Writes raw bytes.
    ///
    /// # Errors
    /// When the connection fails.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads one frame, without its length prefix.
    ///
    /// # Errors
    /// When the connection fails or ends, or the length is out of bounds.
    pub(super) async fn receive(&mut self) -> io::Result<Bytes> {
        let mut prefix = [0; PREFIX_BYTES];
        self.stream.read_exact(&mut prefix).await?;
        let length = match i32::from_be_bytes(prefix) {
            length @ 4..8 => usize::try_from(length).unwrap_or_default(),
            _ => frame_length(prefix, RESPONSE_BYTES_MAX).map_err(io::Error::other)?,
        };
        let mut frame = BytesMut::zeroed(length);
        self.stream.read_exact(&mut frame).await?;
        Ok(frame.freeze())
    }

    /// Sends a request and reads its response.
    ///
    /// # Errors
    /// When the connection fails, or either message does not fit its version.
    pub(super) async fn request<R: RequestResponsePair>(
        &mut self,
        version: i16,
        request: &R,
    ) -> io::Result<R::Response> {
        let key = R::API_KEY.value();
        let id = self.next_id();
        let frame = encode_request(key, version, id, &self.client_id, request)?;
        self.send(&frame).await?;
        let (answered, response) = decode_response(key, version, &self.receive().await?)?;
        expect_id(id, answered)?;
        Ok(response)
    }

    /// Sends a Produce request; reads its response unless acks is 0.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub(super) async fn produce(
        &mut self,
        version: i16,
        request: &ProduceRequest,
    ) -> io::Result<Option<ProduceResponse>> {
        let id = self.next_id();
        let frame = encode_produce(version, id, &self.client_id, request)?;
        self.send(&frame).await?;
        if request.acks == 0 {
            return Ok(None);
        }
        let (answered, response) = decode_produce(version, &self.receive().await?)?;
        expect_id(id, answered)?;
        Ok(Some(response))
    }

    /// Sends a Fetch request and reads its response.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub(super) async fn fetch(
        &mut self,
        version: i16,
        request: &FetchRequest,
    ) -> io::Result<FetchResponse> {
        let id = self.next_id();
        let frame = encode_fetch(version, id, &self.client_id, request)?;
        self.send(&frame).await?;
        let (answered, response) = decode_fetch(version, &self.receive().await?)?;
        expect_id(id, answered)?;
        Ok(response)
    }
}

fn expect_id(expected: i32, found: i32) -> io::Result<()> {
    if expected == found {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("response has correlation id {found}, not {expected}"),
        ))
    }
}
