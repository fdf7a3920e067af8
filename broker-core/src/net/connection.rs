//! One connection: read a frame, have it answered, write the answer, again.
//!
//! An idle connection holds no buffer.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use crate::api::{Close, Session, dispatch};
use crate::broker::Broker;
use crate::protocol::frame::{PREFIX_BYTES, frame_length};

/// First read of a frame, in bytes: holds most requests that are not Produce.
const HEAD_BYTES: usize = 4 * 1024;

/// A frame's buffer starts no larger than this, whatever length the peer announces; then it
/// doubles with what has arrived.
const BODY_BYTES_STEP: usize = 1024 * 1024;

/// The first so many bytes of a frame are not counted against the request memory: heartbeats and
/// metadata go on while large batches wait, and a peer must send this much to hold any of it.
const UNCOUNTED_BYTES_MAX: usize = 64 * 1024;

/// A frame that cannot have the memory for what arrives within this time loses its connection;
/// clients retry.
const MEMORY_WAIT_MAX: Duration = Duration::from_secs(30);

/// Slices per vectored write.
const WRITE_SLICES_MAX: usize = 64;

/// A connection without request for this long is closed (`connections.max.idle.ms`).
const IDLE_MAX: Duration = Duration::from_secs(600);

/// A peer that stops in the middle of a frame, or stops reading its answer, is cut off after this
/// long: it holds memory that others wait for.
const STALL_MAX: Duration = Duration::from_secs(60);

/// What all connections share.
pub(super) struct Shared {
    pub(super) broker: Arc<Broker>,
    /// A permit per byte of request in memory.
    pub(super) memory: Arc<Semaphore>,
    pub(super) memory_bytes: usize,
    pub(super) metrics: Metrics,
}

/// One client connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    stream: TcpStream,
    /// Bytes received and not yet handed on.
    input: BytesMut,
    session: Session,
    shutdown: CancellationToken,
}

/// Counts the connection as open, even when its task panics.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.metrics.connections.increment(1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.connections.decrement(1);
    }
}

