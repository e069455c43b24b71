//! How a mail server proves who it is.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::pair::{PairError, certificates};
use super::{Layer, OldestVersion, TlsError, provider};

/// Why no mail server could prove who it is.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file with the CA's certificates.
    #[error(transparent)]
    File(#[from] PairError),
    /// A system without roots.
    #[error(
        "this system has no CA certificates to verify mail servers by; install ca-certificates, or name a file in mail_server_ca"
    )]
    NoRoots,
    /// A file with certificates that are no roots.
    #[error("no certificate in {} can be a root; name the file of the CA that signed the mail server's certificate", .0.display())]
    NotRoots(PathBuf),
    /// Something that only a broken library refuses.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// How the mail servers of a service prove who they are.
#[derive(Debug)]
pub struct Trust {
    config: Arc<ClientConfig>,
    /// The name in their certificates; none: their addresses.
    name: Option<ServerName<'static>>,
}

impl Trust {
    /// By the roots in a file, or by those of the system.
    pub fn by_roots(file: Option<&Path>, name: Option<&str>) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        let found = match file {
            Some(file) => certificates(file)?,
            // What of them cannot be read is missed when a mail server needs it, and named then.
            None => rustls_native_certs::load_native_certs().certs,
        };
        if roots.add_parsable_certificates(found).0 == 0 {
            return Err(file.map_or(TrustError::NoRoots, |file| TrustError::NotRoots(file.to_owned())));
        }
        let config = builder()?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self::new(config, name))
    }

    /// Not at all: whoever answers is believed.
    pub fn blind(name: Option<&str>) -> Result<Self, TrustError> {
        let verifier = Arc::new(Blind(provider()));
        let config = builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        Ok(Self::new(config, name))
    }

    fn new(mut config: ClientConfig, name: Option<&str>) -> Self {
        config.resumption = Resumption::in_memory_sessions(TICKETS_KEPT);
        let name = name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
        Self { config: Arc::new(config), name }
    }

    /// A connection to the mail server at this address, which begins with our hello.
    pub fn connect(&self, address: IpAddr) -> Result<Layer, TlsError> {
        let name = self.name.clone().unwrap_or_else(|| ServerName::from(address.to_canonical()));
        Ok(Layer::client(UnbufferedClientConnection::new(Arc::clone(&self.config), name)?))
    }
}

/// Mail servers whose tickets are kept.
const TICKETS_KEPT: usize = 64;

/// Whether a text can be the name in a certificate.
pub fn is_server_name(text: &str) -> bool {
    ServerName::try_from(text).is_ok()
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    let versions = OldestVersion::default().versions();
    Ok(ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions)?)
}

/// Believes any certificate, but not one whose key the other side does not have.
#[derive(Debug)]
struct Blind(Arc<CryptoProvider>);

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
