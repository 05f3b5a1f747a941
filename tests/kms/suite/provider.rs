//! The calls of the provider, where both emulators do as AWS KMS does.

use aws_sdk_kms::types::KeyUsageType;
use phield_aws_kms::KeyPurpose;
use phield_core::ProviderErrorKind::{Authentication, Refused, UnknownKek};
use phield_core::{KekReference, KeyProvider as _, KeyUse, RingName, ScopeName, Share};
use phield_kms_tests::Emulator::{self, Ministack, Moto};
use phield_kms_tests::{OTHER_REGION, REGION, context, id, key_material};

const BOTH: [Emulator; 2] = [Moto, Ministack];

#[tokio::test]
async fn keys_come_back() {
    for emulator in BOTH {
        let kms = emulator.kms();
        let (provider, kek) = (kms.provider(), kms.key(REGION).await);
        let key = key_material(7);
        let wrapped = provider.wrap(&kek, &context(1), &key).await.unwrap();
        let opened = provider.unwrap(&kek, &context(1), &wrapped).await.unwrap();
        assert_eq!(opened.expose_bytes(), key.expose_bytes());
        let (key, wrapped) = provider.generate(&kek, &context(2)).await.unwrap();
        let opened = provider.unwrap(&kek, &context(2), &wrapped).await.unwrap();
        assert_eq!(opened.expose_bytes(), key.expose_bytes());
        let (other, _) = provider.generate(&kek, &context(2)).await.unwrap();
        assert_ne!(other.expose_bytes(), key.expose_bytes());
        assert_eq!((kms.proxy.calls_of("Decrypt"), kms.proxy.calls()), (2, 5));
    }
}

/// Every part of the context matters, each on its own.
#[tokio::test]
async fn another_context_does_not_open() {
    for emulator in BOTH {
        let kms = emulator.kms();
        let (provider, kek) = (kms.provider(), kms.key(REGION).await);
        let mut right = context(1);
        (right.scope, right.share) = (Some(ScopeName::from_static("a")), Some(Share::First));
        let wrapped = provider.wrap(&kek, &right, &key_material(7)).await.unwrap();
        let mut wrong = vec![right.clone(); 7];
        wrong[0].ring = RingName::from_static("other");
        wrong[1].key_id = phield_core::KeyId::new(2).unwrap();
        wrong[2].key_use = KeyUse::Index;
        (wrong[3].key_use, wrong[3].suite) = (KeyUse::Data, Some(phield_core::Suite::Aes256Gcm));
        wrong[4].scope = None;
        wrong[5].scope = Some(ScopeName::from_static("b"));
        wrong[6].share = Some(Share::Second);
        for context in wrong {
            let error = provider.unwrap(&kek, &context, &wrapped).await.unwrap_err();
            assert_eq!(error.kind(), Authentication, "{emulator:?} {context:?}");
        }
        provider.unwrap(&kek, &right, &wrapped).await.unwrap();
    }
}

/// A wrap that was made without a context, by somebody who may call the KMS and not through phield.
#[tokio::test]
async fn a_wrap_without_a_context_does_not_open() {
    for emulator in BOTH {
        let kms = emulator.kms();
        let (provider, kek) = (kms.provider(), kms.key(REGION).await);
        let plain = kms.admin(REGION).encrypt().key_id(kek.as_str());
        let plain = plain
            .plaintext(aws_sdk_kms::primitives::Blob::new([7; 32]))
            .send()
            .await
            .unwrap();
        let wrapped = plain.ciphertext_blob.unwrap().into_inner();
        let error = provider.unwrap(&kek, &context(1), &wrapped).await.unwrap_err();
        assert_eq!(error.kind(), Authentication, "{emulator:?}");
    }
}

/// Two wraps of one key that change places: their contexts differ.
#[tokio::test]
async fn swapped_wraps_do_not_open() {
    for emulator in BOTH {
        let kms = emulator.kms();
        let (provider, kek) = (kms.provider(), kms.key(REGION).await);
        let first = provider.wrap(&kek, &context(1), &key_material(1)).await.unwrap();
        let second = provider.wrap(&kek, &context(2), &key_material(2)).await.unwrap();
        for (id, wrapped) in [(1, second), (2, first)] {
            let error = provider.unwrap(&kek, &context(id), &wrapped).await.unwrap_err();
            assert_eq!(error.kind(), Authentication, "{emulator:?}");
        }
    }
}

