//! A report as other programs write it: a JSON object, or a line of `key=value` with the same keys.
//!
//! What is written may have been chosen by whoever attacks the reporting program. So a key that is not known, or that
//! comes twice, makes the whole report void: a guess at what was meant could count against somebody else.

use alloc::string::{String, ToString as _};
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{COUNT_LIMIT, Report, Source, Told, WEIGHT_LIMIT};
use crate::client::ClientAddr;
use crate::offence::{DETAIL_LIMIT, Kind, Offence};
use crate::service::{NotAService, ServiceName};
use crate::smtp::login::LoginKey;
use crate::time::Timestamp;

/// Longest line, in bytes.
pub const LINE_LIMIT: usize = 2048;
/// Longest account, detail or credentials that are taken, in bytes.
pub const VALUE_LIMIT: usize = 500;
const _: () = assert!(VALUE_LIMIT >= DETAIL_LIMIT, "what is kept can be written");

/// What a program tells; see [`Report`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The client's address.
    pub address: String,
    /// Where it happened, such as `webmail`.
    pub service: String,
    /// What happened; none: a failed login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Whose account it was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// Anything that helps to understand it later.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What one of them costs, 0 to [`WEIGHT_LIMIT`]; none: the multiplier of its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// How many it stands for, 1 to [`COUNT_LIMIT`]; none: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// When it happened, in milliseconds since 1970 began; none: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Anything that is the same for the same wrong credentials and no other, such as a keyed hash of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
}

/// Why a report cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No address of one client.
    #[error("`address` is one address, such as 192.0.2.7 or 2001:db8::7")]
    Address,
    /// No name of a service.
    #[error(transparent)]
    Service(#[from] NotAService),
    /// No number that is taken.
    #[error("`{key}` goes from {least} to {most}")]
    Number {
        /// Which.
        key: &'static str,
        /// The least that is taken.
        least: u32,
        /// The most.
        most: u32,
    },
    /// Too long.
    #[error("`{0}` is longer than {VALUE_LIMIT} bytes")]
    TooLong(&'static str),
    /// No kind of offence.
    #[error("`kind` is the name of an offence, such as failed-login; `gatepost check-config` lists them")]
    Kind,
    /// No time.
    #[error("`time` is in milliseconds since 1970 began")]
    Time,
    /// No line of keys and values.
    #[error(
        "a report is one line such as address=192.0.2.7 service=webmail account=\"a b\", of at most {LINE_LIMIT} bytes of UTF-8"
    )]
    Line,
    /// A key that does not exist.
    #[error(
        "there is no such key; there are address, service, kind, account, detail, weight, count, time, credentials"
    )]
    UnknownKey,
    /// A key that comes again.
    #[error("`{0}` comes twice")]
    Twice(&'static str),
    /// A key that must be there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
}

impl Request {
    /// Checks every value. Credentials are hashed with this key, so that nothing is kept of them.
    pub fn read(self, source: Source, key: LoginKey) -> Result<Report, Fault> {
        let address: IpAddr = self.address.trim().parse().map_err(|_| Fault::Address)?;
        let service = ServiceName::new(&self.service)?;
        let number = |key, number: Option<u32>, least, most| match number {
            Some(number) if !(least..=most).contains(&number) => Err(Fault::Number { key, least, most }),
            number => Ok(number),
        };
        let texts = [("account", &self.account), ("detail", &self.detail)];
        let hidden = self.credentials.as_ref().map(|credentials| ("credentials", credentials));
        for (key, text) in texts.into_iter().chain(hidden) {
            if text.len() > VALUE_LIMIT {
                return Err(Fault::TooLong(key));
            }
        }
        let kind = self.kind.unwrap_or(Kind::FailedLogin);
        let mut offence = Offence::new(kind, self.detail.as_bytes()).at(service).of(self.account.as_bytes());
        let fingerprint = |token: &String| key.fingerprint(self.account.as_bytes(), token.as_bytes());
        offence.credentials = self.credentials.as_ref().map(fingerprint);
        let told = Told {
            source,
            weight: number("weight", self.weight, 0, WEIGHT_LIMIT)?,
            count: number("count", self.count, 1, COUNT_LIMIT)?.unwrap_or(1),
            at: self.time,
        };
        Ok(Report { who: ClientAddr::new(address), offence, told })
    }

