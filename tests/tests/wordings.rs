//! What real mail servers say when they refuse, and what it is understood as: their own packages are asked, not our memory of them.

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::unpacked::Unpacked;
use filter_tests::world::{GATEWAY_V4, MAIL, World};

/// What each of them is asked, and what its answer shows.
const DIALOGUE: [(&str, Option<&str>); 8] = [
    ("EHLO client.example", None),
    ("RCPT TO:<alice@example.test>", Some("syntax-error")),
    ("AUTH PLAIN AGFsaWNlAHdyb25n", Some("bad-authentication")),
    ("MAIL FROM:<sender@client.example", Some("syntax-error")),
    ("MAIL FROM:<sender@client.example>", None),
    ("RCPT TO:<nobody@example.test>", Some("bad-local-rcpt")),
    ("RCPT TO:<someone@elsewhere.test>", Some("relay-denied")),
    ("RCPT TO:<alice@example.test>", Some("good-local-rcpt")),
];

/// OpenSMTPD offers AUTH inside TLS alone, and Debian's 6.8.0p2 cannot sign a handshake (`EVP lib`).
fn is_asked(name: &str, command: &str) -> bool {
    name != "OpenSMTPD" || !command.starts_with("AUTH")
}

/// Says all of it; what was reported, and what was heard.
fn ask_all(world: &World, name: &str, port: u16, from: &str) -> Result<(Vec<String>, String)> {
    let mut client = Client::connect_on(world, from, port)?;
    let mut heard = client.read()?.text;
    for (command, _) in DIALOGUE.into_iter().filter(|(command, _)| is_asked(name, command)) {
        client.send(&format!("{command}\r\n"))?;
        let reply = client.read().with_context(|| format!("after {command}, behind {heard}"))?;
        heard.extend(["\n> ", command, "\n", &reply.text]);
    }
    client.quit()?;
    let log = ask(world, &["events", "--network", from])?;
    let mut events: Vec<_> = log.as_array().context("no events")?.iter().collect();
    events.sort_by_key(|event| event["id"].as_u64());
    Ok((events.iter().filter_map(|event| Some(event["kind"].as_str()?.to_owned())).collect(), heard))
}

#[test]
fn refusals_of_postfix_exim_and_opensmtpd_are_understood() {
    in_world(|world, _| {
        let _exim = Unpacked::Exim.start(world)?;
        let _opensmtpd = Unpacked::OpenSmtpd.start(world)?;
        let service = |name: &str, port: u16, behind: u16| {
            format!(
                "[services.{name}]\nlisten = [\"{GATEWAY_V4}:{port}\"]\nmail_servers = \"{MAIL}:{behind}\"\n"
            )
        };
        let sections = [
            "client_address = \"none\"\n".to_owned(),
            service("postfix", 2501, 26),
            service("exim", 2502, Unpacked::Exim.port()),
            service("opensmtpd", 2503, Unpacked::OpenSmtpd.port()),
        ];
        let whose = "[detection]\nlocal_domains = [\"example.test\"]\n";
        let _agent = Agent::start(world, &(sections.concat() + whose))?;
        for (name, port, from) in [
            ("Postfix", 2501, "203.0.113.41"),
            ("Exim", 2502, "203.0.113.42"),
            ("OpenSMTPD", 2503, "203.0.113.43"),
        ] {
            let (reported, heard) = ask_all(world, name, port, from)
                .with_context(|| format!("{name}\n{}", Unpacked::OpenSmtpd.log(world)))?;
            let asked = DIALOGUE.into_iter().filter(|(command, _)| is_asked(name, command));
            let expected: Vec<_> = asked.filter_map(|(_, kind)| kind).collect();
            ensure!(reported == expected, "{name}: {reported:?}, not {expected:?}\n{heard}");
        }
        Ok(())
    });
}
