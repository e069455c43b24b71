//! Why the agent does not run, in sentences that name the remedy.

use filter_core::logs::RuleError;

use crate::control::ControlError;
use crate::edge::{EdgeError, ProtectionError};
use crate::kernel::KernelError;
use crate::reports::{DovecotError, SocketError};
use crate::store::StoreError;
use crate::tls::FrontError;
use crate::web::WebError;

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The SMTP edge.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// The TLS of a service.
    #[error(transparent)]
    Protection(#[from] ProtectionError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The API over TCP.
    #[error(transparent)]
    Web(#[from] WebError),
    /// What that presents.
    #[error("[web]: certificates: {0}")]
    WebCertificates(#[from] FrontError),
    /// The port for Dovecot.
    #[error(transparent)]
    Dovecot(#[from] DovecotError),
    /// The socket for reports.
    #[error(transparent)]
    Reports(#[from] SocketError),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel filter.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The rules for log lines.
    #[error("[logs]: {0}")]
    Rules(#[from] RuleError),
    /// Something that only a broken system refuses.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    /// A part of the agent ended by itself.
    #[error("the {0} ended by itself; the filter stays attached, please report this with the log")]
    Ended(&'static str),
}

impl AgentError {
    /// Whether more permission would help.
    pub fn is_permission(&self) -> bool {
        let denied = |source: &std::io::Error| source.kind() == std::io::ErrorKind::PermissionDenied;
        match self {
            Self::Edge(error) => matches!(error, EdgeError::Permission(_)),
            Self::Kernel(error) => error.is_permission(),
            Self::Store(error) => error.is_permission(),
            Self::Control(ControlError::Open { source, .. }) => denied(source),
            Self::Web(error) => denied(&error.source),
            Self::Dovecot(error) => denied(&error.source),
            Self::Reports(error) => denied(&error.source),
            Self::Control(ControlError::Taken(_) | ControlError::NotASocket(_))
            | Self::Protection(_)
            | Self::WebCertificates(_)
            | Self::Rules(_)
            | Self::System(_)
            | Self::Ended(_) => false,
        }
    }
}
