const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// A running 64-bit digest, to compare what was sent with what arrived without keeping either.
///
/// It is FNV-1a over eight-byte words. It finds accidents, not forgeries. How the bytes are cut into pieces makes no
/// difference.
///
/// ```
/// use stonework::testing::Digest;
///
/// let mut digest = Digest::new();
/// digest.update(b"one piece ");
/// digest.update(b"and another");
/// assert_eq!(digest.finish(), Digest::of(b"one piece and another"));
/// assert_ne!(digest.finish(), Digest::of(b"one piece"));
/// ```
#[derive(Clone, Debug)]
pub struct Digest {
    state: u64,
    /// The bytes that do not fill a word yet.
    tail: [u8; 8],
    filled: usize,
}

impl Digest {
    /// The digest of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: OFFSET, tail: [0; 8], filled: 0 }
    }

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> u64 {
        let mut digest = Self::new();
        digest.update(bytes);
        digest.finish()
    }

    /// Adds `bytes` at the end.
    pub fn update(&mut self, mut bytes: &[u8]) {
        if self.filled > 0 {
            let taken = bytes.len().min(8 - self.filled);
            self.tail[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled < 8 {
                return;
            }
            self.mix(u64::from_le_bytes(self.tail));
            self.filled = 0;
        }
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut whole = [0; 8];
            whole.copy_from_slice(word);
            self.mix(u64::from_le_bytes(whole));
        }
        let rest = words.remainder();
        self.tail[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
    }

    /// The digest of all bytes so far.
    #[must_use]
    pub fn finish(&self) -> u64 {
        let mut end = self.clone();
        end.tail[end.filled..].fill(0);
        // The count of the last bytes tells "a" from "a\0".
        end.mix(u64::from_le_bytes(end.tail) ^ ((end.filled as u64) << 56));
        end.state
    }

    fn mix(&mut self, word: u64) {
        self.state = (self.state ^ word).wrapping_mul(PRIME);
        // A product carries upwards only; without this, the high bits of a word would never reach the low ones.
        self.state ^= self.state >> 32;
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}
