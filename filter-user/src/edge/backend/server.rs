//! One mail server: opening a connection to it until a session can begin there, and what is known of its health.
//!
//! What is asked of it before the session is ours alone; the client hears the greeting that the mail server would have
//! given it, and nothing else of it.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use filter_core::smtp::ehlo;
use filter_core::smtp::event::ServerFault;
use tokio::net::TcpStream;

use super::dialogue::{Dialogue, Heard};
use super::{Manner, introduction};
use crate::config::{ClientAddress, MailServerTls};
use crate::edge::alarm::Alarm;
use crate::edge::header::Peer;
use crate::edge::listener::is_shortage;
use crate::edge::stream::{HandshakeError, Stream};
use crate::pace::Pace;
use crate::telemetry::histogram;

/// How long a mail server may take for everything before the session, beyond its connection.
const DIALOGUE_TIMEOUT: Duration = Duration::from_secs(30);

const UNKNOWN: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

/// Why no session can begin at a mail server.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Broken(#[from] io::Error),
    #[error("it took no connection within {0:?}")]
    Unreachable(Duration),
    #[error("it did not say what it had to within {DIALOGUE_TIMEOUT:?}")]
    Silent,
    #[error("it closed the connection before its greeting")]
    Closed,
    #[error("what it sent is not an SMTP reply")]
    Malformed,
    #[error("it takes no mail now: {0}")]
    Busy(String),
    #[error(
        "it does not offer XCLIENT with ADDR to this gateway (in Postfix, name its address in `smtpd_authorized_xclient_hosts`)"
    )]
    NoXclient,
    #[error("it does not take XCLIENT: {0}")]
    XclientRefused(String),
    #[error(
        "it does not offer STARTTLS (enable it there, or set `mail_server_tls` to \"none\" or \"opportunistic\")"
    )]
    NoStartTls,
    #[error("it does not take STARTTLS: {0}")]
    StartTlsRefused(String),
    #[error("it sent something behind its reply to STARTTLS, which may not be its own")]
    Injected,
    #[error("TLS with it failed: {0} (see `mail_server_tls`, `mail_server_name` and `mail_server_ca`)")]
    Tls(#[from] HandshakeError),
}

impl OpenError {
    /// Whether a connection without TLS may go better.
    const fn is_about_tls(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::StartTlsRefused(_))
    }
}

/// A connection at which a session can begin.
#[derive(Debug)]
pub(in crate::edge) struct Opened {
    pub(in crate::edge) stream: Stream,
    /// What the mail server has said that the client is to hear: its greeting, or nothing yet.
    pub(in crate::edge) said: Vec<u8>,
}

/// One mail server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    health: AtomicU8,
    failures: AtomicU64,
    complaints: Pace,
}

impl Server {
    /// A mail server that nobody has asked yet.
    pub(super) const fn new(address: SocketAddr) -> Self {
        Self { address, health: AtomicU8::new(UNKNOWN), failures: AtomicU64::new(0), complaints: Pace::new() }
    }

    /// Whether it took the last connection; none: nobody has asked.
    pub(super) fn is_up(&self) -> Option<bool> {
        match self.health.load(Ordering::Relaxed) {
            UP => Some(true),
            DOWN => Some(false),
            _ => None,
        }
    }

    /// Connections since the start at which no session could begin.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Opens a connection on behalf of a client; without one, on our own behalf. With `must_greet`, a mail server that takes
    /// no mail now is not taken.
    pub(super) async fn open(
        &self,
        manner: &Manner,
        peer: Option<Peer>,
        must_greet: bool,
        alarm: &mut Alarm,
    ) -> Result<Opened, OpenError> {
        let begun = Instant::now();
        let mut opened = self.try_open(manner, manner.tls, peer, must_greet, alarm).await;
        if let Err(error) = &opened
            && manner.tls == MailServerTls::Opportunistic
            && error.is_about_tls()
        {
            // RFC 7435 section 3: what cannot be protected is sent as if nobody had offered to. Nothing of the session has been said yet.
            if self.complaints.is_due() {
                tracing::warn!(mail_server = %self.address, %error, "the mail server is spoken to in the clear");
            }
            opened = self.try_open(manner, MailServerTls::None, peer, must_greet, alarm).await;
        }
        match &opened {
            Ok(_) => histogram::CONNECT.observe(begun.elapsed()),
            Err(_) => drop(self.failures.fetch_add(1, Ordering::Relaxed)),
        }
        match &opened {
            // Without descriptors of our own nothing is known of the mail server.
            Err(OpenError::Broken(error)) if is_shortage(error) => {
                if self.complaints.is_due() {
                    tracing::warn!(%error, "cannot connect to mail servers for now; raise the limit of open files");
                }
            }
            _ => self.note(opened.as_ref().err()),
        }
        opened
    }

