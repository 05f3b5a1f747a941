//! The worker threads of slow indexes: bounded memory, one queue, first come first served.
//!
//! One value of a slow index takes 64 MiB and a tenth of a second, so requests wait here instead of taking the memory
//! of the process, or the threads of an asynchronous runtime.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use futures_channel::oneshot;

use crate::blind_index::IndexError;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

/// What the workers of slow indexes may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexWorkerLimits {
    /// Memory for all values that are computed at the same time, in MiB. Default 256: four values of 64 MiB.
    pub memory_mib: u32,
    /// Threads. Default: one for every core.
    pub threads: usize,
    /// Requests that may wait; more are refused as [`IndexError::Busy`]. Default 1000.
    pub queue: usize,
}

impl Default for IndexWorkerLimits {
    fn default() -> Self {
        Self {
            memory_mib: 256,
            threads: thread::available_parallelism().map_or(1, usize::from),
            queue: 1000,
        }
    }
}

/// The workers, shared by every keyring of one configuration. Threads are started when there is work, and end when
/// there has been none for a while.
///
/// # Order
/// First come, first served: a request waits for those before it alone. A request that needs more memory than is free
/// is not overtaken by smaller ones. A request whose caller has gone away is dropped without being computed.
///
/// # Security
/// What waits is a MAC of the value under the key of its index, never the value.
///
/// A process that forks has the count of threads, and none of them: it must not use keyrings from before the fork.
#[derive(Clone)]
pub struct IndexWorkers(Arc<Shared>);

struct Shared {
    limits: IndexWorkerLimits,
    /// How long a thread without work stays.
    idle: Duration,
    state: Mutex<State>,
    /// Work came, or memory was given back.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    memory_kib: u64,
    peak_memory_kib: u64,
    threads: usize,
    idle: usize,
}

/// Computes one index value.
type Work = Box<dyn FnOnce() -> Answer + Send>;

type Answer = Result<[u8; 32], IndexError>;

struct Job {
    memory_kib: u32,
    work: Work,
    reply: oneshot::Sender<Answer>,
}

/// A request that stands in the queue. Dropped, it is not computed.
#[derive(Debug)]
pub(crate) struct Waiting(oneshot::Receiver<Answer>);

impl Waiting {
    /// The value, once it is computed.
    pub(crate) async fn value(self) -> Result<[u8; 32], IndexError> {
        self.0.await.unwrap_or(Err(IndexError::Failed))
    }

    /// As [`value`](Self::value); blocks this thread.
    pub(crate) fn wait(self) -> Result<[u8; 32], IndexError> {
        pollster::block_on(self.value())
    }
}

impl IndexWorkers {
    /// Workers with these limits. No thread is started yet.
    #[must_use]
    pub fn new(limits: IndexWorkerLimits) -> Self {
        Self::staying(limits, IDLE)
    }

