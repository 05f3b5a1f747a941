//! Threads that wait for the HSM, so that nobody else does: calls of PKCS#11 block, and may never come back.
//!
//! Each thread has sessions of its own. A call that is not answered in time fails, whether it waited in the queue or the
//! HSM hangs; a thread in a call that never comes back is lost, and is not replaced.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use crate::Pkcs11Error;
use crate::token::TokenSession;

/// Calls that may wait.
const QUEUE: usize = 1024;

/// The sessions of one thread, by token.
pub(crate) type Sessions = HashMap<String, TokenSession>;

type Work = Box<dyn FnOnce(&mut Sessions) + Send>;

/// Calls of a provider since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls.
    pub calls: u64,
    /// Calls that were tried a second time, with a new session.
    pub retries: u64,
    /// Calls that failed.
    pub failures: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) failures: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> Counts {
        Counts {
            calls: self.calls.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The threads, started when they are needed.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: usize,
    timeout: Duration,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is work, or no more to come.
    work: Condvar,
    /// There is a first call to watch, or no more to come.
    watched: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    idle: usize,
    running: usize,
    /// Calls by when they must be answered: all have the same time, so they stand in order.
    deadlines: VecDeque<(Instant, Weak<dyn Answer>)>,
    watching: bool,
    closed: bool,
}

/// A call that somebody waits for.
trait Answer: Send + Sync {
    fn is_open(&self) -> bool;
    fn fail(&self, error: Pkcs11Error);
}

struct Call<T>(Mutex<Option<oneshot::Sender<Result<T, Pkcs11Error>>>>);

impl<T: Send> Call<T> {
    fn answer(&self, answer: Result<T, Pkcs11Error>) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Who does not wait any longer needs no answer.
        sender.map(|sender| sender.send(answer).is_ok());
    }
}

impl<T: Send> Answer for Call<T> {
    fn is_open(&self) -> bool {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().is_some_and(|sender| !sender.is_canceled())
    }

    fn fail(&self, error: Pkcs11Error) {
        self.answer(Err(error));
    }
}

impl Workers {
    pub(crate) fn new(threads: usize, timeout: Duration) -> Self {
        Self {
            shared: Arc::default(),
            threads,
            timeout,
        }
    }

    /// Does `work` on one of the threads.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Sessions) -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<T, Pkcs11Error> {
        let (sender, receiver) = oneshot::channel();
        let call = Arc::new(Call(Mutex::new(Some(sender))));
        self.submit(call, work)?;
        let broken = |_| Err(Pkcs11Error::Device("its thread ended unexpectedly".to_owned()));
        receiver.await.unwrap_or_else(broken)
    }

    fn submit<T: Send + 'static>(
        &self,
        call: Arc<Call<T>>,
        work: impl FnOnce(&mut Sessions) -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<(), Pkcs11Error> {
        let answer: Arc<dyn Answer> = Arc::<Call<T>>::clone(&call);
        let mut state = self.shared.lock();
        if state.queue.len() >= QUEUE {
            return Err(Pkcs11Error::Busy);
        }
        state.watch(Instant::now() + self.timeout, &answer);
        state.queue.push_back(Box::new(move |sessions| {
            if call.is_open() {
                call.answer(work(sessions));
            }
        }));
        let (watch, first) = (!state.watching, state.deadlines.len() == 1);
        let serve = state.idle < state.queue.len() && state.running < self.threads;
        state.watching = true;
        state.running += usize::from(serve);
        drop(state);
        if watch && let Err(error) = self.start_watch() {
            self.shared.lock().watching = false;
            return Err(error);
        }
        if serve {
            let running = Running(Arc::clone(&self.shared));
            start("phield-pkcs11", move || self::serve(&running))?;
        }
        self.shared.work.notify_one();
        if first {
            self.shared.watched.notify_one();
        }
        Ok(())
    }

    fn start_watch(&self) -> Result<(), Pkcs11Error> {
        let shared = Arc::clone(&self.shared);
        start("phield-pkcs11-watch", move || watch(&shared))
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("threads", &self.threads)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
        self.shared.watched.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn watch(&mut self, deadline: Instant, answer: &Arc<dyn Answer>) {
        // What has been answered in front is not watched any longer.
        while let Some((_, first)) = self.deadlines.front() {
            if first.upgrade().is_some_and(|first| first.is_open()) {
                break;
            }
            self.deadlines.pop_front();
        }
        self.deadlines.push_back((deadline, Arc::downgrade(answer)));
    }
}

