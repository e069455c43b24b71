//! The configuration: a TOML file in, values that cannot be wrong out.
//!
//! [`raw`] is the file as it is written, [`Config`] is what the rest of the program sees. Every mistake is answered
//! with the file, the line and the remedy; nothing is guessed.

mod attachments;
mod detection;
mod dovecot;
mod effective;
mod error;
mod ips;
mod kernel;
mod log;
mod login;
mod logs;
mod metrics;
mod raw;
mod replies;
mod reports;
mod service;
mod sessions;
mod tls;
mod value;
mod web;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use filter_core::limits::Limits;
use filter_core::policy::Policy;
use filter_core::smtp::rules::Rules;
use filter_core::smtp::voice::Templates;

pub use dovecot::DovecotConfig;
pub use effective::Setting;
pub use error::ConfigError;
pub use kernel::{Attach, KernelConfig};
pub use log::{LogConfig, LogFormat};
pub use logs::{JournalConfig, LogFile, LogsConfig};
pub use metrics::MetricsConfig;
pub use reports::ReportsConfig;
pub use service::{ClientAddress, ServiceConfig};
pub use tls::{MailServerTls, TlsConfig};
pub use web::WebConfig;

/// Where the file is looked for when none is named.
pub const DEFAULT_FILE: &str = "/etc/gatepost/gatepost.toml";

/// Everything that an administrator can decide.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that this was read from; none: built-in defaults.
    pub file: Option<PathBuf>,
    /// The server's name in replies.
    pub name: String,
    /// Where lists are kept.
    pub state_directory: PathBuf,
    /// Where the command line reaches the agent.
    pub control_socket: PathBuf,
    /// The kernel filter; `enabled = false` runs without one.
    pub kernel: KernelConfig,
    /// The services of the SMTP edge; the first is that of section `[smtp]`, and there is always that one.
    pub services: Vec<ServiceConfig>,
    /// Session limits of the services that have none of their own.
    pub limits: Limits,
    /// Scores and blocks.
    pub policy: Policy,
    /// What passes, and what is noticed.
    pub rules: Rules,
    /// Texts of refusals.
    pub templates: Templates,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Which logs of other programs are read, and how.
    pub logs: LogsConfig,
    /// The API and the web admin over TCP.
    pub web: WebConfig,
    /// Metrics without a token.
    pub metrics: MetricsConfig,
    /// How Dovecot asks; none: it does not.
    pub dovecot: Option<DovecotConfig>,
    /// How other programs tell.
    pub reports: ReportsConfig,
}

