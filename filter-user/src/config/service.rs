//! One service: where it listens, where it relays to, and how. Section `[smtp]` is the service `smtp`; each
//! `[services.NAME]` is one more, which takes from `[smtp]` what it does not say itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use filter_core::client::ScopeWidth;
use filter_core::limits::Limits;
use filter_core::smtp::bounds::{Bounds, LineEnds};
use filter_core::smtp::session::Patience;
use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::sessions::Sessions;
use super::tls::{self, MailServerTls, TlsConfig};
use super::value::{Addresses, Networks, networks, socket, span};
use crate::tls::{CertificateFiles, OldestVersion};

/// The name of the service in section `[smtp]`.
const FIRST: &str = "smtp";

/// How long a mail server may take to accept a connection, unless the configuration says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long strangers wait for the greeting, unless the configuration says otherwise.
const GREET_DELAY: Duration = Duration::from_secs(2);
/// Longest such wait; clients give up after minutes (RFC 5321 section 4.5.3.2.1), and meanwhile each takes a place.
const GREET_DELAY_LIMIT: Duration = Duration::from_mins(1);
/// Mail servers of one service; a client waits for one after the other.
const MAIL_SERVERS_LIMIT: usize = 16;

/// One service.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    /// Its name: `smtp`, or that of its section.
    pub name: String,
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Where to relay to: the first one that answers.
    pub mail_servers: Vec<SocketAddr>,
    /// How the mail server learns the client's address.
    pub client_address: ClientAddress,
    /// How long a mail server may take to accept a connection.
    pub connect_timeout: Duration,
    /// How long each side may take.
    pub patience: Patience,
    /// How long a client that nobody knows waits for the greeting.
    pub greet_delay: Duration,
    /// How much a session may ask for, and how its lines must end.
    pub bounds: Bounds,
    /// Load balancers, whose PROXY headers are required and believed; nobody else's are.
    pub proxy_from: Vec<IpNet>,
    /// TLS with clients and with mail servers.
    pub tls: TlsConfig,
    /// Session limits and books of its own; none: it shares those of section `[sessions]`.
    pub limits: Option<Limits>,
}

/// How the client's address is handed on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAddress {
    /// PROXY protocol version 2, before anything else on the connection.
    #[default]
    ProxyV2,
    /// PROXY protocol version 1.
    ProxyV1,
    /// Postfix's XCLIENT, which the mail server must offer.
    Xclient,
    /// Not at all: the mail server sees every client as the gateway.
    None,
}

impl ServiceConfig {
    /// What it does, in one line.
    pub fn summary(&self) -> String {
        let listen: Vec<_> = self.listen.iter().map(ToString::to_string).collect();
        let servers: Vec<_> = self.mail_servers.iter().map(ToString::to_string).collect();
        let servers = servers.join(", else ");
        let tls = self.tls.summary();
        format!("listens on {} and relays to {servers} ({}); {tls}", listen.join(", "), self.how())
    }

    /// How the mail server learns the client's address, in words.
    pub const fn how(&self) -> &'static str {
        match self.client_address {
            ClientAddress::ProxyV2 => "PROXY protocol v2",
            ClientAddress::ProxyV1 => "PROXY protocol v1",
            ClientAddress::Xclient => "XCLIENT",
            ClientAddress::None => "without the client's address",
        }
    }
}

/// The section as it is written.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Service {
    listen: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(alias = "mail_server")]
    mail_servers: Option<Spanned<Addresses>>,
    client_address: Option<ClientAddress>,
    connect_timeout: Option<Spanned<String>>,
    client_timeout: Option<Spanned<String>>,
    server_timeout: Option<Spanned<String>>,
    session_timeout: Option<Spanned<String>>,
    greet_delay: Option<Spanned<String>>,
    line_ends: Option<LineEndsWord>,
    longest_line: Option<Spanned<usize>>,
    maximum_recipients: Option<Spanned<u32>>,
    maximum_message_size: Option<u64>,
    maximum_errors: Option<u32>,
    maximum_commands: Option<u32>,
    proxy_from: Option<Spanned<Networks>>,
    tls: Option<Spanned<tls::Choice>>,
    certificates: Option<Spanned<Vec<CertificateFiles>>>,
    tls_oldest: Option<OldestVersion>,
    auth_without_tls: Option<bool>,
    mail_server_tls: Option<Spanned<MailServerTls>>,
    mail_server_verify: Option<bool>,
    mail_server_ca: Option<PathBuf>,
    mail_server_name: Option<Spanned<String>>,
    sessions: Option<Sessions>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LineEndsWord {
    Reject,
    Normalize,
}

