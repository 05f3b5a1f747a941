//! Index peppers that stay in a device.

use phield_core::{KekReference, ProviderErrorKind};

use super::{Deviation, Suite};

impl Suite<'_> {
    /// `mac` depends on the whole message and on the key, and on nothing else; or there is none.
    pub(super) async fn macs(&self) {
        let Some(key) = &self.conformance.mac_key else {
            let made = self.provider.mac(&self.conformance.kek, b"message").await;
            // The key-encryption key is no key for this, or there are none.
            let none = [ProviderErrorKind::Unsupported, ProviderErrorKind::UnknownKek];
            self.fails("mac", made, &none, [None, None]);
            return;
        };
        // As long as the messages of check values and of index values are, and much longer.
        let messages = [
            vec![1],
            vec![1; 110],
            [vec![1; 109], vec![2]].concat(),
            vec![1; 111],
            vec![1; 1024],
        ];
        let mut seen = Vec::new();
        for message in &messages {
            let (first, second) = (self.mac(key, message).await, self.mac(key, message).await);
            assert!(first == second, "two macs of one message by one key differ");
            assert!(first != [0; 32] && !seen.contains(&first), "two macs are equal");
            seen.push(first);
        }
        if let Some(other) = &self.conformance.other_mac_key {
            for message in &messages {
                let mac = self.mac(other, message).await;
                assert!(!seen.contains(&mac), "macs by two keys are equal");
            }
        }
        let made = self.provider.mac(&self.conformance.unknown_kek, b"message").await;
        self.fails(
            "mac by an unknown key",
            made,
            &[ProviderErrorKind::UnknownKek],
            [None, Some(Deviation::UnknownKekHasOtherError)],
        );
    }

    async fn mac(&self, key: &KekReference, message: &[u8]) -> [u8; 32] {
        let mac = self.provider.mac(key, message).await;
        self.expect("mac", mac)
    }
}