    fn staying(limits: IndexWorkerLimits, idle: Duration) -> Self {
        Self(Arc::new(Shared {
            limits,
            idle,
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> IndexWorkerLimits {
        self.0.limits
    }

    /// How many requests are waiting: a metric to watch.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.0.state().queue.len()
    }

    /// The most memory that was in use at one moment so far, in KiB.
    #[must_use]
    pub fn peak_memory_kib(&self) -> u64 {
        self.0.state().peak_memory_kib
    }

    /// Puts a request at the end of the queue.
    pub(crate) fn submit(&self, memory_kib: u32, work: Work) -> Result<Waiting, IndexError> {
        let shared = &self.0;
        if u64::from(memory_kib) > shared.memory_limit_kib() {
            return Err(IndexError::MemoryLimit);
        }
        let (reply, waiting) = oneshot::channel();
        let mut state = shared.state();
        if state.queue.len() >= shared.limits.queue {
            // Those whose callers have gone away do not count. Dropped without the lock, see `next`.
            let (gone, waiting): (VecDeque<_>, _) = std::mem::take(&mut state.queue)
                .into_iter()
                .partition(|job| job.reply.is_canceled());
            state.queue = waiting;
            drop(state);
            drop(gone);
            state = shared.state();
        }
        if state.queue.len() >= shared.limits.queue {
            return Err(IndexError::Busy);
        }
        if state.idle <= state.queue.len() && state.threads < shared.limits.threads.max(1) {
            let worker = Arc::clone(shared);
            let spawned = thread::Builder::new()
                .name("phield-index".to_owned())
                .spawn(move || worker.run());
            match spawned {
                Ok(_) => state.threads += 1,
                // The system gives no more threads. Those that run will do it.
                Err(_) if state.threads > 0 => {}
                Err(_) => return Err(IndexError::Busy),
            }
        }
        state.queue.push_back(Job {
            memory_kib,
            work,
            reply,
        });
        drop(state);
        shared.changed.notify_all();
        Ok(Waiting(waiting))
    }
}

impl Default for IndexWorkers {
    fn default() -> Self {
        Self::new(IndexWorkerLimits::default())
    }
}

impl fmt::Debug for IndexWorkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexWorkers")
            .field("limits", &self.0.limits)
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// No code that can panic runs under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory_limit_kib(&self) -> u64 {
        u64::from(self.limits.memory_mib) * 1024
    }

    /// One thread: takes requests until there have been none for a while.
    fn run(&self) {
        let mut thread = RunningThread(Some(self));
        while let Some(job) = self.next() {
            let memory = Memory {
                shared: self,
                kib: u64::from(job.memory_kib),
            };
            // A panic would end the thread without the count below; the caller sees a dropped reply.
            let value = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job.work));
            // Given back before the caller goes on, so that it can count on it.
            drop(memory);
            let reply = value.unwrap_or(Err(IndexError::Failed));
            // The caller may have gone away meanwhile. Waking it runs its executor's code, which may panic.
            let wake = std::panic::AssertUnwindSafe(|| job.reply.send(reply).is_ok());
            let _woken = std::panic::catch_unwind(wake);
        }
        thread.0 = None;
    }

    /// The next request, its memory taken; `None` when this thread is to end, and is not counted any more: whoever comes with a
    /// request afterwards starts another one.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.queue.front().is_some_and(|job| job.reply.is_canceled()) {
                // Dropped without the lock: what a caller left behind may run code of its own.
                let gone = state.queue.pop_front();
                drop(state);
                drop(gone);
                state = self.state();
                continue;
            }
            let free = self.memory_limit_kib().saturating_sub(state.memory_kib);
            let fits = state
                .queue
                .front()
                .is_some_and(|job| u64::from(job.memory_kib) <= free);
            if fits && let Some(job) = state.queue.pop_front() {
                state.memory_kib += u64::from(job.memory_kib);
                state.peak_memory_kib = state.peak_memory_kib.max(state.memory_kib);
                return Some(job);
            }
            state.idle += 1;
            let (woken, timeout) = self
                .changed
                .wait_timeout(state, self.idle)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.queue.is_empty() {
                state.threads -= 1;
                return None;
            }
        }
    }
}

/// Counts a thread for as long as it runs, if something else ends it than that it had no work: waking a caller can panic.
struct RunningThread<'s>(Option<&'s Shared>);

impl Drop for RunningThread<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0 {
            shared.state().threads -= 1;
        }
    }
}

