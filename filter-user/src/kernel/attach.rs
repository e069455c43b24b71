//! The filter on interfaces: attached by a link that is pinned, so that it stays when the agent goes.
//!
//! A link that is pinned already gets the new program in place of the old one in one step, and no packet passes in
//! between. A program of somebody else is named and left alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, XdpMode};
use nix::errno::Errno;

use super::error::deepest_io_error;
use super::filter::xdp;
use super::interface::{Mode, interfaces};
use super::{Filter, KernelError};
use crate::config::Attach;

/// The beginning of the names of pinned links; the interface follows.
pub(super) const LINK: &str = "link-";

/// Where the filter is attached, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The interface.
    pub interface: String,
    /// How.
    pub mode: Mode,
    /// Why not in the driver, if that was tried.
    pub fallback: Option<String>,
}

impl Filter {
    /// Attaches the filter to an interface, or replaces the program of a link that is pinned for it.
    pub async fn attach(&mut self, interface: &str, how: Attach) -> Result<Attachment, KernelError> {
        let known = interfaces().await?;
        let Some(link) = known.iter().find(|link| link.name == interface) else {
            let existing = known.into_iter().map(|link| link.name).collect();
            return Err(KernelError::NoInterface { name: interface.to_owned(), existing });
        };
        if !link.has_frames {
            return Err(KernelError::NoFrames(interface.to_owned()));
        }
        let path = self.pin_directory.join(format!("{LINK}{interface}"));
        let found = if self.replace(&path)? { self.mode_on(interface).await? } else { None };
        let is_wanted = |mode| match how {
            Attach::Auto => true,
            Attach::Native => mode == Mode::Native,
            Attach::Generic => mode == Mode::Generic,
        };
        if let Some(mode) = found.filter(|mode| is_wanted(*mode)) {
            return Ok(Attachment { interface: interface.to_owned(), mode, fallback: None });
        }
        // A link in another mode, or one that has stayed with an interface which has been renamed.
        detach(&path)?;
        let fallback = self.attach_anew(interface, how, &path).await?;
        match self.mode_on(interface).await? {
            Some(mode) => Ok(Attachment { interface: interface.to_owned(), mode, fallback }),
            None => Err(KernelError::Other(format!(
                "the filter is not on `{interface}` although it was attached"
            ))),
        }
    }

    /// Takes the filter off interfaces that are no longer wanted; says which.
    pub fn detach_others(&self, wanted: &[String]) -> Result<Vec<String>, KernelError> {
        let mut gone = Vec::new();
        for (name, path) in pins(&self.pin_directory)? {
            let interface = name.strip_prefix(LINK).map(ToOwned::to_owned);
            if let Some(interface) = interface.filter(|interface| !wanted.contains(interface)) {
                detach(&path)?;
                gone.push(interface);
            }
        }
        Ok(gone)
    }

    /// How this very program is attached to an interface, if it is.
    async fn mode_on(&mut self, interface: &str) -> Result<Option<Mode>, KernelError> {
        let own = xdp(&mut self.program)?
            .info()
            .map_err(|error| KernelError::program(&error, &self.pin_directory))?;
        let known = interfaces().await?;
        let there = known.into_iter().find(|link| link.name == interface).and_then(|link| link.xdp);
        Ok(there.filter(|(_, program)| *program == Some(own.id())).map(|(mode, _)| mode))
    }

    /// Puts the program behind a pinned link; false if there is none that still holds on to an interface.
    fn replace(&mut self, path: &Path) -> Result<bool, KernelError> {
        if !path.exists() {
            return Ok(false);
        }
        let link = PinnedLink::from_pin(path).map_err(|error| KernelError::Other(error.to_string()))?;
        let link =
            XdpLink::try_from(FdLink::from(link)).map_err(|error| KernelError::Other(error.to_string()))?;
        let program = xdp(&mut self.program)?;
        match program.attach_to_link(link) {
            Ok(id) => {
                // The pin keeps the link; a descriptor of ours would keep it even after `unload`.
                program.take_link(id).map_err(|error| KernelError::program(&error, &self.pin_directory))?;
                Ok(true)
            }
            // The interface has gone and come back under the same name; the link still belongs to the old one.
            Err(error) if errno(&error) == Some(Errno::ENOLINK) => {
                detach(path)?;
                Ok(false)
            }
            Err(error) => Err(KernelError::program(&error, &self.pin_directory)),
        }
    }

