//! One certificate with its key, out of their files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use filter_core::time::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::CertificateFiles;

/// Why files are no certificate to present.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}; it must be a PEM file that this user may read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A file without what it is for.
    #[error("{} holds no {what} in PEM; {remedy}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A certificate that is none.
    #[error("the first certificate in {} cannot be read; get it anew from your CA", .0.display())]
    Malformed(PathBuf),
    /// A key of a kind that is not known.
    #[error("the key in {} cannot be used ({reason}); take an RSA key of 2048 bits or more, or an ECDSA or Ed25519 key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: rustls::Error,
    },
    /// A key of another certificate.
    #[error(
        "the key in {} does not fit the first certificate in {}; the server's own certificate comes first, those of its CA behind it",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
}

/// One certificate with its key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    /// The file of the certificate.
    pub(super) file: PathBuf,
    /// The names that it is for, in small letters.
    pub(super) names: Vec<String>,
    /// Until when it is valid.
    pub(super) until: Timestamp,
}

impl Pair {
    /// Reads the files, and makes sure that they belong together.
    pub(super) fn load(files: &CertificateFiles, provider: &CryptoProvider) -> Result<Self, PairError> {
        let CertificateFiles { certificate: file, key: key_file } = files;
        let chain = certificates(file)?;
        let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| match error {
            pem::Error::NoItemsFound => PairError::Empty {
                path: key_file.clone(),
                what: "private key",
                remedy: "write the key without a passphrase (openssl pkey -in KEY -out FILE)",
            },
            source => PairError::Read { path: key_file.clone(), source },
        })?;
        let unusable = |reason| PairError::Key { path: key_file.clone(), reason };
        let key = provider.key_provider.load_private_key(key).map_err(unusable)?;
        let (names, until) = chain
            .first()
            .and_then(|first| description(first))
            .ok_or_else(|| PairError::Malformed(file.clone()))?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match()
            .map_err(|_| PairError::Mismatch { certificate: file.clone(), key: key_file.clone() })?;
        Ok(Self { key: Arc::new(key), file: file.clone(), names, until })
    }

    /// Whether it is for this name, which is in small letters (RFC 9525 section 6.3: a `*` stands for one whole label).
    pub(super) fn is_for(&self, name: &str) -> bool {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|own| match own.strip_prefix("*.") {
            Some(own) => parent == Some(own),
            None => own == name,
        })
    }
}

/// The certificates in a file, at least one.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let read = |source| PairError::Read { path: file.to_owned(), source };
    let all =
        CertificateDer::pem_file_iter(file).map_err(read)?.collect::<Result<Vec<_>, _>>().map_err(read)?;
    if all.is_empty() {
        let remedy = "name the file with the certificate and its chain";
        return Err(PairError::Empty { path: file.to_owned(), what: "certificate", remedy });
    }
    Ok(all)
}

/// The names that a certificate is for, and until when.
fn description(certificate: &CertificateDer<'_>) -> Option<(Vec<String>, Timestamp)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let until = parsed.validity().not_after.timestamp().saturating_mul(1000);
    let listed = parsed.subject_alternative_name().ok().flatten();
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    let names = listed.map(|listed| listed.value.general_names.iter().filter_map(name).collect());
    Some((names.unwrap_or_default(), Timestamp::from_millis(until)))
}
