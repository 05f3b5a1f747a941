//! Keys of phield under a key-encryption key in an HSM, through PKCS#11.
//!
//! The key-encryption key is a secret of 32 bytes that was made in the HSM, can sign (HMAC-SHA-256), do nothing else, and
//! never come out. A wrap is the derived wrap of the format (§8.1): one `C_Sign` gives a key that is good for one wrap, and
//! AES-256-GCM is done outside. So HSMs behave alike, whatever they do with the nonces of their own GCM.
//!
//! ```text
//!                      phield                                        HSM
//! wrap    KREC, r  ─── message of the KDF ─────────────────────>  C_Sign(CKM_SHA256_HMAC, kek)
//!         K_wrap  <───────────────────────────────────────────── 32 bytes
//!         AES-256-GCM(K_wrap, key)  ──> 93 bytes in the key store
//! ```
//!
//! An index pepper can stay in the HSM likewise (`device-hmac-sha256`): every value is one `C_Sign`.
//!
//! # Start, with SoftHSM 2
//!
//! ```sh
//! apt-get install softhsm2
//! mkdir -p hsm/tokens && printf 'directories.tokendir = %s/hsm/tokens\n' "$PWD" > hsm/softhsm2.conf
//! export SOFTHSM2_CONF="$PWD/hsm/softhsm2.conf"
//! softhsm2-util --init-token --free --label phield            # asks for two PINs
//! install -m 600 /dev/null pin && read -rs PIN && printf '%s\n' "$PIN" > pin
//! phield hsm create-key --module /usr/lib/softhsm/libsofthsm2.so --token phield --label kek-2026 --pin-file pin
//! ```
//!
//! (`phield` built with the feature `pkcs11`.) It makes the key, checks and tries it, and prints the provider's entry:
//!
//! ```toml
//! [[provider]]
//! name = "pkcs11"                                   # with another name: kind = "pkcs11"
//! module = "/usr/lib/softhsm/libsofthsm2.so"
//! pin_file = "pin"                                  # or the variable PHIELD_PKCS11_PIN_FILE
//! keks = ["phield/kek-2026"]                        # token label/key label
//! mac_keys = ["phield/pepper-2026"]                 # optional: index peppers that stay in the HSM
//! sessions = 4                                      # optional: calls at a time
//! timeout_ms = 10000                                # optional: how long one may take
//! ```
//!
//! The PIN file is a regular file of the user's own, for nobody else (`chmod 600`), or an open descriptor, `/dev/fd/3`. A PIN
//! never stands on a command line, in the configuration, in an error or in a log.
//!
//! # What is checked
//!
//! Whenever a key is looked up (R-14), at the start and with every new session: there is one key of that label, a generic
//! secret of 32 bytes, private, sensitive, not extractable, that may sign and may not encrypt, decrypt, wrap, unwrap or
//! derive. An HSM that does not answer one of these questions is refused as well.
//!
//! Whether the key may verify (`CKA_VERIFY`) is not asked: who could verify with it can sign with it as well, and learns
//! nothing more. A key that is made here may not.
//!
//! A key that is made here can neither be changed nor copied (`CKA_MODIFIABLE` and `CKA_COPYABLE` are false), where the HSM
//! knows of that; it is refused if it says otherwise afterwards. For keys that were made elsewhere it is told
//! ([`KeyReport::fixed`]), and they serve: whoever has the PIN could let one that can be changed derive keys, and take that
//! back.
//!
//! # When something fails
//!
//! | | |
//! |---|---|
//! | session lost, logged out, device error, module finalised | a new session, the key looked up and checked anew, one more try; then `Unavailable` |
//! | no answer in time, more than 1024 calls waiting, token not there, two tokens of one label | `Unavailable`: cached keys go on serving. Nobody starts with two tokens of one label |
//! | wrong PIN | `Refused`. A PIN is tried once; the PIN file is read anew before another try, and one that it has now is tried |
//! | the next wrong PIN would lock the token | `Refused`, without a try, even of a PIN that has worked: a fleet whose PIN was changed does not lock its HSM. A PIN that was put into the file after another one was tried is tried |
//! | PIN locked, expired, not set; a key that breaks a rule; two keys of one label | `Refused` |
//! | a key that this process has used is gone | `Refused`: somebody took it away |
//! | no such key, and there never was in this process | `UnknownKek` |
//! | the process was forked after it used the HSM | `Refused`: PKCS#11 does not survive a fork |
//!
//! A few threads of the provider's own wait for the HSM, each with a session of its own; no async runtime is needed. A thread
//! that is in one call for four times `timeout_ms` is given up, and another one takes its place, with a session of its own:
//! twice `sessions` of them at most. When those are stuck too, calls fail at once (`Unavailable`) and say that the process has
//! to be started anew; when calls come back after all, so does the provider. Two calls are left alone, however long they take:
//! the initialisation of the module, since modules do not bear two at a time, and the first login with a PIN, since nobody
//! knows yet whether it is wrong.
//!
//! PKCS#11 logs in a process, and anybody in it can log it out, close its sessions or log it in with another PIN. Leave the
//! module to phield where you can.
//!
//! # AWS CloudHSM
//!
//! From its documentation (Client SDK 5); not tested, for there is none to test with. The PIN is `user:password`. The module
//! is `/opt/cloudhsm/lib/libcloudhsm_pkcs11.so`. Sessions are always opened for reading and writing, since it refuses others.
//! Handles are those of one session, so keys are looked up in each. HMAC takes far longer messages than are sent here. None of
//! its own mechanisms for wrapping and GCM is used. A cluster of one HSM needs `disable_key_availability_check`; run two, and
//! wait until the key is on both before sealing anything. `phield hsm check` says whether it answers what is asked.
//!
//! # Tested with
//!
//! SoftHSM 2.6.1 and kryoptic 1.5.4 (`tests/hsm`), each on Linux. A process that ends while threads are in SoftHSM may crash at
//! its very end (`SIGSEGV`): it frees what they use.
//!
//! # Build cost
//!
//! The feature `pkcs11` adds this crate and five others (`cryptoki`, `cryptoki-sys`, `libloading`, `log`, `secrecy`), which build
//! in 6 seconds of one core, without a C compiler. It is off unless asked for.
#![forbid(unsafe_code)]

mod attributes;
mod counts;
mod error;
mod factory;
mod gate;
mod login;
mod module;
mod provider;
mod reference;
mod token;
mod workers;

pub use counts::Counts;
pub use error::Pkcs11Error;
pub use factory::Pkcs11ProviderFactory;
pub use provider::{KeyReport, Pkcs11Provider, Pkcs11Settings};
pub use reference::KeyLabel;