    async fn try_open(
        &self,
        manner: &Manner,
        tls: MailServerTls,
        peer: Option<Peer>,
        must_greet: bool,
        alarm: &mut Alarm,
    ) -> Result<Opened, OpenError> {
        let limit = manner.connect_timeout;
        let connected = alarm.within(limit, TcpStream::connect(self.address)).await;
        let socket = connected.ok_or(OpenError::Unreachable(limit))??;
        socket.set_nodelay(true)?;
        let mut stream = Stream::new(socket)?;
        let prepared = async {
            if let Some(header) = introduction::header(manner.client_address, peer)? {
                stream.write_all(&header).await?;
            }
            if tls == MailServerTls::Implicit {
                self.secure(&mut stream, manner).await?;
            }
            self.prepare(stream, manner, tls, peer, must_greet).await
        };
        alarm.within(DIALOGUE_TIMEOUT, prepared).await.ok_or(OpenError::Silent)?
    }

    /// Everything between the connection and the session.
    async fn prepare(
        &self,
        stream: Stream,
        manner: &Manner,
        tls: MailServerTls,
        peer: Option<Peer>,
        must_greet: bool,
    ) -> Result<Opened, OpenError> {
        let xclient = peer.filter(|_| manner.client_address == ClientAddress::Xclient);
        let starttls = matches!(tls, MailServerTls::Opportunistic | MailServerTls::Starttls);
        if !must_greet && xclient.is_none() && !starttls {
            return Ok(Opened { stream, said: Vec::new() });
        }
        let mut dialogue = Dialogue::new(stream);
        let greeting = dialogue.read().await?;
        if must_greet && greeting.code / 100 == 4 {
            return Err(OpenError::Busy(greeting.text()));
        }
        if starttls && greeting.code == 220 {
            self.start_tls(&mut dialogue, manner).await?;
        }
        let said = match xclient {
            // What it is told of the client is told inside TLS.
            Some(peer) if greeting.code == 220 => introduce(&mut dialogue, manner, peer).await?,
            _ => greeting,
        };
        Ok(dialogue.into_opened(said))
    }

    /// Asks for TLS (RFC 3207 section 4). The session's EHLO comes inside it, so that the mail server knows nothing from before.
    async fn start_tls(&self, dialogue: &mut Dialogue, manner: &Manner) -> Result<(), OpenError> {
        let offer = dialogue.ask(&format!("EHLO {}\r\n", manner.name)).await?;
        if offer.code != 250 || !ehlo::offers(&offer.bytes, "STARTTLS") {
            let required = manner.tls == MailServerTls::Starttls;
            return if required { Err(OpenError::NoStartTls) } else { Ok(()) };
        }
        let answer = dialogue.ask("STARTTLS\r\n").await?;
        if answer.code != 220 {
            return Err(OpenError::StartTlsRefused(answer.text()));
        }
        // What came with it was said in the clear, by whoever sits on the line (the client's side of CVE-2011-0411).
        let stream = dialogue.bare().ok_or(OpenError::Injected)?;
        self.secure(stream, manner).await
    }

    async fn secure(&self, stream: &mut Stream, manner: &Manner) -> Result<(), OpenError> {
        let Some(trust) = &manner.trust else { return Ok(()) };
        let layer = trust.connect(self.address.ip()).map_err(HandshakeError::from)?;
        Ok(stream.secure(layer).await?)
    }

    /// Logs that the mail server could not be followed: clients decide how often it happens.
    pub(super) fn complain(&self, fault: ServerFault) {
        if self.complaints.is_due() {
            tracing::warn!(mail_server = %self.address, "{fault}");
        }
    }

    /// Logs the first failure and the first success after it, not every one between.
    fn note(&self, error: Option<&OpenError>) {
        let health = if error.is_none() { UP } else { DOWN };
        let before = self.health.swap(health, Ordering::Relaxed);
        match error {
            Some(error) if before != DOWN => {
                tracing::warn!(
                    mail_server = %self.address,
                    %error,
                    "the mail server does not answer; clients hear 421 if no other one does (see `mail_servers` of the service)"
                );
            }
            None if before == DOWN => {
                tracing::info!(mail_server = %self.address, "the mail server answers again");
            }
            _ => {}
        }
    }
}

/// Tells the mail server who the client is; its answer is the client's greeting.
async fn introduce(dialogue: &mut Dialogue, manner: &Manner, peer: Peer) -> Result<Heard, OpenError> {
    let offer = dialogue.ask(&format!("EHLO {}\r\n", manner.name)).await?;
    let command = introduction::xclient(&offer.bytes, peer).ok_or(OpenError::NoXclient)?;
    let answer = dialogue.ask(&command).await?;
    match answer.code {
        // What it says of the command is our own trouble; what it says of the client is the client's.
        500..=503 | 550 => Err(OpenError::XclientRefused(answer.text())),
        _ => Ok(answer),
    }
}
