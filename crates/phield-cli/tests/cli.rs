//! The binary `phield`, run as a person runs it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn phield(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phield"));
    command
        .args(arguments)
        .env_remove("PHIELD_PASSPHRASE_FILE")
        .stdin(Stdio::null());
    command.output().unwrap()
}

/// What a verb prints when it goes well.
fn good(arguments: &[&str]) -> String {
    let output = phield(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.is_empty(),
        "{arguments:?}: {} {stderr}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What a verb says when it fails; it prints nothing else.
fn bad(arguments: &[&str], code: i32) -> String {
    let output = phield(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    stderr
}

/// A ring made by `phield init`.
struct Made {
    folder: TempDir,
    printed: String,
}

impl Made {
    fn new(more: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let dir = folder.path().join("clinic").display().to_string();
        let printed = good(&[&init(&dir), more].concat());
        Self { folder, printed }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("clinic").join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Every file with its content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(self.folder.path())
    }
}

fn init(dir: &str) -> Vec<&str> {
    vec![
        "init",
        "--app",
        "clinic",
        "--ring",
        "clinic-test",
        "--dir",
        dir,
        "--stretching",
        "minimal",
    ]
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    found
}

#[test]
fn init_makes_a_ring_and_says_what_to_back_up() {
    let made = Made::new(&[]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&made.path("")), 0o700);
    assert_eq!(mode(&made.path("backup")), 0o700);
    for file in [
        "keys.phield",
        "passphrase",
        "ring.phield",
        "epoch.witness",
        "phield.toml",
        "backup/ring.phield",
    ] {
        assert_eq!(mode(&made.path(file)), 0o600, "{file}");
    }
    assert_eq!(
        fs::read(made.path("ring.phield")).unwrap(),
        fs::read(made.path("backup/ring.phield")).unwrap()
    );
    for part in [
        "Rehearsed the restore in a new process: backup of ring clinic-test at epoch 1 is good: 6 keys, 6 wraps opened, the test token opens.",
        &format!(
            "1. the ring         {}; move it off this machine",
            made.text("backup/ring.phield")
        ),
        &format!("2. the key file     {}", made.text("keys.phield")),
        &format!("3. the passphrase   {}", made.text("passphrase")),
        &format!("Next: phield keys list --config {}", made.text("phield.toml")),
    ] {
        assert!(made.printed.contains(part), "{part}\nis not in\n{}", made.printed);
    }
    let pin = fs::read_to_string(made.path("phield.toml")).unwrap();
    let pin = pin.lines().find(|line| line.starts_with("ring_key = ")).unwrap();
    assert!(made.printed.contains(pin));
    let passphrase = fs::read_to_string(made.path("passphrase")).unwrap();
    assert!(
        !made.printed.contains(passphrase.trim()),
        "the passphrase was printed"
    );
}

#[test]
fn a_second_init_refuses_and_changes_nothing() {
    let made = Made::new(&[]);
    let before = made.files();
    let error = bad(&init(&made.text("")), 1);
    assert!(
        error.contains("there is a key ring already at") && error.contains("nothing was changed"),
        "{error}"
    );
    let folder = made.text("");
    let other = [
        init(&folder),
        vec![
            "--backup",
            "/nonexistent/ring",
            "--passphrase-file",
            "/nonexistent/p",
        ],
    ]
    .concat();
    bad(&other, 1);
    assert_eq!(made.files(), before);
}

#[test]
fn an_init_that_stops_half_way_publishes_nothing_and_says_what_to_delete() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("clinic");
    let text = dir.display().to_string();
    fs::write(folder.path().join("file"), "").unwrap();
    let backup = folder.path().join("file/ring.phield").display().to_string();
    let error = bad(&[init(&text), vec!["--backup", &backup]].concat(), 1);
    assert!(
        error.starts_with("error: could not write the backup; no key ring was published"),
        "{error}"
    );
    let left: Vec<_> = ["passphrase", "keys.phield", "phield.toml"]
        .map(|name| dir.join(name))
        .into();
    let lines: Vec<_> = error
        .lines()
        .filter_map(|line| line.strip_prefix("  /"))
        .map(|line| PathBuf::from(format!("/{line}")))
        .collect();
    assert_eq!(lines, left);
    assert!(!dir.join("ring.phield").exists());

    let before = files(folder.path());
    let error = bad(&init(&text), 1);
    assert!(
        error.contains("these files are in the way; nothing was changed"),
        "{error}"
    );
    assert_eq!(files(folder.path()), before);
    for path in left {
        assert!(error.contains(&path.display().to_string()), "{error}");
        fs::remove_file(path).unwrap();
    }
    good(&init(&text));
}

#[derive(clap::Parser)]
struct Embedded {
    #[command(subcommand)]
    command: phield_cli::Command,
}

#[test]
fn without_a_rehearsal_there_is_no_ring() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("clinic");
    let text = dir.display().to_string();
    let arguments = [vec!["phield"], init(&text)].concat();
    let Embedded { command } = clap::Parser::parse_from(arguments);
    // The new process is this test binary, which knows no such argument and fails.
    let mut out = Vec::new();
    let mut host = phield_cli::Host::new(&mut out).under(["--no-such-argument"]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime
        .block_on(phield_cli::run(&command, &mut host))
        .unwrap_err();
    let error = phield_cli::causes(&error);
    assert!(
        error.starts_with("error: could not rehearse the restore of the backup; no key ring was published"),
        "{error}"
    );
    assert!(
        error.contains("the rehearsal in a new process ended with exit status"),
        "{error}"
    );
    assert!(dir.join("backup/ring.phield").exists() && !dir.join("ring.phield").exists());
    assert_eq!(out, b"");
}

/// What is set in the environment here and now may not be there on the day of a restore.
#[test]
fn a_rehearsal_knows_no_variable_of_phield() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("clinic").display().to_string();
    let run = |arguments: &[&str], name: &str, value: &OsStr| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phield"));
        command.args(arguments).env_remove("PHIELD_PASSPHRASE_FILE");
        command.env(name, value).stdin(Stdio::null());
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let made = run(&init(&dir), "PHIELD_RING_KEY", OsStr::new("no pin at all"));
    assert_eq!(made, (Some(0), String::new()));

    // One that is not UTF-8 is an error, and not the same as none.
    let config = format!("{dir}/phield.toml");
    for name in [
        "PHIELD_RING_KEY",
        "PHIELD_MIN_EPOCH",
        "PHIELD_KEY_STORE_FILE",
        "PHIELD_KEY_STORE_URL",
        "PHIELD_EPOCH_WITNESS_FILE",
    ] {
        let (code, error) = run(
            &["keys", "list", "--config", &config],
            name,
            OsStr::from_bytes(b"\xff"),
        );
        assert_eq!(
            (code, error),
            (
                Some(1),
                format!("error: the variable {name} is not what it should be\n")
            )
        );
    }
}

