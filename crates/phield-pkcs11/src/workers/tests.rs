//! The threads, with calls that hang when a test wants it.

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

/// Threads that are stuck are replaced, as often as there may be threads; then calls fail at once. Those that come back
/// serve again, and no more of them than before.
#[test]
fn stuck_threads_are_replaced() {
    let workers = Workers::new(2, Duration::from_millis(50));
    let mut hanging = Vec::new();
    let mut hang = || {
        let (release, hang) = mpsc::channel::<()>();
        hanging.push(release);
        run(&workers, move || hang.recv().is_ok())
    };
    let serves = || {
        let start = Instant::now();
        while run(&workers, || 1) != Ok(1) {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "nothing replaces a thread"
            );
        }
    };
    for _ in 0..3 {
        assert_eq!(hang(), Err(Pkcs11Error::TimedOut));
        serves();
    }
    assert_eq!(hang(), Err(Pkcs11Error::TimedOut));
    let start = Instant::now();
    while run(&workers, || 1) != Err(Pkcs11Error::Stuck) {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "threads are replaced for ever"
        );
    }
    assert_eq!(workers.shared.lock().lost.len(), 2);
    hanging.clear();
    serves();
    // A call is answered before its thread says that it is not busy any more.
    let (start, mut is_busy) = (Instant::now(), true);
    while is_busy {
        assert!(start.elapsed() < Duration::from_secs(20), "a thread stays busy");
        let state = workers.shared.lock();
        is_busy = !(state.lost.is_empty() && state.busy.is_empty());
    }
    let state = workers.shared.lock();
    assert!((1..=2).contains(&state.running), "{}", state.running);
    assert!(state.busy.is_empty());
}

/// A call that panics is an outage of that call alone: one that comes right after it is served.
#[test]
#[allow(clippy::panic, reason = "it is what is tested")]
fn a_panic_is_one_failure() {
    let workers = Workers::new(1, Duration::from_secs(60));
    for _ in 0..200 {
        let panicked = run(&workers, || panic!("a panic of the test"));
        assert!(matches!(panicked, Err::<(), _>(Pkcs11Error::Device(_))));
        assert_eq!(run(&workers, || 1), Ok(1));
    }
    assert_eq!(workers.shared.lock().running, 1);
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

/// As many calls wait as may; one more is refused at once, and those that wait are served.
#[test]
fn a_full_queue_refuses() {
    let workers = Workers::new(1, Duration::from_secs(60));
    let (release, hang) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let first = scope.spawn(|| run(&workers, move || hang.recv().is_ok()));
        while workers.shared.lock().busy.is_empty() {}
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut waiting: Vec<_> = (0..QUEUE)
            .map(|at| Box::pin(workers.run(move |_| Ok(at))))
            .collect();
        for call in &mut waiting {
            assert!(call.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(run(&workers, || 1), Err(Pkcs11Error::Busy));
        release.send(()).unwrap();
        assert_eq!(first.join().unwrap(), Ok(true));
        for (at, call) in waiting.into_iter().enumerate() {
            assert_eq!(pollster::block_on(call), Ok(at));
        }
    });
}