    /// Tries the modes in turn; says why the first was not to be had, if another was.
    async fn attach_anew(
        &mut self,
        interface: &str,
        how: Attach,
        path: &Path,
    ) -> Result<Option<String>, KernelError> {
        let modes: &[(XdpMode, &'static str)] = match how {
            Attach::Auto => &[(XdpMode::Driver, "native"), (XdpMode::Skb, "generic")],
            Attach::Native => &[(XdpMode::Driver, "native")],
            Attach::Generic => &[(XdpMode::Skb, "generic")],
        };
        let mut failure = None;
        for (mode, name) in modes {
            match xdp(&mut self.program)?.attach(interface, *mode) {
                Ok(id) => {
                    let link = xdp(&mut self.program)?.take_link(id);
                    let link = link.map_err(|error| KernelError::program(&error, &self.pin_directory))?;
                    let link = FdLink::try_from(link).map_err(|_| KernelError::Unsupported)?;
                    link.pin(path).map_err(|error| KernelError::pinning(&error, &self.pin_directory))?;
                    return Ok(failure.map(|failure: KernelError| failure.to_string()));
                }
                Err(error) if matches!(errno(&error), Some(Errno::EBUSY | Errno::EEXIST)) => {
                    let known = interfaces().await?;
                    let program =
                        known.into_iter().find(|link| link.name == interface).and_then(|link| link.xdp?.1);
                    return Err(KernelError::Foreign { interface: interface.to_owned(), program });
                }
                Err(error) if errno(&error) == Some(Errno::EPERM) => return Err(KernelError::Permission),
                Err(error) => {
                    let source =
                        errno(&error).map_or_else(|| io::Error::other(error.to_string()), Into::into);
                    tracing::debug!(interface, mode = name, %source, "this mode is not to be had");
                    failure =
                        Some(KernelError::Attach { interface: interface.to_owned(), mode: name, source });
                }
            }
        }
        Err(failure.unwrap_or(KernelError::Unsupported))
    }
}

fn errno(error: &ProgramError) -> Option<Errno> {
    deepest_io_error(error).and_then(io::Error::raw_os_error).map(Errno::from_raw)
}

/// Takes the filter off every interface and removes all pins; says which interfaces it was on. Refuses while an agent
/// writes to it, which would go on with maps that nobody reads.
pub fn unload(directory: &Path) -> Result<Vec<String>, KernelError> {
    if !super::maps::is_on_bpffs(directory) || !directory.exists() {
        return Err(KernelError::NotLoaded(directory.to_path_buf()));
    }
    let _lock = super::filter::lock(directory)?;
    unload_own(directory)
}

/// The same for the process that has been writing to it.
pub fn unload_own(directory: &Path) -> Result<Vec<String>, KernelError> {
    let mut pins = pins(directory)?;
    let is_ours = |name: &str| name.starts_with(LINK) || super::maps::is_map(name);
    if let Some((stranger, _)) = pins.iter().find(|(name, _)| !is_ours(name)) {
        let message =
            format!("{} holds `{stranger}`, which is not ours; nothing was removed", directory.display());
        return Err(KernelError::Other(message));
    }
    // Links first: a filter without maps must not see a packet.
    pins.sort_by_key(|(name, _)| !name.starts_with(LINK));
    let mut interfaces = Vec::new();
    for (name, path) in pins {
        detach(&path)?;
        interfaces.extend(name.strip_prefix(LINK).map(ToOwned::to_owned));
    }
    fs::remove_dir(directory).map_err(|source| fault(directory, source))?;
    Ok(interfaces)
}

/// The names and paths of everything that is pinned.
fn pins(directory: &Path) -> Result<Vec<(String, PathBuf)>, KernelError> {
    let entries = fs::read_dir(directory).map_err(|source| fault(directory, source))?;
    let pin = |entry: fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), entry.path());
    entries.map(|entry| entry.map(pin).map_err(|source| fault(directory, source))).collect()
}

/// Removes a pin; a link that nobody holds any more comes off its interface.
fn detach(path: &Path) -> Result<(), KernelError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(fault(path, source)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn fault(path: &Path, source: io::Error) -> KernelError {
    match source.kind() {
        io::ErrorKind::NotFound => KernelError::NotLoaded(path.to_path_buf()),
        io::ErrorKind::PermissionDenied => KernelError::Permission,
        _ => KernelError::PinDirectory { path: path.to_path_buf(), source },
    }
}
