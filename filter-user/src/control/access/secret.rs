//! Secrets that are made here and shown once: 256 bits from the kernel, kept as SHA-256 only.

use sha2::{Digest as _, Sha256};

/// The beginning of a token, so that whoever finds one knows what it is, and scanners for leaked secrets too.
const PREFIX: &str = "gatepost_";

/// What is kept of a secret.
pub type Fingerprint = [u8; 32];

/// A new secret as text; none if the kernel has no randomness.
pub(super) fn make() -> Option<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().fold(PREFIX.to_owned(), |text, byte| text + &format!("{byte:02x}")))
}

/// What is kept of it, and what is compared: a hash, so that comparing gives nothing away.
pub(super) fn fingerprint(secret: &str) -> Fingerprint {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_secrets_are_the_same() {
        let (one, other) = (make().unwrap(), make().unwrap());
        assert_eq!(one.len(), PREFIX.len() + 64);
        assert_ne!(one, other);
        assert_ne!(fingerprint(&one), fingerprint(&other));
    }
}
