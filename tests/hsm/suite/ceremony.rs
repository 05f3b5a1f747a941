//! The key creation ceremony.

use std::fs;

use cryptoki::object::Attribute;
use phield::KeyProvider as _;
use phield::pkcs11::{Pkcs11Error, Pkcs11Provider};
use phield_hsm_tests::{Client, block_on, hanging_module, provider, reference, settings};
use phield_testkit::hsm::{TestToken, TokenKind};

use crate::run;

/// Two ceremonies at once, of one label: at most one key is left, and whoever made it knows. (Not on kryoptic, which does not
/// bear two threads.)
#[test]
fn at_once() {
    run(
        TokenKind::SoftHsm,
        concat!(module_path!(), "::at_once"),
        |token| {
            let (one, other) = (provider(token), provider(token));
            let kek = reference("kek");
            let made = std::thread::scope(|scope| {
                let threads = [&one, &other]
                    .map(|provider| scope.spawn(|| block_on(provider.create_key(&kek)).is_ok()));
                threads.map(|thread| thread.join().unwrap())
            });
            let left = Client::new(token).count("kek");
            assert_eq!(left, made.iter().filter(|made| **made).count());
            assert!(left <= 1);
        },
    );
}

/// A module that does not know of it makes a key without: SoftHSM, behind a module that refuses such templates.
#[test]
fn a_module_that_cannot_keep_a_key_as_it_is() {
    run(
        TokenKind::SoftHsm,
        concat!(module_path!(), "::a_module_that_cannot_keep_a_key_as_it_is"),
        |token| {
            let mut settings = settings(token);
            settings.module = hanging_module(token);
            let (provider, client) = (Pkcs11Provider::new(settings), Client::new(token));
            let changed = |key: &str| {
                client
                    .logged_in()
                    .update_attributes(client.key(key), &[Attribute::Verify(true)])
            };
            for (unknown, key, changes) in [("copyable", "one", false), ("modifiable", "two", true)] {
                fs::write(token.folder().join(format!("knows-no-{unknown}")), "").unwrap();
                let report = block_on(provider.create_key(&reference(key))).unwrap();
                assert_eq!(report.fixed, Some(false));
                crate::round_trip(&provider, &reference(key)).unwrap();
                assert_eq!(changed(key).is_ok(), changes, "{key}");
            }
            // A key that may verify is none the worse.
            crate::round_trip(&provider, &reference("two")).unwrap();
            assert!(block_on(provider.check_key(&reference("two"))).is_ok());
        },
    );
}

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

    /// A key that was imported is told from one that was made inside, and what it signs is HMAC-SHA-256 (as Python has it).
    fn an_imported_key(token) {
        let (provider, client) = (provider(token), Client::new(token));
        client.import_key("kek", [0x0b; 32]);
        assert_eq!(block_on(provider.check_key(&reference("kek"))).unwrap().born_inside, Some(false));
        let mac = block_on(provider.mac(&reference("kek"), b"Hi There")).unwrap();
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7");
    }

    /// Nobody changes what the key may do, and nobody makes a copy that may do more.
    fn a_key_that_nobody_changes(token) {
        let (provider, client) = (provider(token), Client::new(token));
        block_on(provider.create_key(&reference("kek"))).unwrap();
        let session = client.logged_in();
        let kek = client.key("kek");
        assert!(session.update_attributes(kek, &[Attribute::Derive(true)]).is_err());
        assert!(session.copy_object(kek, &[Attribute::Modifiable(true)]).is_err());
        assert_eq!(client.count("kek"), 1);
        let told = |key: &str| block_on(provider.check_key(&reference(key))).unwrap().fixed;
        assert_eq!(told("kek"), Some(true));
        // One that was made elsewhere serves, and is told.
        client.make_key("elsewhere", &[]);
        assert_eq!(told("elsewhere"), Some(false));
        crate::round_trip(&provider, &reference("elsewhere")).unwrap();
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

#[derive(Debug, clap::Parser)]
struct Cli {
    #[command(subcommand)]
    command: phield_cli::Command,
}

/// What a verb of the command line prints, or its error and causes.
fn phield(arguments: &[&str]) -> Result<String, String> {
    let cli = <Cli as clap::Parser>::parse_from([&["phield"], arguments].concat());
    let mut out = Vec::new();
    let done = block_on(phield_cli::run(
        &cli.command,
        &mut phield_cli::Host::new(&mut out),
    ));
    done.map_err(|error| phield_cli::causes(&error))?;
    Ok(String::from_utf8(out).unwrap())
}

on_both! {
    /// What the command prints can be put into `phield.toml` as it is.
    fn by_the_command_line(token) {
        let (module, pin) = (token.module().display().to_string(), token.pin_file().display().to_string());
        let place = ["--module", &module, "--token", TestToken::LABEL, "--pin-file", &pin, "--label"];
        let verb = |verb: &'static str, rest: &[&str]| phield(&[&["hsm", verb], place.as_slice(), rest].concat());
        let missing = verb("check", &["kek"]).unwrap_err();
        assert!(missing.contains("phield hsm create-key"), "{missing}");
        let said = verb("create-key", &["kek"]).unwrap();
        assert!(said.contains("made in the HSM") && !said.contains(TestToken::PIN), "{said}");
        let entry = said.split_once("[[provider]]").unwrap().1.split_once("\n\n").unwrap().0;
        let config = format!(
            "app = \"emr\"\nring = \"emr\"\nring_key = \"00000001:{}\"\nmin_epoch = 1\nkey_store = {{ file = \"r\" }}\n\
             [[provider]]{entry}\n",
            "0".repeat(64)
        );
        let path = token.folder().join("phield.toml");
        fs::write(&path, config).unwrap();
        let settings = block_on(phield::config::Config::read(&path).unwrap().settings(&phield::backends())).unwrap();
        crate::round_trip(settings.providers[0].provider(), &reference("kek")).unwrap();

        let again = verb("create-key", &["kek"]).unwrap_err();
        assert!(again.contains("already; nothing was made"), "{again}");
        assert!(verb("check", &["kek"]).unwrap().contains("phield/kek"));
        let pepper = verb("create-key", &["pepper", "--kind", "pepper"]).unwrap();
        assert!(pepper.contains("mac_keys = [\"phield/pepper\"]"), "{pepper}");
        let wrong = token.write_pin("wrong", "wrong-pin-4711");
        Client::new(token).log_out();
        let wrong = phield(&["hsm", "check", "--module", &module, "--token", TestToken::LABEL, "--pin-file",
            &wrong.display().to_string(), "--label", "kek"]).unwrap_err();
        assert!(wrong.contains("is wrong; it is not tried again") && !wrong.contains("pin-4711"), "{wrong}");
    }
}

/// What stands before the verbs when this program is started as a command line.
const UNDER: [&str; 5] = [
    "--exact",
    "--ignored",
    "--nocapture",
    "ceremony::command_line",
    "--",
];

/// The command line itself, as `phield init` starts it to rehearse the restore: what stands behind `--`.
#[test]
#[ignore = "run by a_ring_of_the_hsm"]
fn command_line() {
    let arguments = std::env::args().skip_while(|argument| argument != "--").skip(1);
    let cli = <Cli as clap::Parser>::parse_from(std::iter::once("phield".to_owned()).chain(arguments));
    let mut out = std::io::stdout();
    if let Err(error) = block_on(phield_cli::run(
        &cli.command,
        &mut phield_cli::Host::new(&mut out),
    )) {
        panic!("{}", phield_cli::causes(&error));
    }
}

/// `phield init` makes a ring whose keys the HSM opens alone, or a key file beside it. (Not on kryoptic: the rehearsal is a
/// second process at the same token.)
#[test]
fn a_ring_of_the_hsm() {
    run(
        TokenKind::SoftHsm,
        concat!(module_path!(), "::a_ring_of_the_hsm"),
        |token| {
            block_on(provider(token).create_key(&reference("kek"))).unwrap();
            let (module, pin) = (
                token.module().display().to_string(),
                token.pin_file().display().to_string(),
            );
            let dir = token.folder().join("clinic").display().to_string();
            let kek = reference("kek").to_string();
            let arguments = [
                "phield",
                "init",
                "--app",
                "emr",
                "--ring",
                "emr-test",
                "--dir",
                &dir,
                "--hsm-module",
                &module,
                "--hsm-pin-file",
                &pin,
                "--hsm-key",
                &kek,
                "--with-key-file",
                "--stretching",
                "minimal",
            ];
            let cli = <Cli as clap::Parser>::parse_from(arguments);
            let mut out = Vec::new();
            let mut host = phield_cli::Host::new(&mut out).under(UNDER);
            if let Err(error) = block_on(phield_cli::run(&cli.command, &mut host)) {
                panic!("{}", phield_cli::causes(&error));
            }
            let said = String::from_utf8(out).unwrap();
            assert!(
                said.contains("6 keys, 12 wraps opened, the test token opens"),
                "{said}"
            );
            assert!(
                said.contains("pkcs11 phield/kek: back up the HSM as its maker says"),
                "{said}"
            );
            assert!(!said.contains(TestToken::PIN), "{said}");
            let config = std::path::Path::new(&dir).join("phield.toml");
            let check = phield(&["keys", "check", "--config", &config.display().to_string()]).unwrap();
            assert_eq!(
                check.lines().filter(|line| line.ends_with("  opens")).count(),
                12,
                "{check}"
            );
            let missing = reference("none").to_string();
            let other = token.folder().join("other").display().to_string();
            let error = phield(&[
                "init",
                "--app",
                "emr",
                "--ring",
                "emr-test",
                "--dir",
                &other,
                "--hsm-module",
                &module,
                "--hsm-pin-file",
                &pin,
                "--hsm-key",
                &missing,
            ]);
            let error = error.unwrap_err();
            assert!(
                error.starts_with("error: could not open the key-encryption keys"),
                "{error}"
            );
        },
    );
}
