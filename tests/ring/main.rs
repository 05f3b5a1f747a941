//! Bad input for key rings: every case is refused with its error class, and the previous ring still opens.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

mod config;
mod destroy;
mod epochs;
mod key_file;
mod killed;
mod manifest;
mod operations;
mod rekek;
mod restore;
mod restore_losses;
mod writers;

use std::error::Error;
use std::fs;
use std::path::Path;

use phield_core::RingError;

/// The name of an error class, as format §8.5 spells it.
fn class(error: &RingError) -> &'static str {
    match error {
        RingError::Config(_) => "Config",
        RingError::Malformed(_) => "Malformed",
        RingError::Authentication | RingError::Passphrase { .. } => "Authentication",
        RingError::Stale { .. } => "Stale",
        RingError::KeyState(_) => "KeyState",
        RingError::NoRing(_) => "NoRing",
        RingError::Exists(_) => "Exists",
        RingError::Conflict => "Conflict",
        RingError::File(_) => "File",
        RingError::UnknownKey(_) => "UnknownKey",
        RingError::Transition(..) => "Transition",
        RingError::RecordChanged(_) => "RecordChanged",
        RingError::NotAfter(_) => "NotAfter",
        RingError::SecondUidPepper(_) => "SecondUidPepper",
        RingError::KeyUnavailable(..) => "KeyUnavailable",
        RingError::KeyRefused(..) => "KeyRefused",
        RingError::HistoryLost { .. } => "HistoryLost",
        RingError::PinOrder(_) => "PinOrder",
        other => panic!("a class that no test expects: {other:?}"),
    }
}

/// An error and its causes, as a person reads them.
fn chain(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Sets the permissions of a file.
fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Moves a file aside and puts a symbolic link to it in its place.
fn make_symlink(path: &Path) {
    let target = path.with_extension("elsewhere");
    fs::rename(path, &target).unwrap();
    std::os::unix::fs::symlink(target, path).unwrap();
}
