//! The encryption context (format §8.1).

use std::collections::HashMap;

use phield_core::KeyContext;

/// The encryption context of a call: the separate pairs of a [`KeyContext`] and nothing else.
///
/// KMS binds them to the wrap, IAM conditions see them, and CloudTrail keeps them in the clear. There is no other way to
/// make one, so no free text can reach them.
#[derive(Debug)]
pub(crate) struct EncryptionContext(HashMap<String, String>);

impl From<&KeyContext> for EncryptionContext {
    fn from(context: &KeyContext) -> Self {
        let pairs = context.pairs().into_iter();
        Self(pairs.map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

impl EncryptionContext {
    pub(crate) fn into_pairs(self) -> HashMap<String, String> {
        self.0
    }
}