/// What the services share.
pub(super) struct Shared<'a> {
    /// Section `[sessions]`, of which a service with numbers of its own changes some.
    pub(super) sessions: &'a Sessions,
    pub(super) scope_width: ScopeWidth,
}

/// Checks all services, that of `[smtp]` first.
pub(super) fn validate(
    first: &Service,
    others: BTreeMap<Spanned<String>, Service>,
    shared: &Shared<'_>,
    place: &Place<'_>,
) -> Result<Vec<ServiceConfig>, ConfigError> {
    let mut services = Vec::with_capacity(1 + others.len());
    let mut taken = BTreeMap::new();
    let mut add = |name: &str, listen_spans: &[Spanned<String>], service: ServiceConfig| {
        for (address, text) in service.listen.iter().zip(listen_spans) {
            if let Some(other) = taken.insert(*address, name.to_owned()) {
                let message = format!("{address} is listened on by the service `{other}` already");
                return Err(place.value(Some(text.span()), "listen", message));
            }
        }
        services.push(service);
        Ok(())
    };
    let spans =
        |service: &Service| service.listen.as_ref().map_or_else(Vec::new, |list| list.get_ref().clone());
    add(FIRST, &spans(first), first.clone().validate(FIRST, shared, place)?)?;
    for (name, service) in others {
        let span = name.span();
        let name = name.into_inner();
        if name == FIRST || !is_name(&name) {
            let message = format!(
                "`{name}` cannot be a service's name: 1 to 32 small letters, digits and hyphens, and not `{FIRST}`, which is section [smtp]"
            );
            return Err(place.value(Some(span), "services", message));
        }
        if service.listen.is_none() {
            let message = format!("name where `{name}` listens, such as listen = [\"[::]:587\"]");
            return Err(place.value(Some(span), "listen", message));
        }
        add(&name, &spans(&service), service.or(first).validate(&name, shared, place)?)?;
    }
    Ok(services)
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(plain)
}

impl Service {
    /// With the settings of another where it has none of its own.
    fn or(self, other: &Self) -> Self {
        let other = other.clone();
        Self {
            listen: self.listen,
            mail_servers: self.mail_servers.or(other.mail_servers),
            client_address: self.client_address.or(other.client_address),
            connect_timeout: self.connect_timeout.or(other.connect_timeout),
            client_timeout: self.client_timeout.or(other.client_timeout),
            server_timeout: self.server_timeout.or(other.server_timeout),
            session_timeout: self.session_timeout.or(other.session_timeout),
            greet_delay: self.greet_delay.or(other.greet_delay),
            line_ends: self.line_ends.or(other.line_ends),
            longest_line: self.longest_line.or(other.longest_line),
            maximum_recipients: self.maximum_recipients.or(other.maximum_recipients),
            maximum_message_size: self.maximum_message_size.or(other.maximum_message_size),
            maximum_errors: self.maximum_errors.or(other.maximum_errors),
            maximum_commands: self.maximum_commands.or(other.maximum_commands),
            proxy_from: self.proxy_from.or(other.proxy_from),
            tls: self.tls.or(other.tls),
            certificates: self.certificates.or(other.certificates),
            tls_oldest: self.tls_oldest.or(other.tls_oldest),
            auth_without_tls: self.auth_without_tls.or(other.auth_without_tls),
            mail_server_tls: self.mail_server_tls.or(other.mail_server_tls),
            mail_server_verify: self.mail_server_verify.or(other.mail_server_verify),
            mail_server_ca: self.mail_server_ca.or(other.mail_server_ca),
            mail_server_name: self.mail_server_name.or(other.mail_server_name),
            // Numbers of its own mean books of its own, which nobody inherits.
            sessions: self.sessions,
        }
    }

