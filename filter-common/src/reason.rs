//! Why a packet passed or was dropped: the names of the kernel's counters.

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on to the network stack.
    Pass,
    /// It ends here.
    Drop,
}

/// Why; also the place of the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Reason {
    /// Not IPv4 or IPv6: ARP and everything else below them.
    NotIp = 0,
    /// Too short, or of a form that is not understood; the network stack knows better.
    Unparsed = 1,
    /// No block covers the source.
    Innocent = 2,
    /// Every block that covers the source has ended.
    Expired = 3,
    /// The source is blocked and never-blocked; never-block wins.
    NeverBlock = 4,
    /// The source is blocked, but this packet goes to no protected port.
    OtherPort = 5,
    /// Neighbour discovery of a blocked source: dropping it would cut the gateway off.
    NeighbourDiscovery = 6,
    /// The source has just been blocked, and this packet belongs to a session that may end with a reply.
    Grace = 7,
    /// The source is blocked, and this connection is let through to hear so.
    Courtesy = 8,
    /// Would have been dropped; the filter only observes.
    Observed = 9,
    /// The source's own entry.
    DropHost = 10,
    /// A prefix that covers the source.
    DropPrefix = 11,
}

impl Reason {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 12] = [
        Self::NotIp,
        Self::Unparsed,
        Self::Innocent,
        Self::Expired,
        Self::NeverBlock,
        Self::OtherPort,
        Self::NeighbourDiscovery,
        Self::Grace,
        Self::Courtesy,
        Self::Observed,
        Self::DropHost,
        Self::DropPrefix,
    ];

    /// The place of its counter.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// The name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotIp => "not-ip",
            Self::Unparsed => "unparsed",
            Self::Innocent => "innocent",
            Self::Expired => "expired",
            Self::NeverBlock => "never-block",
            Self::OtherPort => "other-port",
            Self::NeighbourDiscovery => "neighbour-discovery",
            Self::Grace => "grace",
            Self::Courtesy => "courtesy",
            Self::Observed => "observed",
            Self::DropHost => "drop-host",
            Self::DropPrefix => "drop-prefix",
        }
    }

    /// What becomes of the packet.
    #[inline(always)]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::DropHost | Self::DropPrefix => Verdict::Drop,
            Self::NotIp
            | Self::Unparsed
            | Self::Innocent
            | Self::Expired
            | Self::NeverBlock
            | Self::OtherPort
            | Self::NeighbourDiscovery
            | Self::Grace
            | Self::Courtesy
            | Self::Observed => Verdict::Pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_counter() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index() as usize, place);
        }
    }
}
