//! The conformance suite of every provider.

use phield_hsm_tests::{block_on, provider_with_kek, reference};
use phield_testkit::conformance::{self, Conformance};
use phield_testkit::hsm::TestToken;

on_both! {
    /// With no known deviation.
    fn the_provider_conforms(token) {
        let provider = provider_with_kek(token);
        for key in ["other", "pepper", "other pepper"] {
            block_on(provider.create_key(&reference(key))).unwrap();
        }
        let suite = Conformance::new(reference("kek"), reference("none"))
            .with_other_kek(reference("other"))
            .with_mac_keys(reference("pepper"), reference("other pepper"))
            .with_secrets([TestToken::PIN]);
        block_on(conformance::check(&provider, &suite));
    }
}
