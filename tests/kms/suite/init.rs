//! `phield init` under keys of KMS: an alias goes in, the ARN stands in `phield.toml`.

use std::path::Path;
use std::process::{Command, Output};

use phield_kms_tests::Emulator::Ministack;
use phield_kms_tests::{Kms, REGION};

/// What stands before the verbs when this program is started as a command line.
const UNDER: [&str; 5] = ["--exact", "--ignored", "--nocapture", "init::command_line", "--"];

#[derive(Debug, clap::Parser)]
struct Cli {
    #[command(subcommand)]
    command: phield_cli::Command,
}

/// The command line itself: what stands behind `--`. It starts this program again to rehearse the restore.
#[tokio::test]
#[ignore = "run by the tests below, in a process that has credentials"]
async fn command_line() {
    let arguments = std::env::args().skip_while(|argument| argument != "--").skip(1);
    let cli = <Cli as clap::Parser>::parse_from(std::iter::once("phield".to_owned()).chain(arguments));
    let mut out = std::io::stdout();
    let mut host = phield_cli::Host::new(&mut out).under(UNDER);
    if let Err(error) = phield_cli::run(&cli.command, &mut host).await {
        panic!("{}", phield_cli::causes(&error));
    }
}

fn phield(arguments: &[&str]) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(UNDER)
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", "testing")
        .env("AWS_SECRET_ACCESS_KEY", "testing")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .unwrap()
}

fn init(kms: &Kms, dir: &Path, key: &str, more: &[&str]) -> Output {
    let (dir, url) = (dir.display().to_string(), kms.proxy.url());
    let arguments = [
        "init",
        "--app",
        "emr",
        "--ring",
        "emr-test",
        "--dir",
        &dir,
        "--kms-key",
        key,
    ];
    let kms = ["--kms-region", REGION, "--kms-endpoint-url", &url];
    phield(&[&arguments[..], &kms, more].concat())
}

#[tokio::test]
async fn an_alias_becomes_the_arn() {
    let kms = Ministack.kms();
    let kek = kms.key(REGION).await;
    let alias = kms.admin(REGION).create_alias().alias_name("alias/clinic");
    alias.target_key_id(kek.as_str()).send().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("clinic");

    let output = init(&kms, &dir, "alias/nobody", &[]);
    assert!(!output.status.success());
    assert!(!dir.join("ring.phield").exists());
    std::fs::remove_dir_all(&dir).unwrap();

    let output = init(
        &kms,
        &dir,
        "alias/clinic",
        &["--with-key-file", "--stretching", "minimal"],
    );
    let (said, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}\n{error}");
    // Twelve wraps: of each key one at KMS, and one by the key file.
    assert!(
        said.contains("6 keys, 12 wraps opened, the test token opens"),
        "{said}"
    );
    assert!(
        said.contains(&format!("aws-kms {kek}: never schedule it for deletion")),
        "{said}"
    );
    let config = std::fs::read_to_string(dir.join("phield.toml")).unwrap();
    assert!(
        config.contains(kek.as_str()) && !config.contains("alias"),
        "{config}"
    );
    assert!(kms.proxy.calls_of("GenerateDataKey") >= 6);

    // The key file alone opens it, and so does KMS alone.
    let list = ["keys", "check", "--config"];
    let alone = |provider: &str| {
        let mut parts = config.split("[[provider]]");
        let head = parts.next().unwrap().to_owned();
        let entry = parts.find(|part| part.contains(provider)).unwrap();
        let path = dir.join("alone.toml");
        std::fs::write(&path, format!("{head}[[provider]]{entry}")).unwrap();
        let output = phield(&[&list[..], &[path.to_str().unwrap()]].concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{said}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said.lines().filter(|line| line.ends_with("  opens")).count()
    };
    assert_eq!((alone("name = \"aws-kms\""), alone("name = \"local\"")), (6, 6));
}