#[test]
fn init_under_other_keys_says_what_is_missing() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("clinic").display().to_string();
    let dir = dir.as_str();
    fn with<'a>(dir: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&init(dir), more].concat()
    }
    let module = folder.path().join("libhsm.so").display().to_string();
    for usage in [
        &["--hsm-key", "clinic/kek"][..],
        &["--hsm-key", "clinic/kek", "--hsm-module", &module],
        &["--kms-region", "eu-central-1"],
        &["--hsm-pin-file", "pin"],
    ] {
        bad(&with(dir, usage), 2);
    }
    let error = bad(
        &with(
            dir,
            &["--kms-key", "alias/clinic", "--passphrase-file", "/nonexistent"],
        ),
        1,
    );
    assert!(error.contains("add --with-key-file"), "{error}");
    // Nothing is made under a key that does not open, in a build without its provider nor with it.
    let error = bad(&with(dir, &["--kms-key", "alias/clinic", "--with-key-file"]), 1);
    assert!(
        error.starts_with("error: could not open the key-encryption keys; no key ring was published")
            && error.contains("alias/clinic"),
        "{error}"
    );
    let pin = folder.path().join("pin").display().to_string();
    let hsm = [
        "--hsm-key",
        "clinic/kek",
        "--hsm-module",
        &module,
        "--hsm-pin-file",
        &pin,
    ];
    let error = bad(&with(dir, &hsm), 1);
    assert!(error.contains("pkcs11"), "{error}");
    assert!(!Path::new(dir).join("ring.phield").exists());
    assert!(!Path::new(dir).join("keys.phield").exists());
}

