//! How packets are filtered: section `[kernel]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::value::span;
use crate::kernel::Capacity;

/// Most entries that a map can be made with; beyond it the kernel's own sums overflow on some versions.
const LARGEST_MAP: u32 = 1 << 26;

/// How packets are filtered.
#[derive(Debug, Clone)]
pub struct KernelConfig {
    /// Whether there is a kernel filter at all.
    pub enabled: bool,
    /// Interfaces to attach to; empty: that of the default route, loopback if there is none.
    pub interfaces: Vec<String>,
    /// How to attach.
    pub attach: Attach,
    /// Where maps and links are pinned.
    pub pin_directory: PathBuf,
    /// Drop everything of a blocked source, not only TCP to the protected ports.
    pub drop_all: bool,
    /// Ports that blocked sources cannot reach; those that we listen on are always among them.
    pub protected_ports: Vec<u16>,
    /// How long open sessions of a newly blocked source may go on, to hear why they end.
    pub grace: Duration,
    /// New connections of a blocked source that come through to hear why, counted for each block.
    pub courtesy_replies: u32,
    /// Room for entries in the kernel.
    pub capacity: Capacity,
}

/// How the filter is attached to an interface.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attach {
    /// In the driver, else generic.
    #[default]
    Auto,
    /// In the driver only.
    Native,
    /// In the network stack: slower, and never resets the network card.
    Generic,
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Kernel {
    enabled: Option<bool>,
    interfaces: Vec<String>,
    attach: Attach,
    pin_directory: Option<PathBuf>,
    drop: DropWord,
    protected_ports: Option<Vec<u16>>,
    grace: Option<Spanned<String>>,
    courtesy_replies: Option<u32>,
    capacity_hosts_v4: Option<Spanned<u32>>,
    capacity_scopes_v6: Option<Spanned<u32>>,
    capacity_prefixes: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DropWord {
    #[default]
    ProtectedPorts,
    All,
}

impl Kernel {
    pub(super) fn validate(self, place: &Place<'_>) -> Result<KernelConfig, ConfigError> {
        let standard = Capacity::default();
        Ok(KernelConfig {
            enabled: self.enabled.unwrap_or(true),
            interfaces: self.interfaces,
            attach: self.attach,
            pin_directory: self.pin_directory.unwrap_or_else(|| "/sys/fs/bpf/gatepost".into()),
            drop_all: self.drop == DropWord::All,
            protected_ports: self
                .protected_ports
                .unwrap_or_else(|| vec![25, 465, 587, 110, 995, 143, 993, 4190]),
            grace: span("grace", self.grace, Duration::ZERO, place)?.unwrap_or(Duration::from_secs(5)),
            courtesy_replies: self.courtesy_replies.unwrap_or(0),
            capacity: Capacity {
                hosts_v4: capacity("capacity_hosts_v4", self.capacity_hosts_v4, standard.hosts_v4, place)?,
                scopes_v6: capacity(
                    "capacity_scopes_v6",
                    self.capacity_scopes_v6,
                    standard.scopes_v6,
                    place,
                )?,
                prefixes: capacity("capacity_prefixes", self.capacity_prefixes, standard.prefixes, place)?,
            },
        })
    }
}

fn capacity(
    setting: &'static str,
    entries: Option<Spanned<u32>>,
    standard: u32,
    place: &Place<'_>,
) -> Result<u32, ConfigError> {
    match entries {
        None => Ok(standard),
        Some(entries) if (1..=LARGEST_MAP).contains(entries.get_ref()) => Ok(entries.into_inner()),
        Some(entries) => {
            let message = format!("a map of the kernel holds 1 to {LARGEST_MAP} entries");
            Err(place.value(Some(entries.span()), setting, message))
        }
    }
}