impl Config {
    /// Reads a file, or [`DEFAULT_FILE`] if it exists, or takes the built-in defaults.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let named = file.map(Path::to_path_buf);
        let path = named.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()));
        let Some(path) = path else {
            return Self::parse("", None);
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ConfigError::Read { path: path.display().to_string(), source })?;
        Self::parse(&text, Some(path))
    }

    /// Reads the text of a file.
    pub fn parse(text: &str, file: Option<PathBuf>) -> Result<Self, ConfigError> {
        let place = error::Place::new(file.as_deref(), text);
        let raw: raw::File = toml::from_str(text).map_err(|source| place.syntax(&source))?;
        raw.validate(file, &place)
    }

    /// The ports that blocked sources cannot reach: the configured ones and those that we listen on.
    pub fn protected_ports(&self) -> Vec<u16> {
        let mut ports = self.kernel.protected_ports.clone();
        ports.extend(self.services.iter().flat_map(|service| &service.listen).map(SocketAddr::port));
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use filter_core::offence::Kind;
    use filter_core::smtp::session::Tls;

    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Some("gatepost.toml".into()))
    }

    #[track_caller]
    fn refused(text: &str, words: &[&str]) {
        let error = parse(text).unwrap_err().to_string();
        assert!(!error.contains('\n'), "one sentence, not {error:?}");
        for word in words {
            assert!(error.contains(word), "`{word}` is missing in: {error}");
        }
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config.limits.maximum_sessions, 1000);
        assert_eq!(config.limits.maximum_incoming_sessions, 100);
        assert_eq!(config.limits.maximum_sessions_per_address, 20);
        assert_eq!(config.policy.block_threshold, 1000);
        assert_eq!(config.services[0].listen[0].to_string(), "[::]:2525");
        assert!(config.protected_ports().contains(&2525), "a port that we listen on is protected");
        assert!(!config.policy.observe);
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_its_line_and_the_remedy() {
        refused(
            "[ips]\nclient_error_block_time = \"2h\"\nmaximum_block_time = \"1h\"\n",
            &["gatepost.toml:3: maximum_block_time", "client_error_block_time, 2h", "at least"],
        );
        refused(
            "[ips]\nrepeat_factor = 2\nclient_error_block_time = \"8d\"\n",
            &["toml:3: maximum_block_time"],
        );
        refused("[ips]\nrepeat_factor = 2\nrepeat_memory = \"1m\"\n", &["toml:3: repeat_memory", "longer"]);
        refused("[ips]\ncredit_for_success = 50\nmaximum_credit = 10\n", &["toml:3: maximum_credit", "50"]);
        refused(
            "[sessions]\nmaximum_incoming_sessions = 50\nsessions_to_reserve = 30\n",
            &["toml:3: sessions_to_reserve", "reserve_sessions_for"],
        );
        refused(
            "[sessions]\nmaximum_sessions = 50\nmaximum_incoming_sessions = 51\n",
            &["toml:3: maximum_incoming_sessions", "at most"],
        );
        parse("[sessions]\nmaximum_sessions = 50\n").unwrap();
        parse("[ips]\nclient_error_block_time = \"8d\"\n").unwrap();
    }

    #[test]
    fn rules_to_copy_are_a_configuration_alone_and_at_the_end_of_the_shipped_one() {
        let shipped = include_str!("../../../contrib/gatepost.toml");
        let mut names = Vec::new();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../contrib/logs");
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for whole in [text.clone(), [shipped, &text].concat()] {
                let logs = parse(&whole).unwrap().logs;
                names.extend(logs.rules.iter().map(|rule| rule.name.clone()));
                let failed: Vec<_> = std::sync::Arc::new(logs.book().unwrap())
                    .trial()
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                assert_eq!(failed, [""; 0], "{text}");
            }
        }
        names.sort();
        names.dedup();
        assert_eq!(names, ["nextcloud-failed-login", "snappymail-failed-login"]);
    }

    #[test]
    fn the_shipped_file_shows_the_defaults() {
        let shipped = include_str!("../../../contrib/gatepost.toml");
        let uncomment =
            |line: &'static str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
        let uncommented = shipped.lines().map(uncomment).collect::<Vec<_>>().join("\n");
        // The file that it names is not here.
        let uncommented = uncommented.replace("/etc/gatepost/dovecot.key", "0123456789abcdef");
        let (defaults, shown) = (parse("").unwrap(), parse(&uncommented).unwrap());
        assert!(parse(shipped).is_ok());
        assert_eq!((shown.name.as_str(), &shown.kernel.interfaces[0][..]), ("mx.example.net", "eth0"));
        assert_eq!(shown.limits.reserve_sessions_for.len(), 2);
        assert_eq!((shown.rules.recipients.traps.len(), shown.rules.reply_patterns.len()), (1, 1));
        let same = |config: Config| {
            let limits = Limits { reserve_sessions_for: Vec::new(), ..config.limits };
            let kernel = KernelConfig { interfaces: Vec::new(), ..config.kernel };
            let places = (config.state_directory, config.control_socket);
            let log = LogConfig { ids_file: None, ..config.log };
            let web =
                WebConfig { listen: None, host_names: Vec::new(), certificates: Vec::new(), ..config.web };
            format!(
                "{places:?} {kernel:?} {:?} {limits:?} {:?} {:?} {log:?} {web:?} {:?}",
                ServiceConfig {
                    proxy_from: Vec::new(),
                    tls: TlsConfig {
                        clients: Tls::default(),
                        certificates: Vec::new(),
                        ca: None,
                        name: None,
                        ..config.services[0].tls.clone()
                    },
                    ..config.services[0].clone()
                },
                config.policy,
                config.templates,
                config.rules.attachments
            )
        };
        assert_eq!(same(shown), same(defaults));
    }

    #[test]
    fn the_help_pages_names_are_taken() {
        let config = parse(
            "[ips]\nclient_error_monitor_period = \"90m\"\nclient_error_block_threshold = 600\n\
             client_error_block_time = \"1h 30m\"\nbad_authentication_multiplier = 75\n\
             [sessions]\nmaximum_incoming_sessions = 50\nsessions_to_reserve = 30\n\
             reserve_sessions_for = \"192.168.1.*, 10.0.0.1\"\nno_auth_networks = [\"10.0.0.0/8\"]\n",
        )
        .unwrap();
        assert_eq!(config.policy.monitor_period, Duration::from_mins(90));
        assert_eq!(config.policy.block_time, Duration::from_mins(90));
        assert_eq!(config.policy.multipliers.get(Kind::BadAuthentication), 75);
        assert_eq!(config.limits.reserve_sessions_for.len(), 2);
        assert_eq!(config.limits.no_auth_networks.len(), 1);
    }

    #[test]
    fn mistakes_are_answered_with_file_line_and_remedy() {
        refused("nane = \"x\"", &["gatepost.toml:1", "nane", "name"]);
        refused(
            "\n[ips]\nclient_error_block_time = \"soon\"",
            &["gatepost.toml:3", "client_error_block_time", "30m"],
        );
        refused("[sessions]\nreserve_sessions_for = \"10.0.0.5/8\"", &["gatepost.toml:2", "10.0.0.0/8"]);
        refused(
            "[sessions]\nmaximum_incoming_sessions = 10\nsessions_to_reserve = 11",
            &["gatepost.toml:3", "10"],
        );
        refused("[smtp]\nlisten = [\"25\"]", &["gatepost.toml:2", "[::]:25"]);
        refused("[smtp]\nmail_server = \"mail\"", &["gatepost.toml:2", "mail_servers", "127.0.0.1:10025"]);
        refused("[smtp]\nlisten = []", &["gatepost.toml:2", "listen"]);
        refused("mode = \"maybe\"", &["gatepost.toml:1", "enforce", "observe"]);
        refused("[replies]\nblocked = \"550 no\"", &["gatepost.toml:2", "421"]);
        refused(
            "[ips]\nclient_error_block_threshold = 0",
            &["gatepost.toml:2", "client_error_block_threshold"],
        );
        refused("[ips]\nrelay_denied_multiplier = -1", &["gatepost.toml:2"]);
        refused("[kernel]\nprotected_ports = [70000]", &["gatepost.toml:2"]);
        refused("[kernel]\ncapacity_hosts_v4 = 0", &["gatepost.toml:2", "capacity_hosts_v4", "67108864"]);
        refused("[ips]\nrepeat_factor = 0", &["gatepost.toml:2", "repeat_factor", "1 or more"]);
        refused("[ips]\nwiden_after = 1", &["gatepost.toml:2", "widen_after", "0 switches this off"]);
        refused("[ips]\nevaluate = \"never\"", &["gatepost.toml:2", "at-once", "on-connect"]);
        refused("[login]\nmonitor_period = \"0s\"", &["gatepost.toml:2", "monitor_period"]);
        refused("[attachments]\naction = \"drop\"", &["gatepost.toml:2", "refuse", "score", "off"]);
        refused("[detection]\nlocal_domains = [\"@b.example\"]", &["gatepost.toml:2", "example.net"]);
        refused("[detection]\ntrap_recipients = [\"trap\"]", &["gatepost.toml:2", "trap@example.net"]);
        let pattern = |rest: &str| format!("[detection]\nreply_patterns = [{{ {rest} }}]");
        refused(&pattern("pattern = '(', event = 'spam'"), &["gatepost.toml:2", "regular expression"]);
        refused(&pattern("pattern = 'a', event = 'ham'"), &["gatepost.toml:2", "check-config"]);
        refused(&pattern("pattern = 'a', event = 'spam', command = 'x'"), &["gatepost.toml:2", "rcpt"]);
        refused("[log]\nformat = \"xml\"", &["gatepost.toml:2", "text", "json"]);
        refused("[log]\nids_format = \"%T %Q\"", &["gatepost.toml:2", "ids_format", "`%Q`", "%D"]);
        refused("[log]\nids_format = \"%T %\"", &["gatepost.toml:2", "ids_format", "%%"]);
        refused("[log]\n\nids_file = \"\"", &["gatepost.toml:3", "ids_file", "ids.log"]);
        refused("[web]\nlisten = \"8025\"", &["gatepost.toml:2", "127.0.0.1:8025"]);
        refused("[web]\nlisten = \"0.0.0.0:8025\"", &["gatepost.toml:2", "in the clear", "trusted_proxies"]);
        refused("[web]\nhost_names = [\"https://x\"]", &["gatepost.toml:2", "gate.example.net"]);
        refused("[metrics]\nlisten = \"0.0.0.0:9925\"", &["gatepost.toml:2", "127.0.0.1:9925", "token"]);
        refused("[logs]\nfiles = [{ path = 'mail.log' }]", &["gatepost.toml:2", "from the root", "/var/log"]);
        refused("[logs]\nfiles = [{ path = '/a' }, { path = '/a' }]", &["gatepost.toml:2", "twice"]);
        refused("[logs]\njournal_directory = '/a'", &["gatepost.toml:2", "journal_units"]);
        refused("[logs]\njournal_units = ['--merge']", &["gatepost.toml:2", "--merge"]);
        refused("[logs]\nwithout = ['postfix']", &["gatepost.toml:2", "postfix", "check-config"]);
        let rule = |pattern: &str| {
            format!(
                "[logs]\n\n[[logs.rules]]\nname = 'a'\nprogram = 'p'\nservice = 's'\nevent = 'spam'\npattern = '{pattern}'\n"
            )
        };
        refused(&rule("x"), &["gatepost.toml:3", "{{address}}"]);
        refused(&rule("(?<adress>x)"), &["gatepost.toml:3", "adress"]);
        refused(&rule("{{address}"), &["gatepost.toml:3", "regular expression"]);
        let config = parse(&rule("from {{address}}")).unwrap();
        assert_eq!(config.logs.book().unwrap().rules()[0].name(), "a", "own rules are asked first");
        refused("name = ", &["gatepost.toml:1"]);
    }
}
