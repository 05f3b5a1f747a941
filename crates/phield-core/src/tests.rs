//! Tests that need more than one file of the core: vectors, the error table, properties.
#![allow(
    clippy::indexing_slicing,
    reason = "a test that indexes out of bounds fails, as it should"
)]

mod architecture;
mod bindings;
// Its harnesses seal with XChaCha20-Poly1305 and Argon2id too.
#[cfg(not(feature = "fips"))]
mod corpora;
mod debug;
mod device;
mod disclosure;
mod errors;
#[cfg(feature = "fips")]
mod fips;
mod indexes;
mod interop;
mod normalizers;
mod properties;
mod schemas;
#[cfg(feature = "serde")]
mod serde;
mod subjects;
mod uids;
mod values;
mod vectors;

/// Runs a future that is always ready, as those of the local provider are.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("the local provider never waits"),
    }
}
