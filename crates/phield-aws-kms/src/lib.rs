//! docs
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
