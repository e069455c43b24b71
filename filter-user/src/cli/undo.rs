//! The command that takes a change of a list back: exact, to be copied into a shell.

use filter_core::admin::BlockView;
use filter_core::decision::Never;
use filter_core::time::Timestamp;
use ipnet::IpNet;

use super::table;
use crate::ips::List;

/// An entry as it was before it was changed or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Former {
    network: IpNet,
    /// None: for good.
    until: Option<Timestamp>,
    comment: String,
}

impl From<BlockView> for Former {
    fn from(BlockView { block, .. }: BlockView) -> Self {
        Self { network: block.network, until: Some(block.until), comment: block.reason }
    }
}

impl From<Never> for Former {
    fn from(never: Never) -> Self {
        Self { network: never.network, until: never.until, comment: never.comment }
    }
}

impl Former {
    /// Whom it is about.
    pub(super) const fn network(&self) -> IpNet {
        self.network
    }

    /// When it ends; none: never.
    pub(super) const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// Why it is there.
    pub(super) fn comment(&self) -> &str {
        &self.comment
    }

    /// What puts it back.
    pub(super) fn command(&self, list: List) -> String {
        let mut command = format!("{} add {}", called(list), table::network(&self.network));
        match self.until.map(table::write_time) {
            Some(Some(until)) => command.extend([" --until ", &until]),
            // Past the end of the calendar: as long as it goes.
            Some(None) => command.push_str(" --minutes 999999999"),
            None => {}
        }
        if !self.comment.is_empty() {
            command.push_str(" --comment ");
            command.push_str(&quoted(&self.comment));
        }
        if self.network.prefix_len() < if matches!(self.network, IpNet::V4(_)) { 8 } else { 19 } {
            command.push_str(" --force");
        }
        command
    }
}

/// What removes entries that have just been added.
pub(super) fn removal(list: List, networks: &[IpNet]) -> String {
    let names: Vec<_> = networks.iter().map(table::network).collect();
    format!("{} remove {}", called(list), names.join(" "))
}

/// As this program was called, with the options that lead to the same agent.
fn called(list: List) -> String {
    let verb = if list == List::Blocks { "block" } else { "never" };
    let before: Vec<_> = std::env::args_os()
        .skip(1)
        .take_while(|argument| argument != verb)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let words = std::iter::once("gatepost".to_owned()).chain(before.iter().map(|word| quoted(word)));
    words.chain([verb.to_owned()]).collect::<Vec<_>>().join(" ")
}

/// One word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn former(network: &str, until: Option<i64>, comment: &str) -> Former {
        let until = until.map(Timestamp::from_millis);
        Former { network: network.parse().unwrap(), until, comment: comment.to_owned() }
    }

    fn ends(former: &Former, list: List, end: &str) {
        let command = former.command(list);
        assert!(command.starts_with("gatepost ") && command.ends_with(end), "{command}");
    }

    #[test]
    fn what_puts_an_entry_back_survives_a_shell() {
        ends(
            &former("192.0.2.7/32", Some(1_800_000_000_000), "it's \"him\" $(again)"),
            List::Blocks,
            "block add 192.0.2.7 --until 2027-01-15T08:00:00Z --comment 'it'\\''s \"him\" $(again)'",
        );
        ends(&former("2001:db8::/48", None, ""), List::Never, "never add 2001:db8::/48");
        ends(
            &former("0.0.0.0/0", Some(i64::MAX), "x"),
            List::Blocks,
            "--minutes 999999999 --comment x --force",
        );
        let networks = ["192.0.2.7/32", "10.0.0.0/8"].map(|network| network.parse().unwrap());
        assert!(removal(List::Blocks, &networks).ends_with("block remove 192.0.2.7 10.0.0.0/8"));
    }
}
