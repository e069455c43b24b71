//! One report in each datagram, on a Unix socket that the administrator lets programs write to.
//!
//! Nobody is answered: a datagram that is no report is told of in the log, so often that it can be seen and no oftener.
//! What comes faster than it is read waits in the kernel's queue, and the writer with it.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use filter_core::report::request::LINE_LIMIT;
use filter_core::report::{Request, Source};
use filter_core::smtp::login::LoginKey;
use tokio::net::UnixDatagram;

use crate::config::ReportsConfig;
use crate::ips::Inbox;
use crate::pace::Pace;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot open the socket for reports {path}: {source}; set `socket` in [reports] to a path that this user may write"
)]
pub struct SocketError {
    /// The path.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// The socket; it is removed with this.
#[derive(Debug)]
pub struct Datagrams {
    socket: UnixDatagram,
    path: PathBuf,
    complaints: Pace,
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        // Fails only if somebody removed it, and then it need not be removed.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Datagrams {
    /// Opens the socket, if there is to be one; one that a dead agent left behind is replaced.
    pub fn open(config: &ReportsConfig) -> Result<Option<Self>, SocketError> {
        let Some(path) = config.socket.clone() else { return Ok(None) };
        let open = || {
            clear(&path)?;
            let socket = UnixDatagram::bind(&path)?;
            // Until then it is as the agent's umask has it, which lets nobody else write.
            if let Some(group) = config.group {
                chown(&path, None, Some(group))?;
            }
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(config.mode))?;
            Ok(socket)
        };
        let socket = open().map_err(|source| SocketError { path: path.clone(), source })?;
        Ok(Some(Self { socket, path, complaints: Pace::new() }))
    }

    /// Reads reports until the task is dropped.
    pub async fn serve(self, inbox: Inbox, key: LoginKey) {
        // One byte more than the longest, so that one that is longer shows.
        let mut buffer = [0; LINE_LIMIT + 2];
        loop {
            let length = match self.socket.recv(&mut buffer).await {
                Ok(length) => length,
                Err(error) => {
                    tracing::debug!(%error, "a report could not be read");
                    tokio::time::sleep(crate::reports::PAUSE).await;
                    continue;
                }
            };
            let line = buffer.get(..length).unwrap_or_default();
            let report = Request::from_line(line).and_then(|request| request.read(Source::Program, key));
            match report {
                Ok(report) => inbox.tell(report),
                Err(error) if self.complaints.is_due() => {
                    tracing::warn!(%error, socket = %self.path.display(), "a datagram is no report, and counts for nothing");
                }
                Err(error) => tracing::debug!(%error, "a datagram is no report"),
            }
        }
    }
}

/// Makes place for the socket: the folder is made, and a socket that nobody reads is removed.
fn clear(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file of that name which is no socket",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
