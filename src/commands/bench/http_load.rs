//! HTTP load that costs little: requests are bytes made beforehand, answers are read just far
//! enough to know that they are whole and good.
//!
//! Knows nothing of the registry. [`closed_loop`] asks again as soon as it is answered, for
//! throughput; [`open_loop`] asks by the clock, for latency.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Failure;

/// A request that is sent as it is.
pub(super) fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: bench\r\n\
         Accept: application/vnd.schemaregistry.v1+json\r\n\
         Content-Type: application/vnd.schemaregistry.v1+json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A request as clients send it that have nothing to say but the path.
pub(super) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes()
}

/// How far an answer has been read.
#[derive(Debug, Default)]
struct Answer {
    bytes: Vec<u8>,
    filled: usize,
}

/// Larger answers are not asked for.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

impl Answer {
    /// Room for more bytes.
    fn room(&mut self) -> Result<&mut [u8], Failure> {
        if self.filled == self.bytes.len() {
            if self.bytes.len() >= ANSWER_BYTES_MAX {
                return Err("an answer is longer than this load expects".into());
            }
            self.bytes.resize((self.bytes.len() * 2).max(8 * 1024), 0);
        }
        Ok(self.bytes.get_mut(self.filled..).unwrap_or_default())
    }

    fn grown(&mut self, count: usize) -> Result<(), Failure> {
        if count == 0 {
            return Err("the server closed the connection".into());
        }
        self.filled += count;
        Ok(())
    }

    /// Status and body once all of it is there.
    fn whole(&self) -> Result<Option<(u16, &[u8])>, Failure> {
        let read = self.bytes.get(..self.filled).unwrap_or_default();
        let Some(head_bytes) = read.windows(4).position(|end| end == b"\r\n\r\n") else {
            return Ok(None);
        };
        let (head, body) = read.split_at(head_bytes + 4);
        let head = std::str::from_utf8(head)?;
        let status = head.get(9..12).unwrap_or_default().parse()?;
        let length: usize = head
            .lines()
            .find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.trim().parse().ok())?
            })
            .ok_or("an answer does not tell its length")?;
        Ok(body.get(..length).map(|body| (status, body)))
    }
}

/// A connection that is kept, with one request on its way at a time.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    answer: Answer,
}

impl Connection {
    pub(super) async fn open(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            answer: Answer::default(),
        })
    }

    /// Status and body of the answer.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<(u16, &[u8]), Failure> {
        self.stream.write_all(request).await?;
        self.answer.filled = 0;
        while self.answer.whole()?.is_none() {
            let count = self.stream.read(self.answer.room()?).await?;
            self.answer.grown(count)?;
        }
        Ok(self.answer.whole()?.unwrap_or_default())
    }

    /// The body of a good answer.
    pub(super) async fn good(&mut self, request: &[u8]) -> Result<&[u8], Failure> {
        let (status, body) = self.exchange(request).await?;
        require_good(status, body)?;
        Ok(body)
    }
}

/// Refusals are answered fast: the figures would be of nothing.
fn require_good(status: u16, body: &[u8]) -> Result<(), Failure> {
    if status == 200 {
        return Ok(());
    }
    let body = String::from_utf8_lossy(body);
    Err(format!("the server answered {status}: {body}").into())
}

/// What was answered, and when.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) answers: u64,
    pub(super) elapsed: Duration,
    /// In microseconds.
    pub(super) latencies: Histogram<u64>,
}

impl Load {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(super) fn per_second(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64()
    }

    /// Of the latencies, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(super) fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }
}

