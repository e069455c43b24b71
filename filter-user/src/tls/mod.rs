//! TLS: the only module that names rustls. Certificates that we present, trust in those of mail servers, and the layer that turns
//! records into bytes and back.
//!
//! Nothing here awaits: sockets are [`crate::edge`]'s. TLS 1.2 and 1.3, with the suites and groups of the library's own choice;
//! nothing older, and nothing to weaken them by.

mod certificates;
mod front;
mod layer;
mod pair;
mod trust;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;

pub use certificates::Certificates;
pub use front::{Front, Stamp};
pub use layer::{Layer, Protection};
pub use pair::PairError;
pub use trust::{Trust, TrustError, is_server_name};

/// The oldest version that is spoken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum OldestVersion {
    /// RFC 5246, which much mail still comes by.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
}

impl OldestVersion {
    const fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => NEWEST,
        }
    }
}

/// The files of one certificate, both PEM.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The certificate, and behind it the ones that lead from it to a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a layer of TLS cannot go on.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct TlsError(#[from] rustls::Error);

impl TlsError {
    /// Whether the other side has gone because of our certificate, which is no fault of its own.
    pub const fn is_distrust(&self) -> bool {
        use rustls::AlertDescription as Alert;
        matches!(
            self.0,
            rustls::Error::AlertReceived(
                Alert::BadCertificate
                    | Alert::UnsupportedCertificate
                    | Alert::CertificateRevoked
                    | Alert::CertificateExpired
                    | Alert::CertificateUnknown
                    | Alert::UnknownCA
                    // A signature that the root it believes in has not made.
                    | Alert::DecryptError
                    | Alert::AccessDenied
                    | Alert::UserCanceled
                    | Alert::CloseNotify
            )
        )
    }
}

/// Why a service has nothing to present.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The files.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// Something that only a broken library refuses.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

static NEWEST: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests;
