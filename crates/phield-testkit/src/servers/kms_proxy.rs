//! What stands between the SDK and an emulator of KMS, and fails as told.

mod http;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::process::fail;
use http::{Answer, Request};

/// Ports that the system gives to nobody who asks for any port, so that one can be left and taken again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How long a port that was left is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a [`KmsProxy`] fails.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Not at all: calls go to the emulator.
    None,
    /// Nobody listens: connections are refused, and those that are open are closed.
    Refuse,
    /// Connections are taken and calls read; no answer ever comes.
    BlackHole,
    /// An HTTP status without a code of KMS, as load balancers and proxies give it.
    Status(u16),
    /// `ThrottlingException`
    Throttle,
    /// `AccessDeniedException`
    AccessDenied,
    /// `DisabledException`
    Disabled,
    /// `KMSInvalidStateException`, of a key that is pending deletion.
    PendingDeletion,
    /// Any other error of KMS, by HTTP status and code.
    Error(u16, &'static str),
    /// This HTTP status and JSON, whatever was asked.
    Answer(u16, String),
    /// Calls go to the emulator this much later.
    Delay(Duration),
}

/// A proxy on a port of its own in front of an emulator of KMS. Everything it does can be changed while it runs.
///
/// ```no_run
/// use phield_testkit::servers::{Fault, KmsProxy, MotoServer};
///
/// let proxy = KmsProxy::start(MotoServer::shared().port());
/// println!("{}", proxy.url()); // the endpoint for the SDK
/// proxy.set(Fault::Refuse);
/// proxy.set(Fault::None); // on the same port again
/// assert_eq!(proxy.calls(), 0);
/// ```
#[derive(Debug)]
pub struct KmsProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl KmsProxy {
    /// A proxy in front of the server on this port of the loopback interface.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start(upstream: u16) -> Self {
        Self::with_upstream(Some(upstream))
    }

    /// A server of faults with nothing behind it: without a fault it answers with the status 502.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn alone() -> Self {
        Self::with_upstream(None)
    }

    fn with_upstream(upstream: Option<u16>) -> Self {
        let shared = Arc::new(Shared {
            upstream,
            ..Shared::default()
        });
        let listener = bind_new().unwrap_or_else(|| fail("there is no free port"));
        let address = listener
            .local_addr()
            .unwrap_or_else(|_| fail("a bound socket has an address"));
        let thread = listen(listener, Arc::clone(&shared));
        Self {
            address,
            shared,
            listener: Mutex::new(Some(thread)),
        }
    }

    /// The endpoint: `http://127.…:…`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Fails like this from now on. Once it returns, new calls see it; calls in a black hole end without an answer.
    ///
    /// # Panics
    /// When its port was taken by somebody else while it refused connections.
    pub fn set(&self, fault: Fault) {
        let refuse = fault == Fault::Refuse;
        {
            let mut state = self.shared.state();
            state.fault = fault;
            state.changes += 1;
        }
        self.shared.changed.notify_all();
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        match (refuse, listener.take()) {
            (true, Some(thread)) => self.leave(thread),
            (false, None) => *listener = Some(listen(self.bind_again(), Arc::clone(&self.shared))),
            (_, as_it_is) => *listener = as_it_is,
        }
    }

    /// Calls that were read, those that failed as told included; connections that were refused are not.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.shared.state().calls.values().sum()
    }

    /// Calls of one operation: `Decrypt`.
    #[must_use]
    pub fn calls_of(&self, operation: &str) -> usize {
        self.shared
            .state()
            .calls
            .get(operation)
            .copied()
            .unwrap_or_default()
    }

    /// The most calls that were under way at one time.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.shared.most_under_way.load(Ordering::SeqCst)
    }

    /// The JSON of the last call.
    #[must_use]
    pub fn last_call(&self) -> String {
        self.shared.state().last_call.clone()
    }

    /// Closes the port and every connection.
    fn leave(&self, listener: JoinHandle<()>) {
        self.shared.state().leaving = true;
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
        listener
            .join()
            .unwrap_or_else(|_| fail("the proxy's listener panicked"));
        let mut state = self.shared.state();
        state.leaving = false;
        for connection in std::mem::take(&mut state.connections).into_values() {
            // The client may have been faster.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn bind_again(&self) -> TcpListener {
        let pause = Duration::from_millis(20);
        for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
            if let Ok(listener) = TcpListener::bind(self.address) {
                return listener;
            }
            std::thread::sleep(pause);
        }
        fail("somebody else took the proxy's port while it refused connections")
    }
}

