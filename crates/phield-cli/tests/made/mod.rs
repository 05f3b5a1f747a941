//! A ring made by `phield init`, and its verbs as a person runs them.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test program uses its part"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub fn phield(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phield"));
    command
        .args(arguments)
        .env_remove("PHIELD_PASSPHRASE_FILE")
        .stdin(Stdio::null());
    command
}

/// A ring made by `phield init`.
pub struct Made {
    pub folder: TempDir,
}

impl Made {
    pub fn new() -> Self {
        let made = Self {
            folder: TempDir::new().unwrap(),
        };
        made.init("clinic");
        made
    }

    pub fn init(&self, name: &str) {
        let dir = self.folder.path().join(name).display().to_string();
        let arguments = [
            "init",
            "--app",
            "clinic",
            "--ring",
            "clinic-test",
            "--dir",
            &dir,
            "--stretching",
            "minimal",
        ];
        assert!(phield(&arguments).status.success());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("clinic").join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let config = self.text("phield.toml");
        phield(&[&["keys"], arguments, &["--config", &config]].concat())
    }

    /// What a verb prints when it goes well.
    pub fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && stderr.is_empty(),
            "{arguments:?}: {stderr}"
        );
        self.check_secrets(&output);
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a verb says when it fails.
    pub fn bad(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        self.check_secrets(&output);
        String::from_utf8(output.stderr).unwrap()
    }

    pub fn check_secrets(&self, output: &Output) {
        let passphrase = fs::read_to_string(self.path("passphrase")).unwrap();
        let all = [output.stdout.as_slice(), &output.stderr].concat();
        assert!(!String::from_utf8_lossy(&all).contains(passphrase.trim()));
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.good(&[arguments, &["--json"]].concat())).unwrap()
    }

    pub fn list(&self) -> Value {
        self.json(&["list"])
    }

    /// The id of the only key of this use in this state.
    pub fn id(&self, key_use: &str, state: &str) -> String {
        let list = self.list();
        let keys = list["keys"].as_array().unwrap().iter();
        let mut found = keys.filter(|key| key["use"] == key_use && key["state"] == state);
        let id = found.next().unwrap()["id"].as_str().unwrap().to_owned();
        assert!(found.next().is_none(), "more than one {state} {key_use}");
        id
    }

    pub fn state(&self, id: &str) -> String {
        let list = self.list();
        let mut keys = list["keys"].as_array().unwrap().iter();
        let key = keys.find(|key| key["id"] == id).unwrap();
        key["state"].as_str().unwrap().to_owned()
    }

    /// A second key file, of another ring, as a second provider.
    pub fn add_provider(&self, keks: &str) {
        self.init("other");
        let entry = format!(
            "\n[[provider]]\nname = \"break-glass\"\nkind = \"local\"\nkey_file = \"../other/keys.phield\"\n\
             passphrase_file = \"../other/passphrase\"\nkeks = {keks}\n"
        );
        let config = fs::read_to_string(self.path("phield.toml")).unwrap();
        fs::write(self.path("phield.toml"), config + &entry).unwrap();
    }
}

pub fn same(a: &Path, b: &Path) -> bool {
    fs::read(a).unwrap() == fs::read(b).unwrap()
}

impl Made {
    /// The ring, past the command line.
    pub fn ring(&self) -> phield_core::Ring {
        let config = phield_core::config::Config::read(&self.path("phield.toml")).unwrap();
        block_on(config.ring(&phield_core::Backends::local())).unwrap()
    }

    /// Makes a key one that stopped sealing at this time, in seconds since the Unix epoch.
    pub fn stopped(&self, id: &str, at: u64) {
        let id = phield_core::KeyId::new(u32::from_str_radix(id, 16).unwrap()).unwrap();
        let changed = self.ring();
        block_on(changed.update(|manifest| {
            let mut records = manifest.records.iter_mut();
            let record = records.find(|record| record.context.key_id == id);
            record.unwrap().not_after = at;
        }))
        .unwrap();
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// A transcript with names for what is another in every run: times are `TIME`, and so on.
pub fn anonymous(text: &str, names: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (found, name) in names {
        text = text.replace(found, name);
    }
    let is_time = |word: &str| {
        let shape: String = word
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        shape == "0000-00-00T00:00:00Z"
    };
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        match rest.get(..20).filter(|word| is_time(word)) {
            Some(_) => {
                out.push_str("TIME");
                rest = &rest[20..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

impl Made {
    /// Any verb, with the configuration.
    pub fn verb(&self, arguments: &[&str]) -> Output {
        let config = self.text("phield.toml");
        let output = phield(&[arguments, &["--config", &config]].concat());
        self.check_secrets(&output);
        output
    }

    /// What any verb prints when it goes well.
    pub fn says(&self, arguments: &[&str]) -> String {
        let output = self.verb(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && stderr.is_empty(),
            "{arguments:?}: {stderr}"
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Writes something else into the configuration.
    pub fn edit(&self, from: &str, to: &str) {
        let config = fs::read_to_string(self.path("phield.toml")).unwrap();
        assert!(config.contains(from), "{from}");
        fs::write(self.path("phield.toml"), config.replacen(from, to, 1)).unwrap();
    }
}
