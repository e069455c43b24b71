//! An honest client hears the mail server's own replies, byte for byte: each dialogue is held once straight with the mail
//! server and once through the edge, from the same address.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask};
use filter_tests::in_world;
use filter_tests::namespace::succeed;
use filter_tests::postfix::{Postfix, SENDER};
use filter_tests::process::wait_until;
use filter_tests::unpacked::Unpacked;
use filter_tests::world::{GATEWAY_V4, MAIL, World};

/// What a client sends at once, and how many replies it waits for then.
type Step = (&'static str, usize);

/// Clients who do nothing wrong.
const DIALOGUES: [(&str, &[Step]); 6] = [
    (
        "one command at a time",
        &[
            ("", 1),
            ("EHLO client.example\r\n", 1),
            ("MAIL FROM:<sender@client.example>\r\n", 1),
            ("RCPT TO:<alice@example.test>\r\n", 1),
            ("DATA\r\n", 1),
            ("Subject: one\r\n\r\nHello.\r\n..a dot\r\n.\r\n", 1),
            ("QUIT\r\n", 1),
        ],
    ),
    (
        "HELO, and a bounce to several",
        &[
            ("", 1),
            ("HELO client.example\r\n", 1),
            ("MAIL FROM:<>\r\n", 1),
            ("RCPT TO:<alice@example.test>\r\n", 1),
            ("RCPT TO:<bob@example.test>\r\n", 1),
            ("RCPT TO:<nobody@example.test>\r\n", 1),
            ("DATA\r\n", 1),
            ("Subject: two\r\n\r\n.\r\n", 1),
            ("QUIT\r\n", 1),
        ],
    ),
    (
        "sizes and eight bits",
        &[
            ("", 1),
            ("EHLO client.example\r\n", 1),
            ("MAIL FROM:<sender@client.example> SIZE=100 BODY=8BITMIME\r\n", 1),
            ("RCPT TO:<alice@example.test>\r\n", 1),
            ("DATA\r\n", 1),
            ("Subject: five\r\n\r\nGr\u{fc}\u{df}e\r\n.\r\n", 1),
            ("QUIT\r\n", 1),
        ],
    ),
    (
        "a message that is too big, announced",
        &[
            ("", 1),
            ("EHLO client.example\r\n", 1),
            ("MAIL FROM:<sender@client.example> SIZE=900000000\r\n", 1),
            ("QUIT\r\n", 1),
        ],
    ),
    (
        "NOOP, RSET and HELP",
        &[
            ("", 1),
            ("EHLO client.example\r\n", 1),
            ("NOOP\r\n", 1),
            ("RSET\r\n", 1),
            ("VRFY alice@example.test\r\n", 1),
            ("MAIL FROM:<sender@client.example>\r\n", 1),
            ("RSET\r\n", 1),
            ("QUIT\r\n", 1),
        ],
    ),
    (
        "relaying, refused",
        &[
            ("", 1),
            ("EHLO client.example\r\n", 1),
            ("MAIL FROM:<sender@client.example>\r\n", 1),
            ("RCPT TO:<someone@elsewhere.test>\r\n", 1),
            ("QUIT\r\n", 1),
        ],
    ),
];

/// For those who offer PIPELINING (RFC 2920).
const PIPELINED: (&str, &[Step]) = (
    "pipelined, and on the same session once more",
    &[
        ("", 1),
        ("EHLO client.example\r\n", 1),
        (
            "MAIL FROM:<sender@client.example>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<carol@example.test>\r\nDATA\r\n",
            4,
        ),
        (
            "Subject: three\r\n\r\nHello.\r\n.\r\nRSET\r\nMAIL FROM:<sender@client.example>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n",
            5,
        ),
        ("Subject: four\r\n\r\nHello.\r\n.\r\nQUIT\r\n", 2),
    ],
);

/// For those who offer CHUNKING (RFC 3030).
const CHUNKS: (&str, &[Step]) = (
    "chunks",
    &[
        ("", 1),
        ("EHLO client.example\r\n", 1),
        ("MAIL FROM:<sender@client.example>\r\nRCPT TO:<alice@example.test>\r\n", 2),
        ("BDAT 16\r\nSubject: six\r\n\r\nBDAT 8 LAST\r\nHello.\r\n", 2),
        ("QUIT\r\n", 1),
    ],
);

/// The one offer of these servers that clients do not hear: with it they would speak before the greeting, as bots do.
const NOT_OFFERED: &str = "250-PIPECONNECT\r\n";
/// The same as swaks shows it.
const NOT_OFFERED_SHOWN: &str = "<-  250-PIPECONNECT\r\n";

/// Says it all and returns what was heard until the other side closed.
fn converse(world: &World, to: (&str, u16), dialogue: &[Step]) -> Result<String> {
    world.gateway.enter(|| {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut heard = Vec::new();
        for (bytes, replies) in dialogue {
            stream.write_all(bytes.as_bytes())?;
            let expected = count_replies(&heard) + replies;
            while count_replies(&heard) < expected {
                let mut buffer = [0; 4096];
                let count = stream.read(&mut buffer).with_context(|| format!("no answer to {bytes:?}"))?;
                ensure!(count > 0, "closed after {:?}", String::from_utf8_lossy(&heard));
                heard.extend_from_slice(&buffer[..count]);
            }
        }
        stream.read_to_end(&mut heard)?;
        Ok(String::from_utf8(heard)?)
    })
}

/// Whole last lines.
fn count_replies(heard: &[u8]) -> usize {
    heard
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n") && line.get(3) == Some(&b' '))
        .count()
}

/// Without the name that the mail server gave a message, which is another each time.
fn nameless(heard: &str) -> String {
    let line = |line: &str| {
        for (before, after) in [("queued as ", "\r\n"), (" id=", "\r\n"), ("250 2.0.0 ", " Message accepted")]
        {
            if let Some((start, rest)) = line.split_once(before)
                && let Some((_, end)) = rest.split_once(after)
            {
                return format!("{start}{before}*{after}{end}");
            }
        }
        line.to_owned()
    };
    heard.split_inclusive('\n').map(line).collect()
}

/// Holds dialogues both ways.
fn compare<'a>(
    world: &World,
    port: u16,
    dialogues: impl IntoIterator<Item = &'a (&'a str, &'a [Step])>,
) -> Result<()> {
    let agent = Agent::start_before(world, &format!("{MAIL}:{port}"), "client_address = \"none\"\n")?;
    for (name, dialogue) in dialogues {
        let straight =
            converse(world, (MAIL, port), dialogue).with_context(|| format!("straight: {name}"))?;
        let through =
            converse(world, (GATEWAY_V4, 25), dialogue).with_context(|| format!("through: {name}"))?;
        ensure!(
            nameless(&straight).replace(NOT_OFFERED, "") == nameless(&through),
            "{name}\n--- straight\n{straight}\n--- through\n{through}"
        );
    }
    agent.stop()
}