fn latencies() -> Result<Histogram<u64>, Failure> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Sends one request after the other on each of `connections` connections. `next` makes the request
/// of a connection, in place; the load ends where it answers false.
pub(super) async fn closed_loop<N>(
    address: &str,
    connections: usize,
    next: impl Fn(usize) -> N,
) -> Result<Load, Failure>
where
    N: FnMut(&mut Vec<u8>) -> bool + Send + 'static,
{
    let mut opened = Vec::new();
    for _ in 0..connections {
        opened.push(Connection::open(address).await?);
    }
    let started = Instant::now();
    let tasks: Vec<_> = opened
        .into_iter()
        .enumerate()
        .map(|(number, mut connection)| {
            let mut next = next(number);
            tokio::spawn(async move {
                let mut latencies = latencies()?;
                let mut request = Vec::new();
                while next(&mut request) {
                    let since = Instant::now();
                    connection.good(&request).await?;
                    latencies.saturating_record(micros(since));
                }
                Ok::<_, Failure>(latencies)
            })
        })
        .collect();
    let mut all = latencies()?;
    for task in tasks {
        all.add(task.await??)?;
    }
    Ok(Load {
        answers: all.len(),
        elapsed: started.elapsed(),
        latencies: all,
    })
}

/// Connections that share an open loop's requests: more than ever wait at once.
const OPEN_LOOP_CONNECTIONS: u32 = 16;

/// Sends `request` so many times a second, whether or not earlier ones are answered. A request's
/// latency counts from its time on the clock where the server held it up, else from when it was
/// sent: how exactly a thread of the load wakes up is not the server's.
///
/// Blocking: threads wake up more exactly than a runtime's timer, which counts milliseconds.
pub(super) fn open_loop(
    address: &str,
    request: &[u8],
    per_second: u32,
    seconds: u32,
) -> Result<Load, Failure> {
    let started = Instant::now() + Duration::from_millis(20);
    let per_connection = per_second * seconds / OPEN_LOOP_CONNECTIONS;
    let one = |number: u32| -> Result<Histogram<u64>, Failure> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut latencies = latencies()?;
        let mut answer = Answer::default();
        for turn in 0..per_connection {
            let place = turn * OPEN_LOOP_CONNECTIONS + number;
            let due = started + Duration::from_secs(1) * place / per_second;
            let early = due.saturating_duration_since(Instant::now());
            std::thread::sleep(early);
            let since = if early.is_zero() { due } else { Instant::now() };
            stream.write_all(request)?;
            answer.filled = 0;
            while answer.whole()?.is_none() {
                let count = stream.read(answer.room()?)?;
                answer.grown(count)?;
            }
            latencies.saturating_record(micros(since));
            let (status, body) = answer.whole()?.unwrap_or_default();
            require_good(status, body)?;
        }
        Ok(latencies)
    };
    let mut all = latencies()?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..OPEN_LOOP_CONNECTIONS)
            .map(|number| scope.spawn(move || one(number)))
            .collect();
        for thread in threads {
            let latencies = thread.join().map_err(|_| "a thread of the load failed")??;
            all.add(latencies)?;
        }
        Ok::<_, Failure>(())
    })?;
    Ok(Load {
        answers: all.len(),
        elapsed: started.elapsed(),
        latencies: all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_when_their_body_is() {
        let read = |text: &str| -> Result<Option<(u16, String)>, String> {
            let answer = Answer {
                bytes: text.as_bytes().to_vec(),
                filled: text.len(),
            };
            let whole = answer.whole().map_err(|error| error.to_string())?;
            Ok(whole.map(|(status, body)| (status, String::from_utf8_lossy(body).into_owned())))
        };
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(read("HTTP/1.1 20").unwrap(), None);
        assert_eq!(read(head).unwrap(), None);
        assert_eq!(
            read(&format!("{head}{{}}")).unwrap(),
            Some((200, "{}".into()))
        );
        assert!(read("HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(read("nonsense\r\n\r\n").is_err());
    }

    #[tokio::test]
    async fn a_refusal_ends_the_load() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in [
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n\r\nbusy",
            ] {
                let mut request = [0; 64];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let load = closed_loop(&address, 1, |_| {
            |request: &mut Vec<u8>| {
                *request = get("/");
                true
            }
        });
        let error = load.await.unwrap_err().to_string();
        assert_eq!(error, "the server answered 429: busy");
    }
}
