//! What `phield doctor` says of a dozen broken set-ups, word by word: `tests/doctor/*.txt`. With `PHIELD_UPDATE=1` the files
//! are written anew.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A ring whose configuration doctor has nothing against: two providers, and every file in a place of its own.
struct Made {
    folder: TempDir,
}

fn phield(arguments: &[&str]) -> Output {
    // Limits of the shell that runs the tests are not what is tested.
    let script = "ulimit -c 0; exec \"$0\" \"$@\"";
    Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_phield")])
        .args(arguments)
        .env_remove("PHIELD_PASSPHRASE_FILE")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn good(arguments: &[&str]) {
    let output = phield(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

impl Made {
    fn new() -> Self {
        let made = Self {
            folder: TempDir::new().unwrap(),
        };
        for name in ["clinic", "glass"] {
            let dir = made.path(name).display().to_string();
            good(&[
                "init",
                "--app",
                "clinic",
                "--ring",
                "clinic-test",
                "--dir",
                &dir,
                "--stretching",
                "minimal",
            ]);
        }
        let elsewhere = made.path("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        chmod(&elsewhere, 0o700);
        fs::rename(made.file("epoch.witness"), elsewhere.join("epoch.witness")).unwrap();
        made.edit(
            "file = \"epoch.witness\"",
            "file = \"../elsewhere/epoch.witness\"",
        );
        made.append(
            "\n[[provider]]\nname = \"glass\"\nkind = \"local\"\nkey_file = \"../glass/keys.phield\"\n\
             passphrase_file = \"../glass/passphrase\"\nkeks = [\"1\"]\n",
        );
        made.keys(&["wrap", "add", "--provider", "glass", "--kek", "1"]);
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path("clinic").join(name)
    }

    fn config(&self) -> String {
        fs::read_to_string(self.file("phield.toml")).unwrap()
    }

    fn edit(&self, from: &str, to: &str) {
        let config = self.config();
        assert!(config.contains(from), "{from} is not in\n{config}");
        fs::write(self.file("phield.toml"), config.replacen(from, to, 1)).unwrap();
    }

    fn append(&self, text: &str) {
        fs::write(self.file("phield.toml"), self.config() + text).unwrap();
    }

    fn keys(&self, arguments: &[&str]) {
        let config = self.file("phield.toml").display().to_string();
        good(&[&["keys"], arguments, &["--config", &config]].concat());
    }

    fn id(&self, state: &str) -> String {
        let config = self.file("phield.toml").display().to_string();
        let list = phield(&["keys", "list", "--json", "--config", &config]);
        let list: Value = serde_json::from_slice(&list.stdout).unwrap();
        let keys = list["keys"].as_array().unwrap();
        let key = keys
            .iter()
            .find(|key| key["use"] == "data" && key["state"] == state);
        key.unwrap()["id"].as_str().unwrap().to_owned()
    }

    fn doctor(&self, more: &[&str]) -> Output {
        let config = self.file("phield.toml").display().to_string();
        phield(&[&["doctor", "--config", &config], more].concat())
    }

    /// What doctor says, with what differs from run to run left out; it changes nothing.
    fn diagnose(&self, name: &str, code: i32) {
        let before = self.contents();
        let output = self.doctor(&[]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}");
        assert_eq!(output.status.code(), Some(code), "{name}:\n{said}");
        assert_eq!(self.contents(), before, "{name}: something was changed");
        let passphrase = fs::read_to_string(self.path("glass/passphrase")).unwrap();
        assert!(!said.contains(passphrase.trim()), "{name}");
        let said = normalized(&said.replace(&self.folder.path().display().to_string(), "DIR"));
        let said = said.replace("for 3 days more", "for 2 days more");
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/doctor")
            .join(format!("{name}.txt"));
        if std::env::var_os("PHIELD_UPDATE").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &said).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            said == expected,
            "{name}: doctor says\n{said}\nand {} has\n{expected}",
            path.display()
        );
    }

    fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push((path.clone(), fs::read(&path).unwrap()));
                }
            }
        }
        found.sort();
        found
    }
}

