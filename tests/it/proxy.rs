//! A network that can be cut: bytes pass through, or stop without a word.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Between clients and one server.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: String,
    is_cut: AtomicBool,
    /// Both ends of every connection.
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Listens on a free port for as long as the process lives.
    pub(crate) fn to(server: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared {
            server,
            is_cut: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepting.connect(client);
            }
        });
        Self { port, shared }
    }

    /// Nothing passes any more, in either direction, and nobody is told.
    pub(crate) fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
    }

    /// New connections pass again; the old ones are gone, as after a change of routes.
    pub(crate) fn heal(&self) {
        for stream in self.shared.open.lock().expect("no panic").drain(..) {
            let _gone_already = stream.shutdown(Shutdown::Both);
        }
        self.shared.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, client: TcpStream) {
        let mut ends = vec![client.try_clone().expect("a second handle")];
        if !self.is_cut.load(Ordering::SeqCst)
            && let Ok(server) = TcpStream::connect(&self.server)
        {
            ends.push(server.try_clone().expect("a second handle"));
            for (from, to) in [(&client, &server), (&server, &client)] {
                let from = from.try_clone().expect("a second handle");
                let to = to.try_clone().expect("a second handle");
                let shared = Arc::clone(self);
                std::thread::spawn(move || shared.copy(from, to));
            }
        } else if !self.is_cut.load(Ordering::SeqCst) {
            let _refused = client.shutdown(Shutdown::Both);
        }
        self.open.lock().expect("no panic").extend(ends);
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if self.is_cut.load(Ordering::SeqCst) {
                // What was on its way is lost; the connection stays, and stays silent.
                continue;
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        if !self.is_cut.load(Ordering::SeqCst) {
            let _gone_already = to.shutdown(Shutdown::Both);
        }
    }
}