/// A key of one region is no key of another.
#[tokio::test]
async fn another_region_does_not_have_the_key() {
    for emulator in BOTH {
        let kms = emulator.kms();
        let (provider, kek) = (kms.provider(), kms.key(REGION).await);
        let wrapped = provider.wrap(&kek, &context(1), &key_material(7)).await.unwrap();
        let moved = KekReference::new(kek.as_str().replace(REGION, OTHER_REGION)).unwrap();
        let error = provider.unwrap(&moved, &context(1), &wrapped).await.unwrap_err();
        assert!(
            matches!(error.kind(), Refused | UnknownKek | Authentication),
            "{emulator:?} {error}"
        );
        let error = provider
            .wrap(&moved, &context(1), &key_material(7))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), UnknownKek, "{emulator:?}");
    }
}

/// What is no wrap of KMS at all.
#[tokio::test]
async fn other_bytes_do_not_open() {
    for emulator in BOTH {
        let kms = emulator.kms();
        let (provider, kek) = (kms.provider(), kms.key(REGION).await);
        for bytes in [vec![0; 93], vec![0xff; 200], b"phield".to_vec()] {
            let error = provider.unwrap(&kek, &context(1), &bytes).await.unwrap_err();
            let kind = error.kind();
            assert!(
                matches!(kind, Authentication | UnknownKek | Refused),
                "{emulator:?} {error}: {:?}",
                std::error::Error::source(&error)
            );
        }
    }
}

#[tokio::test]
async fn aliases_become_arns() {
    for emulator in BOTH {
        let kms = emulator.kms();
        let (provider, admin) = (kms.provider(), kms.admin(REGION));
        let (kek, pepper) = (kms.key(REGION).await, kms.hmac_key(REGION).await);
        for (name, key) in [("alias/kek", &kek), ("alias/pepper", &pepper)] {
            let named = admin.create_alias().alias_name(name).target_key_id(key.as_str());
            named.send().await.unwrap();
        }
        for key in ["alias/kek", id(&kek), kek.as_str()] {
            assert_eq!(
                provider.resolve_key(key, KeyPurpose::Wrap).await.unwrap(),
                kek,
                "{emulator:?} {key}"
            );
        }
        assert_eq!(
            provider
                .resolve_key("alias/pepper", KeyPurpose::Mac)
                .await
                .unwrap(),
            pepper
        );
        provider
            .resolve_key("alias/pepper", KeyPurpose::Wrap)
            .await
            .unwrap_err();
        provider
            .resolve_key("alias/kek", KeyPurpose::Mac)
            .await
            .unwrap_err();
        admin.disable_key().key_id(id(&kek)).send().await.unwrap();
        provider
            .resolve_key("alias/kek", KeyPurpose::Wrap)
            .await
            .unwrap_err();
        for name in ["alias/kek", "alias/pepper"] {
            admin.delete_alias().alias_name(name).send().await.unwrap();
        }
        let error = provider
            .resolve_key("alias/kek", KeyPurpose::Wrap)
            .await
            .unwrap_err();
        assert!(
            std::error::Error::source(&error).is_some() || error.to_string().contains("refused"),
            "{error}"
        );
    }
}

/// A signing key wraps nothing, an HMAC key neither.
#[tokio::test]
async fn keys_of_another_usage() {
    let kms = Ministack.kms();
    let pepper = kms.hmac_key(REGION).await;
    let error = kms
        .provider()
        .wrap(&pepper, &context(1), &key_material(7))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), UnknownKek);
    let error = kms.provider().generate(&pepper, &context(1)).await.unwrap_err();
    assert_eq!(error.kind(), UnknownKek);
    let error = kms
        .provider()
        .mac(&kms.key(REGION).await, b"message")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), UnknownKek);
    assert_eq!(KeyUsageType::GenerateVerifyMac.as_str(), "GENERATE_VERIFY_MAC");
}