/// Key ids as `KEY`, times as `TIME`.
fn normalized(text: &str) -> String {
    let is_id = |word: &str| {
        word.len() == 8
            && word
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_time = |word: &str| word.len() == 20 && word.ends_with('Z') && word.contains('T');
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_alphanumeric() || (c == '-' || c == ':') && word.len() >= 4 && word.starts_with("20") {
            word.push(c);
            continue;
        }
        let (bare, colon) = match word.strip_suffix(':') {
            Some(bare) => (bare, ":"),
            None => (word.as_str(), ""),
        };
        out += match bare {
            bare if is_id(bare) => "KEY",
            bare if is_time(bare) => "TIME",
            bare => bare,
        };
        out += colon;
        out.push(c);
        word.clear();
    }
    out.pop();
    out
}

#[test]
fn nothing_is_wrong() {
    let made = Made::new();
    made.diagnose("nothing", 0);
    let report: Value = serde_json::from_slice(&made.doctor(&["--json"]).stdout).unwrap();
    assert_eq!(
        (&report["errors"], &report["warnings"], &report["epoch"]),
        (&0.into(), &0.into(), &2.into())
    );
    // A ring as init leaves it: one key-encryption key, and all in one folder.
    let config = made.path("glass").join("phield.toml").display().to_string();
    let output = phield(&["doctor", "--json", "--config", &config]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["errors"], &report["warnings"]), (&0.into(), &2.into()));
    let severities: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| &finding["severity"])
        .collect();
    assert_eq!(severities, ["warning", "warning"]);
}

#[test]
fn configurations() {
    let made = Made::new();
    let right = made.config();
    made.edit("app = \"clinic\"", "apps = \"clinic\"");
    made.diagnose("unknown-entry", 2);
    fs::remove_file(made.file("phield.toml")).unwrap();
    made.diagnose("no-configuration", 2);
    fs::write(made.file("phield.toml"), &right).unwrap();
    chmod(&made.file("phield.toml"), 0o600);
    made.edit("ring = \"clinic-test\"", "ring = \"clinic-prod\"");
    made.diagnose("another-ring", 2);
    fs::write(made.file("phield.toml"), &right).unwrap();
    made.append(
        "\n[cache]\nhard_ttl_seconds = 259200\n\n[data_keys]\ndays = 365\ntokens_per_second = 1000\n",
    );
    made.edit("min_epoch = 1", "min_epoch = 1\nlock_memory = true");
    let backup = made
        .config()
        .replace("[backup]\nfile = \"backup/ring.phield\"\n", "");
    fs::write(made.file("phield.toml"), backup).unwrap();
    let witness = made
        .config()
        .replace("[epoch_witness]\nfile = \"../elsewhere/epoch.witness\"\n", "");
    fs::write(made.file("phield.toml"), witness).unwrap();
    let unlimited = made.doctor(&[]);
    assert_eq!(unlimited.status.code(), Some(1));
    made.edit("lock_memory = true\n", "");
    made.diagnose("risky-settings", 1);
}

#[test]
fn files_that_others_can_reach() {
    let made = Made::new();
    chmod(&made.file("ring.phield"), 0o666);
    chmod(&made.file("phield.toml"), 0o664);
    chmod(&made.path("elsewhere"), 0o777);
    chmod(&made.file(""), 0o770);
    fs::write(made.file("ring.phield.tmp"), "").unwrap();
    made.diagnose("writable-files", 2);
    let made = Made::new();
    chmod(&made.file("keys.phield"), 0o640);
    made.diagnose("readable-key-file", 2);
}

/// What somebody else owns, they can write.
#[test]
fn files_of_somebody_else() {
    let made = Made::new();
    for path in [made.file("phield.toml"), made.file("ring.phield"), made.file("")] {
        if std::os::unix::fs::chown(&path, Some(4711), None).is_err() {
            println!("not root: no file can be given away");
            return;
        }
    }
    made.diagnose("files-of-another-user", 0);
}