#[test]
fn postfix_says_the_same_through_the_edge() {
    in_world(|world, _| compare(world, 26, DIALOGUES.iter().chain([&PIPELINED, &CHUNKS])));
}

#[test]
fn exim_says_the_same_through_the_edge() {
    in_world(|world, _| {
        let _exim = Unpacked::Exim.start(world)?;
        compare(world, Unpacked::Exim.port(), DIALOGUES.iter().chain([&PIPELINED, &CHUNKS]))
    });
}

#[test]
fn opensmtpd_says_the_same_through_the_edge() {
    in_world(|world, _| {
        let _opensmtpd = Unpacked::OpenSmtpd.start(world)?;
        compare(world, Unpacked::OpenSmtpd.port(), &DIALOGUES)
    });
}

/// What the server said in a session of swaks.
fn swaks(world: &World, to: (&str, u16), arguments: &[&str]) -> Result<String> {
    let server = format!("{}:{}", to.0, to.1);
    let common = ["--server", &server, "--from", "sender@client.example", "--to", "alice@example.test"];
    let output = world.gateway.enter(|| {
        let mut command = Command::new("swaks");
        Ok(command.args(common).args(["--ehlo", "client.example"]).args(arguments).output()?)
    })?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "swaks {arguments:?}: {said}");
    let replies = said.lines().filter(|line| line.starts_with('<'));
    Ok(replies.map(|line| nameless(&format!("{line}\r\n"))).collect())
}

