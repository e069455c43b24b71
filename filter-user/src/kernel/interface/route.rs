//! The ways to the internet, out of all routes that a machine has.

use std::net::IpAddr;

use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia,
};

/// A default route of the main table. Those of other tables belong to tunnels and policies, and lead elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DefaultRoute {
    /// The lower, the better.
    pub(super) metric: u32,
    /// The interface that it leads through; of several, the first.
    pub(super) interface: u32,
    /// Its routers; none on a point-to-point link.
    pub(super) routers: Vec<IpAddr>,
}

impl DefaultRoute {
    /// Reads a route; none if it is no default route.
    pub(super) fn of(route: &RouteMessage) -> Option<Self> {
        let header = &route.header;
        let is_default = header.destination_prefix_length == 0 && header.kind == RouteType::Unicast;
        if !is_default || table(route) != u32::from(RouteHeader::RT_TABLE_MAIN) {
            return None;
        }
        let mut found = Self { metric: 0, interface: 0, routers: Vec::new() };
        let mut interfaces = Vec::new();
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Priority(metric) => found.metric = *metric,
                RouteAttribute::Oif(index) => interfaces.push(*index),
                RouteAttribute::MultiPath(hops) => {
                    interfaces.extend(hops.iter().map(|hop| hop.interface_index));
                    found.routers.extend(hops.iter().flat_map(|hop| &hop.attributes).filter_map(router));
                }
                attribute => found.routers.extend(router(attribute)),
            }
        }
        found.interface = *interfaces.first()?;
        Some(found)
    }
}

/// The attribute has room for the numbers that the header's byte has not.
fn table(route: &RouteMessage) -> u32 {
    let attribute = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    attribute.unwrap_or_else(|| route.header.table.into())
}

fn router(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address))
        | RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Gateway(RouteAddress::Inet6(address))
        | RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(table: u32, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut route = RouteMessage::default();
        route.header.kind = RouteType::Unicast;
        route.attributes = attributes;
        route.attributes.push(RouteAttribute::Table(table));
        route
    }

    #[test]
    fn a_tunnels_own_default_route_is_none() {
        let through = || vec![RouteAttribute::Oif(7)];
        assert_eq!(DefaultRoute::of(&route(51_820, through())), None);
        let found = DefaultRoute::of(&route(254, through())).unwrap();
        assert_eq!(found, DefaultRoute { metric: 0, interface: 7, routers: Vec::new() });
        let mut narrow = route(254, through());
        narrow.header.destination_prefix_length = 8;
        assert_eq!(DefaultRoute::of(&narrow), None);
    }

    #[test]
    fn a_router_of_the_other_family_is_found() {
        let via = RouteAttribute::Via(RouteVia::Inet6("fe80::1".parse().unwrap()));
        let found =
            DefaultRoute::of(&route(254, vec![via, RouteAttribute::Oif(2), RouteAttribute::Priority(100)]));
        let routers = vec!["fe80::1".parse().unwrap()];
        assert_eq!(found, Some(DefaultRoute { metric: 100, interface: 2, routers }));
    }
}
