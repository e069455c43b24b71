//! Bounds of every loop and default capacities of every map.

/// VLAN tags that are looked through (IEEE 802.1ad: one inside another).
pub const VLAN_TAGS: usize = 2;
/// IPv6 extension headers that are looked through; RFC 8200 section 4.1 recommends an order of at most seven.
pub const EXTENSION_HEADERS: usize = 8;
/// Ended IPv6 prefixes, one inside another, that are looked behind. A source behind more of them passes until the agent has
/// swept them. Of IPv4, every length is looked at.
pub const NESTED_PREFIXES: usize = 33;

/// Blocked IPv4 addresses.
pub const BLOCK_HOSTS_V4: u32 = 1 << 20;
/// Blocked IPv6 /64 networks.
pub const BLOCK_SCOPES_V6: u32 = 1 << 18;
/// Blocked prefixes of each family.
pub const BLOCK_PREFIXES: u32 = 1 << 16;
/// Never-blocked networks of each family.
pub const NEVER: u32 = 1 << 16;
/// Words of the bitmap of protected ports: one bit for each of 65,536 ports.
pub const PORT_WORDS: u32 = 1024;
/// How long the packets of a connection that is let through as a courtesy pass, in nanoseconds: five seconds.
pub const COURTESY: u64 = 5_000_000_000;
/// Drops that one CPU reports during one tick of the kernel (1 to 10 ms); what is beyond is counted only.
pub const REPORTS_PER_TICK: u64 = 4;
/// From this many packets of one entry on, a drop is reported each time the number has doubled.
pub const REPORT_AGAIN: u64 = 1024;
/// Bytes of the ring buffer: some 5,000 reports. What does not fit is counted only.
pub const REPORTS_BYTES: u32 = 1 << 18;
