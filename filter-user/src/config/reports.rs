//! Reports of other programs: section `[reports]`.

use std::path::PathBuf;

use nix::unistd::Group;
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};

/// Who may write reports, without asking the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportsConfig {
    /// The datagram socket; none: there is none.
    pub socket: Option<PathBuf>,
    /// Who may write to it, as the mode of its file.
    pub mode: u32,
    /// The number of its group; none: the agent's own.
    pub group: Option<u32>,
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Reports {
    socket: Option<PathBuf>,
    socket_mode: Option<Spanned<String>>,
    socket_group: Option<Spanned<String>>,
}

impl Reports {
    pub(super) fn validate(self, place: &Place<'_>) -> Result<ReportsConfig, ConfigError> {
        let mode = match self.socket_mode {
            None => 0o660,
            Some(text) => {
                let mode = u32::from_str_radix(text.get_ref(), 8).ok().filter(|mode| *mode <= 0o777);
                mode.ok_or_else(|| {
                    let message = "a mode is written in octal, such as \"0660\"".to_owned();
                    place.value(Some(text.span()), "socket_mode", message)
                })?
            }
        };
        let group = self.socket_group.map(|name| {
            let group = Group::from_name(name.get_ref()).ok().flatten();
            group.map(|group| group.gid.as_raw()).ok_or_else(|| {
                let message = format!("there is no group `{}`; make it, or name another one", name.get_ref());
                place.value(Some(name.span()), "socket_group", message)
            })
        });
        Ok(ReportsConfig { socket: self.socket, mode, group: group.transpose()? })
    }
}
