//! What a service presents to its clients, until other certificates take their place.
//!
//! A connection keeps what it began with, so new certificates end no session. Files that cannot be used change nothing but what
//! `status` says. The key of the tickets stays as well: a client that comes again need not go through a whole handshake.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use filter_core::admin::CertificateView;
use filter_core::time::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, ProducesTickets, UnbufferedServerConnection};

use super::{CertificateFiles, Certificates, FrontError, Layer, OldestVersion, TlsError, provider};

/// What a service presents to its clients.
#[derive(Debug)]
pub struct Front {
    oldest: OldestVersion,
    ticketer: Arc<dyn ProducesTickets>,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    files: Vec<CertificateFiles>,
    certificates: Arc<Certificates>,
    config: Arc<ServerConfig>,
    problem: Option<String>,
}

/// What can be seen of files from outside; another one says that they have changed.
pub type Stamp = Vec<Option<(SystemTime, u64)>>;

impl Front {
    /// With the certificates in these files.
    pub fn load(files: &[CertificateFiles], oldest: OldestVersion) -> Result<Self, FrontError> {
        let ticketer = Ticketer::new().map_err(TlsError::from)?;
        let certificates = Certificates::load(files)?;
        let current = RwLock::new(Current::new(files, certificates, oldest, &ticketer)?);
        Ok(Self { oldest, ticketer, current })
    }

    /// With these instead, from the next connection on.
    pub fn replace(&self, files: &[CertificateFiles], certificates: Certificates) -> Result<(), TlsError> {
        let next = Current::new(files, certificates, self.oldest, &self.ticketer)?;
        self.change(|current| *current = next);
        Ok(())
    }

    /// Reads the files again. If they cannot be used, everything stays as it is.
    pub fn reload(&self) -> Result<(), FrontError> {
        let files = self.read(|current| current.files.clone());
        let outcome = Certificates::load(&files)
            .map_err(FrontError::from)
            .and_then(|certificates| Ok(self.replace(&files, certificates)?));
        if let Err(error) = &outcome {
            self.change(|current| current.problem = Some(error.to_string()));
        }
        outcome
    }

    /// What can be seen of the files from outside.
    pub fn stamp(&self) -> Stamp {
        let files = self.read(|current| current.files.clone());
        let paths = files.iter().flat_map(|files| [&files.certificate, &files.key]);
        let stamp = |path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        paths.map(stamp).collect()
    }

    /// A client's connection, which begins with its hello.
    pub fn accept(&self) -> Result<Layer, TlsError> {
        let config = self.read(|current| Arc::clone(&current.config));
        Ok(Layer::server(UnbufferedServerConnection::new(config)?))
    }

    /// What `status` says of the certificates at this time.
    pub fn view(&self, now: Timestamp) -> Vec<CertificateView> {
        self.read(|current| current.certificates.view(now))
    }

    /// Why what is in the files now is not what is presented.
    pub fn problem(&self) -> Option<String> {
        self.read(|current| current.problem.clone())
    }

    fn read<T>(&self, read: impl FnOnce(&Current) -> T) -> T {
        read(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Current)) {
        change(&mut self.current.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Current {
    fn new(
        files: &[CertificateFiles],
        certificates: Certificates,
        oldest: OldestVersion,
        ticketer: &Arc<dyn ProducesTickets>,
    ) -> Result<Self, TlsError> {
        let certificates = Arc::new(certificates);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(oldest.versions())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as _);
        // What a client needs to come again is in its ticket; kept here, it would be one more thing that clients make grow.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::clone(ticketer);
        // Who opens several sessions at once is nobody that a second ticket would be for.
        config.send_tls13_tickets = 1;
        Ok(Self { files: files.to_vec(), certificates, config: Arc::new(config), problem: None })
    }
}
