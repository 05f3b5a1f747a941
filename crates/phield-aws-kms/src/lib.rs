//! The key provider `aws-kms` of phield: key-encryption keys and index peppers in AWS KMS.
//!
//! ```text
//! phield ring                                    AWS KMS, in the region of the ARN
//! key record ── KeyContext ── encryption context ──> Encrypt / GenerateDataKey / Decrypt   under a symmetric key
//! index value ── unkeyed hash ─────────────────────> GenerateMac                           by an HMAC_256 key
//! ```
//!
//! Data keys are unwrapped when a process starts and when it refreshes them; sealing and opening never call KMS. A pepper
//! in KMS is asked for every index value.
//!
//! # Start
//!
//! With the feature `aws-kms` of the crate `phield`, this stands in `phield.toml`; credentials are found as every AWS SDK
//! finds them (variables, profile, web identity, ECS, EC2):
//!
//! ```toml
//! [[provider]]
//! name = "aws-kms"
//! keks = [                                  # the allow-list: key ARNs, never aliases
//!     "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
//!     "arn:aws:kms:eu-west-1:111122223333:key/0987dcba-09fe-87dc-65ba-ab0987654321",
//! ]
//! mac_keys = ["arn:aws:kms:eu-central-1:111122223333:key/2345bcde-12ab-34cd-56ef-1234567890ab"]
//! # The rest is optional.
//! timeout_ms = 10000                        # of a whole call; half of it for an attempt, a fifth for connecting
//! attempts = 3
//! profile = "phield"
//! region = "eu-central-1"                   # where credentials are fetched; that of the first key unless given
//! endpoint_url = "https://…"                # for every region: an emulator, a VPC endpoint without private DNS
//! grant_tokens = []
//! ```
//!
//! Or with the application's own configuration of the SDK:
//!
//! ```no_run
//! # async fn run() -> Option<()> {
//! use std::sync::Arc;
//!
//! use phield_aws_kms::{AwsKmsProvider, KeyPurpose};
//! use phield_core::{AllowedProvider, KekReference};
//!
//! let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
//! let provider = AwsKmsProvider::new(&config);
//!
//! // Once, when the ring is made: an alias becomes the ARN that configuration keeps.
//! println!("{}", provider.resolve_key("alias/phield", KeyPurpose::Wrap).await.ok()?);
//!
//! let arn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
//! let allowed = AllowedProvider::new(Arc::new(provider), [KekReference::new(arn)?]);
//! # Some(())
//! # }
//! ```
//!
//! Every key of the ring is wrapped under every key in `keks`. For a second region give a key there, or the replica of a
//! multi-region key, which is another ARN; a process may allow the one of its own region alone.
//!
//! # Permissions
//!
//! What a service needs, and no more. The conditions hold because the encryption context goes as separate pairs:
//!
//! ```json
//! {
//!   "Version": "2012-10-17",
//!   "Statement": [
//!     {
//!       "Sid": "OpenTheKeysOfOneRing",
//!       "Effect": "Allow",
//!       "Action": "kms:Decrypt",
//!       "Resource": "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
//!       "Condition": {
//!         "StringEquals": {
//!           "kms:EncryptionContext:phield:v": "1",
//!           "kms:EncryptionContext:phield:ring": "clinic-production"
//!         }
//!       }
//!     },
//!     {
//!       "Sid": "OnlyWithAnIndexPepperInKms",
//!       "Effect": "Allow",
//!       "Action": "kms:GenerateMac",
//!       "Resource": "arn:aws:kms:eu-central-1:111122223333:key/2345bcde-12ab-34cd-56ef-1234567890ab",
//!       "Condition": { "StringEquals": { "kms:MacAlgorithm": "HMAC_SHA_256" } }
//!     }
//!   ]
//! }
//! ```
//!
//! Whoever makes, adds or wraps keys needs `kms:Encrypt` (and `kms:GenerateDataKey` to call
//! [`generate`](phield_core::KeyProvider::generate)) under the same condition, and `kms:DescribeKey` for an alias; services
//! do not. `phield:scope` narrows a service to the keys of a tenant or table group, `phield:share` to one half of a key
//! under dual control.
//!
//! # What AWS sees
//!
//! * AWS holds the key-encryption keys: whoever may call `Decrypt` with the context, or compels AWS, opens every wrap. A
//!   key under dual control with a provider outside of AWS is out of their reach.
//! * `Encrypt` sends the key itself to KMS, over TLS. KMS forgets it.
//! * CloudTrail keeps, of every call, the caller, its address, the time, the key ARN and the encryption context in the clear:
//!   ring, key id, suite, use, scope, share. No PHI can be in them, by the type; scopes are names of configuration and
//!   never name a person.
//! * `GenerateMac` sends an unkeyed hash of the indexed value. KMS does not log it, but a value out of few is known from it;
//!   and CloudTrail shows when and how often the application searches and writes.
//!
//! # Errors
//!
//! Every error of a call says which call, and has a [`KmsFailure`] as its source: the code, the HTTP status and the request
//! id. An outage leaves keys in use until the hard TTL, everything else evicts them (R-12).
//!
//! | kind | of KMS |
//! |---|---|
//! | `Unavailable` | time-outs, no connection, throttling, 5xx, `LimitExceededException`, `KMSInternalException`, `DependencyTimeoutException`, `KeyUnavailableException`; no credentials, or their source (STS, the metadata service) out of reach; `ExpiredTokenException`, since revoked credentials are told `AccessDenied`; a wrong clock; an answer without a code of KMS, whatever its status: a proxy or load balancer on the way |
//! | `Refused` | `AccessDeniedException`, `DisabledException`, `KMSInvalidStateException` (pending deletion, a custom key store that is disconnected), invalid credentials and grant tokens, unknown codes below 500 |
//! | `Authentication` | `InvalidCiphertextException`, `IncorrectKeyException`; an answer of another key than was asked for, or of another length |
//! | `UnknownKek` | a reference that is no key ARN (nothing is called); `NotFoundException` (never made, or deleted for good), `InvalidKeyUsageException`, `ValidationException`, `InvalidArnException` |
//! | `Malformed` | a wrap that is empty or longer than KMS takes (nothing is called) |
//! | `Unsupported` | `UnsupportedOperationException`; a call outside of a tokio runtime |
//!
//! # Memory and logs
//!
//! A key that comes out is moved into erased memory, and the SDK's last copy of it is erased. Out of reach are the copies
//! that the SDK, the HTTP client and TLS make on the way: the answer's bytes and base64, for `Encrypt` those of the request
//! too. They are freed, not erased, a few milliseconds after the call. A test reads the SDK's log at its most talkative
//! and finds no key in it; the variable `LOG_SENSITIVE_BODIES=true` of the SDK defeats that: never set it.
//!
//! # What it costs to build
//!
//! The feature `aws-kms` adds 109 crates to the 81 of `phield` alone, and 67 to the 164 that it has with `sqlx-postgres`
//! (`cargo tree -e normal,build`). Of processor time it adds 423 seconds to 193, measured on a busy two-core machine in this
//! workspace's development profile, which optimises dependencies a little; the largest are `aws-sdk-kms`, the HTTP client,
//! rustls and `aws-sdk-sts`. There is one TLS stack: rustls on `aws-lc-rs`, which seals the fields as well. Nothing of it
//! is built without the feature.
#![forbid(unsafe_code)]

mod arn;
mod context;
mod factory;
mod failure;
mod limits;
mod provider;
mod resolve;

pub use arn::{KeyArn, NotAKeyArn};
pub use factory::AwsKmsFactory;
pub use failure::KmsFailure;
pub use limits::{CallLimits, InvalidLimits};
pub use provider::AwsKmsProvider;
pub use resolve::{KeyPurpose, ResolveError};
