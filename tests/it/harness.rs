//! Starts the real binary, talks HTTP to it, kills it, starts it again.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take on a loaded machine before it counts as hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A server process on a data directory of its own.
pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) data: TempDir,
    pub(crate) kafka: String,
    pub(crate) http: String,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    /// The command that runs the server; empty where nothing but the server itself runs.
    wrapper: Vec<String>,
}

impl Server {
    /// Starts `assay serve` on free ports and waits for its ready line.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with more flags.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_in(&[], arguments)
    }

    /// The same, with environment variables and more flags.
    pub(crate) fn start_in(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let data = TempDir::new().expect("a temporary directory");
        Self::start_all(data, Vec::new(), variables, arguments)
    }

    /// The same, in a directory that is there already, by a command that runs what follows it. The
    /// server keeps its data in `data` below the directory.
    pub(crate) fn start_by(data: TempDir, wrapper: &[&str]) -> Self {
        let wrapper = wrapper.iter().map(|part| (*part).to_owned()).collect();
        Self::start_all(data, wrapper, &[], &[])
    }

    fn start_all(
        data: TempDir,
        wrapper: Vec<String>,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        let mut server = Self {
            child: None,
            data,
            wrapper,
            kafka: format!("127.0.0.1:{}", free_port()),
            http: format!("127.0.0.1:{}", free_port()),
            arguments: arguments
                .iter()
                .map(|argument| (*argument).to_owned())
                .collect(),
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        server.spawn();
        server
    }

    /// Starts the process again on the same directory and ports.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "the server is running already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.data.path().join("server.log"))
            .expect("a log file");
        let mut parts = self.wrapper.iter().map(String::as_str);
        let program = env!("CARGO_BIN_EXE_assay");
        let mut command = Command::new(parts.next().unwrap_or(program));
        if !self.wrapper.is_empty() {
            command.args(parts).arg(program);
        }
        let mut child = command
            .args([
                "serve",
                "--kafka",
                &self.kafka,
                "--http",
                &self.http,
                "--data",
            ])
            .arg(self.data.path().join("data"))
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the assay binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let ready =
            lines.find_map(|line| line.ok().filter(|line| line.starts_with("assay ready ")));
        assert!(ready.is_some(), "no ready line; its log:\n{}", self.log());
        self.child = Some(child);
    }

    /// What the server wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("server.log")).unwrap_or_default()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().expect("SIGKILL is sent");
        child.wait().expect("the process ends");
    }

    /// Id of the running process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Sends a signal to the running process.
    pub(crate) fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("the server runs");
        let status = Command::new("kill")
            .args([name, &child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    /// SIGTERM; asserts a clean exit within ten seconds.
    pub(crate) fn terminate(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        let started = Instant::now();
        let status = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
        let exit = wait(&mut child, Duration::from_secs(15)).expect("the server stops on SIGTERM");
        assert!(exit.success(), "exit {exit}; its log:\n{}", self.log());
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "took {:?}",
            started.elapsed()
        );
    }

    /// Registry URL.
    pub(crate) fn registry(&self) -> String {
        format!("http://{}", self.http)
    }

    /// GET; status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path, "")
    }

    /// GET of JSON with status 200.
    pub(crate) fn get_json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// POST of JSON; status and JSON body.
    pub(crate) fn post_json(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.request("POST", path, &body.to_string());
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Sends a request; status and body.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        try_request(&self.http, method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path} at {}: {error}", self.http))
    }

    /// Runs an `assay` client command against this server.
    pub(crate) fn assay(&self, arguments: &[&str], input: &str) -> Ran {
        run(
            Command::new(env!("CARGO_BIN_EXE_assay"))
                .args(arguments)
                .env("KAFKA_BOOTSTRAP_SERVERS", &self.kafka)
                .env("SCHEMA_REGISTRY_URL", self.registry()),
            input,
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _gone_already = child.kill();
            let _reaped = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- server log ---\n{}", self.log());
        }
    }
}

/// Sends a request to a server that may be killed meanwhile; status and body.
pub(crate) fn try_request(
    address: &str,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let cut_short = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    let response = String::from_utf8_lossy(&response);
    let (head, body) = response.split_once("\r\n\r\n").ok_or_else(cut_short)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let head = head.to_ascii_lowercase();
    let body = if head.contains("transfer-encoding: chunked") {
        unchunk(body)
    } else {
        body.to_owned()
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    if length.is_some_and(|length: usize| body.len() < length) {
        return Err(cut_short());
    }
    Ok((status.ok_or_else(cut_short)?, body))
}

/// A finished program.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Asserts exit code 0 and answers standard output.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!(
            self.code,
            Some(0),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self.stdout
    }
}

/// Runs a program to its end, feeding `input`, within [`PATIENCE`].
pub(crate) fn run(command: &mut Command, input: &str) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_owned();
    let feeder = std::thread::spawn(move || {
        // A program that ends early closes the pipe; its exit code tells.
        let _closed_early = stdin.write_all(input.as_bytes());
    });
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let mut stderr = child.stderr.take().expect("stderr is piped");
    let out = std::thread::spawn(move || read_all(&mut stdout));
    let err = std::thread::spawn(move || read_all(&mut stderr));
    let status = wait(&mut child, PATIENCE);
    if status.is_none() {
        child.kill().expect("SIGKILL is sent");
        child.wait().expect("the process ends");
    }
    feeder.join().expect("the feeder ends");
    let stdout = out.join().expect("stdout is read");
    let stderr = err.join().expect("stderr is read");
    assert!(
        status.is_some(),
        "{command:?} still ran after {PATIENCE:?}\nstdout:\n{stdout}\nstderr:\n{stderr}"
    );
    Ran {
        code: status.and_then(|status| status.code()),
        stdout,
        stderr,
    }
}

/// The client programs' folder, after `cargo xtask setup`.
pub(crate) fn clients_dir() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    assert!(
        ["build/franz-go-client", "build/converter-client", ".venv"]
            .iter()
            .all(|part| folder.join(part).exists()),
        "the client programs are not installed: run `cargo xtask setup` first"
    );
    folder
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "{what} did not happen within {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn wait(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn read_all(pipe: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).expect("the pipe is read");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn unchunk(body: &str) -> String {
    let mut out = String::new();
    let mut rest = body;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else {
            break;
        };
        if size == 0 || after.len() < size {
            break;
        }
        out.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    out
}

/// A port below the ephemeral range, so that no outgoing connection takes it while a server is
/// down between two starts.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 10_000 + u16::try_from(std::process::id() % 150).unwrap_or(0) * 100;
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 4_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