    fn validate(
        self,
        name: &str,
        shared: &Shared<'_>,
        place: &Place<'_>,
    ) -> Result<ServiceConfig, ConfigError> {
        let listen = match self.listen {
            None => vec![SocketAddr::from(([0_u16; 8], 2525))],
            Some(list) if list.get_ref().is_empty() => {
                let message = "name at least one address to listen on, such as \"[::]:25\"".to_owned();
                return Err(place.value(Some(list.span()), "listen", message));
            }
            Some(list) => {
                let read = |text| socket("listen", text, "[::]:25", place);
                list.get_ref().iter().map(read).collect::<Result<_, _>>()?
            }
        };
        let tls = tls::Written {
            tls: self.tls,
            certificates: self.certificates,
            tls_oldest: self.tls_oldest,
            auth_without_tls: self.auth_without_tls,
            mail_server_tls: self.mail_server_tls,
            mail_server_verify: self.mail_server_verify,
            mail_server_ca: self.mail_server_ca,
            mail_server_name: self.mail_server_name,
        };
        let mail_servers = mail_servers(self.mail_servers, place)?;
        let patience = Patience::default();
        let second = Duration::from_secs(1);
        let proxy_from = self.proxy_from.map(|list| networks("proxy_from", list, place)).transpose()?;
        let bounds = Bounds {
            line_ends: match self.line_ends {
                None | Some(LineEndsWord::Reject) => LineEnds::Reject,
                Some(LineEndsWord::Normalize) => LineEnds::Normalize,
            },
            text_line: at_least("longest_line", self.longest_line, 1000, place)?
                .unwrap_or(Bounds::default().text_line),
            recipients: at_least("maximum_recipients", self.maximum_recipients, 100, place)?
                .unwrap_or(Bounds::default().recipients),
            message_size: self.maximum_message_size.unwrap_or(Bounds::default().message_size),
            errors: self.maximum_errors.unwrap_or(Bounds::default().errors),
            commands: self.maximum_commands.unwrap_or(Bounds::default().commands),
        };
        let own = |sessions: Sessions| sessions.or(shared.sessions).validate(shared.scope_width, place);
        Ok(ServiceConfig {
            name: name.to_owned(),
            listen,
            mail_servers,
            client_address: self.client_address.unwrap_or_default(),
            connect_timeout: span("connect_timeout", self.connect_timeout, second, place)?
                .unwrap_or(CONNECT_TIMEOUT),
            patience: Patience {
                client: span("client_timeout", self.client_timeout, second, place)?
                    .unwrap_or(patience.client),
                server: span("server_timeout", self.server_timeout, second, place)?
                    .unwrap_or(patience.server),
                session: span("session_timeout", self.session_timeout, Duration::from_mins(1), place)?
                    .unwrap_or(patience.session),
            },
            greet_delay: greet_delay(self.greet_delay, place)?,
            bounds,
            proxy_from: proxy_from.unwrap_or_default(),
            tls: tls.validate(place)?,
            limits: self.sessions.map(own).transpose()?,
        })
    }
}

/// How long strangers wait for the greeting.
fn greet_delay(text: Option<Spanned<String>>, place: &Place<'_>) -> Result<Duration, ConfigError> {
    let at = text.as_ref().map(Spanned::span);
    match span("greet_delay", text, Duration::ZERO, place)? {
        Some(delay) if delay > GREET_DELAY_LIMIT => {
            let message = format!(
                "at most {GREET_DELAY_LIMIT:?}: a client that waits takes a place; \"2s\" is usual, \"0s\" is none"
            );
            Err(place.value(at, "greet_delay", message))
        }
        delay => Ok(delay.unwrap_or(GREET_DELAY)),
    }
}

/// A number that RFC 5321 section 4.5.3.1 does not let be smaller; 0: no bound.
fn at_least<N: Copy + PartialOrd + Default + std::fmt::Display>(
    name: &'static str,
    number: Option<Spanned<N>>,
    least: N,
    place: &Place<'_>,
) -> Result<Option<N>, ConfigError> {
    match number {
        Some(number) if *number.get_ref() < least && *number.get_ref() != N::default() => {
            let message =
                format!("RFC 5321 wants room for {least}; write {least} or more, or 0 for no bound");
            Err(place.value(Some(number.span()), name, message))
        }
        number => Ok(number.map(Spanned::into_inner)),
    }
}

