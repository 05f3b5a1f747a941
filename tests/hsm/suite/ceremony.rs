//! The key creation ceremony.

use phield::pkcs11::Pkcs11Error;
use phield_hsm_tests::{Client, block_on, provider, reference};
use phield_testkit::hsm::TestToken;

on_both! {
    /// What it makes was made inside and never leaves; what is there already stays.
    fn makes_a_key_once(token) {
        let (provider, client) = (provider(token), Client::new(token));
        let report = block_on(provider.create_key(&reference("kek"))).unwrap();
        assert_eq!((report.key.to_string().as_str(), report.born_inside), ("phield/kek", Some(true)));
        assert_eq!(block_on(provider.check_key(&reference("kek"))), Ok(report));
        let again = block_on(provider.create_key(&reference("kek")));
        assert!(matches!(again, Err(Pkcs11Error::KeyExists(_))), "{again:?}");
        assert_eq!(client.count("kek"), 1);
        crate::round_trip(&provider, &reference("kek")).unwrap();
    }

    /// Two ceremonies at once, of one label: at most one key is left, and a key that is left works.
    fn at_once(token) {
        let (one, other) = (provider(token), provider(token));
        let kek = reference("kek");
        let made = std::thread::scope(|scope| {
            let threads = [&one, &other].map(|provider| scope.spawn(|| block_on(provider.create_key(&kek)).is_ok()));
            threads.map(|thread| thread.join().unwrap())
        });
        let left = Client::new(token).count("kek");
        assert_eq!(left, made.iter().filter(|made| **made).count());
        assert!(left <= 1);
    }

    /// A client that is not ours sees a key that does not encrypt, decrypt, wrap, unwrap or derive, and never comes out.
    fn as_opensc_sees_it(token) {
        block_on(provider(token).create_key(&reference("kek"))).unwrap();
        let list = ["--login", "--pin", TestToken::PIN, "--token-label", TestToken::LABEL, "--list-objects"];
        let seen = token.pkcs11_tool(&list);
        let line = |name: &str| {
            let line = seen.lines().find(|line| line.trim_start().starts_with(name));
            line.unwrap_or_else(|| panic!("{name}: {seen}")).trim().to_owned()
        };
        assert!(line("label:").ends_with("kek"));
        // It prints no word for HMAC, and one for everything else that a key may do.
        assert_eq!(line("Usage:").split_whitespace().collect::<Vec<_>>(), ["Usage:", "none"]);
        let access = line("Access:");
        for word in ["always sensitive", "never extractable", "local"] {
            assert!(access.contains(word), "{access}");
        }
    }
}
