//! The TLS of a service, out of the files that its configuration names.

use crate::config::{MailServerTls, ServiceConfig};
use crate::tls::{Front, FrontError, Trust, TrustError};

/// Why a service cannot do what its configuration says about TLS.
#[derive(Debug, thiserror::Error)]
pub enum ProtectionError {
    /// What it presents to clients.
    #[error("service {0}: certificates: {1}")]
    Front(String, FrontError),
    /// How its mail servers prove who they are.
    #[error("service {0}: mail_server_tls: {1}")]
    Trust(String, TrustError),
}

/// The TLS of a service, read from its files.
#[derive(Debug)]
pub struct Protection {
    /// What it presents to clients, if TLS with them ends here.
    pub front: Option<Front>,
    /// How its mail servers prove who they are, if there is TLS with them.
    pub trust: Option<Trust>,
}

impl Protection {
    /// Reads the files.
    pub fn load(config: &ServiceConfig) -> Result<Self, ProtectionError> {
        let tls = &config.tls;
        let front = tls.is_ours().then(|| Front::load(&tls.certificates, tls.oldest)).transpose();
        let name = tls.name.as_deref();
        let trust = match tls.mail_servers {
            MailServerTls::None => Ok(None),
            _ if tls.is_verified() => Trust::by_roots(tls.ca.as_deref(), name).map(Some),
            _ => Trust::blind(name).map(Some),
        };
        Ok(Self {
            front: front.map_err(|error| ProtectionError::Front(config.name.clone(), error))?,
            trust: trust.map_err(|error| ProtectionError::Trust(config.name.clone(), error))?,
        })
    }
}
