//! What can go wrong with the kernel filter, each with its remedy.

use std::io;
use std::path::{Path, PathBuf};

use aya::EbpfError;
use aya::maps::MapError;
use aya::pin::PinError;
use aya::programs::ProgramError;
use nix::errno::Errno;

/// Why the kernel filter does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Not root, or a container without the capabilities.
    #[error(
        "no permission to load the kernel filter; run as root (CAP_BPF and CAP_NET_ADMIN), or set `enabled = false` in [kernel] to run without it"
    )]
    Permission,
    /// A kernel without `bpf(2)`.
    #[error(
        "this kernel or container cannot load BPF programs; use Linux 5.18 or newer outside the container, or set `enabled = false` in [kernel] to run without the filter"
    )]
    Unsupported,
    /// No bpffs where the maps are to be pinned.
    #[error(
        "{0} is not on a BPF file system; mount one with `mount -t bpf bpf /sys/fs/bpf`, or set `pin_directory` in [kernel]"
    )]
    NoBpffs(PathBuf),
    /// The pin directory cannot be used.
    #[error(
        "cannot use the pin directory {path}: {source}; set `pin_directory` in [kernel] to one that this user may write"
    )]
    PinDirectory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Nothing is pinned there.
    #[error(
        "the kernel filter is not loaded (nothing is pinned in {0}); load it with `gatepost load` or `gatepost run`"
    )]
    NotLoaded(PathBuf),
    /// Somebody else writes to these maps.
    #[error(
        "another gatepost is at work on the kernel filter pinned in {0}; ask that one (`gatepost block`, `gatepost status`), or stop it first"
    )]
    Taken(PathBuf),
    /// The pinned maps are of another version.
    #[error(
        "the maps pinned in {path} have another layout ({what}); remove them with `gatepost unload`, then start again"
    )]
    Layout {
        /// The directory.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// The verifier refused the program.
    #[error(
        "the kernel refused the filter program ({0}); please report this with the kernel's version and the output of RUST_LOG=trace"
    )]
    Verifier(io::Error),
    /// No such interface.
    #[error("there is no network interface `{name}`; this machine has {}; set `interfaces` in [kernel]", .existing.join(", "))]
    NoInterface {
        /// What was asked for.
        name: String,
        /// What there is.
        existing: Vec<String>,
    },
    /// A tunnel or a modem line.
    #[error(
        "`{0}` carries no Ethernet frames, which the filter reads; attach to the interface below it with `interfaces` in [kernel]"
    )]
    NoFrames(String),
    /// Somebody else's program is there.
    #[error("another XDP program{} is attached to `{interface}` and is left alone; detach that one, or set `interfaces` in [kernel]", .program.map(|id| format!(" (id {id})")).unwrap_or_default())]
    Foreign {
        /// Where.
        interface: String,
        /// Its number, as `bpftool prog` lists it.
        program: Option<u32>,
    },
    /// The interface does not take the program.
    #[error(
        "cannot attach to `{interface}` in {mode} mode: {source}; set `attach = \"generic\"` in [kernel], or look at its MTU and queues"
    )]
    Attach {
        /// Where.
        interface: String,
        /// How.
        mode: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A map has no room.
    #[error("the kernel map {0} is full; its further entries are enforced at accept only")]
    Full(&'static str),
    /// Anything else about a map.
    #[error("kernel map {map}: {source}")]
    Map {
        /// Which.
        map: &'static str,
        /// What aya says.
        source: MapError,
    },
    /// Anything else.
    #[error("kernel filter: {0}")]
    Other(String),
    /// Netlink does not answer.
    #[error("cannot ask the kernel about its network interfaces: {0}")]
    Netlink(String),
}

impl KernelError {
    /// Whether more permission would help.
    pub const fn is_permission(&self) -> bool {
        matches!(self, Self::Permission)
    }

    /// What loading or pinning failed with.
    pub(super) fn loading(error: &EbpfError, directory: &Path) -> Self {
        tracing::trace!(?error, "loading failed");
        if let EbpfError::ProgramError(ProgramError::LoadError { io_error, .. }) = error {
            return Self::refused(io_error);
        }
        Self::from_errno(deepest_io_error(error).and_then(io::Error::raw_os_error), directory)
            .unwrap_or_else(|| Self::Other(one_line(error)))
    }

    /// What the kernel answered to the program.
    pub(super) fn program(error: &ProgramError, directory: &Path) -> Self {
        tracing::trace!(?error, "the program failed");
        if let ProgramError::LoadError { io_error, .. } = error {
            return Self::refused(io_error);
        }
        Self::from_errno(deepest_io_error(error).and_then(io::Error::raw_os_error), directory)
            .unwrap_or_else(|| Self::Other(one_line(error)))
    }

    /// What pinning failed with.
    pub(super) fn pinning(error: &PinError, directory: &Path) -> Self {
        Self::from_errno(deepest_io_error(error).and_then(io::Error::raw_os_error), directory)
            .unwrap_or_else(|| Self::Other(one_line(error)))
    }

    /// What a map operation failed with.
    pub(super) fn map(map: &'static str, source: MapError) -> Self {
        match deepest_io_error(&source).and_then(io::Error::raw_os_error).map(Errno::from_raw) {
            Some(Errno::E2BIG | Errno::ENOSPC) => Self::Full(map),
            Some(Errno::EPERM | Errno::EACCES) => Self::Permission,
            _ => Self::Map { map, source },
        }
    }

    fn refused(error: &io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM) => Self::Permission,
            Some(Errno::ENOSYS) => Self::Unsupported,
            _ => Self::Verifier(io::Error::from(error.kind())),
        }
    }

    fn from_errno(code: Option<i32>, directory: &Path) -> Option<Self> {
        match Errno::from_raw(code?) {
            Errno::EPERM | Errno::EACCES => Some(Self::Permission),
            Errno::ENOSYS => Some(Self::Unsupported),
            // Pinning outside a bpffs is refused with EINVAL, or with EPERM by older kernels.
            Errno::EINVAL if !super::maps::is_on_bpffs(directory) => {
                Some(Self::NoBpffs(directory.to_path_buf()))
            }
            _ => None,
        }
    }
}

/// The system's own error at the end of a chain of causes.
pub(super) fn deepest_io_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.filter_map(<dyn std::error::Error>::downcast_ref::<io::Error>).last()
}

fn one_line(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let mut words: Vec<String> =
        chain.map(|error| error.to_string().lines().next().unwrap_or_default().to_owned()).collect();
    words.dedup();
    words.join(": ")
}
