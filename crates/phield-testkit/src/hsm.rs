//! Temporary HSM tokens in software: SoftHSM 2 and kryoptic, each in a temporary folder.
//!
//! A PKCS#11 module finds its tokens by a variable that it reads once, and logs in whole processes. So each test gets a
//! process of its own, with a token of its own: [`in_process`] runs the test again in a child.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Says to a child which token it has, and where.
const VARIABLE: &str = "PHIELD_TEST_TOKEN";
/// Where SoftHSM 2 may be.
const SOFTHSM: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// Whose token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "tests match on it")]
pub enum TokenKind {
    /// SoftHSM 2: PKCS#11 2.40. It never locks a PIN.
    SoftHsm,
    /// kryoptic: PKCS#11 3.2. Ten wrong PINs lock it.
    Kryoptic,
}

/// A token labelled `phield`.
#[derive(Debug)]
pub struct TestToken {
    kind: TokenKind,
    folder: PathBuf,
    /// Removes the folder, in the process that made it.
    _owner: Option<TempDir>,
}

impl TestToken {
    /// Its label.
    pub const LABEL: &str = "phield";
    /// The PIN of its user.
    pub const PIN: &str = "user-pin-4711";
    /// The PIN of its security officer.
    pub const SO_PIN: &str = "officer-pin-4711";

    /// Makes and initialises a token, with `softhsm2-util` or `pkcs11-tool`.
    ///
    /// # Panics
    /// When a program or the module is missing; the message says what to install.
    #[must_use]
    pub fn new(kind: TokenKind) -> Self {
        let owner = TempDir::with_prefix("phield-token-").expect("a temporary directory");
        let token = Self {
            kind,
            folder: owner.path().to_owned(),
            _owner: Some(owner),
        };
        let folder = token.folder.display();
        let conf = match kind {
            TokenKind::SoftHsm => {
                fs::create_dir(token.folder.join("tokens")).expect("the temporary directory is writable");
                format!(
                    "directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
                )
            }
            TokenKind::Kryoptic => {
                format!("[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = \"{folder}/token.sql\"\n")
            }
        };
        fs::write(token.conf(), conf).expect("the temporary directory is writable");
        token.write_pin("pin", Self::PIN);
        token.initialise();
        token
    }

    /// The token that the parent process made.
    fn of_parent() -> Option<Self> {
        let text = std::env::var(VARIABLE).ok()?;
        let (kind, folder) = text.split_once(':').expect("the parent names kind and folder");
        let kind = match kind {
            "softhsm" => TokenKind::SoftHsm,
            _ => TokenKind::Kryoptic,
        };
        Some(Self {
            kind,
            folder: PathBuf::from(folder),
            _owner: None,
        })
    }

    fn initialise(&self) {
        let (label, pin, so_pin) = (Self::LABEL, Self::PIN, Self::SO_PIN);
        match self.kind {
            TokenKind::SoftHsm => {
                let util = [
                    "--init-token",
                    "--free",
                    "--label",
                    label,
                    "--so-pin",
                    so_pin,
                    "--pin",
                    pin,
                ];
                self.run("softhsm2-util", &util, "softhsm2");
            }
            TokenKind::Kryoptic => {
                self.pkcs11_tool(&[
                    "--slot-index",
                    "0",
                    "--init-token",
                    "--label",
                    label,
                    "--so-pin",
                    so_pin,
                ]);
                let init_pin = [
                    "--login",
                    "--login-type",
                    "so",
                    "--so-pin",
                    so_pin,
                    "--init-pin",
                    "--new-pin",
                    pin,
                ];
                self.pkcs11_tool(&[["--token-label", label].as_slice(), &init_pin].concat());
            }
        }
    }

    /// Runs `pkcs11-tool` of OpenSC, a client that is not ours, and gives what it prints.
    ///
    /// # Panics
    /// When it is missing or fails.
    pub fn pkcs11_tool(&self, arguments: &[&str]) -> String {
        let module = self.module().display().to_string();
        self.run(
            "pkcs11-tool",
            &[["--module", &module].as_slice(), arguments].concat(),
            "opensc",
        )
    }

