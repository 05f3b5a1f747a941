//! Keys that are re-wrapped, and a ring key that is replaced: that writes to the ring alone, whatever the database.

use crate::sqlite::killed::run;

#[tokio::test(flavor = "multi_thread")]
async fn kek() {
    run("kek", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ring_key() {
    run("ring", None).await;
}
