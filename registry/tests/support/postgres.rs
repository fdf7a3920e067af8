//! A PostgreSQL server of the tests' own: free port, data directory, nothing shared.
//!
//! The server runs under a small shell that stops it and removes its directory as soon as the test
//! process is gone, however that ends. PostgreSQL refuses to run as root, so root runs it as the
//! `postgres` user that its package creates.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A server; dropped, it is gone.
pub(crate) struct Postgres {
    shell: Child,
    /// None once the shell was told to clear up.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    binaries: PathBuf,
    pub(crate) port: u16,
}

/// `$1` binaries, `$2` data directory, `$3` port, `$4` whether commits wait for the disk.
const SHELL: &str = r#"
start() {
  "$1/postgres" -D "$2" -p "$3" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c fsync="$4" -c max_connections=200 -c logging_collector=off 2>>"$2/log" </dev/null >/dev/null &
  pid=$!
  until "$1/pg_isready" -q -h 127.0.0.1 -p "$3"; do
    kill -0 $pid 2>/dev/null || { cat "$2/log" >&2; exit 1; }
    sleep 0.05
  done
}
stop() { kill -$1 $pid; wait $pid; }
"$1/initdb" -D "$2" -U postgres -A trust -E UTF8 --locale=C --no-sync >/dev/null || exit 1
start "$@"
echo ready
while read -r command; do
  case $command in
    start) start "$@" ;;
    stop) stop INT ;;
    crash) stop QUIT ;;
  esac
  echo done
done
stop QUIT
rm -rf "$2"
"#;

impl Postgres {
    /// Starts a server whose commits do not wait for the disk; None, with a printed line, where
    /// PostgreSQL is not installed.
    #[allow(
        dead_code,
        reason = "not every program that includes this file trusts the disk so little"
    )]
    pub(crate) fn start() -> Option<Self> {
        Self::start_with("off")
    }

    /// The same with `fsync` as told.
    pub(crate) fn start_with(fsync: &str) -> Option<Self> {
        let Some(binaries) = binaries() else {
            println!("skipped: no PostgreSQL server is installed (cargo xtask setup installs one)");
            return None;
        };
        let data = data_directory();
        let port = free_port();
        let mut command = Command::new("sh");
        command
            .args(["-c", SHELL, "sh"])
            .arg(&binaries)
            .arg(&data)
            .arg(port.to_string())
            .arg(fsync)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A signal to the test's group must not reach the server before the shell.
            .process_group(0);
        if let Some((user, group)) = unprivileged() {
            command.uid(user).gid(group);
        }
        let mut shell = command.spawn().expect("a shell starts");
        let commands = shell.stdin.take().expect("stdin is piped");
        let answers = BufReader::new(shell.stdout.take().expect("stdout is piped"));
        let mut server = Self {
            shell,
            commands: Some(commands),
            answers,
            binaries,
            port,
        };
        server.expect_answer("ready");
        Some(server)
    }

    /// A new, empty database; its URL.
    pub(crate) fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("registry_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs a statement; what it selects, one row a line.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> String {
        let ran = Command::new(self.binaries.join("psql"))
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement])
            .arg(self.url(database))
            .output()
            .expect("psql runs");
        assert!(
            ran.status.success(),
            "{statement}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
        String::from_utf8_lossy(&ran.stdout).trim_end().to_owned()
    }

    /// Ends every session and the server, in order.
    #[allow(
        dead_code,
        reason = "not every suite that includes this file stops its server"
    )]
    pub(crate) fn stop(&mut self) {
        self.tell("stop");
    }

    /// Ends the server as a crash would: it recovers from its log on the next start.
    #[allow(
        dead_code,
        reason = "not every suite that includes this file stops its server"
    )]
    pub(crate) fn crash(&mut self) {
        self.tell("crash");
    }

    /// Starts it again on the same directory and port.
    #[allow(
        dead_code,
        reason = "not every suite that includes this file stops its server"
    )]
    pub(crate) fn restart(&mut self) {
        self.tell("start");
    }

    fn tell(&mut self, command: &str) {
        let commands = self.commands.as_mut().expect("the shell runs");
        writeln!(commands, "{command}").expect("the shell reads");
        self.expect_answer("done");
    }

    fn expect_answer(&mut self, answer: &str) {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the shell answers");
        assert_eq!(
            line.trim_end(),
            answer,
            "the PostgreSQL server does not run"
        );
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The end of its input is the shell's sign to clear up.
        drop(self.commands.take());
        let _reaped = self.shell.wait();
    }
}

/// Where the server's programs are: in the newest version's folder on Debian, else in the path.
fn binaries() -> Option<PathBuf> {
    let mut candidates: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    candidates.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let path = std::env::var_os("PATH").unwrap_or_default();
    candidates
        .into_iter()
        .map(|(_, path)| path)
        .chain(std::env::split_paths(&path))
        .find(|folder| {
            ["initdb", "postgres", "pg_isready", "psql"]
                .iter()
                .all(|program| folder.join(program).exists())
        })
}

/// A directory that the server may use; the shell removes it.
fn data_directory() -> PathBuf {
    let path = tempfile::Builder::new()
        .prefix("assay-postgres-")
        .tempdir()
        .expect("a temporary directory")
        .keep();
    if let Some((user, group)) = unprivileged() {
        std::os::unix::fs::chown(&path, Some(user), Some(group)).expect("chown as root");
    }
    path
}

/// The `postgres` user and group, when this is root.
fn unprivileged() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata("/proc/self").ok()?.uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string(Path::new("/etc/passwd")).ok()?;
    let user = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = user.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
