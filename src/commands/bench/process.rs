//! Server processes that a measurement starts, looks at from outside and stops.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Failure;
use crate::telemetry::cpu_seconds;

/// A process of this very program; dropped, it is gone.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Where its HTTP listener is.
    pub(super) http: String,
    /// From before the process was made to its first answer.
    pub(super) ready_after: Duration,
}

/// A server that does not answer by then is broken.
const START_MAX: Duration = Duration::from_secs(120);

/// How often a starting server is tried.
const TRY_INTERVAL: Duration = Duration::from_micros(200);

impl Process {
    /// Starts `assay` with what `arguments` makes of a free address, and waits for its first answer.
    pub(super) async fn start(
        arguments: impl FnOnce(&str) -> Vec<String>,
    ) -> Result<Self, Failure> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let http = address.to_string();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments(&http)).stdout(Stdio::null());
        let started = Instant::now();
        let mut child = command.spawn()?;
        let waiting = tokio::task::spawn_blocking(move || wait_for_answer(address, started));
        match waiting.await? {
            Ok(ready_after) => Ok(Self {
                child,
                http,
                ready_after,
            }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// User and system time so far, in seconds.
    pub(super) fn cpu_seconds(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        cpu_seconds(&stat)
    }

    /// Memory now and at most, in MiB.
    pub(super) fn memory_mib(&self) -> Option<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let kilobytes = |key: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        Some((kilobytes("VmRSS:")? / 1024, kilobytes("VmHWM:")? / 1024))
    }

    /// Files, sockets and the like that it has open.
    pub(super) fn open_files(&self) -> Option<usize> {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).ok()?;
        Some(open.count())
    }

    /// SIGKILL; waits for the end.
    pub(super) fn kill(mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM; waits for the end.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status()?;
        let stopped = tokio::task::spawn_blocking(move || self.child.wait()).await??;
        if told.success() && stopped.success() {
            Ok(())
        } else {
            Err(format!("a server did not stop in order: {stopped}").into())
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After `stop` both fail, and that is fine.
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn wait_for_answer(address: SocketAddr, started: Instant) -> Result<Duration, Failure> {
    loop {
        if is_answered(address) {
            return Ok(started.elapsed());
        }
        if started.elapsed() > START_MAX {
            return Err(format!("the server did not answer within {START_MAX:?}").into());
        }
        std::thread::sleep(TRY_INTERVAL);
    }
}

/// Whether the registry at the address answers; while it starts it answers 503.
fn is_answered(address: SocketAddr) -> bool {
    let asked = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /subjects HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut status = vec![0; 12];
        stream.read_exact(&mut status)?;
        Ok(status)
    };
    asked().is_ok_and(|status| status.ends_with(b" 200"))
}

/// A folder that goes with its owner.
#[derive(Debug)]
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    /// Makes one in `parent`, or in the system's temporary folder.
    pub(super) fn make(parent: Option<&Path>) -> Result<Self, Failure> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let path = parent.join(format!("assay-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "a folder is left behind");
        }
    }
}
