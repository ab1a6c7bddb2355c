//! base64url without padding (RFC 7515, section 2), read strictly: one text for each sequence of bytes, and no other.

/// No character has this bit.
const INVALID: u32 = 1 << 31;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What a character is worth at each of its four places.
static WORTH: [[u32; 256]; 4] = worth();

const fn worth() -> [[u32; 256]; 4] {
    let mut all = [[INVALID; 256]; 4];
    let mut value = 0;
    while value < 64 {
        let mut place = 0;
        while place < 4 {
            all[place][ALPHABET[value] as usize] = (value as u32) << (18 - 6 * place);
            place += 1;
        }
        value += 1;
    }
    all
}

/// How many bytes so many characters are. Nothing, if they are none.
pub(super) const fn bytes_of(characters: usize) -> Option<usize> {
    match characters % 4 {
        0 => Some(characters / 4 * 3),
        2 => Some(characters / 4 * 3 + 1),
        3 => Some(characters / 4 * 3 + 2),
        _ => None,
    }
}

/// Into `out`, which has [as many bytes](bytes_of) as it takes. False if it is not canonical base64url; what stands in `out` then is
/// of no meaning.
#[must_use]
pub(super) fn decode_into(text: &[u8], out: &mut [u8]) -> bool {
    if bytes_of(text.len()) != Some(out.len()) {
        return false;
    }
    let [first, second, third, fourth] = &WORTH;
    let worth = |[a, b, c, d]: [u8; 4]| {
        first[usize::from(a)] | second[usize::from(b)] | third[usize::from(c)] | fourth[usize::from(d)]
    };
    let mut seen = 0;
    // Eight at a time, and then four.
    let (eights, text) = text.split_at(text.len() / 8 * 8);
    let (sixes, out) = out.split_at_mut(eights.len() / 8 * 6);
    for (eight, six) in eights.chunks_exact(8).zip(sixes.chunks_exact_mut(6)) {
        if let ([a, b, c, d, e, f, g, h], Some(six)) = (eight, six.first_chunk_mut()) {
            let (high, low) = (worth([*a, *b, *c, *d]), worth([*e, *f, *g, *h]));
            seen |= high | low;
            let [_, _, bytes @ ..] = (u64::from(high) << 24 | u64::from(low) & 0xff_ffff).to_be_bytes();
            *six = bytes;
        }
    }
    let (fours, rest) = text.split_at(text.len() / 4 * 4);
    let (threes, last) = out.split_at_mut(fours.len() / 4 * 3);
    for (four, three) in fours.chunks_exact(4).zip(threes.chunks_exact_mut(3)) {
        if let ([a, b, c, d], [x, y, z]) = (four, three) {
            let worth = worth([*a, *b, *c, *d]);
            seen |= worth;
            [_, *x, *y, *z] = worth.to_be_bytes();
        }
    }
    // What is left over of the last character must be nothing, or there would be several texts for the same bytes.
    match (rest, last) {
        ([], []) => {}
        ([a, b], [one]) => {
            let worth = first[*a as usize] | second[*b as usize];
            seen |= worth | over(worth & 0xffff);
            *one = worth.to_be_bytes()[1];
        }
        ([a, b, c], [one, two]) => {
            let worth = first[*a as usize] | second[*b as usize] | third[*c as usize];
            seen |= worth | over(worth & 0xff);
            [*one, *two] = [worth.to_be_bytes()[1], worth.to_be_bytes()[2]];
        }
        _ => return false,
    }
    seen & INVALID == 0
}

const fn over(bits: u32) -> u32 {
    if bits == 0 { 0 } else { INVALID }
}

/// Nothing, if it is not canonical base64url.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; bytes_of(text.len())?];
    decode_into(text, &mut out).then_some(out)
}

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or_default());
        let worth = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..=three.len() {
            let value = worth >> (18 - 6 * place) & 63;
            text.push(char::from(ALPHABET[value as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_are_read_without_their_padding() {
        for (text, bytes) in [
            ("", ""),
            ("Zg", "f"),
            ("Zm8", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg", "foob"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes.as_bytes()));
            assert_eq!(encode(bytes.as_bytes()), text);
        }
        assert_eq!(decode(b"-_-_").as_deref(), Some(&[0xfb, 0xff, 0xbf][..]));
        assert!(!decode_into(b"Zg", &mut [0; 2]) && !decode_into(b"Zg", &mut []));
    }

    #[test]
    fn what_is_not_canonical_is_nothing() {
        for text in [
            "Z",
            "Zm9vZ",
            "Zh",
            "Zn",
            "Zm9",
            "Zg==",
            "Zm8=",
            "Zm9v\n",
            " Zm9v",
            "Zm+v",
            "Zm/v",
            "Zm9v.",
            "Zm9\u{e4}",
            "=",
            "Zm\09",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text:?}");
        }
        // Of all last characters those four or sixteen are canonical whose spare bits are zero.
        for (start, canonical) in [("Z", 4), ("Zm", 16)] {
            let ends = (0..=255).filter(|last| decode(&[start.as_bytes(), &[*last]].concat()).is_some());
            assert_eq!(ends.count(), canonical);
        }
    }
}
