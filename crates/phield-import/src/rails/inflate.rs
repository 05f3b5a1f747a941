//! zlib (RFC 1950), bounded, into buffers that are wiped: the output is its own window, so no other copy is made.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use zeroize::Zeroizing;

use super::RailsError;

/// What `compressed` was made of, if that is at most `limit` bytes.
pub(super) fn inflate(compressed: &[u8], limit: usize) -> Result<Zeroizing<Vec<u8>>, RailsError> {
    let flags = TINFL_FLAG_PARSE_ZLIB_HEADER | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let mut state = Box::new(DecompressorOxide::new());
    let mut output = Zeroizing::new(vec![0; compressed.len().saturating_mul(4).clamp(1, limit.max(1))]);
    let (mut read, mut written) = (0, 0);
    loop {
        let rest = compressed.get(read..).unwrap_or_default();
        let (status, consumed, produced) = decompress(&mut state, rest, &mut output, written, flags);
        read += consumed;
        written += produced;
        match status {
            TINFLStatus::Done => {
                output.truncate(written);
                return Ok(output);
            }
            TINFLStatus::HasMoreOutput if output.len() < limit => output = larger(&output, limit),
            TINFLStatus::HasMoreOutput => return Err(RailsError::TooLarge),
            _ => return Err(RailsError::Compression),
        }
    }
}

/// A copy with room for as much again, and at most `limit`; the old one is wiped when it is dropped.
fn larger(output: &[u8], limit: usize) -> Zeroizing<Vec<u8>> {
    let mut larger = Vec::with_capacity(output.len().saturating_mul(2).min(limit));
    larger.extend_from_slice(output);
    larger.resize(larger.capacity().min(limit), 0);
    Zeroizing::new(larger)
}
