//! Files and folders: who else can write them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use phield_core::config::Config;

use super::finding::{Area, Findings};
use crate::backup::with_suffix;

/// Writing by group or others.
const WRITABLE: u32 = 0o022;
/// Anything by others.
const OTHERS: u32 = 0o007;

pub(super) fn check(path: &Path, config: &Config, findings: &mut Findings) {
    check_config(path, config, findings);
    let store = config.key_store_path();
    if let Some(store) = &store {
        check_writable(
            store,
            "the key store",
            "Whoever writes it can delete keys, or put an old ring back.",
            findings,
        );
        check_leftovers(store, findings);
    }
    if let Some(witness) = config.epoch_witness_path() {
        check_writable(
            &witness,
            "the epoch witness",
            "Whoever writes it and the key store can put an old ring back unnoticed.",
            findings,
        );
        check_apart(&witness, store.as_deref(), findings);
    }
    if let Some(backup) = config.backup_path() {
        check_writable(
            &backup,
            "the backup",
            "Whoever writes it can take it away. (They cannot forge it: the ring key is pinned.)",
            findings,
        );
        if folder(&backup) == store.as_deref().and_then(folder) {
            findings.warning(
                Area::Backup,
                format!(
                    "the backup {} is in the folder of the key store",
                    backup.display()
                ),
                "A lost disk or a wrong command takes both, and with them everything that was sealed.",
                "Move it to another machine, and name its new place in [backup].",
            );
        }
    }
}

fn check_config(path: &Path, config: &Config, findings: &mut Findings) {
    check_writable(
        path,
        "the configuration",
        "Whoever writes it chooses the pinned ring key, and so the keys that you seal under.",
        findings,
    );
    let Some(mode) = mode(path) else { return };
    let has_password = config
        .key_store
        .url
        .as_ref()
        .is_some_and(|url| url.expose().contains('@'));
    if has_password && mode & OTHERS != 0 && std::env::var_os("PHIELD_KEY_STORE_URL").is_none() {
        findings.warning(
            Area::Files,
            format!(
                "everybody can read {}, and it holds the URL of a database with a user",
                path.display()
            ),
            "If the URL holds a password, everybody on this machine has it.",
            format!(
                "chmod o= {}, or give the URL in PHIELD_KEY_STORE_URL",
                path.display()
            ),
        );
    }
}

/// The file itself, and the folder that it can be replaced in.
fn check_writable(path: &Path, what: &str, means: &str, findings: &mut Findings) {
    let folder = folder(path);
    for path in [Some(path), folder].into_iter().flatten() {
        check_owner(path, what, means, findings);
        // A sticky folder keeps files from others than their owners.
        if let Some(mode) = mode(path).filter(|mode| mode & WRITABLE != 0 && mode & 0o1000 == 0) {
            findings.error(
                Area::Files,
                format!(
                    "group or others can write {} ({mode:03o}): {what}",
                    path.display()
                ),
                means,
                format!("chmod go-w {}", path.display()),
            );
        }
    }
}

/// Who owns a file or folder can write it, whatever its mode says.
fn check_owner(path: &Path, what: &str, means: &str, findings: &mut Findings) {
    let Ok(metadata) = fs::metadata(path) else { return };
    let (owner, me) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == me || owner == 0 {
        return;
    }
    let finding = format!("user {owner} owns {}: {what}", path.display());
    if me == 0 {
        // Root looks at what may be a service's own files.
        findings.note(
            Area::Files,
            finding,
            "That user can write it. Right for the user who changes the ring, and for nobody who only seals and opens.",
            format!("Otherwise: chown root {}", path.display()),
        );
    } else {
        findings.warning(
            Area::Files,
            finding,
            means,
            format!("chown it to root, or to you: {}", path.display()),
        );
    }
}

fn check_apart(witness: &Path, store: Option<&Path>, findings: &mut Findings) {
    if store.is_some_and(|store| folder(store) == folder(witness)) {
        findings.warning(
            Area::Files,
            format!("the epoch witness {} is in the folder of the key store", witness.display()),
            "Whoever puts an old ring back can put an old witness back with it, unnoticed.",
            "Move it where nobody who writes the key store can write, and name that place in [epoch_witness]; raise min_epoch \
             beside it.",
        );
    }
}

fn check_leftovers(store: &Path, findings: &mut Findings) {
    for suffix in [".tmp", ".bak"] {
        let path = with_suffix(store, suffix);
        if path.symlink_metadata().is_ok() {
            findings.warning(
                Area::Files,
                format!("{} is left of a write that did not end", path.display()),
                "A command was killed while it changed the ring. The ring is whole: the change was made, or it was not.",
                "Look at `phield keys list` and run the command again; the next change removes the file.",
            );
        }
    }
}

fn folder(path: &Path) -> Option<&Path> {
    let folder = path.parent()?;
    Some(if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    })
}

fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path)
        .ok()
        .map(|metadata| metadata.permissions().mode() & 0o7777)
}
