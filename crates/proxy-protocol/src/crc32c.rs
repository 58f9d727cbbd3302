//! CRC-32C (RFC 3720 §12.1, Castagnoli's polynomial).

const TABLE: [u32; 256] = table();

/// The checksum of these bytes one behind the other.
pub(crate) fn crc32c(parts: [&[u8]; 3]) -> u32 {
    !parts.into_iter().flatten().fold(!0, |sum, byte| {
        let [low, ..] = sum.to_le_bytes();
        (sum >> 8) ^ TABLE[usize::from(low ^ byte)]
    })
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let (mut index, mut first) = (0, 0u32);
    while index < table.len() {
        let (mut value, mut bit) = (first, 0);
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0x82f6_3b78 } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
        first += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 3720 §B.4, and the usual check.
    #[test]
    fn known_sums() {
        let counted: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c([b"123456789", b"", b""]), 0xe306_9283);
        assert_eq!(crc32c([&[0; 16], &[0; 16], b""]), 0x8a91_36aa);
        assert_eq!(crc32c([&[0xff; 32], b"", b""]), 0x62a8_ab43);
        assert_eq!(crc32c([&counted[..1], &counted[1..9], &counted[9..]]), 0x46dd_794e);
    }
}