/// Ways that swaks sends a message.
const SWAKS: [&[&str]; 3] = [&[], &["--pipeline"], &["--attach", "@/etc/hostname", "--pipeline"]];
/// With a login, where there is one in the clear.
const LOGIN: &[&str] = &["--auth", "LOGIN", "--auth-user", "alice@example.test", "--auth-password", "secret"];

/// The real mail servers, and their ports.
const SERVERS: [(&str, u16); 3] =
    [("Postfix", 26), ("Exim", Unpacked::Exim.port()), ("OpenSMTPD", Unpacked::OpenSmtpd.port())];

/// Does something with each of the mail servers behind an agent.
fn behind_each(world: &World, mut job: impl FnMut(&str, u16) -> Result<()>) -> Result<()> {
    let _exim = Unpacked::Exim.start(world)?;
    let _opensmtpd = Unpacked::OpenSmtpd.start(world)?;
    for (name, port) in SERVERS {
        let agent = Agent::start_before(world, &format!("{MAIL}:{port}"), "client_address = \"none\"\n")?;
        job(name, port).with_context(|| format!("{name}\n{}", agent.log()))?;
        agent.stop()?;
    }
    Ok(())
}

/// What of these messages has been accepted since the agent began, and how many offences there were.
fn counts(world: &World) -> Result<(u64, u64)> {
    let status = ask(world, &["status"])?;
    Ok((
        status["messages"].as_u64().context("no messages")?,
        status["offences"].as_u64().context("no offences")?,
    ))
}

#[test]
fn swaks_hears_the_same_through_the_edge() {
    in_world(|world, _| {
        behind_each(world, |name, port| {
            let login = (name == "Postfix").then_some(LOGIN);
            for arguments in SWAKS.into_iter().chain(login) {
                let straight = swaks(world, (MAIL, port), arguments)?.replace(NOT_OFFERED_SHOWN, "");
                let through = swaks(world, (GATEWAY_V4, 25), arguments)?;
                ensure!(
                    straight == through,
                    "{arguments:?}\n--- straight\n{straight}\n--- through\n{through}"
                );
            }
            let sent = SWAKS.len() + usize::from(login.is_some());
            ensure!(counts(world)? == (sent as u64, 0), "{:?}", counts(world)?);
            Ok(())
        })
    });
}

#[test]
fn smtp_source_delivers_everything_and_is_accused_of_nothing() {
    in_world(|world, _| {
        behind_each(world, |_, _| {
            // On a session for each message, and on sessions that are used again.
            for (messages, bytes, more) in [("10", "200", &[][..]), ("10", "100000", &["-d"])] {
                world.internet.enter(|| {
                    let mut source = Command::new("smtp-source");
                    source.args(["-s", "3", "-m", messages, "-l", bytes, "-f", "sender@client.example"]);
                    source.args(more).args(["-t", "alice@example.test", &format!("{GATEWAY_V4}:25")]);
                    succeed(&mut source)
                })?;
            }
            ensure!(counts(world)? == (20, 0), "{:?}", counts(world)?);
            Ok(())
        })
    });
}

#[test]
fn a_postfix_that_sends_delivers_everything_and_is_accused_of_nothing() {
    in_world(|world, postfix| {
        let sender = Postfix::start_sender(world)?;
        let at = format!("{}:{}", SENDER.0, SENDER.1);
        let mut arrived = 0;
        behind_each(world, |name, _| {
            // Small and large, several at once, so that sessions are reused and pipelined.
            for (messages, bytes) in [("20", "200"), ("5", "300000")] {
                world.internet.enter(|| {
                    let mut source = Command::new("smtp-source");
                    source.args(["-s", "4", "-m", messages, "-l", bytes, "-f", "sender@client.example"]);
                    succeed(source.args(["-t", "alice@example.test", &at]))
                })?;
            }
            wait_until("the delivery of 25 messages", Duration::from_secs(30), || Ok(counts(world)?.0 >= 25))
                .with_context(|| sender.log())?;
            ensure!(counts(world)? == (25, 0), "{:?}", counts(world)?);
            if name == "Postfix" {
                arrived = postfix.messages("alice")?.len();
            }
            Ok(())
        })?;
        ensure!(arrived == 25, "{arrived} of 25 arrived");
        Ok(())
    });
}
