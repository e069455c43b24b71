//! The kernel filter of a configuration: loaded whole or not at all, and never in the gateway's own way.

use std::collections::BTreeSet;
use std::net::IpAddr;

use filter_core::client::host;
use filter_core::decision::{Change, Never};
use filter_core::time::{Instant, Now};

use crate::clock;
use crate::config::Config;
use crate::kernel::{self, Attachment, Filter, KernelError, Settings, Surroundings};

/// Loads the kernel filter and attaches it, without an agent behind it.
pub(super) async fn load(
    config: &Config,
    surroundings: &Surroundings,
) -> Result<(Option<Filter>, Vec<Attachment>), KernelError> {
    if !config.kernel.enabled {
        return Ok((None, Vec::new()));
    }
    let was_there = config.kernel.pin_directory.exists();
    let loaded = load_and_attach(config, surroundings).await;
    if !was_there && loaded.as_ref().is_err_and(|error| !matches!(error, KernelError::Taken(_))) {
        // Half a filter is none; what was there before, or has come meanwhile, is somebody's at work and stays.
        let _ = kernel::unload_own(&config.kernel.pin_directory);
    }
    loaded.map(|(filter, attachments)| (Some(filter), attachments))
}

async fn load_and_attach(
    config: &Config,
    surroundings: &Surroundings,
) -> Result<(Filter, Vec<Attachment>), KernelError> {
    let mut filter = Filter::load(&Settings {
        pin_directory: config.kernel.pin_directory.clone(),
        observe: config.policy.observe,
        drop_all: config.kernel.drop_all,
        protected_ports: config.protected_ports(),
        grace: config.kernel.grace,
        courtesy_replies: config.kernel.courtesy_replies,
        capacity: config.kernel.capacity,
    })?;
    let mut interfaces = config.kernel.interfaces.clone();
    if interfaces.is_empty() {
        interfaces.push(surroundings.default_interface.clone().unwrap_or_else(|| {
            tracing::warn!("no default route, so the filter goes to loopback; set `interfaces` in [kernel]");
            "lo".to_owned()
        }));
    }
    let mut attachments = Vec::new();
    for interface in &interfaces {
        attachments.push(filter.attach(interface, config.kernel.attach).await?);
    }
    for interface in filter.detach_others(&interfaces)? {
        tracing::info!(interface, "the filter has been taken off, since it is no longer configured there");
    }
    Ok((filter, attachments))
}

/// The never-block entries that keep the gateway reachable, whatever anybody blocks.
pub fn built_in(config: &Config, surroundings: &Surroundings, now: Now) -> Vec<Never> {
    let never = |address: IpAddr, comment: &str| Never {
        network: host(address),
        comment: comment.to_owned(),
        author: "built-in".to_owned(),
        since: now.wall,
        until: None,
        built_in: true,
    };
    let loopback = [[127, 0, 0, 0].into(), std::net::Ipv6Addr::LOCALHOST.into()].map(|address: IpAddr| {
        let network = if address.is_ipv4() { ipnet::IpNet::new_assert(address, 8) } else { host(address) };
        Never { network, ..never(address, "loopback") }
    });
    let own = surroundings.own.iter().filter(|address| !address.is_loopback());
    let balancers = config.services.iter().flat_map(|service| &service.proxy_from);
    let balancers = balancers.map(|network| Never {
        network: *network,
        ..never(network.addr(), "load balancer (see `proxy_from`)")
    });
    let servers = config.services.iter().flat_map(|service| &service.mail_servers);
    let mut networks = BTreeSet::new();
    loopback
        .into_iter()
        .chain(own.map(|address| never(*address, "this gateway")))
        .chain(surroundings.routers.iter().map(|address| never(*address, "default router")))
        .chain(servers.map(|server| never(server.ip(), "mail server")))
        .chain(balancers)
        .filter(|entry| !entry.network.addr().is_loopback() || entry.comment == "loopback")
        .filter(|entry| networks.insert(entry.network))
        .collect()
}

/// Loads and attaches the filter for `gatepost load`, and gives it the built-in never-block entries.
pub async fn load_alone(config: &Config) -> Result<Vec<Attachment>, KernelError> {
    let surroundings = kernel::surroundings().await?;
    let (filter, attachments) = load(config, &surroundings).await?;
    if let Some(mut filter) = filter {
        let change = |never: Never| Change::Never {
            network: never.network,
            until: Instant::FAR_FUTURE,
            built_in: true,
        };
        let changes: Vec<_> = built_in(config, &surroundings, clock::now()).into_iter().map(change).collect();
        if let Some(refused) = filter.apply(&changes).into_iter().next() {
            return Err(refused.error);
        }
    }
    Ok(attachments)
}
