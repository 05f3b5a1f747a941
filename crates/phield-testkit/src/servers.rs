//! Temporary servers, databases and emulators of AWS KMS: each in a temporary folder, on a free port of the loopback interface, without a password.
//!
//! A server ends with the process that started it, even when that is killed, and its folder is removed with it: a shell
//! waits at a pipe for the end of the process. As root a server runs as the user that its package made for it
//! (`postgres`, `mysql`), since neither server runs as root; then the folders above the temporary one must be open to
//! that user.
//!
//! ```no_run
//! use phield_testkit::servers::PostgresServer;
//!
//! let shared = PostgresServer::shared(); // one for all tests of the process, never stopped
//! println!("{}", shared.url());
//!
//! let mut own = PostgresServer::with_settings(&[("log_statement", "all")]);
//! own.kill(); // as a power cut does, but for the disk
//! own.restart();
//! own.stop(); // the files stay until it is dropped
//! assert!(own.log_file().exists() && own.data_dir().exists());
//! ```

mod kms;
mod kms_proxy;
mod mariadb;
mod postgres;
mod process;

pub use kms::{MinistackServer, MotoServer};
pub use kms_proxy::{Fault, KmsProxy};
pub use mariadb::MariaDbServer;
pub use postgres::PostgresServer;
