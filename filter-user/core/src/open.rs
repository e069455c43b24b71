//! The open sessions, as an administrator sees them: which of them, in which order, how many at once.

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::smtp::session::State;
use crate::time::Timestamp;

/// Sessions, or blocks, of one answer.
pub const PAGE_LIMIT: usize = 10_000;
/// Sessions of an answer that was not asked for a number.
pub const PAGE_USUAL: usize = 1000;
/// Longest text to search for, in bytes.
pub const SEARCH_LIMIT: usize = 200;

/// Whose move it is in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Awaited {
    /// The client is to say or to read something.
    Client,
    /// The mail server is to answer.
    MailServer,
}

impl Awaited {
    /// The words for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::MailServer => "mail server",
        }
    }
}

/// One open session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OpenSession {
    /// Names it for as long as the agent runs.
    pub id: u64,
    /// Who.
    pub client: IpAddr,
    /// From which port of it.
    pub port: u16,
    /// Whether it is in the No-Auth networks; every other one is incoming.
    pub local: bool,
    /// The service that it came to.
    pub service: String,
    /// The version and cipher of TLS, or `passed through`; none: no TLS.
    pub tls: Option<String>,
    /// What it is doing.
    pub state: State,
    /// Whose move it is.
    pub awaits: Awaited,
    /// What the client calls itself.
    pub helo: Option<String>,
    /// The account that it has logged in to, if it was said in clear.
    pub account: Option<String>,
    /// The mail server behind it; none: not connected yet.
    pub mail_server: Option<String>,
    /// Bytes that the client has sent.
    pub received: u64,
    /// Bytes that the client has been sent.
    pub sent: u64,
    /// Messages that the mail server has accepted from it.
    pub messages: u64,
    /// Since when.
    pub since: Timestamp,
    /// How long it has been open, in seconds.
    pub age: u64,
    /// How long ago it last completed something, in seconds.
    pub idle: u64,
    /// The score of the client.
    pub score: u64,
}

/// What open sessions can be sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// Their number, which is the order in which they came.
    #[default]
    Id,
    /// The client's address.
    Client,
    /// The service.
    Service,
    /// What they are doing.
    State,
    /// How long they have been open.
    Age,
    /// How long ago they last completed something.
    Idle,
    /// Bytes that the client has sent.
    Received,
    /// Bytes that the client has been sent.
    Sent,
    /// Accepted messages.
    Messages,
    /// The client's score.
    Score,
}

impl Key {
    /// Every key.
    pub const ALL: [Self; 10] = [
        Self::Id,
        Self::Client,
        Self::Service,
        Self::State,
        Self::Age,
        Self::Idle,
        Self::Received,
        Self::Sent,
        Self::Messages,
        Self::Score,
    ];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Client => "client",
            Self::Service => "service",
            Self::State => "state",
            Self::Age => "age",
            Self::Idle => "idle",
            Self::Received => "received",
            Self::Sent => "sent",
            Self::Messages => "messages",
            Self::Score => "score",
        }
    }

    /// The key of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    fn compare(self, a: &OpenSession, b: &OpenSession) -> Ordering {
        match self {
            Self::Id => a.id.cmp(&b.id),
            Self::Client => a.client.cmp(&b.client),
            Self::Service => a.service.cmp(&b.service),
            Self::State => a.state.cmp(&b.state),
            Self::Age => a.age.cmp(&b.age),
            Self::Idle => a.idle.cmp(&b.idle),
            Self::Received => a.received.cmp(&b.received),
            Self::Sent => a.sent.cmp(&b.sent),
            Self::Messages => a.messages.cmp(&b.messages),
            Self::Score => a.score.cmp(&b.score),
        }
    }
}

/// Which of the open sessions are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of clients in this network.
    pub network: Option<IpNet>,
    /// Of this service.
    pub service: Option<String>,
    /// That do this.
    pub state: Option<State>,
    /// Whose address, name, account or mail server contains this, upper and lower case alike.
    pub text: Option<String>,
    /// Sorted by this.
    pub key: Key,
    /// The highest first.
    pub descending: bool,
    /// Without the first of them.
    pub offset: usize,
    /// How many at most; beyond [`PAGE_LIMIT`] that.
    pub limit: Option<usize>,
}

