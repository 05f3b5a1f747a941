//! What one emulator does right and the other does not, and what that means for a ring.

use phield_aws_kms::{KeyPurpose, ResolveError};
use phield_core::ProviderErrorKind::{Authentication, Refused};
use phield_core::{KekReference, KeyProvider as _};
use phield_kms_tests::Emulator::{Ministack, Moto};
use phield_kms_tests::{OTHER_REGION, REGION, context, id, key_material};

#[tokio::test]
async fn moto_refuses_flipped_bits() {
    let kms = Moto.kms();
    let (provider, kek) = (kms.provider(), kms.key(REGION).await);
    let wrapped = provider.wrap(&kek, &context(1), &key_material(7)).await.unwrap();
    for at in (36..wrapped.len()).step_by(5).chain([wrapped.len() - 1]) {
        let mut flipped = wrapped.clone();
        flipped[at] ^= 1;
        let error = provider.unwrap(&kek, &context(1), &flipped).await.unwrap_err();
        assert_eq!(error.kind(), Authentication, "byte {at}");
    }
}

/// Its cipher has no tag. A ring notices: see `rings::ministack_changes_a_key_and_the_ring_refuses_it`.
#[tokio::test]
async fn ministack_opens_flipped_bits() {
    let kms = Ministack.kms();
    let (provider, kek) = (kms.provider(), kms.key(REGION).await);
    let mut wrapped = provider.wrap(&kek, &context(1), &key_material(7)).await.unwrap();
    *wrapped.last_mut().unwrap() ^= 1;
    let opened = provider.unwrap(&kek, &context(1), &wrapped).await.unwrap();
    assert_ne!(opened.expose_bytes(), key_material(7).expose_bytes());
}

/// It says AccessDenied where AWS KMS says IncorrectKey: refused either way.
#[tokio::test]
async fn moto_denies_access_to_a_wrap_of_another_key() {
    let kms = Moto.kms();
    let (provider, kek, other) = (kms.provider(), kms.key(REGION).await, kms.key(REGION).await);
    let wrapped = provider.wrap(&kek, &context(1), &key_material(7)).await.unwrap();
    let error = provider.unwrap(&other, &context(1), &wrapped).await.unwrap_err();
    assert_eq!(error.kind(), Refused);
}

/// It uses whatever key is asked for, and something else comes out. A ring notices.
#[tokio::test]
async fn ministack_opens_a_wrap_of_another_key() {
    let kms = Ministack.kms();
    let (provider, kek, other) = (kms.provider(), kms.key(REGION).await, kms.key(REGION).await);
    let wrapped = provider.wrap(&kek, &context(1), &key_material(7)).await.unwrap();
    let opened = provider.unwrap(&other, &context(1), &wrapped).await.unwrap();
    assert_ne!(opened.expose_bytes(), key_material(7).expose_bytes());
}

/// Where there is no such key as is asked for, it opens with the one whose id stands in the wrap. Its answer names that one,
/// and is refused.
#[tokio::test]
async fn ministack_opens_with_the_key_in_the_wrap_and_its_answer_is_refused() {
    let kms = Ministack.kms();
    let (provider, kek) = (kms.provider(), kms.key(REGION).await);
    let wrapped = provider.wrap(&kek, &context(1), &key_material(7)).await.unwrap();
    let unknown = kek
        .as_str()
        .replace(id(&kek), "00000000-0000-4000-8000-000000000000");
    let pairs = context(1).pairs().into_iter();
    let decrypt = kms
        .admin(REGION)
        .decrypt()
        .key_id(&unknown)
        .set_encryption_context(Some(
            pairs.map(|(name, value)| (name.to_owned(), value)).collect(),
        ))
        .ciphertext_blob(aws_sdk_kms::primitives::Blob::new(wrapped.clone()));
    let answer = decrypt.send().await.unwrap();
    assert_eq!(answer.key_id(), Some(kek.as_str()));
    assert_eq!(answer.plaintext().unwrap().as_ref(), [7; 32]);
    let unknown = KekReference::new(unknown).unwrap();
    let error = provider
        .unwrap(&unknown, &context(1), &wrapped)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Authentication);
}

/// Without being told the usage, it makes a key that is of none: `phield init` refuses what does not say what it is for.
#[tokio::test]
async fn moto_makes_keys_without_a_usage() {
    let kms = Moto.kms();
    let made = kms.admin(REGION).create_key().send().await.unwrap();
    let arn = made.key_metadata.unwrap().arn.unwrap();
    let error = kms
        .provider()
        .resolve_key(&arn, KeyPurpose::Wrap)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ResolveError::Usage { usage, .. } if usage == "unknown"),
        "{error}"
    );
}

/// It binds the names and values of the context one behind the other, without a border between them.
#[tokio::test]
async fn moto_accepts_a_context_whose_borders_moved() {
    let kms = Moto.kms();
    let (admin, kek) = (kms.admin(REGION), kms.key(REGION).await);
    let blob = aws_sdk_kms::primitives::Blob::new;
    let wrapped = admin
        .encrypt()
        .key_id(kek.as_str())
        .encryption_context("tenant", "t1")
        .plaintext(blob([7; 32]));
    let wrapped = wrapped.send().await.unwrap().ciphertext_blob.unwrap();
    let moved = admin
        .decrypt()
        .key_id(kek.as_str())
        .encryption_context("tenantt", "1")
        .ciphertext_blob(wrapped);
    moved.send().await.unwrap();
}

