//! Amounts of memory, written as Kubernetes writes them.

/// Longest text that is an amount.
const MAX_LENGTH: usize = 20;

/// The bytes of `text`: an integer, and one of the suffixes k, M, G, T (powers of 1000) and Ki, Mi, Gi, Ti
/// (of 1024). `None` for anything else, and for what 64 bits do not hold.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at_checked(digits).filter(|_| text.len() <= MAX_LENGTH)?;
    let factor: u64 = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn amounts_are_read_as_kubernetes_reads_them() {
        for (text, expected) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("1k", Some(1000)),
            ("2Gi", Some(2 << 30)),
            ("16T", Some(16_000_000_000_000)),
            ("", None),
            ("Gi", None),
            ("1.5Gi", None),
            ("-1", None),
            ("1gi", None),
            ("99999999999Ti", None),
            ("000000000000000000001", None),
        ] {
            assert_eq!(bytes(text), expected, "{text:?}");
        }
    }
}
