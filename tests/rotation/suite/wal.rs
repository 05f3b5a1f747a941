//! SQLite with a write-ahead log: it writes other files, in another order.

use crate::sqlite::killed::run;

const WAL: Option<&str> = Some("PRAGMA journal_mode = wal");

#[tokio::test(flavor = "multi_thread")]
async fn data() {
    run("data", WAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pepper() {
    run("pepper", WAL).await;
}