/// Takes a port that no other proxy had: one that refuses connections has left its own, and comes back to it. Other
/// processes have other addresses of the loopback network.
fn bind_new() -> Option<TcpListener> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 77, high, low.max(1));
    let mut ports = PORTS.skip(NEXT.fetch_add(1, Ordering::SeqCst));
    ports.find_map(|port| {
        let listener = TcpListener::bind((address, port)).ok()?;
        NEXT.fetch_max(usize::from(port - PORTS.start) + 1, Ordering::SeqCst);
        Some(listener)
    })
}

impl Drop for KmsProxy {
    fn drop(&mut self) {
        self.set(Fault::Refuse);
    }
}

#[derive(Debug, Default)]
struct Shared {
    upstream: Option<u16>,
    state: Mutex<State>,
    changed: Condvar,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    /// How often the fault was set.
    changes: usize,
    leaving: bool,
    calls: BTreeMap<String, usize>,
    last_call: String,
    connections: BTreeMap<usize, TcpStream>,
    next_connection: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            fault: Fault::None,
            changes: 0,
            leaving: false,
            calls: BTreeMap::new(),
            last_call: String::new(),
            connections: BTreeMap::new(),
            next_connection: 0,
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and says what to do with it.
    fn count(&self, request: &Request) -> (Fault, usize) {
        let mut state = self.state();
        *state.calls.entry(request.operation().to_owned()).or_default() += 1;
        state.last_call = String::from_utf8_lossy(request.body()).into_owned();
        (state.fault.clone(), state.changes)
    }

    /// Answers calls until the client or the proxy closes the connection.
    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        while let Some(request) = Request::read(&mut client)? {
            let (fault, change) = self.count(&request);
            let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_under_way.fetch_max(under_way, Ordering::SeqCst);
            let answer = self.answer(&request, fault, change, &client);
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            match answer {
                Some(answer) => answer.write(&mut client)?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// `None` when there is none, and the connection is closed.
    fn answer(&self, request: &Request, fault: Fault, change: usize, client: &TcpStream) -> Option<Answer> {
        match fault {
            Fault::None => Some(self.forward(request)),
            Fault::Delay(delay) => {
                std::thread::sleep(delay);
                Some(self.forward(request))
            }
            Fault::Refuse => None,
            Fault::BlackHole => {
                self.wait(change, client);
                None
            }
            Fault::Status(status) => Some(Answer::text(status, "text/html", "<html>An error</html>")),
            Fault::Throttle => Some(Answer::error(400, "ThrottlingException")),
            Fault::AccessDenied => Some(Answer::error(400, "AccessDeniedException")),
            Fault::Disabled => Some(Answer::error(400, "DisabledException")),
            Fault::PendingDeletion => Some(Answer::error(400, "KMSInvalidStateException")),
            Fault::Error(status, code) => Some(Answer::error(status, code)),
            Fault::Answer(status, json) => Some(Answer::text(status, "application/x-amz-json-1.1", &json)),
        }
    }

    fn forward(&self, request: &Request) -> Answer {
        let forwarded = self.upstream.map(|port| request.forward(port));
        let none = || Answer::text(502, "text/plain", "the server behind the proxy does not answer");
        forwarded.and_then(Result::ok).unwrap_or_else(none)
    }

    /// Until the fault is another one, or the client has gone.
    fn wait(&self, change: usize, client: &TcpStream) {
        let mut state = self.state();
        while state.changes == change && !has_gone(client) {
            let waited = self.changed.wait_timeout(state, Duration::from_millis(50));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn has_gone(client: &TcpStream) -> bool {
    let peeked = client.set_nonblocking(true).and_then(|()| client.peek(&mut [0]));
    let gone = matches!(peeked, Ok(0));
    gone || client.set_nonblocking(false).is_err()
}

/// Takes connections until the proxy leaves its port.
fn listen(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { continue };
            let mut state = shared.state();
            if state.leaving {
                return;
            }
            let number = state.next_connection;
            state.next_connection += 1;
            let Ok(handle) = client.try_clone() else { continue };
            state.connections.insert(number, handle);
            drop(state);
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                // A connection that breaks is the client's business.
                let _ = shared.serve(client);
                if let Some(handle) = shared.state().connections.remove(&number) {
                    let _ = handle.shutdown(Shutdown::Both);
                }
            });
        }
    })
}