/// Why a connection ended.
enum End {
    /// The peer closed it between two requests.
    Closed,
    /// The broker stops.
    Shutdown,
    /// The socket failed, or the peer left in the middle of something.
    Io(io::Error),
    /// We close it; API key and version when the header told them.
    Refused(Close, Option<(i16, i16)>),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        stream: TcpStream,
        address: SocketAddr,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            shared,
            stream,
            input: BytesMut::new(),
            session: Session::new(address),
            shutdown,
        }
    }

    /// Serves requests until either side ends the connection.
    pub(super) async fn run(mut self) {
        let counted = Counted::new(&self.shared);
        let end = self.serve().await;
        drop(counted);
        let address = self.session.address;
        let client_id = self.session.client_id();
        match end {
            End::Closed => tracing::debug!(%address, client_id, "connection closed by the client"),
            End::Shutdown | End::Refused(Close::Shutdown, _) => {
                tracing::debug!(%address, client_id, "connection closed by the broker's stop");
            }
            End::Io(error) => tracing::debug!(%address, client_id, %error, "connection lost"),
            End::Refused(reason, key) => {
                let (api_key, version) = key.unzip();
                tracing::warn!(
                    %address,
                    client_id,
                    client_software = self.session.client_software(),
                    api_key,
                    version,
                    %reason,
                    "connection closed by the broker"
                );
            }
        }
    }

    async fn serve(&mut self) -> End {
        let shutdown = self.shutdown.clone();
        let mut stopped = pin!(shutdown.cancelled());
        loop {
            let read = if self.shutdown.is_cancelled() {
                return End::Shutdown;
            } else {
                tokio::select! {
                    biased;
                    read = self.read_frame() => read,
                    () = &mut stopped => return End::Shutdown,
                }
            };
            let (frame, memory) = match read {
                Ok(Some(read)) => read,
                Ok(None) => return End::Closed,
                Err(end) => return end,
            };
            // Boxed, so that the task of an idle connection stays small.
            if let Err(end) = Box::pin(self.answer(frame, memory)).await {
                return end;
            }
        }
    }

    async fn answer(
        &mut self,
        frame: BytesMut,
        memory: Option<OwnedSemaphorePermit>,
    ) -> Result<(), End> {
        let shared = Arc::clone(&self.shared);
        let started = Instant::now();
        shared
            .metrics
            .bytes_in
            .increment((frame.len() + PREFIX_BYTES) as u64);
        let key = read_key(&frame);
        let reply = dispatch(
            &shared.broker,
            &mut self.session,
            frame,
            memory,
            &self.shutdown,
        )
        .await
        .map_err(|close| End::Refused(close, key))?;
        shared.metrics.request(&reply, started.elapsed());
        if let Some(chunks) = reply.frame {
            let bytes: usize = chunks.iter().map(Bytes::len).sum();
            self.write(&chunks).await?;
            shared.metrics.bytes_out.increment(bytes as u64);
        }
        drop(reply.memory);
        self.mute(reply.throttle_ms).await
    }

    /// Reads nothing for so long: the client was told to wait, and is held to it (KIP-219).
    async fn mute(&self, throttle_ms: i64) -> Result<(), End> {
        if throttle_ms <= 0 {
            return Ok(());
        }
        let wait = Duration::from_millis(throttle_ms.unsigned_abs());
        self.shared.metrics.throttled(wait);
        tokio::select! {
            () = sleep(wait) => Ok(()),
            () = self.shutdown.cancelled() => Err(End::Shutdown),
        }
    }

    /// The next frame without its length prefix, and its share of the request memory; `None` when
    /// the peer closed the connection between two frames.
    async fn read_frame(
        &mut self,
    ) -> Result<Option<(BytesMut, Option<OwnedSemaphorePermit>)>, End> {
        let prefix = loop {
            if let Some(prefix) = self.input.first_chunk::<PREFIX_BYTES>() {
                break *prefix;
            }
            if self.read_head().await? == 0 {
                return if self.input.is_empty() {
                    Ok(None)
                } else {
                    Err(cut_off())
                };
            }
        };
        let limit = self.shared.broker.config.socket_request_bytes_max;
        let length =
            frame_length(prefix, limit).map_err(|error| End::Refused(error.into(), None))?;
        let mut memory = None;
        let mut reserved = length.min(UNCOUNTED_BYTES_MAX);
        self.input.advance(PREFIX_BYTES);
        while let Some(missing) = length.checked_sub(self.input.len())
            && missing > 0
        {
            if reserved <= self.input.len() {
                let step = (length - reserved).min(BODY_BYTES_STEP.max(self.input.len()));
                self.reserve_memory(&mut memory, step).await?;
                reserved += step;
            }
            if self.input.capacity() == self.input.len() || self.input.len() < HEAD_BYTES {
                self.input
                    .reserve(missing.min(BODY_BYTES_STEP.max(self.input.len())));
            }
            // Never beyond this frame: the next one shall lie in a buffer of its own. Never beyond
            // what is reserved either.
            let room = missing.min(reserved.saturating_sub(self.input.len()).max(1));
            let mut room = (&mut self.input).limit(room);
            if in_time(STALL_MAX, self.stream.read_buf(&mut room)).await? == 0 {
                return Err(cut_off());
            }
        }
        let frame = self.input.split_to(length);
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        Ok(Some((frame, memory)))
    }

    /// Takes `bytes` of the request memory on top of what the frame has. What is announced takes
    /// nothing: a share grows with what has arrived, so that half-open connections starve nobody.
    /// Two large frames may wait for each other; the time limit breaks that.
    async fn reserve_memory(
        &self,
        memory: &mut Option<OwnedSemaphorePermit>,
        bytes: usize,
    ) -> Result<(), End> {
        let share = u32::try_from(bytes.min(self.shared.memory_bytes)).unwrap_or(u32::MAX);
        let taken = timeout(
            MEMORY_WAIT_MAX,
            Arc::clone(&self.shared.memory).acquire_many_owned(share),
        )
        .await
        .map_err(|_| {
            End::Io(io::Error::new(
                io::ErrorKind::OutOfMemory,
                "the request memory stayed used up",
            ))
        })?
        .map_err(|_| End::Shutdown)?;
        match memory {
            Some(held) => held.merge(taken),
            None => *memory = Some(taken),
        }
        Ok(())
    }

    /// Waits for the beginning of a frame without holding a buffer meanwhile; 0 at the end.
    async fn read_head(&mut self) -> Result<usize, End> {
        let Self { stream, input, .. } = self;
        let read = poll_fn(|context| {
            let mut bytes = [0; HEAD_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = Pin::new(&mut *stream).poll_read(context, &mut buffer);
            read.map_ok(|()| {
                input.extend_from_slice(buffer.filled());
                buffer.filled().len()
            })
        });
        in_time(IDLE_MAX, read).await
    }

    async fn write(&self, chunks: &[Bytes]) -> Result<(), End> {
        let mut first = 0;
        let mut skipped = 0;
        while first < chunks.len() {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES_MAX];
            let mut count = 0;
            for (slice, chunk) in slices.iter_mut().zip(&chunks[first..]) {
                let start = if count == 0 { skipped } else { 0 };
                *slice = IoSlice::new(chunk.get(start..).unwrap_or_default());
                count += 1;
            }
            match self.stream.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => {
                    let mut left = written + skipped;
                    skipped = 0;
                    while let Some(chunk) = chunks.get(first) {
                        if left < chunk.len() {
                            skipped = left;
                            break;
                        }
                        left -= chunk.len();
                        first += 1;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    in_time(STALL_MAX, self.stream.writable()).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The outcome of reading or writing, or an error after `wait_max`.
async fn in_time<T>(
    wait_max: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, End> {
    match timeout(wait_max, work).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(End::Io(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("nothing moved for {} s", wait_max.as_secs()),
        ))),
    }
}

fn cut_off() -> End {
    End::Io(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "connection ended within a request",
    ))
}

/// API key and version, for the log.
fn read_key(frame: &[u8]) -> Option<(i16, i16)> {
    let [a, b, c, d] = *frame.first_chunk()?;
    Some((i16::from_be_bytes([a, b]), i16::from_be_bytes([c, d])))
}
