//! Keys that are re-wrapped: that writes to the ring alone, whatever the database.

use crate::sqlite::killed::run;

#[tokio::test(flavor = "multi_thread")]
async fn killed() {
    run("kek", None).await;
}