    fn run(&self, program: &str, arguments: &[&str], package: &str) -> String {
        let output = Command::new(program)
            .args(arguments)
            .envs([self.variable()])
            .output();
        let output = output.unwrap_or_else(|error| {
            fail(&format!(
                "these tests need `{program}`: as root, `apt-get install {package}` ({error})"
            ))
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            fail(&format!(
                "{program} {arguments:?}: {}\n{}",
                output.status,
                text(&output.stderr)
            ));
        }
        text(&output.stdout)
    }

    /// Whose it is.
    #[must_use]
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// Its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration of the module.
    #[must_use]
    pub fn conf(&self) -> PathBuf {
        self.folder.join("token.conf")
    }

    /// The variable by which the module finds the configuration.
    #[must_use]
    pub fn variable(&self) -> (&'static str, PathBuf) {
        let name = match self.kind {
            TokenKind::SoftHsm => "SOFTHSM2_CONF",
            TokenKind::Kryoptic => "KRYOPTIC_CONF",
        };
        (name, self.conf())
    }

    /// A file with the PIN.
    #[must_use]
    pub fn pin_file(&self) -> PathBuf {
        self.folder.join("pin")
    }

    /// Writes a PIN into a file of the folder, for its owner's eyes alone.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn write_pin(&self, name: &str, pin: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, format!("{pin}\n")).expect("the temporary directory is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is our own file");
        path
    }

    /// A module that closes every session of this process at the token whenever it is initialised.
    ///
    /// # Panics
    /// When it is not built.
    #[must_use]
    pub fn close_all_module(&self) -> PathBuf {
        built("libclose_all_pkcs11.so")
    }

    /// The PKCS#11 module.
    ///
    /// # Panics
    /// When there is none; the message says what to do.
    #[must_use]
    pub fn module(&self) -> PathBuf {
        match self.kind {
            TokenKind::SoftHsm => {
                let mut found = SOFTHSM.iter().map(PathBuf::from).filter(|path| path.exists());
                found.next().unwrap_or_else(|| {
                    fail("these tests need SoftHSM 2: as root, `apt-get install softhsm2`")
                })
            }
            TokenKind::Kryoptic => built("libkryoptic_pkcs11.so"),
        }
    }
}

/// A module of `tests/hsm/modules`, in `<target>/pkcs11-modules/debug` beside this program.
fn built(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("the system says which program this is");
    let name = Path::new("pkcs11-modules/debug").join(name);
    let mut beside = program.ancestors().map(|folder| folder.join(&name));
    beside
        .find(|path| path.exists())
        .unwrap_or_else(|| fail("these tests need modules of their own: `cargo xtask hsm` builds them"))
}

/// Runs a test in a process of its own, with a token of its own. `test` is its full name, as the harness prints it.
///
/// # Panics
/// When the test fails.
pub fn in_process(kind: TokenKind, test: &str, body: impl FnOnce(&TestToken)) {
    if let Some(token) = TestToken::of_parent() {
        return body(&token);
    }
    let token = TestToken::new(kind);
    let name = match kind {
        TokenKind::SoftHsm => "softhsm",
        TokenKind::Kryoptic => "kryoptic",
    };
    let program = std::env::current_exe().expect("the system says which program this is");
    let output = Command::new(program)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .envs([token.variable()])
        .env("PHIELD_CLOSE_ALL_OF", token.module())
        .env(VARIABLE, format!("{name}:{}", token.folder.display()))
        .output()
        .expect("this program runs again");
    let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    // A name that fits no test would run none, and succeed.
    if !output.status.success() || !out.contains("1 passed") {
        fail(&format!("{test}: {}\n{out}\n{error}", output.status));
    }
    print(&out);
}

/// What the child has counted.
#[allow(clippy::print_stdout, reason = "the harness shows it with --nocapture")]
fn print(out: &str) {
    for (_, said) in out.lines().filter_map(|line| line.split_once("phield:")) {
        println!("{}", said.trim_start());
    }
}

#[allow(clippy::panic, reason = "a test cannot go on without its token")]
fn fail(why: &str) -> ! {
    panic!("{why}")
}