/// One or several mail servers; 127.0.0.1:25 if nobody says.
fn mail_servers(list: Option<Spanned<Addresses>>, place: &Place<'_>) -> Result<Vec<SocketAddr>, ConfigError> {
    let Some(list) = list else { return Ok(vec![SocketAddr::from(([127, 0, 0, 1], 25))]) };
    let span = list.span();
    let read = |text: &Spanned<String>| socket("mail_servers", text, "127.0.0.1:10025", place);
    let mut servers = Vec::new();
    for text in list.into_inner().into_texts(&span) {
        let server = read(&text)?;
        if servers.contains(&server) {
            let message = format!("{server} is named twice; name each mail server once");
            return Err(place.value(Some(text.span()), "mail_servers", message));
        }
        servers.push(server);
    }
    if servers.is_empty() || servers.len() > MAIL_SERVERS_LIMIT {
        let message = format!("name 1 to {MAIL_SERVERS_LIMIT} mail servers, such as [\"127.0.0.1:10025\"]");
        return Err(place.value(Some(span), "mail_servers", message));
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use filter_core::smtp::bounds::{Bounds, LineEnds};

    use super::super::Config;

    fn refused(text: &str, words: &[&str]) {
        let error = Config::parse(text, Some("gatepost.toml".into())).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "`{word}` is missing in: {error}");
        }
    }

    #[test]
    fn a_service_takes_from_smtp_what_it_does_not_say() {
        let config = Config::parse(
            "[smtp]\nmail_server = \"192.0.2.1:25\"\nclient_timeout = \"1m\"\n[services.submission]\nlisten = [\"[::]:587\"]\n\
             client_timeout = \"2m\"\nproxy_from = \"10.0.0.*\"\n[services.submission.sessions]\nmaximum_sessions = 70\n\
             [sessions]\nmaximum_incoming_sessions = 9\n",
            None,
        )
        .unwrap();
        let [smtp, submission] = &config.services[..] else { panic!("{:?}", config.services) };
        assert_eq!((smtp.name.as_str(), submission.name.as_str()), ("smtp", "submission"));
        assert_eq!(submission.mail_servers, smtp.mail_servers);
        assert_eq!((smtp.patience.client.as_secs(), submission.patience.client.as_secs()), (60, 120));
        assert_eq!((smtp.proxy_from.len(), submission.proxy_from.len()), (0, 1));
        let limits = submission.limits.as_ref().unwrap();
        assert_eq!((limits.maximum_sessions, limits.maximum_incoming_sessions), (70, 9));
        assert!(smtp.limits.is_none(), "shared");
        assert!(config.protected_ports().contains(&587) && config.protected_ports().contains(&2525));
    }

    #[test]
    fn bounds_are_inherited_and_0_is_none() {
        let config = Config::parse(
            "[smtp]\nline_ends = \"normalize\"\nmaximum_recipients = 100\n[services.a]\nlisten = [\"[::]:26\"]\n\
             line_ends = \"reject\"\nmaximum_message_size = 0\nlongest_line = 0\nsession_timeout = \"1h\"\nmaximum_errors = 0\n",
            None,
        )
        .unwrap();
        let [smtp, other] = &config.services[..] else { panic!("{:?}", config.services) };
        assert_eq!(
            smtp.bounds,
            Bounds { line_ends: LineEnds::Normalize, recipients: 100, ..Bounds::default() }
        );
        let theirs =
            Bounds { recipients: 100, message_size: 0, text_line: 0, errors: 0, ..Bounds::default() };
        assert_eq!((other.bounds, other.patience.session.as_secs()), (theirs, 3600));
    }

    #[test]
    fn mistakes_in_a_service_are_answered_with_their_line() {
        refused(
            "[services.submission]\nmail_server = \"192.0.2.1:25\"",
            &["gatepost.toml:1", "listen", "587"],
        );
        refused("[services.smtp]\nlisten = [\"[::]:26\"]", &["gatepost.toml:1", "[smtp]"]);
        refused("[services.\"a b\"]\nlisten = [\"[::]:26\"]", &["gatepost.toml:1", "`a b`", "hyphens"]);
        refused("[services.a]\n[services.b]\nlisten = [\"[::]:26\"]", &["gatepost.toml:1", "listen"]);
        refused(
            "[services.a]\nlisten = [\"[::]:26\"]\n[services.b]\nlisten = [\"[::]:26\"]",
            &["gatepost.toml:4", "`a`", "[::]:26"],
        );
        refused("[services.a]\nlissten = []", &["gatepost.toml:2", "lissten", "listen"]);
        refused("[smtp]\nmail_servers = []", &["gatepost.toml:2", "mail_servers", "16"]);
        refused("[smtp]\nmail_servers = [\"127.0.0.1:1\",\n\"127.0.0.1:1\"]", &["gatepost.toml:2", "twice"]);
        refused("[smtp]\ngreet_delay = \"2m\"", &["gatepost.toml:2", "greet_delay", "60s", "0s"]);
        refused("[smtp]\nline_ends = \"lax\"", &["gatepost.toml:2", "reject", "normalize"]);
        refused("[smtp]\nlongest_line = 999", &["gatepost.toml:2", "longest_line", "1000"]);
        refused("[smtp]\nmaximum_recipients = 99", &["gatepost.toml:2", "maximum_recipients", "100", "0"]);
        refused("[smtp]\nsession_timeout = \"1s\"", &["gatepost.toml:2", "session_timeout"]);
        refused("[smtp]\nproxy_from = \"10.0.0.5/8\"", &["gatepost.toml:2", "10.0.0.0/8"]);
        refused(
            "[services.a]\nlisten = [\"[::]:26\"]\n[services.a.sessions]\nsessions_to_reserve = 101",
            &["gatepost.toml:4", "100"],
        );
    }
}
