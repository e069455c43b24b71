//! What netlink says about the machine's network: interfaces, addresses, routers, and who has an XDP program where.

mod route;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{LinkAttribute, LinkLayerType, LinkMessage, LinkXdp, XdpAttached};
use rtnetlink::{Handle, RouteMessageBuilder, new_connection};
use serde::Serialize;

use self::route::DefaultRoute;
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
    /// Whether its frames begin with an Ethernet header, as loopback's do, too.
    pub(super) has_frames: bool,
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
    /// The interface of the default route, IPv4 first.
    pub default_interface: Option<String>,
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
    let mut defaults = Vec::new();
    for request in [v4, v6] {
        let mut routes = handle.route().get(request).execute();
        let mut family = Vec::new();
        while let Some(route) = routes.try_next().await.map_err(|error| netlink(&error))? {
            family.extend(DefaultRoute::of(&route));
        }
        family.sort_by_key(|route| route.metric);
        defaults.append(&mut family);
    }
    let routers = defaults.iter().flat_map(|route| route.routers.iter().copied()).collect();
    let name = match defaults.first() {
        Some(route) => name_of(&handle, route.interface).await?,
        None => None,
    };
    Ok(Surroundings { own, routers, default_interface: name })
}

/// Every interface of this network name space.
pub(super) async fn interfaces() -> Result<Vec<Interface>, KernelError> {
    let handle = connect()?;
    let mut links = handle.link().get().execute();
    let mut interfaces = Vec::new();
    while let Some(message) = links.try_next().await.map_err(|error| netlink(&error))? {
        if let Some(name) = name(&message) {
            let kind = message.header.link_layer_type;
            let has_frames = matches!(kind, LinkLayerType::Ether | LinkLayerType::Loopback);
            interfaces.push(Interface { name, has_frames, xdp: xdp(&message) });
        }
    }
    Ok(interfaces)
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
