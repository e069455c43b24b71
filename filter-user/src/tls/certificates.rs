//! The certificates of a service, and which of them a client gets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use filter_core::admin::CertificateView;
use filter_core::time::Timestamp;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pair::{Pair, PairError};
use super::{CertificateFiles, provider};

/// How long before its end a certificate is warned of: what renews itself has done so by then.
const WARNED_BEFORE: Duration = Duration::from_hours(24 * 14);

/// The certificates of a service, at least one; the first is for whoever asks for no name, or for an unknown one.
#[derive(Debug)]
pub struct Certificates(Vec<Pair>);

impl Certificates {
    /// Reads all of them.
    pub fn load(files: &[CertificateFiles]) -> Result<Self, PairError> {
        let provider = provider();
        files.iter().map(|files| Pair::load(files, &provider)).collect::<Result<_, _>>().map(Self)
    }

    /// What `status` says of them at this time.
    pub fn view(&self, now: Timestamp) -> Vec<CertificateView> {
        let view = |pair: &Pair| CertificateView {
            file: pair.file.display().to_string(),
            names: pair.names.clone(),
            until: pair.until,
            ends_soon: now.after(WARNED_BEFORE) >= pair.until,
        };
        self.0.iter().map(view).collect()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        // Of two with the same names, such as RSA beside ECDSA, the first that the client can verify.
        let usable = |pair: &&Pair| pair.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let named = |pair: &&Pair| name.as_deref().is_some_and(|name| pair.is_for(name));
        let found = self.0.iter().filter(usable).find(named);
        found.or_else(|| self.0.iter().find(usable)).map(|pair| Arc::clone(&pair.key))
    }
}

impl fmt::Display for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|pair| pair.names.join(" ")).collect();
        f.write_str(&names.join(", "))
    }
}