    /// Reads a line: `key=value`, spaces between them. A value with spaces or quotes in it stands in double quotes, where
    /// `\"` is a quote and `\\` a backslash. A line end behind it is no part of it.
    pub fn from_line(line: &[u8]) -> Result<Self, Fault> {
        let text = core::str::from_utf8(line).map_err(|_| Fault::Line)?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.len() > LINE_LIMIT || text.chars().any(char::is_control) {
            return Err(Fault::Line);
        }
        let mut found: [Option<String>; KEYS.len()] = Default::default();
        let mut rest = text.trim_start_matches(' ');
        while !rest.is_empty() {
            let (name, behind) = rest.split_once('=').ok_or(Fault::Line)?;
            let place = KEYS.iter().position(|key| *key == name).ok_or(Fault::UnknownKey)?;
            let (value, behind) = value(behind)?;
            let (key, slot) = KEYS.iter().zip(found.iter_mut()).nth(place).ok_or(Fault::UnknownKey)?;
            if slot.replace(value).is_some() {
                return Err(Fault::Twice(key));
            }
            rest = behind.trim_start_matches(' ');
        }
        let [address, service, kind, account, detail, weight, count, time, credentials] = found;
        let number = |key, text: Option<String>, most| {
            let wrong = |_| Fault::Number { key, least: 0, most };
            text.map(|text| text.parse().map_err(wrong)).transpose()
        };
        let time = time.map(|text| text.parse().map(Timestamp::from_millis)).transpose();
        Ok(Self {
            address: address.ok_or(Fault::Missing("address"))?,
            service: service.ok_or(Fault::Missing("service"))?,
            kind: kind.map(|name| Kind::named(&name).ok_or(Fault::Kind)).transpose()?,
            account: account.unwrap_or_default(),
            detail: detail.unwrap_or_default(),
            weight: number("weight", weight, WEIGHT_LIMIT)?,
            count: number("count", count, COUNT_LIMIT)?,
            time: time.map_err(|_| Fault::Time)?,
            credentials,
        })
    }
}

/// Every key of a line, in the order of [`Request`].
const KEYS: [&str; 9] =
    ["address", "service", "kind", "account", "detail", "weight", "count", "time", "credentials"];

/// The value that a text begins with, and what follows it: nothing, or a space.
fn value(text: &str) -> Result<(String, &str), Fault> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(' ').unwrap_or(text.len());
        let (bare, rest) = text.split_at_checked(end).ok_or(Fault::Line)?;
        return if bare.contains('"') { Err(Fault::Line) } else { Ok((bare.to_string(), rest)) };
    };
    let (mut value, mut characters) = (String::new(), quoted.chars());
    loop {
        match characters.next().ok_or(Fault::Line)? {
            '"' => break,
            '\\' => match characters.next() {
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                _ => return Err(Fault::Line),
            },
            plain => value.push(plain),
        }
    }
    let rest = characters.as_str();
    if rest.is_empty() || rest.starts_with(' ') { Ok((value, rest)) } else { Err(Fault::Line) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: LoginKey = LoginKey(1, 2);

    fn read(line: &str) -> Result<Report, Fault> {
        Request::from_line(line.as_bytes())?.read(Source::Program, KEY)
    }

    #[test]
    fn a_line_says_who_where_and_what() {
        let report =
            read("address=::ffff:192.0.2.7 service=WebMail account=\"a \\\"b\\\\\" count=3\n").unwrap();
        assert_eq!(report.who, ClientAddr::new([192, 0, 2, 7].into()));
        assert_eq!((report.offence.kind, report.offence.service.as_str()), (Kind::FailedLogin, "webmail"));
        assert_eq!(report.offence.account.as_deref(), Some("a \"b\\"));
        assert_eq!((report.told.count, report.told.weight, report.told.at), (3, None, None));
        let all =
            "time=1800000000000 weight=0 kind=rule-matched detail=x credentials=y service=a address=::1";
        let report = read(all).unwrap();
        assert_eq!(report.told.at, Some(Timestamp::from_millis(1_800_000_000_000)));
        assert_eq!((report.told.weight, report.offence.kind), (Some(0), Kind::RuleMatched));
        assert!(report.offence.credentials.is_some());
    }

    #[test]
    fn what_is_not_meant_exactly_so_is_void() {
        let fault = |rest: &str| read(&alloc::format!("address=192.0.2.7 service=imap {rest}")).unwrap_err();
        assert_eq!(fault("address=192.0.2.8"), Fault::Twice("address"));
        assert_eq!(fault("who=alice"), Fault::UnknownKey);
        assert_eq!(fault("kind=good"), Fault::Kind);
        assert_eq!(fault("count=0"), Fault::Number { key: "count", least: 1, most: COUNT_LIMIT });
        assert_eq!(fault("weight=-1"), Fault::Number { key: "weight", least: 0, most: WEIGHT_LIMIT });
        assert_eq!(fault("time=yesterday"), Fault::Time);
        assert_eq!(fault(&alloc::format!("detail={}", "x".repeat(501))), Fault::TooLong("detail"));
        for rest in
            ["account", "account=\"a", "account=a\"b", "account=\"a\"b", "account=\"a\\x\"", "account=a\x1b"]
        {
            assert_eq!(fault(rest), Fault::Line, "{rest:?}");
        }
        assert_eq!(read("service=imap"), Err(Fault::Missing("address")));
        assert_eq!(read("address=192.0.2.0/24 service=imap"), Err(Fault::Address));
        assert_eq!(read("address=192.0.2.7 service=a/b"), Err(Fault::Service(NotAService)));
        assert_eq!(Request::from_line(b"address=\xff"), Err(Fault::Line));
    }

    proptest! {
        #[test]
        fn whatever_is_written_makes_no_harm(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::from_line(&line).map(|request| request.read(Source::Program, KEY));
        }

        #[test]
        fn a_quoted_value_is_itself(account in "[ -~]{1,60}") {
            let quoted = account.replace('\\', "\\\\").replace('"', "\\\"");
            let request = Request::from_line(
                alloc::format!("address=192.0.2.7 account=\"{quoted}\" service=imap").as_bytes(),
            ).unwrap();
            prop_assert_eq!(request.account, account);
        }
    }
}
