//! Names as they are meant: encoded words (RFC 2047) and extended values (RFC 2231) decoded.
//!
//! Only what the end of a name needs is decoded. Every character set that is met in mail holds ASCII as it is, but for those of two
//! and four bytes, whose NULs are dropped.

use alloc::vec::Vec;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Forgives what mail programs forgive: missing padding, and bits left over.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes the encoded words in a text. The standard does not let them stand in parameters; all programs put them there.
pub(super) fn decode_words(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut after_word = false;
    while let Some(start) = memchr::memmem::find(rest, b"=?") {
        let (plain, word) = rest.split_at(start);
        let Some((bytes, behind)) = encoded_word(word) else {
            decoded.extend_from_slice(plain);
            decoded.extend_from_slice(b"=?");
            rest = word.get(2..).unwrap_or_default();
            after_word = false;
            continue;
        };
        // RFC 2047 section 6.2: blanks between two encoded words are not shown.
        if !after_word || !plain.trim_ascii().is_empty() {
            decoded.extend_from_slice(plain);
        }
        decoded.extend(bytes);
        rest = behind;
        after_word = true;
    }
    decoded.extend_from_slice(rest);
    decoded
}

/// Decodes an extended value; `first` is whether it begins with character set and language (RFC 2231 section 4).
pub(super) fn decode_extended(value: &[u8], first: bool) -> Vec<u8> {
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(charset), Some(_), Some(text)) if first => as_ascii(charset, percent(text)),
        _ => percent(value),
    }
}

/// The first encoded word of a text that begins with `=?`, and what is behind it.
fn encoded_word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let inner = text.strip_prefix(b"=?")?;
    let mut parts = inner.splitn(3, |byte| *byte == b'?');
    let (charset, encoding, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let end = memchr::memmem::find(rest, b"?=")?;
    let (encoded, behind) = (rest.get(..end)?, rest.get(end + 2..)?);
    let bytes = match encoding {
        b"b" | b"B" => base64(encoded),
        b"q" | b"Q" => quoted(encoded),
        _ => return None,
    };
    Some((as_ascii(charset, bytes), behind))
}

/// As far as it can be decoded: programs show the beginning of what is broken behind.
fn base64(encoded: &[u8]) -> Vec<u8> {
    let clean: Vec<u8> =
        encoded.iter().copied().filter(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte)).collect();
    // A single character more than whole groups decodes to nothing.
    let whole = clean.len() - usize::from(clean.len() % 4 == 1);
    LENIENT.decode(clean.get(..whole).unwrap_or_default()).unwrap_or_default()
}

/// RFC 2047 section 4.2.
fn quoted(encoded: &[u8]) -> Vec<u8> {
    let blanks: Vec<u8> = encoded.iter().map(|byte| if *byte == b'_' { b' ' } else { *byte }).collect();
    hexadecimal(&blanks, b'=')
}

fn percent(text: &[u8]) -> Vec<u8> {
    hexadecimal(text, b'%')
}

/// Two hexadecimal digits behind a mark are a byte.
fn hexadecimal(text: &[u8], mark: u8) -> Vec<u8> {
    let digit = |byte: Option<&u8>| {
        byte.and_then(|byte| char::from(*byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok())
    };
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (Some(high), Some(low)) if byte == mark => {
                decoded.push(high * 16 + low);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

fn as_ascii(charset: &[u8], mut bytes: Vec<u8>) -> Vec<u8> {
    let wide = [&b"utf-16"[..], b"utf16", b"utf-32", b"ucs", b"iso-10646-ucs"];
    let begins =
        |name: &&[u8]| charset.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    if wide.iter().any(begins) {
        bytes.retain(|byte| *byte != 0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_are_decoded_and_joined() {
        for (text, expected) in [
            ("=?utf-8?B?ZXZpbC5leGU=?=", "evil.exe"),
            ("=?utf-8?b?ZXZpbC5leGU?=", "evil.exe"),
            ("=?UTF-8?Q?evil=2Eexe?=", "evil.exe"),
            ("=?utf-8?q?a_b?= =?utf-8?q?=2Eexe?=", "a b.exe"),
            ("a =?utf-8?q?b?= c", "a b c"),
            ("=?utf-16be?B?AGUALgBlAHgAZQ==?=", "e.exe"),
            ("=?broken", "=?broken"),
            ("=?a?x?b?=.exe", "=?a?x?b?=.exe"),
            ("=?utf-8?B?ZXZpbC5leGUx!!?=", "evil.exe1"),
            ("=4=XY", "=4=XY"),
        ] {
            assert_eq!(decode_words(text.as_bytes()), expected.as_bytes(), "{text}");
        }
    }

    #[test]
    fn extended_values_are_decoded() {
        assert_eq!(decode_extended(b"utf-8'de'evil%2eex%65", true), b"evil.exe");
        assert_eq!(decode_extended(b"evil%2Eexe", true), b"evil.exe");
        assert_eq!(decode_extended(b"a'b'c%", false), b"a'b'c%");
    }
}