/// Memory of a request that is being computed; given back on drop.
struct Memory<'s> {
    shared: &'s Shared,
    kib: u64,
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.memory_kib -= self.kib;
        drop(state);
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future as _;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    fn limits(memory_mib: u32, threads: usize, queue: usize) -> IndexWorkers {
        IndexWorkers::new(IndexWorkerLimits {
            memory_mib,
            threads,
            queue,
        })
    }

    /// A request that runs until it is let go.
    fn held(workers: &IndexWorkers, memory_kib: u32) -> (Waiting, mpsc::Sender<()>) {
        let (go, gate) = mpsc::channel();
        let work = move || {
            gate.recv().map_err(|_| IndexError::Failed)?;
            Ok([1; 32])
        };
        (workers.submit(memory_kib, Box::new(work)).unwrap(), go)
    }

    #[test]
    fn memory_is_never_exceeded_and_the_first_come_is_served_first() {
        let workers = limits(4, 8, 1000);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (done, order) = mpsc::channel();
        let waiting: Vec<_> = (0..200_usize)
            .map(|n| {
                let (running, most, done) = (running.clone(), most.clone(), done.clone());
                let work = move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    done.send(n).unwrap();
                    thread::sleep(Duration::from_millis(1));
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok([0; 32])
                };
                workers.submit(1024, Box::new(work)).unwrap()
            })
            .collect();
        for request in waiting {
            request.wait().unwrap();
        }
        drop(done);
        assert_eq!(most.load(Ordering::SeqCst), 4);
        assert_eq!(workers.peak_memory_kib(), 4096);
        // Four run at a time, so nobody is overtaken by more than those who run beside.
        for (place, n) in order.iter().enumerate() {
            assert!(n.abs_diff(place) < 4, "request {n} was served in place {place}");
        }
    }

    #[test]
    fn large_requests_are_not_overtaken() {
        let workers = limits(4, 8, 10);
        let (first, let_first_go) = held(&workers, 3 * 1024);
        let (large, let_large_go) = held(&workers, 4 * 1024);
        let (small, let_small_go) = held(&workers, 1024);
        let_small_go.send(()).unwrap();
        thread::sleep(Duration::from_millis(50));
        // The small one would fit beside the first, and waits behind the large one all the same.
        assert_eq!(workers.queued(), 2);
        let_first_go.send(()).unwrap();
        let_large_go.send(()).unwrap();
        for request in [first, large, small] {
            request.wait().unwrap();
        }
    }

    #[test]
    fn bounds_and_callers_that_go_away() {
        let workers = limits(1, 1, 2);
        assert_eq!(
            workers.submit(1025, Box::new(|| Ok([0; 32]))).err(),
            Some(IndexError::MemoryLimit)
        );
        let (running, go) = held(&workers, 1);
        while workers.queued() > 0 {
            thread::yield_now();
        }
        let computed = Arc::new(AtomicUsize::new(0));
        let queue = || {
            let computed = computed.clone();
            let work = move || {
                computed.fetch_add(1, Ordering::SeqCst);
                Ok([2; 32])
            };
            workers.submit(1, Box::new(work))
        };
        let (gone, second) = (queue().unwrap(), queue().unwrap());
        assert_eq!(queue().err(), Some(IndexError::Busy));
        drop(gone);
        let third = queue().expect("the one that went away left its place");
        go.send(()).unwrap();
        assert_eq!(running.wait(), Ok([1; 32]));
        assert_eq!((second.wait(), third.wait()), (Ok([2; 32]), Ok([2; 32])));
        assert_eq!(computed.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_panic_is_an_error_for_its_caller_alone() {
        let workers = limits(1, 1, 2);
        let failed = workers.submit(1024, Box::new(|| panic!("on purpose"))).unwrap();
        assert_eq!(failed.wait(), Err(IndexError::Failed));
        let next = workers.submit(1024, Box::new(|| Ok([3; 32]))).unwrap();
        assert_eq!(next.wait(), Ok([3; 32]));
    }

    /// A request that comes when the last thread ends would be left in the queue if that one were counted still.
    #[test]
    fn a_thread_that_ends_is_not_counted() {
        let limits = IndexWorkerLimits {
            memory_mib: 1,
            threads: 1,
            queue: 4,
        };
        let workers = IndexWorkers::staying(limits, Duration::from_millis(1));
        for _ in 0..300 {
            let request = workers.submit(1, Box::new(|| Ok([5; 32]))).unwrap();
            assert_eq!(request.wait(), Ok([5; 32]));
            let mut was_idle = false;
            loop {
                let state = workers.0.state();
                let (threads, idle) = (state.threads, state.idle);
                drop(state);
                assert!(idle == threads || !was_idle, "a thread ends, and is counted");
                was_idle |= idle == 1;
                if threads == 0 {
                    break;
                }
            }
        }
    }

    /// A caller whose waker panics takes no thread with it.
    #[test]
    fn a_waker_that_panics() {
        struct Panics;
        impl std::task::Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("on purpose");
            }
        }
        let workers = limits(1, 1, 4);
        let (waiting, go) = held(&workers, 1);
        let waker = Arc::new(Panics).into();
        let mut value = Box::pin(waiting.value());
        let polled = value.as_mut().poll(&mut std::task::Context::from_waker(&waker));
        assert!(polled.is_pending());
        go.send(()).unwrap();
        let next = workers.submit(1, Box::new(|| Ok([4; 32]))).unwrap();
        assert_eq!(next.wait(), Ok([4; 32]));
    }
}
