//! How a command fails: one sentence on standard error, and an exit code that a script can rely on.

use std::process::ExitCode;

use crate::agent::AgentError;
use crate::config::ConfigError;
use crate::control::ClientError;
use crate::edge::ProtectionError;
use crate::kernel::KernelError;
use crate::store::{BackupError, StoreError};

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_RUNNING: u8 = 3;
const PERMISSION: u8 = 4;

/// A failure on its way to whoever typed the command.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    sentence: String,
}

impl Failure {
    /// What was typed makes no sense.
    pub(super) const fn usage(sentence: String) -> Self {
        Self { code: USAGE, sentence }
    }

    /// It was not done, or not all of it.
    pub(super) const fn failed(sentence: String) -> Self {
        Self { code: FAILED, sentence }
    }

    /// The same failure with more to say.
    pub(super) fn and(self, more: &str) -> Self {
        Self { sentence: format!("{}; {more}", self.sentence), ..self }
    }

    /// Says the sentence; gives the code.
    #[expect(clippy::print_stderr, reason = "this is what the administrator reads")]
    pub(super) fn tell(&self) -> ExitCode {
        eprintln!("gatepost: {}", self.sentence);
        ExitCode::from(self.code)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { code: USAGE, sentence: error.to_string() }
    }
}

impl From<ProtectionError> for Failure {
    fn from(error: ProtectionError) -> Self {
        Self { code: USAGE, sentence: error.to_string() }
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        Self { code: if error.is_permission() { PERMISSION } else { FAILED }, sentence: error.to_string() }
    }
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        Self { code: if error.is_permission() { PERMISSION } else { FAILED }, sentence: error.to_string() }
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        Self { code: if error.is_permission() { PERMISSION } else { FAILED }, sentence: error.to_string() }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { code: if error.is_permission() { PERMISSION } else { FAILED }, sentence: error.to_string() }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::NotRunning(_) => NOT_RUNNING,
            ClientError::Permission(_) => PERMISSION,
            ClientError::Refused(_) | ClientError::Broken { .. } => FAILED,
        };
        Self { code, sentence: error.to_string() }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self { code: FAILED, sentence: error.to_string() }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self { code: FAILED, sentence: error.to_string() }
    }
}
