//! Key ARNs: the one form of reference that stands in a ring.

use std::fmt;
use std::str::FromStr;

use phield_core::KekReference;

/// `arn:<partition>:kms:<region>:<account>:key/<key id>`: names one key in one region, for good.
///
/// Never an alias, which whoever may change it points to another key, and never a bare key id, which names a key of
/// whatever account and region the caller happens to be in. A multi-region key (`key/mrk-…`) has another ARN in every
/// region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyArn {
    arn: String,
    region: String,
}

impl KeyArn {
    /// The region of the key.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The ARN as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.arn
    }
}

/// It is no key ARN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a key of AWS KMS is named by its key ARN, arn:aws:kms:<region>:<account>:key/<id>, not by an alias or a bare id"
)]
#[non_exhaustive]
pub struct NotAKeyArn;

impl FromStr for KeyArn {
    type Err = NotAKeyArn;

    fn from_str(text: &str) -> Result<Self, NotAKeyArn> {
        let mut parts = text.splitn(6, ':');
        let mut part = || parts.next().ok_or(NotAKeyArn);
        let (arn, partition, service, region, account, resource) =
            (part()?, part()?, part()?, part()?, part()?, part()?);
        let key_id = resource.strip_prefix("key/").ok_or(NotAKeyArn)?;
        let good = arn == "arn"
            && (partition == "aws" || partition.starts_with("aws-"))
            && is_name(partition)
            && service == "kms"
            && is_name(region)
            && account.len() == 12
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && is_name(key_id);
        good.then(|| Self {
            arn: text.to_owned(),
            region: region.to_owned(),
        })
        .ok_or(NotAKeyArn)
    }
}

impl TryFrom<&KekReference> for KeyArn {
    type Error = NotAKeyArn;

    fn try_from(reference: &KekReference) -> Result<Self, NotAKeyArn> {
        reference.as_str().parse()
    }
}

impl fmt::Display for KeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn)
    }
}

/// Lower-case letters, digits and hyphens: regions, partitions, key ids.
fn is_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_arns() {
        for (text, region) in [
            (
                "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
                "eu-central-1",
            ),
            (
                "arn:aws:kms:us-west-2:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
                "us-west-2",
            ),
            (
                "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
                "us-gov-west-1",
            ),
        ] {
            let arn: KeyArn = text.parse().unwrap();
            assert_eq!((arn.region(), arn.as_str()), (region, text));
        }
    }

    #[test]
    fn what_is_no_key_arn() {
        for text in [
            "",
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "mrk-1234abcd12ab34cd56ef1234567890ab",
            "alias/phield",
            "arn:aws:kms:eu-central-1:111122223333:alias/phield",
            "arn:aws:kms:eu-central-1:111122223333:key/",
            "arn:aws:kms:eu-central-1:111122223333:key/1234:5678",
            "arn:aws:kms:eu-central-1:111122223333:key/../alias/phield",
            "arn:aws:kms:eu-central-1:1111:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws:kms::111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws:kms:eu-central-1.evil.example:111122223333:key/1234abcd",
            "arn:aws:s3:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:other:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            " arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        ] {
            assert_eq!(text.parse::<KeyArn>(), Err(NotAKeyArn), "{text}");
        }
    }
}