#[test]
fn init_never_writes_over_a_backup_or_a_key_file() {
    for name in ["keys.phield", "passphrase", "backup/ring.phield", "phield.toml"] {
        let folder = TempDir::new().unwrap();
        let dir = folder.path().join("clinic");
        fs::create_dir_all(dir.join("backup")).unwrap();
        fs::write(dir.join(name), "precious").unwrap();
        let error = bad(&init(&dir.display().to_string()), 1);
        assert!(error.contains(name), "{error}");
        assert_eq!(
            files(&dir),
            BTreeMap::from([(dir.join(name), b"precious".to_vec())])
        );
    }
}

#[test]
fn init_with_a_passphrase_of_ones_own_another_suite_and_another_backup() {
    let folder = TempDir::new().unwrap();
    let passphrase = folder.path().join("mine");
    fs::write(&passphrase, "correct horse battery staple\n").unwrap();
    let backup = folder.path().join("safe/clinic.phield");
    let (passphrase_text, backup_text) = (passphrase.display().to_string(), backup.display().to_string());
    let more = [
        "--passphrase-file",
        &passphrase_text,
        "--backup",
        &backup_text,
        "--suite",
        "xchacha20-poly1305",
    ];
    let dir = folder.path().join("clinic").display().to_string();

    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o644)).unwrap();
    let error = bad(&[&init(&dir)[..], &more].concat(), 1);
    assert!(
        error.contains("chmod 600") && error.contains("Nothing was left behind"),
        "{error}"
    );

    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).unwrap();
    good(&[&init(&dir)[..], &more].concat());
    assert!(backup.exists());
    assert!(!folder.path().join("clinic/passphrase").exists());
    let config = format!("{dir}/phield.toml");
    let list = good(&["keys", "list", "--config", &config]);
    assert!(
        list.contains("XChaCha20-Poly1305") && !list.contains("AES"),
        "{list}"
    );
    good(&[
        "keys",
        "verify-backup",
        "--config",
        &config,
        "--backup",
        &backup_text,
    ]);
}

#[test]
fn keys_list_shows_every_key() {
    let made = Made::new(&[]);
    let config = made.text("phield.toml");
    let list = good(&["keys", "list", "--config", &config]);
    let mut lines = list.lines();
    assert_eq!(lines.next(), Some("app clinic, ring clinic-test, epoch 1"));
    assert_eq!(lines.next(), Some(""));
    let head = "ID        USE      SUITE        SCOPE  STATE       CREATED               NOT AFTER                            WRAPS";
    assert_eq!(lines.next(), Some(head));
    let mut keys: Vec<_> = lines
        .by_ref()
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let cells: Vec<_> = line.split_whitespace().collect();
            assert!(
                cells[0].len() == 8 && cells[5].len() == 20 && cells[5].ends_with('Z'),
                "{line}"
            );
            assert!(line.ends_with("  local 1"), "{line}");
            // The time of a successor starts when it is activated.
            let ends = cells[1] == "data" && cells[4] == "active";
            assert_eq!(line.contains(" days left)"), ends, "{line}");
            cells[1..5].join(" ")
        })
        .collect();
    let pin = fs::read_to_string(made.path("phield.toml")).unwrap();
    let pin = pin.lines().find_map(|line| line.strip_prefix("ring_key = "));
    let pin = pin.unwrap().trim_matches('"');
    let line = lines.next().unwrap();
    assert!(
        line.starts_with("ring_key of key ") && line.ends_with(&format!(" (active): {pin}")),
        "{line}"
    );
    assert_eq!(lines.next(), None);
    keys.sort();
    let expected = [
        "data AES-256-GCM - active",
        "data AES-256-GCM - pre-active",
        "index - - active",
        "ring - - active",
        "subject - - active",
        "uid - - active",
    ];
    assert_eq!(keys, expected);

    let json: serde_json::Value =
        serde_json::from_str(&good(&["keys", "list", "--json", "--config", &config])).unwrap();
    assert_eq!((&json["app"], &json["epoch"]), (&"clinic".into(), &1.into()));
    assert_eq!(json["keys"].as_array().unwrap().len(), 6);
    assert_eq!(json["keys"][0]["wraps"][0], "local 1");
}