/// Open sessions that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OpenSessions {
    /// How many are open.
    pub total: u64,
    /// How many of them are meant.
    pub matching: u64,
    /// The score that blocks.
    pub threshold: u32,
    /// Those of this page.
    pub sessions: Vec<OpenSession>,
}

/// What became of a wish to end sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ended {
    /// Those that have been told to end. Their clients hear the reply as soon as they listen.
    pub ended: Vec<u64>,
}

impl Wanted {
    /// Those that are meant, in their order.
    pub fn choose(&self, mut sessions: Vec<OpenSession>, threshold: u32) -> OpenSessions {
        let total = sessions.len() as u64;
        let text = self.text.as_deref().map(str::to_lowercase);
        sessions.retain(|session| self.lets(session, text.as_deref()));
        let matching = sessions.len() as u64;
        sessions.sort_by(|a, b| {
            let order = self.key.compare(a, b);
            // Of equals the one that came first, whichever way round.
            if self.descending { order.reverse() } else { order }.then(a.id.cmp(&b.id))
        });
        let limit = self.limit.unwrap_or(PAGE_USUAL).min(PAGE_LIMIT);
        let sessions = sessions.into_iter().skip(self.offset).take(limit).collect();
        OpenSessions { total, matching, threshold, sessions }
    }

    fn lets(&self, session: &OpenSession, text: Option<&str>) -> bool {
        let has = |part: &str| {
            let address = alloc::format!("{}", session.client);
            let words = [
                Some(address.as_str()),
                session.helo.as_deref(),
                session.account.as_deref(),
                session.mail_server.as_deref(),
            ];
            words.into_iter().flatten().any(|word| word.to_lowercase().contains(part))
        };
        self.network.is_none_or(|network| network.contains(&session.client))
            && self.service.as_deref().is_none_or(|service| service == session.service)
            && self.state.is_none_or(|state| state == session.state)
            && text.is_none_or(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: u64, client: &str, score: u64) -> OpenSession {
        OpenSession {
            id,
            client: client.parse().unwrap(),
            port: 4000,
            local: false,
            service: "smtp".into(),
            tls: None,
            state: State::Ready,
            awaits: Awaited::Client,
            helo: Some("Client.Example".into()),
            account: None,
            mail_server: None,
            received: 0,
            sent: 0,
            messages: 0,
            since: Timestamp::from_millis(0),
            age: 10 - id,
            idle: 0,
            score,
        }
    }

    fn chosen(wanted: &Wanted) -> (u64, Vec<u64>) {
        let sessions = [("203.0.113.9", 0), ("203.0.113.8", 50), ("198.51.100.1", 50)];
        let sessions = (1..).zip(sessions).map(|(id, (client, score))| session(id, client, score));
        let page = wanted.choose(sessions.collect(), 1000);
        assert_eq!((page.total, page.threshold), (3, 1000));
        (page.matching, page.sessions.iter().map(|session| session.id).collect())
    }

    #[test]
    fn sessions_are_filtered_sorted_and_cut() {
        let all = Wanted::default();
        assert_eq!(chosen(&all), (3, [1, 2, 3].into()));
        let network = "203.0.113.0/24".parse().ok();
        assert_eq!(chosen(&Wanted { network, ..all.clone() }), (2, [1, 2].into()));
        let text = Some("client.EXAMPLE".into());
        assert_eq!(chosen(&Wanted { text, offset: 1, limit: Some(1), ..all.clone() }), (3, [2].into()));
        assert_eq!(chosen(&Wanted { service: Some("other".into()), ..all.clone() }), (0, [].into()));
        assert_eq!(chosen(&Wanted { state: Some(State::Login), ..all.clone() }), (0, [].into()));
        let by = |key, descending| chosen(&Wanted { key, descending, ..all.clone() }).1;
        assert_eq!(by(Key::Score, true), [2, 3, 1]);
        assert_eq!(by(Key::Client, false), [3, 2, 1]);
        assert_eq!(by(Key::Age, true), [1, 2, 3]);
    }

    #[test]
    fn words_lead_back_to_what_they_name() {
        assert!(Key::ALL.into_iter().all(|key| Key::named(key.name()) == Some(key)));
        assert!(State::ALL.into_iter().all(|state| State::named(state.name()) == Some(state)));
    }
}
