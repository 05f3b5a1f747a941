//! Tokens that are about to be made: of values, or of the frames of other tokens.

use zeroize::Zeroize as _;

use super::{AAD_CAPACITY, Identity, SealingKey, Token, write_aad};
use crate::cipher::{Body, RowCipher};
use crate::error::{SealError, Unsealable};
use crate::frame;
use crate::name::ColumnName;
use crate::schedule;
use crate::token::{self, Head, Nonce, RowSalt, TAG_LEN};
use crate::value::Encoded;

/// A token that is about to be made.
pub(crate) struct Planned<'a> {
    pub(crate) column: &'a ColumnName,
    pub(crate) extra: Option<&'a [u8]>,
    pub(crate) frame: Frame<'a>,
    pub(crate) token: &'a mut Token,
}

/// What goes into a token.
#[derive(Clone, Copy)]
pub(crate) enum Frame<'a> {
    /// A value, and the length of its padded frame.
    Of(&'a Encoded<'a>, usize),
    /// The frame of another token, with its padding.
    Again(&'a [u8]),
}

impl Frame<'_> {
    fn len(self) -> usize {
        match self {
            Self::Of(_, padded_len) => padded_len,
            Self::Again(frame) => frame.len(),
        }
    }

    fn write(self, buffer: &mut Vec<u8>) {
        match self {
            Self::Of(value, padded_len) => {
                frame::write(buffer, value.value_type(), value.as_bytes(), padded_len);
            }
            Self::Again(frame) => buffer.extend_from_slice(frame),
        }
    }
}

/// `token = HEAD ‖ COM ‖ nonce ‖ C ‖ T` for each of them, under one row key.
pub(super) fn seal_planned(
    key: &SealingKey<'_>,
    salt: RowSalt,
    identity: Identity<'_>,
    planned: Vec<Planned<'_>>,
    mut nonce: impl FnMut() -> Result<Nonce, SealError>,
) -> Result<(), SealError> {
    let head = Head::new(key.suite, key.id, salt);
    let (row_key, commitment) = schedule::row_key(key.key, &head, identity.row);
    let cipher = RowCipher::new(key.suite, &row_key).map_err(|_| SealError::NoActiveKey)?;
    // Everything that can fail comes before the first byte of plaintext is copied.
    let mut aads = Vec::with_capacity(planned.len() * AAD_CAPACITY);
    let mut started = Vec::with_capacity(planned.len());
    for Planned {
        column,
        extra,
        frame,
        token,
    } in planned
    {
        let start = aads.len();
        write_aad(&mut aads, &head, &commitment, column, extra.or(identity.extra))?;
        let nonce = nonce()?;
        let buffer = token
            .0
            .insert(token::start(&head, &commitment, &nonce, frame.len()));
        started.push((start..aads.len(), buffer, frame));
    }
    let mut bodies: Vec<_> = started
        .into_iter()
        .map(|(aad, buffer, frame)| {
            frame.write(buffer);
            buffer.resize(buffer.len() + TAG_LEN, 0);
            let aad = aads.get(aad).unwrap_or_default();
            let (nonce, buffer) = token::nonce_and_body_mut(buffer);
            Body { nonce, aad, buffer }
        })
        .collect();
    let sealed = cipher.seal_fields(salt, &mut bodies);
    if sealed.is_err() {
        // No input causes this; still, no plaintext is left.
        bodies.iter_mut().for_each(|body| body.buffer.zeroize());
    }
    sealed.map_err(|_| Unsealable::ValueTooLong.into())
}
