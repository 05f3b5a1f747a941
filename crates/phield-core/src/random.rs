//! Randomness, from the operating system alone (format §1, R-6): no generator state is kept between calls.

/// The operating system gave no randomness. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness")]
#[non_exhaustive]
pub struct RandomError;

/// Fills `out` with fresh random bytes in one request.
pub(crate) fn fill(out: &mut [u8]) -> Result<(), RandomError> {
    getrandom::fill(out).map_err(|_| RandomError)
}

/// `N` fresh random bytes.
pub(crate) fn array<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut out = [0; N];
    fill(&mut out)?;
    Ok(out)
}

/// The random inputs of a batch of rows, drawn in one request and handed out once each.
#[derive(Debug)]
pub(crate) struct Draw {
    bytes: Vec<u8>,
    used: usize,
}

impl Draw {
    /// Draws `len` bytes.
    pub(crate) fn new(len: usize) -> Result<Self, RandomError> {
        let mut bytes = vec![0; len];
        fill(&mut bytes)?;
        Ok(Self { bytes, used: 0 })
    }

    /// The next `N` bytes; from a request of their own when the batch turned out larger than announced.
    pub(crate) fn next<const N: usize>(&mut self) -> Result<[u8; N], RandomError> {
        match self
            .bytes
            .get(self.used..)
            .and_then(|rest| rest.first_chunk::<N>())
        {
            Some(chunk) => {
                self.used += N;
                Ok(*chunk)
            }
            None => array(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_never_repeats_a_byte_run() {
        let mut draw = Draw::new(24).unwrap();
        let (a, b, c): ([u8; 12], [u8; 12], [u8; 12]) =
            (draw.next().unwrap(), draw.next().unwrap(), draw.next().unwrap());
        assert!(a != b && b != c && a != c);
    }
}
