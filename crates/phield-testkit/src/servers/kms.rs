//! Emulators of AWS KMS, of a Python virtual environment that `cargo xtask kms` makes.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::process::{Folder, Process, Program, fail};

/// Where the virtual environment is; `kms-venv` in the target folder unless set.
const VENV: &str = "PHIELD_KMS_VENV";

/// moto: real AES-GCM and its own rules about the rest. State in memory.
#[derive(Debug)]
pub struct MotoServer(Process);

/// ministack: key states, multi-region keys, HMAC keys; ciphertexts without authentication. State in memory.
#[derive(Debug)]
pub struct MinistackServer(Process);

impl MotoServer {
    /// Starts a server without keys.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self(start("moto", |folder, port| {
            let mut command = folder.command(&program("moto_server"));
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            command
        }))
    }
}

impl MinistackServer {
    /// Starts a server without keys.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self(start("ministack", |folder, port| {
            let mut command = folder.command(&program("ministack"));
            // It listens to the whole network unless told otherwise.
            command.env("SERVICES", "kms").env("BIND_HOST", "127.0.0.1");
            command
                .env("GATEWAY_PORT", port.to_string())
                .env("S3_DATA_DIR", folder.join("data"));
            command
        }))
    }
}

macro_rules! server {
    ($name:ident) => {
        impl $name {
            /// The one of this process, started by the first call. It is never stopped before the process ends.
            pub fn shared() -> &'static Self {
                static SHARED: OnceLock<$name> = OnceLock::new();
                SHARED.get_or_init(Self::start)
            }

            /// Its port on the loopback interface: what a [`KmsProxy`](super::KmsProxy) stands in front of.
            #[must_use]
            pub fn port(&self) -> u16 {
                self.0.port
            }

            /// The endpoint: `http://127.0.0.1:…`. It takes any credentials.
            #[must_use]
            pub fn url(&self) -> String {
                format!("http://127.0.0.1:{}", self.0.port)
            }

            /// What it logs.
            #[must_use]
            pub fn log_file(&self) -> PathBuf {
                self.0.log_file()
            }

            /// Kills it (SIGKILL): its keys are gone.
            pub fn kill(&mut self) {
                self.0.kill();
            }
        }
    };
}
server!(MotoServer);
server!(MinistackServer);

fn start(name: &'static str, command: impl Fn(&Folder, u16) -> Command) -> Process {
    let program = Program {
        name,
        package: "python3-venv",
        user: None,
        stop: "TERM",
        end: "KILL",
    };
    Process::start(program, Folder::new(&program), command, answers)
}

/// It answers a request, whatever it says.
fn answers(process: &Process, _: u32) -> bool {
    let answer = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, process.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        stream.read(&mut [0; 16])
    };
    answer().is_ok_and(|length: usize| length > 0)
}

/// A program of the virtual environment.
fn program(name: &str) -> PathBuf {
    let configured = std::env::var_os(VENV).map(PathBuf::from);
    let venv = configured.or_else(|| target_folder().map(|target| target.join("kms-venv")));
    let program = venv.map(|venv| venv.join("bin").join(name));
    program.filter(|program| program.is_file()).unwrap_or_else(|| {
        fail(&format!(
            "these tests need emulators of AWS KMS, and there is no `{name}`: run them by `cargo xtask kms`, or set {VENV}"
        ))
    })
}

/// `target`, from `target/debug/deps/test-…`.
fn target_folder() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    test.ancestors().nth(3).map(Path::to_owned)
}
