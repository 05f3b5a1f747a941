//! What is done again and again beside longer work.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::oneshot;

/// Does `work`, and a beat every `period` until it is done.
///
/// A beat that is under way then is waited for: a statement that is dropped before its answer leaves a connection of sqlx's driver
/// for MySQL in the middle of that answer. The pool looks at connections that come back, but a look is no proof, and whoever takes
/// such a connection next reads the answer to another statement.
pub(crate) async fn beside<T, F>(
    work: impl Future<Output = T> + Send,
    period: Duration,
    beat: impl Fn() -> F + Send + Sync,
) -> T
where
    T: Send,
    F: Future<Output = ()> + Send,
{
    let (working, mut ended) = oneshot::channel::<Infallible>();
    let work = async move {
        let done = work.await;
        drop(working);
        done
    };
    let beats = async {
        loop {
            tokio::select! {
                _ = &mut ended => return,
                () = tokio::time::sleep(period) => beat().await,
            }
        }
    };
    tokio::join!(work, beats).0
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn a_beat_comes_to_its_end() {
        let [begun, ended] = [AtomicU32::new(0), AtomicU32::new(0)];
        let third = Notify::new();
        let beat = || async {
            if begun.fetch_add(1, Ordering::SeqCst) == 2 {
                third.notify_one();
            }
            tokio::time::sleep(SHORT).await;
            ended.fetch_add(1, Ordering::SeqCst);
        };
        let work = async {
            third.notified().await;
            5
        };
        assert_eq!(beside(work, SHORT, beat).await, 5);
        assert_eq!([begun, ended].map(AtomicU32::into_inner), [3, 3]);
    }

    #[tokio::test]
    async fn none_begins_when_the_work_is_done() {
        let beat = || async { panic!("the work was done") };
        beside(async {}, Duration::from_secs(3600), beat).await;
    }
}
