//! The control socket: HTTP and JSON under `/api/v1`, on a Unix socket that only its owner may open.
//!
//! Who connects is known by the kernel's word (`SO_PEERCRED`) and becomes the author of what is changed. An
//! administrator hears "done" when the change is on the disk.

mod access;
mod change;
mod client;
mod contract;
mod door;
mod events;
mod follow;
mod health;
mod import;
mod listed;
mod metrics;
mod paging;
mod problem;
mod reports;
mod routes;
mod sessions;
mod settings;
mod statistics;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use nix::unistd::{Uid, User};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

pub use access::{Access, Done, Fingerprint, Identity, Notice, SIGN_IN_LASTS, SignInFault, SignedIn, Undo};
pub use client::{Client, ClientError};
pub use door::Door;
pub use problem::Problem;
pub use reports::Heard;
pub use routes::{Agent, Turns, document, router};
pub use settings::{About, LimitsView, PolicyView, Settings, Trial, Tried, Weight};
pub use statistics::Statistics;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Somebody answers on it.
    #[error(
        "another agent is running (it answers on {0}); stop it first, or set `control_socket` to another path"
    )]
    Taken(PathBuf),
    /// There is a file of that name.
    #[error("{0} is a file and not a socket; set `control_socket` to a path of its own")]
    NotASocket(PathBuf),
    /// It cannot be made.
    #[error(
        "cannot open the control socket {path}: {source}; set `control_socket` to a path that this user may write"
    )]
    Open {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Opens the socket; one that a dead agent left behind is replaced.
pub async fn bind(path: &Path) -> Result<UnixListener, ControlError> {
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
            if !is_socket {
                return Err(ControlError::NotASocket(path.to_path_buf()));
            }
        }
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            return Err(ControlError::Open { path: path.to_path_buf(), source });
        }
        // It answers, or is too busy to.
        Ok(_) | Err(_) => return Err(ControlError::Taken(path.to_path_buf())),
    }
    let open = || {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        // Before it listens: nobody gets in through the moment in between.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        UnixListener::from_std(std::os::unix::net::UnixListener::from(OwnedFd::from(socket)))
    };
    open().map_err(|source| ControlError::Open { path: path.to_path_buf(), source })
}

/// Answers requests until the task is dropped.
pub async fn serve(listener: UnixListener, agent: Agent) -> io::Result<()> {
    axum::serve(listener, router(agent).into_make_service_with_connect_info::<Author>()).await
}

/// Who is asking.
#[derive(Debug, Clone)]
pub struct Author(pub String);

impl Connected<IncomingStream<'_, UnixListener>> for Author {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let Ok(credentials) = stream.io().peer_cred() else {
            return Self("unknown".to_owned());
        };
        let uid = credentials.uid();
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        Self(user.map_or_else(|| format!("uid {uid}"), |user| user.name))
    }
}
