//! Threads that wait for the HSM, so that nobody else does: calls of PKCS#11 block, and may never come back.
//!
//! Each thread has sessions of its own. A call that is not answered in time fails, whether it waited in the queue or the
//! HSM hangs. A thread that is stuck in one for several times that time is replaced, until as many are lost as there may be
//! threads; then calls fail at once. A thread that comes back serves again, if one is wanted.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use crate::Pkcs11Error;
use crate::gate::STUCK;
use crate::token::TokenSession;

/// Calls that may wait.
const QUEUE: usize = 1024;

/// The sessions of one thread, by token.
pub(crate) type Sessions = HashMap<String, TokenSession>;

type Work = Box<dyn FnOnce(&mut Sessions) + Send>;

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
    /// Threads, but for those that are lost.
    running: usize,
    started: u64,
    /// Threads that are in a call, by their number, and since when.
    busy: HashMap<u64, Instant>,
    /// Threads that are stuck in a call and are not counted on.
    lost: HashSet<u64>,
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
        let broken = |_| Err(Pkcs11Error::Device("a call of it ended unexpectedly".to_owned()));
        receiver.await.unwrap_or_else(broken)
    }

    fn submit<T: Send + 'static>(
        &self,
        call: Arc<Call<T>>,
        work: impl FnOnce(&mut Sessions) -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<(), Pkcs11Error> {
        let answer: Arc<dyn Answer> = Arc::<Call<T>>::clone(&call);
        let mut state = self.shared.lock();
        state.lose(self.timeout * STUCK, self.threads)?;
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
        state.started += u64::from(serve);
        let running = serve.then(|| Running {
            shared: Arc::clone(&self.shared),
            number: state.started,
            threads: self.threads,
        });
        drop(state);
        if watch && let Err(error) = self.start_watch() {
            self.shared.lock().watching = false;
            return Err(error);
        }
        if let Some(running) = running {
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

    /// Gives up threads that are in one call for longer than `stuck`, so that others take their place; no more than
    /// `threads`. Fails when all that are left are stuck as well.
    fn lose(&mut self, stuck: Duration, threads: usize) -> Result<(), Pkcs11Error> {
        let is_stuck = |since: &Instant| since.elapsed() >= stuck;
        let all = self.busy.iter().filter(|(_, since)| is_stuck(since));
        let mut stuck: Vec<u64> = all.map(|(number, _)| *number).collect();
        let left = stuck.split_off(stuck.len().min(threads - self.lost.len()));
        for number in stuck {
            self.busy.remove(&number);
            self.lost.insert(number);
            self.running -= 1;
        }
        match left.len() >= threads {
            true => Err(Pkcs11Error::Stuck),
            false => Ok(()),
        }
    }
}

/// A thread; counts it out when it ends.
struct Running {
    shared: Arc<Shared>,
    number: u64,
    /// How many there may be.
    threads: usize,
}

impl Running {
    /// Whether the thread goes on after a call: one that was replaced meanwhile may be one too many.
    fn is_wanted(&self, state: &mut State) -> bool {
        state.busy.remove(&self.number);
        if !state.lost.contains(&self.number) {
            return true;
        }
        let wanted = state.running < self.threads;
        if wanted {
            state.lost.remove(&self.number);
            state.running += 1;
        }
        wanted
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.busy.remove(&self.number);
        if !state.lost.remove(&self.number) {
            state.running -= 1;
        }
    }
}

/// A thread that does work.
fn serve(running: &Running) {
    let (shared, mut sessions) = (&running.shared, Sessions::new());
    let mut state = shared.lock();
    loop {
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
        state.busy.insert(running.number, Instant::now());
        drop(state);
        // A thread that ended with the panic would still count when the next call comes, and nobody would serve that.
        if panic::catch_unwind(AssertUnwindSafe(|| work(&mut sessions))).is_err() {
            // What was under way in them is not known.
            sessions.clear();
        }
        state = shared.lock();
        if !running.is_wanted(&mut state) {
            return;
        }
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
mod tests;