#[tokio::test]
async fn ministack_refuses_disabled_keys() {
    let kms = Ministack.kms();
    let (provider, kek, admin) = (kms.provider(), kms.key(REGION).await, kms.admin(REGION));
    let wrapped = provider.wrap(&kek, &context(1), &key_material(7)).await.unwrap();
    admin.disable_key().key_id(kek.as_str()).send().await.unwrap();
    let error = provider.unwrap(&kek, &context(1), &wrapped).await.unwrap_err();
    assert_eq!(error.kind(), Refused);
    let error = provider.generate(&kek, &context(1)).await.unwrap_err();
    assert_eq!(error.kind(), Refused);
    admin.enable_key().key_id(kek.as_str()).send().await.unwrap();
    provider.unwrap(&kek, &context(1), &wrapped).await.unwrap();
}

#[tokio::test]
async fn ministack_refuses_keys_that_are_pending_deletion() {
    let kms = Ministack.kms();
    let (provider, kek) = (kms.provider(), kms.key(REGION).await);
    let wrapped = provider.wrap(&kek, &context(1), &key_material(7)).await.unwrap();
    let deletion = kms
        .admin(REGION)
        .schedule_key_deletion()
        .key_id(kek.as_str())
        .pending_window_in_days(7);
    deletion.send().await.unwrap();
    let error = provider.unwrap(&kek, &context(1), &wrapped).await.unwrap_err();
    assert_eq!(error.kind(), Refused);
    assert!(
        format!("{error:?}").contains("KMSInvalidStateException"),
        "{error:?}"
    );
}

#[tokio::test]
async fn moto_uses_keys_that_are_disabled_or_pending_deletion() {
    let kms = Moto.kms();
    let (provider, kek, admin) = (kms.provider(), kms.key(REGION).await, kms.admin(REGION));
    let wrapped = provider.wrap(&kek, &context(1), &key_material(7)).await.unwrap();
    admin.disable_key().key_id(id(&kek)).send().await.unwrap();
    provider.unwrap(&kek, &context(1), &wrapped).await.unwrap();
    let deletion = admin
        .schedule_key_deletion()
        .key_id(id(&kek))
        .pending_window_in_days(7);
    deletion.send().await.unwrap();
    provider.unwrap(&kek, &context(1), &wrapped).await.unwrap();
}

/// The replica is another reference; its region opens what the primary's wrapped, and names itself in the answer.
#[tokio::test]
async fn ministack_replicates_multi_region_keys() {
    let kms = Ministack.kms();
    let (provider, primary) = (kms.provider(), kms.multi_region_key(REGION).await);
    let replicate = kms
        .admin(REGION)
        .replicate_key()
        .key_id(primary.as_str())
        .replica_region(OTHER_REGION);
    let replica = replicate
        .send()
        .await
        .unwrap()
        .replica_key_metadata
        .unwrap()
        .arn
        .unwrap();
    let replica = KekReference::new(replica).unwrap();
    assert!(replica.as_str().contains(OTHER_REGION) && replica.as_str().contains("key/mrk-"));
    let wrapped = provider
        .wrap(&primary, &context(1), &key_material(7))
        .await
        .unwrap();
    for reference in [&primary, &replica] {
        let opened = provider.unwrap(reference, &context(1), &wrapped).await.unwrap();
        assert_eq!(
            opened.expose_bytes(),
            key_material(7).expose_bytes(),
            "{reference}"
        );
    }
    let wrapped = provider
        .wrap(&replica, &context(1), &key_material(8))
        .await
        .unwrap();
    let opened = provider.unwrap(&primary, &context(1), &wrapped).await.unwrap();
    assert_eq!(opened.expose_bytes(), key_material(8).expose_bytes());
}

/// It cuts the id of a multi-region key to the length of another one.
#[tokio::test]
async fn moto_cannot_open_wraps_of_multi_region_keys() {
    let kms = Moto.kms();
    let (provider, kek) = (kms.provider(), kms.multi_region_key(REGION).await);
    let wrapped = provider.wrap(&kek, &context(1), &key_material(7)).await.unwrap();
    let error = provider.unwrap(&kek, &context(1), &wrapped).await.unwrap_err();
    assert_eq!(error.kind(), Refused);
}

#[tokio::test]
async fn ministack_computes_macs() {
    let kms = Ministack.kms();
    let (provider, pepper) = (kms.provider(), kms.hmac_key(REGION).await);
    let mac = provider.mac(&pepper, b"message").await.unwrap();
    assert_eq!(provider.mac(&pepper, b"message").await.unwrap(), mac);
    assert_ne!(provider.mac(&pepper, b"another").await.unwrap(), mac);
    assert_ne!(
        provider
            .mac(&kms.hmac_key(REGION).await, b"message")
            .await
            .unwrap(),
        mac
    );
}

/// AWS KMS names the key by its ARN, moto by its id: the answer is refused, for it could be of any region.
#[tokio::test]
async fn moto_names_an_hmac_key_by_its_id_and_its_answer_is_refused() {
    let kms = Moto.kms();
    let pepper = kms.hmac_key(REGION).await;
    let answer = kms.admin(REGION).generate_mac().key_id(pepper.as_str());
    let answer = answer.mac_algorithm(aws_sdk_kms::types::MacAlgorithmSpec::HmacSha256);
    let answer = answer
        .message(aws_sdk_kms::primitives::Blob::new("message"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.key_id(), pepper.as_str().rsplit('/').next());
    let error = kms.provider().mac(&pepper, b"message").await.unwrap_err();
    assert_eq!(error.kind(), Authentication);
}