#[test]
fn the_configuration_in_the_folder_is_the_default() {
    let made = Made::new(&[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_phield"));
    let output = command
        .args(["keys", "list"])
        .current_dir(made.path(""))
        .output()
        .unwrap();
    assert!(output.status.success());
}

#[test]
fn verify_backup_refuses_what_a_restore_would() {
    let made = Made::new(&[]);
    let (config, backup) = (made.text("phield.toml"), made.text("backup/ring.phield"));
    let verify = ["keys", "verify-backup", "--config", &config, "--backup", &backup];
    let before = made.files();
    let printed = good(&verify);
    assert_eq!(
        printed,
        "backup of ring clinic-test at epoch 1 is good: 6 keys, 6 wraps opened, no test token was given\n"
    );
    assert_eq!(made.files(), before, "it wrote something");

    // Neither the key store nor the witness is asked.
    fs::remove_file(made.path("ring.phield")).unwrap();
    fs::remove_file(made.path("epoch.witness")).unwrap();
    assert_eq!(good(&verify), printed);
    assert!(!made.path("epoch.witness").exists());

    let right = fs::read(&backup).unwrap();
    for at in [40, right.len() / 2, right.len() - 1] {
        let mut flipped = right.clone();
        flipped[at] ^= 1;
        fs::write(&backup, flipped).unwrap();
        let error = bad(&verify, 1);
        assert!(
            error.contains("does not authenticate") || error.contains("malformed"),
            "{error}"
        );
    }
    fs::write(&backup, &right[..right.len() - 1]).unwrap();
    assert!(bad(&verify, 1).contains("malformed"));
    fs::write(&backup, &right).unwrap();

    let right_config = fs::read_to_string(&config).unwrap();
    let pin = right_config
        .lines()
        .find(|line| line.starts_with("ring_key"))
        .unwrap();
    let (start, last) = pin.split_at(pin.len() - 2);
    let other = format!("{start}{}\"", if last == "0\"" { '1' } else { '0' });
    fs::write(&config, right_config.replace(pin, &other)).unwrap();
    assert!(bad(&verify, 1).contains("does not authenticate"));
    fs::write(&config, &right_config).unwrap();

    let right_passphrase = fs::read(made.path("passphrase")).unwrap();
    fs::write(made.path("passphrase"), "wrong\n").unwrap();
    assert!(bad(&verify, 1).contains("does not open with the passphrase in"));
    fs::write(made.path("passphrase"), right_passphrase).unwrap();

    let other_token = token_text();
    let token = [&verify[..], &["--token", &other_token]].concat();
    assert!(bad(&token, 1).contains("key 0000002a is not in the key ring"));
    let token = [&verify[..], &["--token", "phi1.AAAA"]].concat();
    assert!(bad(&token, 1).contains("not a phield v1 token"));
    let missing = [
        "keys",
        "verify-backup",
        "--config",
        &config,
        "--backup",
        "/nonexistent/ring",
    ];
    assert!(bad(&missing, 1).contains("there is no backup at /nonexistent/ring"));
    good(&verify);
}

/// A token that opens nowhere: AES-256-GCM, key 42, a frame of 16 bytes.
fn token_bytes() -> Vec<u8> {
    let mut token = vec![0x11, 0, 0, 0, 42];
    token.extend(0xa0..0xac_u8);
    token.extend([0xcc; 16]);
    token.extend([0xee; 12]);
    token.extend([0xdd; 32]);
    token
}

fn token_hex() -> String {
    token_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn token_text() -> String {
    let all = "phi1.EQAAACqgoaKjpKWmp6ipqqvMzMzMzMzMzMzMzMzMzMzM7u7u7u7u7u7u7u7u3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d0";
    all.to_owned()
}

const VISIBLE: &str = "\
suite          AES-256-GCM
key id         0000002a
row salt       a0a1a2a3a4a5a6a7a8a9aaab
padded length  16 bytes
";

#[test]
fn inspect_shows_what_is_visible_and_nothing_more() {
    assert_eq!(good(&["inspect", &token_text()]), VISIBLE);
    let hex = token_hex();
    for form in [
        hex.clone(),
        hex.to_uppercase(),
        format!("\\x{hex}"),
        format!("0x{hex}"),
    ] {
        assert_eq!(good(&["inspect", &form]), VISIBLE);
    }
    let json = "{\n  \"suite\": \"AES-256-GCM\",\n  \"key_id\": \"0000002a\",\n  \"row_salt\": \"a0a1a2a3a4a5a6a7a8a9aaab\",\n  \"padded_len\": 16\n}\n";
    assert_eq!(good(&["inspect", "--json", &hex]), json);
}

#[test]
fn inspect_reads_standard_input() {
    for input in [
        token_text().into_bytes(),
        format!("{}\r\n", token_text()).into(),
        format!("{}\n", token_hex()).into(),
        token_bytes(),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phield"));
        command
            .args(["inspect", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&input).unwrap();
        assert_eq!(
            String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap(),
            VISIBLE
        );
    }
}

#[test]
fn inspect_refuses_what_is_no_token() {
    let (text, hex) = (token_text(), token_hex());
    for token in [
        "",
        "phi1.",
        "hello",
        &text[..text.len() - 1],
        &format!("{text}="),
        &format!(" {text}"),
        &hex[..2 * 62],
        &hex[..hex.len() - 1],
        &hex.replacen("11", "13", 1),
        &hex.replacen("0000002a", "00000000", 1),
    ] {
        let error = bad(&["inspect", token], 1);
        assert!(error.starts_with("error: this is no token"), "{error}");
        assert!(error.ends_with("caused by: not a phield v1 token\n"), "{error}");
    }
}

#[test]
fn inspect_looks_the_key_up() {
    let made = Made::new(&[]);
    let config = made.text("phield.toml");
    assert_eq!(
        good(&["inspect", "--config", &config, &token_hex()]),
        format!("{}key            not in this ring\n", VISIBLE)
    );
    let keys: serde_json::Value =
        serde_json::from_str(&good(&["keys", "list", "--json", "--config", &config])).unwrap();
    let key = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["use"] == "data" && key["state"] == "active")
        .unwrap();
    let text = |name: &str| key[name].as_str().unwrap();
    let token = token_hex().replacen("0000002a", text("id"), 1);
    let expected = format!(
        "{}key use        data\nkey scope      -\nkey state      active\nkey created    {}\nkey not after  {}\n",
        VISIBLE.replace("0000002a", text("id")),
        text("created"),
        text("not_after")
    );
    assert_eq!(good(&["inspect", "--config", &config, &token]), expected);
}

#[test]
fn usage_errors_end_with_2_and_failures_with_1() {
    bad(&["init"], 2);
    bad(&["inspect"], 2);
    bad(&["keys", "list", "--jsn"], 2);
    bad(
        &[
            "init", "--app", "a", "--ring", "r", "--dir", "d", "--suite", "aes",
        ],
        2,
    );
    assert_eq!(
        bad(&["keys", "list", "--config", "/nonexistent/phield.toml"], 1),
        "error: cannot read /nonexistent/phield.toml\n  caused by: No such file or directory (os error 2)\n"
    );
    let error = bad(
        &[
            "init",
            "--app",
            "my clinic",
            "--ring",
            "r",
            "--dir",
            "/nonexistent/d",
        ],
        1,
    );
    assert!(error.contains("app name"), "{error}");
    assert!(!Path::new("/nonexistent").exists());
    assert!(!good(&["init", "--help"]).contains("stretching"));
}
