//! The suite of every provider, on both emulators.

use phield_core::KekReference;
use phield_kms_tests::Emulator::{Ministack, Moto};
use phield_kms_tests::REGION;
use phield_testkit::conformance::{self, Conformance, Deviation};

/// A key ARN of the region of `kek` that names no key.
fn unknown(kek: &KekReference) -> KekReference {
    let (account, _) = kek.as_str().split_once(":key/").unwrap();
    KekReference::new(format!("{account}:key/00000000-0000-4000-8000-000000000000")).unwrap()
}

#[tokio::test]
async fn moto_conforms() {
    let kms = Moto.kms();
    let (kek, other) = (kms.key(REGION).await, kms.key(REGION).await);
    let conformance = Conformance::new(kek.clone(), unknown(&kek))
        .with_other_kek(other)
        .known_deviation(Deviation::ChangedWrapHasOtherError)
        .known_deviation(Deviation::OtherKekHasOtherError);
    conformance::check(&kms.provider(), &conformance).await;
}

#[tokio::test]
async fn ministack_conforms() {
    let kms = Ministack.kms();
    let (kek, other) = (kms.key(REGION).await, kms.key(REGION).await);
    let conformance = Conformance::new(kek.clone(), unknown(&kek))
        .with_other_kek(other)
        .with_mac_keys(kms.hmac_key(REGION).await, kms.hmac_key(REGION).await)
        .known_deviation(Deviation::ChangedWrapOpens)
        .known_deviation(Deviation::OtherKekOpens)
        .known_deviation(Deviation::UnknownKekHasOtherError);
    conformance::check(&kms.provider(), &conformance).await;
}
