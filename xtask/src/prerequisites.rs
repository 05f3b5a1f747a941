//! What the tests need besides Rust: a C compiler (for aws-lc and SQLite), a C++ compiler (for libFuzzer) and a Python
//! with the independent checker's two libraries; a PostgreSQL and a MariaDB server; for the FIPS module cmake, Go and Perl;
//! two emulators of AWS KMS, in Python; HSM tokens in software.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::command::{Failed, exists, task};
use crate::{root, target};

/// The checker needs Python 3.11.
const PYTHON_WORKS: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";

/// Installs what is missing and gives the path of the Python that runs the checker.
pub(crate) fn install() -> Result<PathBuf, Failed> {
    let mut packages = Vec::new();
    if !exists("cc") {
        packages.extend(["gcc", "libc6-dev"]);
    }
    if !exists("c++") {
        packages.push("g++");
    }
    if !python_works() {
        packages.extend(["python3", "python3-venv"]);
    }
    if !packages.is_empty() {
        apt_get(&packages)?;
    }
    if !python_works() {
        return Err(Failed(
            "the tests need python3, 3.11 or newer, with the module venv".to_owned(),
        ));
    }
    virtual_environment()
}

/// Installs the database servers that are missing: the tests start their own, on free ports.
pub(crate) fn install_servers() -> Result<(), Failed> {
    let mut packages = Vec::new();
    // Debian puts the server's programs into a folder of its version, and not on the path.
    if !exists("initdb") && !Path::new("/usr/lib/postgresql").exists() {
        packages.push("postgresql");
    }
    if !exists("mariadbd") && !Path::new("/usr/sbin/mariadbd").exists() {
        packages.push("mariadb-server");
    }
    if packages.is_empty() {
        return Ok(());
    }
    apt_get(&packages)
}

/// Installs what the HSM tests need and is missing: SoftHSM, OpenSC, and what builds kryoptic.
pub(crate) fn install_hsm() -> Result<(), Failed> {
    let mut packages = Vec::new();
    if !exists("softhsm2-util") {
        packages.push("softhsm2");
    }
    // It has no `--version`.
    if !task("sh", ["-c", "command -v pkcs11-tool"]).succeeds() {
        packages.push("opensc");
    }
    if !exists("pkg-config") {
        packages.push("pkg-config");
    }
    if !task("pkg-config", ["--atleast-version=3.0.7", "libssl"]).succeeds() {
        packages.push("libssl-dev");
    }
    let libclang = "ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* 2>/dev/null | grep -q .";
    if !task("sh", ["-c", libclang]).succeeds() {
        packages.push("libclang-dev");
    }
    if packages.is_empty() {
        return Ok(());
    }
    apt_get(&packages)
}

/// Installs what builds the FIPS module and is missing: for that step alone.
pub(crate) fn install_fips() -> Result<(), Failed> {
    let missing = [
        ("cmake", "--version", "cmake"),
        ("go", "version", "golang-go"),
        ("perl", "--version", "perl"),
    ]
    .into_iter()
    .filter(|(program, version, _)| !task(program, [version]).succeeds());
    let packages: Vec<_> = missing.map(|(_, _, package)| package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    apt_get(&packages)
}

fn python_works() -> bool {
    task("python3", ["-c", PYTHON_WORKS]).succeeds()
}

fn apt_get(packages: &[&str]) -> Result<(), Failed> {
    let line = format!("apt-get install --yes {}", packages.join(" "));
    if !is_root() || !exists("apt-get") {
        return Err(Failed(format!("something is missing; run: sudo {line}")));
    }
    let apt_get = |arguments: &[&str]| {
        task("apt-get", arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .run()
    };
    apt_get(&["update", "--quiet"])?;
    apt_get(&[&["install", "--yes", "--quiet"], packages].concat())
}

/// The owner of this process's own entry is who runs it.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// `target/venv`, with what the checker needs.
fn virtual_environment() -> Result<PathBuf, Failed> {
    let folder = make_virtual_environment("venv", "tests/interop/requirements.txt")?;
    Ok(folder.join("bin/python"))
}

/// `target/kms-venv`, with the two emulators of AWS KMS.
pub(crate) fn install_kms() -> Result<PathBuf, Failed> {
    if !python_works() {
        apt_get(&["python3", "python3-venv"])?;
    }
    make_virtual_environment("kms-venv", "tests/kms/requirements.txt")
}

/// A virtual environment in the target folder, brought up to date when its requirements change.
fn make_virtual_environment(name: &str, requirements: &str) -> Result<PathBuf, Failed> {
    let (folder, requirements) = (target().join(name), root().join(requirements));
    let (python, installed) = (folder.join("bin/python"), folder.join("requirements.txt"));
    let wanted = fs::read(&requirements)
        .map_err(|error| Failed(format!("cannot read {}: {error}", requirements.display())))?;
    if fs::read(&installed).is_ok_and(|installed| installed == wanted)
        && task(&python, ["--version"]).succeeds()
    {
        println!("{} is up to date", folder.display());
        return Ok(folder);
    }
    task(
        "python3",
        [
            "-m".as_ref(),
            "venv".as_ref(),
            "--clear".as_ref(),
            folder.as_os_str(),
        ],
    )
    .run()?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ]
    .map(AsRef::as_ref);
    task(&python, pip.into_iter().chain([requirements.as_os_str()])).run()?;
    fs::write(&installed, wanted)
        .map_err(|error| Failed(format!("cannot write {}: {error}", installed.display())))?;
    Ok(folder)
}
