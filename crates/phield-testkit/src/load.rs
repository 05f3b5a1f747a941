//! Work to do with a keyring: requests that seal, open and search, and threads that make them without a pause.
#![allow(
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    reason = "helpers of tests"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use phield_core::{
    ColumnName, Field, Index, IndexError, KeyId, Keyring, Normalizer, OpenError, Phi, Row, SealError, Sealed,
    TableName, Unbound, Value as _,
};

static TABLE: TableName = TableName::from_static("patients");
static COLUMN: ColumnName = ColumnName::from_static("name");

/// A token of an unbound row.
pub fn seal(keyring: &Keyring) -> Result<Sealed<String>, SealError> {
    let name = Phi::from("Ada");
    let row = Row::new(&TABLE, &Unbound)?;
    let [token] = keyring.seal_row(&row, [Field::new(COLUMN.clone(), &name)?])?;
    token.required()
}

/// Opens what [`seal`] made.
pub fn open(keyring: &Keyring, sealed: &Sealed<String>) -> Result<(), OpenError> {
    let row = Row::new(&TABLE, &Unbound).expect("a test ring works");
    let opened: Phi<String> = keyring.opener(&row)?.open_field(&COLUMN, None, sealed.clone())?;
    assert_eq!(opened.expose(), "Ada");
    Ok(())
}

/// Computes the values to search for.
pub fn search(keyring: &Keyring) -> Result<(), IndexError> {
    let index = Index::new("patients", "by_name", &["name"], &[Normalizer::Exact], 256);
    let name = "Ada".to_owned();
    keyring
        .index_query(&index, None, &[Some(name.encode()?)])
        .map(|_| ())
}

/// Threads that seal, open and search without a pause.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    served: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl Load {
    /// Starts so many threads.
    #[must_use]
    pub fn start(keyring: &Arc<Keyring>, threads: usize) -> Self {
        let (stop, served, failed) = <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let sealed = seal(keyring).expect("a test ring works");
        let thread = |_| {
            let (keyring, sealed) = (Arc::clone(keyring), sealed.clone());
            let (stop, served, failed) = (Arc::clone(&stop), Arc::clone(&served), Arc::clone(&failed));
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let worked = request(&keyring, &sealed);
                    let counter = if worked { &served } else { &failed };
                    counter.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_micros(500));
                }
            })
        };
        let threads = (0..threads).map(thread).collect();
        Self {
            stop,
            threads,
            served,
            failed,
        }
    }

    /// Requests that were served and that failed since the last call.
    #[must_use]
    pub fn since(&self) -> (u64, u64) {
        (
            self.served.swap(0, Ordering::SeqCst),
            self.failed.swap(0, Ordering::SeqCst),
        )
    }

    /// Ends the threads; panics when one of them did.
    pub fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("a test ring works");
        }
    }
}

/// Whether everything worked; what fails does so with an error that may be retried.
fn request(keyring: &Keyring, sealed: &Sealed<String>) -> bool {
    let sealing = seal(keyring);
    let opening = open(keyring, sealed);
    let searching = search(keyring);
    if let Err(error) = &sealing {
        assert!(error.is_retryable(), "{error}");
    }
    if let Err(error) = opening {
        assert!(error.is_retryable(), "{error}");
    }
    if let Err(error) = searching {
        assert!(error.is_retryable(), "{error}");
    }
    sealing.is_ok() && opening.is_ok() && searching.is_ok()
}

/// The key that it was sealed with.
pub fn key_of(sealed: &Sealed<String>) -> KeyId {
    sealed.info().expect("a test ring works").key_id
}

/// Waits until it is true; panics when it is not in time.
pub async fn until(what: &str, patience: Duration, mut is_true: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < patience, "{what}: not within {patience:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}
