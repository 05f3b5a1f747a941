//! 200 requests for a slow index of 64 MiB at once: the process stays within the memory that it was given, and the
//! requests are served in the order in which they came. A binary of its own, because the memory of a process is measured.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use phield_core::{
    Index, IndexAlgorithm, IndexError, IndexWorkerLimits, IndexWorkers, Keyring, Normalizer, Phi, Value as _,
};
use phield_testkit::{TestRing, block_on};

/// The memory of a process is that of all its tests.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

const REQUESTS: usize = 200;
const MEMORY_MIB: u32 = 128;

fn index() -> Index {
    Index::new("patients", "ssn_index", &["ssn"], &[Normalizer::Ssn], 256)
        .with_algorithm(IndexAlgorithm::argon2id(65_536, 3, 1))
}

fn keyring(limits: IndexWorkerLimits) -> Keyring {
    let ring = TestRing::new("clinic");
    let mut settings = ring.ring().settings.clone();
    settings.index_workers = IndexWorkers::new(limits);
    block_on(async { ring.ring().load().await?.keyring(&settings).await }).unwrap()
}

fn limits(memory_mib: u32, threads: usize, queue: usize) -> IndexWorkerLimits {
    let mut limits = IndexWorkerLimits::default();
    (limits.memory_mib, limits.threads, limits.queue) = (memory_mib, threads, queue);
    limits
}

/// A line of /proc/self/status, in MiB.
fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}

/// Forgets the highest memory so far, that of loading the ring (its passphrase takes 64 MiB too).
fn reset_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

#[test]
fn two_hundred_requests_at_once() {
    let _alone = alone();
    // More threads than memory for them: it is the memory that bounds.
    let keyring = keyring(limits(MEMORY_MIB, 8, REQUESTS));
    let index = index();
    reset_peak();
    let (before, start) = (status("VmRSS"), Instant::now());
    let (done, order) = mpsc::channel();
    thread::scope(|scope| {
        for n in 0..REQUESTS {
            let ssn = Phi::new(format!("{n:09}"));
            let (keyring, index, done) = (&keyring, &index, done.clone());
            let (queued, ready) = mpsc::channel();
            scope.spawn(move || {
                let part = [Some(ssn.expose().encode().unwrap())];
                let mut value = Box::pin(keyring.blind_index_async(index, None, &part));
                // Polled once, the request stands in the queue; then the next one may come.
                let first = value.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                queued.send(()).unwrap();
                let value = match first {
                    Poll::Ready(value) => value,
                    Poll::Pending => block_on_thread(value),
                };
                done.send((n, value.unwrap().unwrap())).unwrap();
            });
            ready.recv().unwrap();
        }
    });
    drop(done);
    let served: Vec<_> = order.iter().collect();
    let seconds = start.elapsed().as_secs_f64();
    let grown = status("VmHWM").saturating_sub(before);
    println!("{REQUESTS} requests in {seconds:.1} s, {grown} MiB at most, of {MEMORY_MIB} configured");

    assert_eq!(served.len(), REQUESTS);
    assert!(keyring.index_workers().peak_memory_kib() <= u64::from(MEMORY_MIB) * 1024);
    // Stacks, queue and allocator beside the memory of the values themselves.
    assert!(
        grown <= u64::from(MEMORY_MIB) + 32,
        "the process grew by {grown} MiB"
    );
    // Two run at a time; their threads report a little later than they finish.
    for (place, (n, _)) in served.iter().enumerate() {
        assert!(n.abs_diff(place) <= 8, "request {n} was served in place {place}");
    }
    let values: std::collections::HashSet<_> = served.iter().map(|(_, value)| *value).collect();
    assert_eq!(
        values.len(),
        REQUESTS,
        "every request got the value of its own number"
    );
}

/// Waits on this thread, as an executor does.
fn block_on_thread<F: Future>(mut future: Pin<Box<F>>) -> F::Output {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(thread::current())).into();
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// What does not fit is refused at once, with an error that says which limit it was.
#[test]
fn limits_are_errors_and_no_waits() {
    let _alone = alone();
    let ssn = Phi::from("999-12-3456");
    let part = || [Some(ssn.expose().encode().unwrap())];
    let small = keyring(limits(63, 1, 1));
    assert_eq!(
        small.blind_index(&index(), None, &part()),
        Err(IndexError::MemoryLimit)
    );
    let short = keyring(limits(64, 1, 1));
    let mut requests = Vec::new();
    let refused = loop {
        let (index, part) = (index(), part());
        let short = &short;
        let mut request: Pin<Box<dyn Future<Output = _>>> =
            Box::pin(async move { short.blind_index_async(&index, None, &part).await });
        match request.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(refused) => break refused,
            Poll::Pending => requests.push(request),
        }
        assert!(requests.len() <= 3);
    };
    assert_eq!(refused, Err(IndexError::Busy));
    // The others are still served.
    for request in requests {
        assert!(block_on_thread(Box::pin(request)).unwrap().is_some());
    }
}
