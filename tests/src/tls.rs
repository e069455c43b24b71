//! Certificates of a small authority, and the client's side of TLS.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// An authority with a folder for what it has signed.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one; its own certificate is [`Authority::file`].
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Authority of the tests");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let authority = Self { folder: folder.to_owned(), issuer };
        fs::write(authority.file(), authority.issuer.pem())?;
        Ok(authority)
    }

    /// Its certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A client's side of TLS that believes it, for any number of connections.
    pub fn trust(&self) -> Result<Arc<ClientConfig>> {
        trust(&self.file())
    }

    /// Signs a certificate for these names; the files of it and of its key are called `file`.
    pub fn sign(&self, file: &str, names: &[&str]) -> Result<(PathBuf, PathBuf)> {
        let key = KeyPair::generate()?;
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone())?;
        params.distinguished_name.push(DnType::CommonName, names.join(" "));
        let certificate = params.signed_by(&key, &self.issuer)?;
        let files = (self.folder.join(format!("{file}.pem")), self.folder.join(format!("{file}.key")));
        fs::write(&files.0, certificate.pem())?;
        fs::write(&files.1, key.serialize_pem())?;
        Ok(files)
    }
}

/// The setting that names a certificate and its key.
pub fn setting((certificate, key): &(PathBuf, PathBuf)) -> String {
    let (certificate, key) = (certificate.display(), key.display());
    format!("certificates = [{{ certificate = \"{certificate}\", key = \"{key}\" }}]\n")
}

/// A client's side of TLS that believes the authority in this file.
fn trust(authority: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// What a client's bytes go through.
#[derive(Debug)]
pub enum Wire {
    /// Nothing.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    pub(crate) fn into_socket(self) -> TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.sock,
        }
    }

    /// How long its other end may be silent, or take nothing.
    pub fn set_patience(&self, patience: Duration) -> Result<()> {
        self.socket().set_read_timeout(Some(patience))?;
        Ok(self.socket().set_write_timeout(Some(patience))?)
    }

    /// Says that no more will come, and still listens.
    pub fn half_close(&mut self) -> Result<()> {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(self.socket().shutdown(Shutdown::Write)?)
    }

    /// Goes through the handshake, believing the authority in this file.
    pub(crate) fn secure(self, name: &str, authority: &Path) -> Result<Self> {
        self.secure_by(name, trust(authority)?)
    }

    /// Goes through the handshake, believing those who are trusted.
    pub fn secure_by(self, name: &str, trust: Arc<ClientConfig>) -> Result<Self> {
        let mut connection = ClientConnection::new(trust, ServerName::try_from(name.to_owned())?)?;
        let mut socket = self.into_socket();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).context("the TLS handshake failed")?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, socket))))
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
