//! I-8 with two processes: a new key reaches every instance before one of them seals with it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use data_encoding::HEXLOWER;
use phield_core::config::Config;
use phield_core::{Backends, CachePolicy, KeyId, KeyState, KeyUse, Keyring, Sealed, Suite};
use phield_testkit::{TestRing, block_on};

use crate::world::{SOFT, key_of, open, seal};

const CHILD: &str = "PHIELD_TEST_FLEET";
/// Far more than the soft TTL: the time in which every instance has read a published manifest.
const SETTLED: Duration = Duration::from_millis(3000);

/// Does nothing by itself: the other test starts it as an instance of a service. It answers each line of its input:
/// `seal` with a token, a token with `opened`.
#[test]
fn instance() {
    let Some(config) = std::env::var_os(CHILD) else {
        return;
    };
    let keyring = block_on(keyring(PathBuf::from(config)));
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let answer = if line == "seal" {
            HEXLOWER.encode(seal(&keyring).unwrap().as_bytes())
        } else {
            let sealed = token(&line);
            open(&keyring, &sealed).map_or_else(|error| error.to_string(), |()| "opened".to_owned())
        };
        println!("\nanswer {answer}");
    }
}

async fn keyring(config: PathBuf) -> Keyring {
    let mut ring = Config::read(&config)
        .unwrap()
        .ring(&Backends::local())
        .await
        .unwrap();
    ring.settings.cache = CachePolicy::new(SOFT, Duration::from_secs(60)).unwrap();
    ring.into_keyring().await.unwrap()
}

fn token(hex: &str) -> Sealed<String> {
    Sealed::from_bytes(HEXLOWER.decode(hex.as_bytes()).unwrap()).unwrap()
}

/// A process with a keyring of its own.
struct Instance {
    process: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Instance {
    fn start(ring: &TestRing) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fleet::instance", "--nocapture"])
            .env(CHILD, ring.config_path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut instance = Self { process, answers };
        instance.line(|line| line.trim_end().ends_with("ready").then(String::new));
        instance
    }

    fn line(&mut self, wanted: impl Fn(&str) -> Option<String>) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.answers.read_line(&mut line).unwrap(),
                0,
                "the instance ended"
            );
            if let Some(answer) = wanted(&line) {
                return answer;
            }
        }
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.process.stdin.as_mut().unwrap(), "{line}").unwrap();
        self.line(|line| Some(line.strip_prefix("answer ")?.trim_end().to_owned()))
    }

    /// A token, and its key.
    fn seal(&mut self) -> (String, KeyId) {
        let text = self.ask("seal");
        let id = key_of(&token(&text));
        (text, id)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Neither instance is told anything: both read the ring. At no moment does one of them meet a key that it does not know.
#[test]
fn a_new_key_is_known_to_all_before_it_seals() {
    let ring = TestRing::new("clinic");
    let mut instances = [Instance::start(&ring), Instance::start(&ring)];
    let (_, old) = instances[0].seal();
    let admin = ring.ring();
    let new = block_on(admin.add_key(KeyUse::Data, Some(Suite::Aes256Gcm), None)).unwrap();
    let everybody_opens = |instances: &mut [Instance; 2]| {
        for sealer in 0..2 {
            let (text, id) = instances[sealer].seal();
            for instance in instances.iter_mut() {
                assert_eq!(instance.ask(&text), "opened", "{id}");
            }
        }
    };
    everybody_opens(&mut instances);
    std::thread::sleep(SETTLED);
    // Published and not active: nobody seals with it.
    for instance in &mut instances {
        assert_eq!(instance.seal().1, old);
    }
    block_on(admin.set_state(new, KeyState::Active)).unwrap();
    // One instance seals with it before the other has read that it is active: the other opens it all the same.
    let settled = std::time::Instant::now();
    let mut sealed_with_new = [false; 2];
    while settled.elapsed() < SETTLED {
        everybody_opens(&mut instances);
        for (instance, seals) in instances.iter_mut().zip(&mut sealed_with_new) {
            *seals |= instance.seal().1 == new;
        }
    }
    assert_eq!(
        sealed_with_new,
        [true, true],
        "an instance never read the new manifest"
    );
}
