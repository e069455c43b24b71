//! The configuration file as it is written: every setting optional, every value still to be checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use filter_core::client::ScopeWidth;
use filter_core::limits::Limits;
use filter_core::notation::{parse_network, parse_networks};
use filter_core::offence::Kind;
use filter_core::policy::{Credit, Evaluate, LoginPolicy, Multipliers, Policy, Repeat};
use filter_core::smtp::session::Patience;
use filter_core::smtp::voice::{Templates, check_template};
use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::log::Log;
use super::{Attach, ClientAddress, Config, KernelConfig, SmtpConfig};
use crate::kernel::Capacity;

/// Longest period or block time that the configuration takes: a year.
const LONGEST_SPAN: Duration = Duration::from_hours(24 * 365);

/// Most entries that a map can be made with; beyond it the kernel's own sums overflow on some versions.
const LARGEST_MAP: u32 = 1 << 26;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    name: Option<Spanned<String>>,
    mode: Mode,
    state_directory: Option<PathBuf>,
    control_socket: Option<PathBuf>,
    kernel: Kernel,
    smtp: Smtp,
    sessions: Sessions,
    ips: Ips,
    login: Login,
    replies: Replies,
    log: Log,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Enforce,
    Observe,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Kernel {
    enabled: Option<bool>,
    interfaces: Vec<String>,
    attach: AttachWord,
    pin_directory: Option<PathBuf>,
    drop: DropWord,
    protected_ports: Option<Vec<u16>>,
    grace: Option<Spanned<String>>,
    courtesy_replies: Option<u32>,
    capacity_hosts_v4: Option<Spanned<u32>>,
    capacity_scopes_v6: Option<Spanned<u32>>,
    capacity_prefixes: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AttachWord {
    #[default]
    Auto,
    Native,
    Generic,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DropWord {
    #[default]
    ProtectedPorts,
    All,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Smtp {
    listen: Option<Spanned<Vec<Spanned<String>>>>,
    mail_server: Option<Spanned<String>>,
    client_address: ClientAddressWord,
    client_timeout: Option<Spanned<String>>,
    server_timeout: Option<Spanned<String>>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ClientAddressWord {
    #[default]
    ProxyV2,
    None,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_field_names, reason = "these are the help page's own names")]
struct Sessions {
    maximum_sessions: Option<u32>,
    maximum_incoming_sessions: Option<u32>,
    sessions_to_reserve: Option<Spanned<u32>>,
    maximum_sessions_per_address: Option<u32>,
    reserve_sessions_for: Option<Spanned<Networks>>,
    no_auth_networks: Option<Spanned<Networks>>,
}

/// Networks as commas or as an array.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected addresses: a text with commas, or an array of texts")]
enum Networks {
    Commas(String),
    Array(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ips {
    client_error_monitor_period: Option<Spanned<String>>,
    client_error_block_threshold: Option<Spanned<u32>>,
    client_error_block_time: Option<Spanned<String>>,
    evaluate: EvaluateWord,
    repeat_factor: Option<Spanned<u32>>,
    repeat_memory: Option<Spanned<String>>,
    maximum_block_time: Option<Spanned<String>>,
    credit_for_success: Option<u32>,
    maximum_credit: Option<u32>,
    widen_after: Option<Spanned<u32>>,
    scope_width_v4: Option<Spanned<u8>>,
    scope_width_v6: Option<Spanned<u8>>,
    bad_authentication_multiplier: Option<u32>,
    relay_denied_multiplier: Option<u32>,
    bad_local_rcpt_multiplier: Option<u32>,
    syntax_error_multiplier: Option<u32>,
    early_talker_multiplier: Option<u32>,
    bare_newline_multiplier: Option<u32>,
    plaintext_after_starttls_multiplier: Option<u32>,
    session_overflow_multiplier: Option<u32>,
    timeout_multiplier: Option<u32>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum EvaluateWord {
    #[default]
    AtOnce,
    OnConnect,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Login {
    monitor_period: Option<Spanned<String>>,
    failed_login_threshold: Option<u32>,
    block_time: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Replies {
    too_many_from_address: Option<Spanned<String>>,
    too_many: Option<Spanned<String>>,
    blocked: Option<Spanned<String>>,
    blocked_login: Option<Spanned<String>>,
}

impl File {
    /// Checks every value and fills in what is not there.
    pub(super) fn validate(self, file: Option<PathBuf>, place: &Place<'_>) -> Result<Config, ConfigError> {
        let login = self.login.validate(place)?;
        let policy = Policy { login, ..self.ips.validate(self.mode == Mode::Observe, place)? };
        Ok(Config {
            file,
            name: name(self.name, place)?,
            state_directory: self.state_directory.unwrap_or_else(|| "/var/lib/gatepost".into()),
            control_socket: self.control_socket.unwrap_or_else(|| "/run/gatepost/control.sock".into()),
            kernel: self.kernel.validate(place)?,
            smtp: self.smtp.validate(place)?,
            limits: self.sessions.validate(policy.scope_width, place)?,
            policy,
            templates: self.replies.validate(place)?,
            log: self.log.validate(place)?,
        })
    }
}

impl Kernel {
    fn validate(self, place: &Place<'_>) -> Result<KernelConfig, ConfigError> {
        let standard = Capacity::default();
        Ok(KernelConfig {
            enabled: self.enabled.unwrap_or(true),
            interfaces: self.interfaces,
            attach: match self.attach {
                AttachWord::Auto => Attach::Auto,
                AttachWord::Native => Attach::Native,
                AttachWord::Generic => Attach::Generic,
            },
            pin_directory: self.pin_directory.unwrap_or_else(|| "/sys/fs/bpf/gatepost".into()),
            drop_all: self.drop == DropWord::All,
            protected_ports: self
                .protected_ports
                .unwrap_or_else(|| vec![25, 465, 587, 110, 995, 143, 993, 4190]),
            grace: span("grace", self.grace, Duration::ZERO, place)?.unwrap_or(Duration::from_secs(5)),
            courtesy_replies: self.courtesy_replies.unwrap_or(0),
            capacity: Capacity {
                hosts_v4: capacity("capacity_hosts_v4", self.capacity_hosts_v4, standard.hosts_v4, place)?,
                scopes_v6: capacity(
                    "capacity_scopes_v6",
                    self.capacity_scopes_v6,
                    standard.scopes_v6,
                    place,
                )?,
                prefixes: capacity("capacity_prefixes", self.capacity_prefixes, standard.prefixes, place)?,
            },
        })
    }
}

impl Smtp {
    fn validate(self, place: &Place<'_>) -> Result<SmtpConfig, ConfigError> {
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
        let mail_server = match self.mail_server {
            None => SocketAddr::from(([127, 0, 0, 1], 25)),
            Some(text) => socket("mail_server", &text, "127.0.0.1:10025", place)?,
        };
        let patience = Patience::default();
        let second = Duration::from_secs(1);
        Ok(SmtpConfig {
            listen,
            mail_server,
            client_address: match self.client_address {
                ClientAddressWord::ProxyV2 => ClientAddress::ProxyV2,
                ClientAddressWord::None => ClientAddress::None,
            },
            patience: Patience {
                client: span("client_timeout", self.client_timeout, second, place)?
                    .unwrap_or(patience.client),
                server: span("server_timeout", self.server_timeout, second, place)?
                    .unwrap_or(patience.server),
            },
        })
    }
}

impl Sessions {
    fn validate(self, scope_width: ScopeWidth, place: &Place<'_>) -> Result<Limits, ConfigError> {
        let maximum_incoming_sessions = self.maximum_incoming_sessions.unwrap_or(100);
        if let Some(reserve) = &self.sessions_to_reserve
            && *reserve.get_ref() > maximum_incoming_sessions
        {
            let message = format!(
                "the reserve is carved out of maximum_incoming_sessions, so it can be at most {maximum_incoming_sessions}"
            );
            return Err(place.value(Some(reserve.span()), "sessions_to_reserve", message));
        }
        let private = "127.0.0.0/8, ::1, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7, fe80::/10";
        let no_auth =
            self.no_auth_networks.unwrap_or_else(|| Spanned::new(0..0, Networks::Commas(private.into())));
        let reserve_for = self.reserve_sessions_for.map(|list| networks("reserve_sessions_for", list, place));
        Ok(Limits {
            maximum_sessions: self.maximum_sessions.unwrap_or(1000),
            maximum_incoming_sessions,
            sessions_to_reserve: self.sessions_to_reserve.map_or(0, Spanned::into_inner),
            maximum_sessions_per_address: self.maximum_sessions_per_address.unwrap_or(20),
            reserve_sessions_for: reserve_for.transpose()?.unwrap_or_default(),
            no_auth_networks: networks("no_auth_networks", no_auth, place)?,
            scope_width,
        })
    }
}

impl Ips {
    fn validate(self, observe: bool, place: &Place<'_>) -> Result<Policy, ConfigError> {
        let standard = Policy::default();
        let second = Duration::from_secs(1);
        let multipliers = self.multipliers();
        let threshold = self.client_error_block_threshold;
        if let Some(zero) = threshold.as_ref().filter(|threshold| *threshold.get_ref() == 0) {
            let message =
                "0 would block everybody; use a high threshold or mode = \"observe\" to block nobody".into();
            return Err(place.value(Some(zero.span()), "client_error_block_threshold", message));
        }
        let widest = self.scope_width_v4.as_ref().or(self.scope_width_v6.as_ref()).map(Spanned::span);
        let (v4, v6) =
            (self.scope_width_v4.map(Spanned::into_inner), self.scope_width_v6.map(Spanned::into_inner));
        let scope_width = ScopeWidth::new(v4.unwrap_or(32), v6.unwrap_or(64)).ok_or_else(|| {
            let message = "prefix lengths go from 8 to 32 for IPv4 and from 32 to 128 for IPv6".into();
            place.value(widest, "scope_width", message)
        })?;
        let period = span("client_error_monitor_period", self.client_error_monitor_period, second, place)?;
        let time = span("client_error_block_time", self.client_error_block_time, second, place)?;
        let memory = span("repeat_memory", self.repeat_memory, second, place)?;
        let maximum = span("maximum_block_time", self.maximum_block_time, second, place)?;
        let factor =
            at_least("repeat_factor", self.repeat_factor, 1, 1, "1 is the same block time each time", place)?;
        let one = "one blocked address would block its whole network; 0 switches this off";
        let widen_after = match self.widen_after {
            Some(zero) if *zero.get_ref() == 0 => 0,
            wanted => at_least("widen_after", wanted, 2, 0, one, place)?,
        };
        Ok(Policy {
            monitor_period: period.unwrap_or(standard.monitor_period),
            block_threshold: threshold.map_or(standard.block_threshold, Spanned::into_inner),
            block_time: time.unwrap_or(standard.block_time),
            multipliers,
            scope_width,
            observe,
            evaluate: match self.evaluate {
                EvaluateWord::AtOnce => Evaluate::AtOnce,
                EvaluateWord::OnConnect => Evaluate::OnConnect,
            },
            repeat: Repeat {
                factor,
                memory: memory.unwrap_or(standard.repeat.memory),
                maximum: maximum.unwrap_or(standard.repeat.maximum),
            },
            credit: Credit {
                per_success: self.credit_for_success.unwrap_or(standard.credit.per_success),
                maximum: self.maximum_credit.unwrap_or(standard.credit.maximum),
            },
            widen_after,
            login: standard.login,
        })
    }

    fn multipliers(&self) -> Multipliers {
        let mut multipliers = Multipliers::default();
        for kind in Kind::ALL {
            let configured = match kind {
                Kind::BadAuthentication => self.bad_authentication_multiplier,
                Kind::RelayDenied => self.relay_denied_multiplier,
                Kind::BadLocalRcpt => self.bad_local_rcpt_multiplier,
                Kind::SyntaxError => self.syntax_error_multiplier,
                Kind::EarlyTalker => self.early_talker_multiplier,
                Kind::BareNewline => self.bare_newline_multiplier,
                Kind::PlaintextAfterStarttls => self.plaintext_after_starttls_multiplier,
                Kind::SessionOverflow => self.session_overflow_multiplier,
                Kind::Timeout => self.timeout_multiplier,
            };
            if let Some(multiplier) = configured {
                multipliers.set(kind, multiplier);
            }
        }
        multipliers
    }
}

impl Login {
    fn validate(self, place: &Place<'_>) -> Result<LoginPolicy, ConfigError> {
        let standard = LoginPolicy::default();
        let second = Duration::from_secs(1);
        Ok(LoginPolicy {
            monitor_period: span("monitor_period", self.monitor_period, second, place)?
                .unwrap_or(standard.monitor_period),
            threshold: self.failed_login_threshold.unwrap_or(standard.threshold),
            block_time: span("block_time", self.block_time, second, place)?.unwrap_or(standard.block_time),
        })
    }
}

impl Replies {
    fn validate(self, place: &Place<'_>) -> Result<Templates, ConfigError> {
        let standard = Templates::default();
        let check = |setting, text: Option<Spanned<String>>, standard: String| match text {
            None => Ok(standard),
            Some(text) => match check_template(text.get_ref()) {
                Ok(()) => Ok(text.into_inner()),
                Err(error) => Err(place.value(Some(text.span()), setting, error.to_string())),
            },
        };
        Ok(Templates {
            too_many_from_address: check(
                "too_many_from_address",
                self.too_many_from_address,
                standard.too_many_from_address,
            )?,
            too_many: check("too_many", self.too_many, standard.too_many)?,
            blocked: check("blocked", self.blocked, standard.blocked)?,
            blocked_login: check("blocked_login", self.blocked_login, standard.blocked_login)?,
        })
    }
}

/// A number with a lower bound, and why there is one.
fn at_least(
    setting: &'static str,
    number: Option<Spanned<u32>>,
    least: u32,
    standard: u32,
    why: &str,
    place: &Place<'_>,
) -> Result<u32, ConfigError> {
    match number {
        None => Ok(standard),
        Some(number) if *number.get_ref() >= least => Ok(number.into_inner()),
        Some(number) => {
            Err(place.value(Some(number.span()), setting, format!("it is {least} or more: {why}")))
        }
    }
}

fn capacity(
    setting: &'static str,
    entries: Option<Spanned<u32>>,
    standard: u32,
    place: &Place<'_>,
) -> Result<u32, ConfigError> {
    match entries {
        None => Ok(standard),
        Some(entries) if (1..=LARGEST_MAP).contains(entries.get_ref()) => Ok(entries.into_inner()),
        Some(entries) => {
            let message = format!("a map of the kernel holds 1 to {LARGEST_MAP} entries");
            Err(place.value(Some(entries.span()), setting, message))
        }
    }
}

fn name(name: Option<Spanned<String>>, place: &Place<'_>) -> Result<String, ConfigError> {
    let Some(name) = name else {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        return Ok(host.filter(|name| is_name(name)).unwrap_or_else(|| "gatepost".into()));
    };
    if is_name(name.get_ref()) {
        return Ok(name.into_inner());
    }
    let message = "a name has 1 to 100 letters, digits, dots, hyphens and underscores".to_owned();
    Err(place.value(Some(name.span()), "name", message))
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=100).contains(&text.len()) && text.bytes().all(plain)
}

fn socket(
    setting: &'static str,
    text: &Spanned<String>,
    example: &str,
    place: &Place<'_>,
) -> Result<SocketAddr, ConfigError> {
    text.get_ref().parse().map_err(|_| {
        let message =
            format!("`{}` is not an address with a port; write it like \"{example}\"", text.get_ref());
        place.value(Some(text.span()), setting, message)
    })
}

fn networks(
    setting: &'static str,
    list: Spanned<Networks>,
    place: &Place<'_>,
) -> Result<Vec<IpNet>, ConfigError> {
    let span = list.span();
    let read = match list.into_inner() {
        Networks::Commas(text) => parse_networks(&text),
        Networks::Array(texts) => texts.iter().map(|text| parse_network(text)).collect(),
    };
    read.map_err(|error| place.value(Some(span), setting, error.to_string()))
}

fn span(
    setting: &'static str,
    text: Option<Spanned<String>>,
    shortest: Duration,
    place: &Place<'_>,
) -> Result<Option<Duration>, ConfigError> {
    let Some(text) = text else { return Ok(None) };
    match humantime::parse_duration(text.get_ref()) {
        Ok(span) if (shortest..=LONGEST_SPAN).contains(&span) => Ok(Some(span)),
        Ok(_) => {
            let message = format!("`{}` is not between {shortest:?} and 365d", text.get_ref());
            Err(place.value(Some(text.span()), setting, message))
        }
        Err(_) => {
            let message =
                format!("`{}` is not a time; write it like \"30m\", \"90s\", \"1h 30m\"", text.get_ref());
            Err(place.value(Some(text.span()), setting, message))
        }
    }
}