/// Key-encryption keys that are lost together are one.
#[test]
fn key_encryption_keys_that_are_lost_together() {
    let made = Made::new();
    made.edit("../glass/keys.phield", "../clinic/../clinic/keys.phield");
    made.edit("../glass/passphrase", "passphrase");
    made.diagnose("two-keks-of-one-file", 2);
    // Of KMS and of an HSM, whether this build has them or not.
    let config = |keks: &str| {
        let made = Made::new();
        let first = made.config().find("[[provider]]").unwrap();
        let config = made.config()[..first].to_owned() + keks;
        fs::write(made.file("phield.toml"), config).unwrap();
        let report: Value = serde_json::from_slice(&made.doctor(&["--json"]).stdout).unwrap();
        let findings = report["findings"].as_array().unwrap().iter();
        let found: Vec<_> = findings
            .filter_map(|finding| finding["finding"].as_str())
            .filter(|finding| finding.contains("are lost together"))
            .map(str::to_owned)
            .collect();
        found
    };
    let kms = "[[provider]]\nname = \"aws-kms\"\nkeks = [\"arn:aws:kms:eu-central-1:111122223333:key/ID\", \
               \"arn:aws:kms:eu-west-1:111122223333:key/ID\"]\n";
    assert_eq!(
        config(&kms.replace("ID", "mrk-1234abcd12ab34cd56ef1234567890ab")),
        [
            "2 key-encryption keys are lost together: they are in the multi-region key mrk-1234abcd12ab34cd56ef1234567890ab"
        ]
    );
    assert!(config(&kms.replace("ID", "1234abcd-12ab-34cd-56ef-1234567890ab")).is_empty());
    let hsm = "[[provider]]\nname = \"pkcs11\"\nmodule = \"hsm.so\"\npin_file = \"pin\"\nkeks = [\"clinic/a\", \"clinic/b\"]\n";
    assert_eq!(
        config(hsm),
        ["2 key-encryption keys are lost together: they are in the token clinic"]
    );
}

#[test]
fn providers() {
    let made = Made::new();
    fs::write(made.file("passphrase"), "wrong\n").unwrap();
    made.diagnose("wrong-passphrase", 2);
    let made = Made::new();
    fs::remove_file(made.path("glass/keys.phield")).unwrap();
    made.diagnose("no-key-file", 2);
    // The same file has a key of this name, under which nothing is wrapped yet.
    let made = Made::new();
    made.keys(&["wrap", "remove", "--provider", "glass", "--kek", "1"]);
    made.diagnose("missing-wraps", 1);
    let made = Made::new();
    let config = made.config();
    let last = config.rfind("keks = [\"1\"]").unwrap();
    fs::write(
        made.file("phield.toml"),
        format!("{}keks = [\"2\"]\n", &config[..last]),
    )
    .unwrap();
    made.diagnose("unknown-kek", 2);
}

#[test]
fn rings() {
    let made = Made::new();
    let old = fs::read(made.file("ring.phield")).unwrap();
    made.keys(&["add", "--another"]);
    let new = fs::read(made.file("ring.phield")).unwrap();
    fs::write(made.file("ring.phield"), &old).unwrap();
    made.diagnose("old-ring-put-back", 2);
    fs::write(made.file("ring.phield"), &new[..100]).unwrap();
    made.diagnose("cut-off-ring", 2);
    fs::remove_file(made.file("ring.phield")).unwrap();
    made.diagnose("no-ring", 2);
    fs::write(made.file("ring.phield"), &new).unwrap();
    fs::write(made.path("elsewhere/epoch.witness"), "nonsense\n").unwrap();
    fs::remove_file(made.file("backup/ring.phield")).unwrap();
    made.diagnose("damaged-witness-and-no-backup", 2);
    fs::remove_file(made.path("elsewhere/epoch.witness")).unwrap();
    fs::write(made.file("backup/ring.phield"), &old).unwrap();
    made.diagnose("no-witness-and-old-backup", 1);
    fs::write(made.file("backup/ring.phield"), "precious").unwrap();
    made.diagnose("damaged-backup", 2);
}

#[test]
fn keys() {
    let made = Made::new();
    let active = made.id("active");
    made.keys(&["retire", &active, "--compromised"]);
    made.keys(&[
        "retire",
        &made.id("active"),
        "--leave-none",
        "--acknowledged-by-every-instance",
    ]);
    made.diagnose("compromised-and-none-active", 2);

    // A key of three days: its end is near from the start, in two whole days or in three.
    let made = Made::new();
    made.append("\n[data_keys]\ndays = 3\n");
    made.keys(&[
        "activate",
        &made.id("pre-active"),
        "--acknowledged-by-every-instance",
    ]);
    made.diagnose("near-its-end", 1);
}
