//! JSON strings, written straight into a buffer.

/// Writes a text as a JSON string.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text.as_bytes());
    out.push(b'"');
}

/// Writes bytes as the inside of a JSON string. Bytes that are not UTF-8 become the replacement
/// character.
pub(crate) fn lossy(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
        return;
    }

    for chunk in bytes.utf8_chunks() {
        escaped(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Returns whether bytes are ASCII with nothing to escape, as headers nearly always are. Checks
/// eight bytes at a time.
fn is_plain(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    words
        .iter()
        .all(|word| is_plain_word(u64::from_ne_bytes(*word)))
        && rest
            .iter()
            .all(|&byte| matches!(byte, b' '..=0x7f) && byte != b'"' && byte != b'\\')
}

/// Returns whether all eight bytes are plain. It may return `false` for plain bytes, but never
/// `true` if one of them is not.
fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = ONES << 7;
    // A byte below `n` borrows into its own high bit, which is clear in a byte that is ASCII.
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word;
    let equal = |n: u8| below(word ^ (ONES * u64::from(n)), 1);
    (word | below(word, 0x20) | equal(b'"') | equal(b'\\')) & HIGH == 0
}

/// Writes UTF-8 as the inside of a JSON string; runs of plain bytes are copied whole.
pub(crate) fn escaped(out: &mut Vec<u8>, mut rest: &[u8]) {
    while let Some(at) = rest
        .iter()
        .position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')
    {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);

        let byte = tail[0];
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }

        rest = &tail[1..];
    }

    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for text in ["", "plain", "a\"b\\c", "tab\tnl\nnul\0", "é\u{1F600}\u{7f}"] {
            let mut out = Vec::new();
            string(&mut out, text);
            let back: String = serde_json::from_slice(&out).expect("a JSON string");
            assert_eq!(back, text);
        }
    }

    #[test]
    fn plain_is_what_needs_no_escape_and_is_ascii() {
        for byte in 0..=u8::MAX {
            for place in 0..11 {
                let mut bytes = *b"abcdefgh~ !";
                bytes[place] = byte;
                let is = (0x20..0x80).contains(&byte) && byte != b'"' && byte != b'\\';
                assert_eq!(is_plain(&bytes), is, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let mut out = Vec::new();
        lossy(&mut out, b"a\xff\"b");
        assert_eq!(String::from_utf8(out).expect("UTF-8"), "a\u{fffd}\\\"b");
    }
}