/// Counts a thread out when it ends, in a panic too.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

/// A thread that does work.
fn serve(running: &Running) {
    let (shared, mut sessions) = (&running.0, Sessions::new());
    loop {
        let mut state = shared.lock();
        let work = loop {
            if let Some(work) = state.queue.pop_front() {
                break work;
            }
            if state.closed {
                return;
            }
            state.idle += 1;
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        };
        drop(state);
        work(&mut sessions);
    }
}

/// The thread that ends what is not answered in time.
fn watch(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        let now = Instant::now();
        let due = match state.deadlines.front() {
            None if state.closed => return,
            None => {
                state = shared.watched.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            Some((deadline, _)) => deadline.saturating_duration_since(now),
        };
        if due.is_zero() {
            if let Some(late) = state.deadlines.pop_front().and_then(|(_, late)| late.upgrade()) {
                late.fail(Pkcs11Error::TimedOut);
            }
        } else {
            let waited = shared.watched.wait_timeout(state, due);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn start(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Pkcs11Error> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(body);
    started
        .map(drop)
        .map_err(|error| Pkcs11Error::Device(format!("no thread for it: {error}")))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn run<T: Send + 'static>(
        workers: &Workers,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Pkcs11Error> {
        pollster::block_on(workers.run(move |_| Ok(work())))
    }

    /// Calls that hang end in time, those behind them too; a thread that comes back goes on.
    #[test]
    fn calls_end_in_time() {
        let workers = Workers::new(1, Duration::from_millis(100));
        let (release, hang) = mpsc::channel::<()>();
        assert_eq!(
            run(&workers, move || hang.recv().is_ok()),
            Err(Pkcs11Error::TimedOut)
        );
        assert_eq!(run(&workers, || 1), Err(Pkcs11Error::TimedOut));
        release.send(()).unwrap();
        while run(&workers, || 2) != Ok(2) {}
        assert_eq!(run(&workers, || 3), Ok(3));
    }

    /// A call that panics is an outage of that call alone.
    #[test]
    #[allow(clippy::panic, reason = "it is what is tested")]
    fn a_panic_is_one_failure() {
        let workers = Workers::new(1, Duration::from_secs(60));
        let panicked = run(&workers, || panic!("a panic of the test"));
        assert!(matches!(panicked, Err::<(), _>(Pkcs11Error::Device(_))));
        assert_eq!(run(&workers, || 1), Ok(1));
    }

    /// As many threads as configured, and no more.
    #[test]
    fn threads_are_bounded() {
        let workers = Workers::new(3, Duration::from_secs(60));
        let names = thread::scope(|scope| {
            let calls: Vec<_> = (0..20)
                .map(|_| {
                    scope.spawn(|| {
                        run(&workers, || {
                            thread::sleep(Duration::from_millis(20));
                            thread::current().id()
                        })
                    })
                })
                .collect();
            let ids = calls
                .into_iter()
                .map(|call| format!("{:?}", call.join().unwrap()));
            ids.collect::<std::collections::BTreeSet<_>>()
        });
        assert_eq!(names.len(), 3, "{names:?}");
    }

    /// What nobody waits for any longer is not done.
    #[test]
    fn a_call_that_is_given_up_is_not_made() {
        let workers = Workers::new(1, Duration::from_secs(60));
        let (release, hang) = mpsc::channel::<()>();
        let (done, was_done) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let first = scope.spawn(|| run(&workers, move || hang.recv().is_ok()));
            while workers.shared.lock().running == 0 || !workers.shared.lock().queue.is_empty() {}
            let mut given_up = Box::pin(workers.run(move |_| {
                let _ = done.send(());
                Ok(())
            }));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(given_up.as_mut().poll(&mut context).is_pending());
            drop(given_up);
            release.send(()).unwrap();
            assert_eq!(first.join().unwrap(), Ok(true));
        });
        assert_eq!(run(&workers, || 1), Ok(1));
        assert!(was_done.try_recv().is_err());
    }
}
