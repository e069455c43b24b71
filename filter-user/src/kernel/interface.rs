//! What netlink says about the machine's network: interfaces, addresses, routers, and who has an XDP program where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Handle, RouteMessageBuilder, new_connection};
use serde::Serialize;

use super::KernelError;

/// How a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the network stack.
    Generic,
    /// In the network card.
    Offloaded,
    /// In several ways at once.
    Several,
}

impl Mode {
    /// The word in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Offloaded => "offloaded",
            Self::Several => "several",
        }
    }
}

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    /// The XDP program on it, and how it is attached.
    pub(super) xdp: Option<(Mode, Option<u32>)>,
}

/// What must never be blocked, and where the internet is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The gateway's own addresses.
    pub own: Vec<IpAddr>,
    /// Routers of default routes.
    pub routers: Vec<IpAddr>,
    /// The interface of the default route, IPv4 first; loopback if there is none.
    pub default_interface: String,
}

/// Asks for everything that a start needs to know.
pub async fn surroundings() -> Result<Surroundings, KernelError> {
    let handle = connect()?;
    let mut own = Vec::new();
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await.map_err(|error| netlink(&error))? {
        own.extend(message.attributes.iter().filter_map(|attribute| match attribute {
            AddressAttribute::Address(address) | AddressAttribute::Local(address) => Some(*address),
            _ => None,
        }));
    }
    own.sort_unstable();
    own.dedup();
    let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
    let mut routers = Vec::new();
    let mut index = None;
    for request in [v4, v6] {
        let mut routes = handle.route().get(request).execute();
        while let Some(route) = routes.try_next().await.map_err(|error| netlink(&error))? {
            if let Some((router, through)) = default_route(&route) {
                routers.extend(router);
                index = index.or(Some(through));
            }
        }
    }
    let name = match index {
        Some(index) => name_of(&handle, index).await?,
        None => None,
    };
    Ok(Surroundings { own, routers, default_interface: name.unwrap_or_else(|| "lo".to_owned()) })
}

/// Every interface of this network name space.
pub(super) async fn interfaces() -> Result<Vec<Interface>, KernelError> {
    let handle = connect()?;
    let mut links = handle.link().get().execute();
    let mut interfaces = Vec::new();
    while let Some(message) = links.try_next().await.map_err(|error| netlink(&error))? {
        if let Some(name) = name(&message) {
            interfaces.push(Interface { name, xdp: xdp(&message) });
        }
    }
    Ok(interfaces)
}

/// How XDP is attached to an interface, if it is.
pub async fn attached(interface: &str) -> Result<Option<Mode>, KernelError> {
    let interfaces = interfaces().await?;
    Ok(interfaces
        .into_iter()
        .find(|link| link.name == interface)
        .and_then(|link| link.xdp)
        .map(|(mode, _)| mode))
}

/// The router of a default route, if it has one, and the interface that it leads through.
fn default_route(route: &RouteMessage) -> Option<(Option<IpAddr>, u32)> {
    if route.header.destination_prefix_length != 0 {
        return None;
    }
    let router = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    });
    let through = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    });
    through.map(|index| (router, index))
}

fn name(message: &LinkMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

fn xdp(message: &LinkMessage) -> Option<(Mode, Option<u32>)> {
    let attributes = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Xdp(attributes) => Some(attributes),
        _ => None,
    })?;
    let program = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(id) => Some(*id),
        _ => None,
    });
    let mode = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::Attached(XdpAttached::Driver) => Some(Mode::Native),
        LinkXdp::Attached(XdpAttached::SocketBuffer) => Some(Mode::Generic),
        LinkXdp::Attached(XdpAttached::Hardware) => Some(Mode::Offloaded),
        LinkXdp::Attached(XdpAttached::Multiple) => Some(Mode::Several),
        _ => None,
    })?;
    Some((mode, program))
}

async fn name_of(handle: &Handle, index: u32) -> Result<Option<String>, KernelError> {
    let mut links = handle.link().get().match_index(index).execute();
    Ok(links.try_next().await.map_err(|error| netlink(&error))?.as_ref().and_then(name))
}

fn connect() -> Result<Handle, KernelError> {
    let (connection, handle, _) = new_connection().map_err(|error| netlink(&error))?;
    tokio::spawn(connection);
    Ok(handle)
}

fn netlink(error: &impl ToString) -> KernelError {
    KernelError::Netlink(error.to_string())
}
