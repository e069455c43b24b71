//! TLS: what ends at the gateway is seen, what comes before it is not believed, and certificates change under open sessions.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use filter_tests::agent::{Agent, ask, cli, config_of};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::postfix::Postfix;
use filter_tests::process::wait_until;
use filter_tests::world::{GATEWAY_V4, World};
use nix::sys::signal::Signal;

/// The name of the gateway's certificate.
const NAME: &str = "mx.example.test";

/// Section `[smtp]` goes on with a certificate of the Postfix's own authority, and another one; service `submissions` begins with TLS.
fn start<'world>(world: &'world World, postfix: &Postfix, more: &str) -> Result<Agent<'world>> {
    let first = postfix.authority().sign("gateway", &[NAME])?;
    let second = postfix.authority().sign("other", &["*.other.test"])?;
    let one = |(certificate, key): &(std::path::PathBuf, std::path::PathBuf)| {
        format!("{{ certificate = \"{}\", key = \"{}\" }}", certificate.display(), key.display())
    };
    Agent::start(
        world,
        &format!(
            "certificates = [{}, {}]\n{more}[services.submissions]\nlisten = [\"{GATEWAY_V4}:465\"]\ntls = \"implicit\"\n",
            one(&first),
            one(&second)
        ),
    )
}

fn secured(world: &World, from: &str, postfix: &Postfix) -> Result<Client> {
    Client::greeted(world, from)?.start_tls(NAME, &postfix.authority().file())
}

/// How often an event of this kind stands in the log of an address.
fn events(world: &World, from: &str, kind: &str) -> Result<usize> {
    Ok(ask(world, &["events", "--network", from])?.to_string().matches(&format!("\"{kind}\"")).count())
}

fn arrives(postfix: &Postfix, words: &str) -> Result<()> {
    wait_until("delivery", Duration::from_secs(10), || {
        Ok(postfix.messages("alice")?.iter().any(|message| message.contains(words)))
    })
}

/// What `openssl s_client` says about a session in which it asks for TLS and leaves.
fn s_client(world: &World, ca: &Path, arguments: &[&str]) -> Result<String> {
    world.internet.enter(|| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &format!("{GATEWAY_V4}:25"), "-starttls", "smtp", "-CAfile"]);
        command.arg(ca).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(b"QUIT\r\n")?;
        }
        let output = child.wait_with_output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    })
}

/// A mail server on whose line somebody puts a reply behind the one to STARTTLS; what it hears then.
fn inject(listener: &TcpListener) -> Result<String> {
    let (mut stream, _) = listener.accept()?;
    let mut lines = BufReader::new(stream.try_clone()?);
    stream.write_all(b"220 mail.example.test\r\n")?;
    lines.read_line(&mut String::new())?;
    stream.write_all(b"250-mail.example.test\r\n250 STARTTLS\r\n")?;
    lines.read_line(&mut String::new())?;
    stream.write_all(b"220 go ahead\r\n250 injected\r\n")?;
    let mut rest = String::new();
    lines.read_to_string(&mut rest)?;
    Ok(rest)
}

fn swaks(world: &World, arguments: &[&str]) -> Result<String> {
    world.internet.enter(|| {
        let mut command = Command::new("swaks");
        command.args([
            "--to",
            "alice@example.test",
            "--from",
            "sender@client.example",
            "--helo",
            "client.example",
        ]);
        command.args(["--server", GATEWAY_V4, "--local-interface", "203.0.113.40"]).args(arguments);
        let output = command.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "swaks {arguments:?}: {said}");
        Ok(said)
    })
}

#[test]
fn tls_ends_at_the_gateway_and_what_is_inside_is_judged() {
    in_world(|world, postfix| {
        let _agent = start(world, postfix, "")?;
        let ca = postfix.authority().file();
        for (version, shown) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let said = s_client(world, &ca, &[version, "-servername", "a.other.test"])?;
            ensure!(said.contains(shown) && said.contains("CN = *.other.test"), "{said}");
            ensure!(said.contains("Verify return code: 0 (ok)"), "{said}");
        }
        let said = s_client(world, &ca, &["-servername", NAME])?;
        ensure!(said.contains("CN = mx.example.test"), "{said}");
        for arguments in [
            &["--tls", "--header", "Subject: starttls"][..],
            &["-tlsc", "--port", "465", "--header", "Subject: implicit"],
        ] {
            let said = swaks(world, arguments)?;
            ensure!(said.contains("TLS started with cipher"), "{said}");
        }
        for subject in ["Subject: starttls", "Subject: implicit"] {
            arrives(postfix, subject)?;
        }
        let messages = postfix.messages("alice")?.concat();
        ensure!(
            messages.matches("(unknown [203.0.113.40])").count() == 2,
            "the client's own address: {messages}"
        );

        let from = "203.0.113.41";
        let mut client = Client::connect(world, from)?;
        client.expect(220)?;
        let offer = client.ask("EHLO client.example", 250)?.text;
        ensure!(offer.contains("STARTTLS") && !offer.contains("AUTH"), "{offer}");
        client.ask("AUTH PLAIN AGFsaWNlAHNlY3JldA==", 538)?;
        client.ask("STARTTLS", 220)?;
        let mut client = client.secure(NAME, &ca)?;
        client.ask("MAIL FROM:<a@client.example>", 503)?;
        let offer = client.ask("EHLO client.example", 250)?.text;
        ensure!(!offer.contains("STARTTLS") && offer.contains("AUTH PLAIN LOGIN"), "{offer}");
        client.ask("AUTH PLAIN AGFsaWNlAHdyb25n", 535)?;
        client.ask("MAIL FROM:<a@client.example>", 250)?;
        client.ask("RCPT TO:<alice@example.test>", 250)?;
        client.ask("DATA", 354)?;
        client.ask("Content-Type: text/plain; name=evil.exe\r\n\r\nHello.\r\n.", 550)?;
        client.quit()?;
        wait_until("the events", Duration::from_secs(5), || {
            Ok(events(world, from, "blocked-attachment")? == 1)
        })?;
        ensure!(events(world, from, "bad-authentication")? == 1);
        let status = String::from_utf8(cli(world, &["status"])?.stdout)?;
        ensure!(status.contains("mx.example.test, until") && status.contains("implicit"), "{status}");
        Ok(())
    });
}

#[test]
fn bytes_behind_starttls_and_handshakes_that_cannot_succeed_are_offences() {
    in_world(|world, postfix| {
        let _agent = start(world, postfix, "")?;
        let (ca, from) = (postfix.authority().file(), "203.0.113.42");
        let mut client = Client::greeted(world, from)?;
        client.send("STARTTLS\r\nMAIL FROM:<injected@client.example>\r\n")?;
        client.expect(220)?;
        let mut client = client.secure(NAME, &ca)?;
        client.ask("EHLO client.example", 250)?;
        client.ask("RCPT TO:<alice@example.test>", 503)?;
        client.quit()?;
        wait_until("103", Duration::from_secs(5), || {
            Ok(events(world, from, "plaintext-after-starttls")? == 1)
        })?;

        let from = "203.0.113.43";
        let mut garbage = Client::greeted(world, from)?;
        garbage.ask("STARTTLS", 220)?;
        garbage.send("EHLO client.example\r\n")?;
        Client::connect_on(world, from, 465)?.send("EHLO client.example\r\n")?;
        wait_until("108", Duration::from_secs(5), || Ok(events(world, from, "tls-failure")? == 2))?;

        let from = "203.0.113.44";
        drop(Client::connect_on(world, from, 465)?);
        let strange = Client::connect_on(world, from, 465)?.secure("another.example", &ca);
        ensure!(strange.is_err(), "a name that nobody has signed for");
        secured(world, from, postfix)?.quit()?;
        ensure!(events(world, from, "tls-failure")? == 0, "to hang up, or not to trust us, is no attack");
        Ok(())
    });
}

#[test]
fn new_certificates_end_no_session_and_bad_ones_change_nothing() {
    in_world(|world, postfix| {
        let agent = start(world, postfix, "")?;
        let ca = postfix.authority().file();
        let from = "203.0.113.45";
        let mut open = secured(world, from, postfix)?;
        let shown = |words: &str| Ok(String::from_utf8(cli(world, &["status"])?.stdout)?.contains(words));

        let (_, key) = postfix.authority().sign("spare", &[NAME])?;
        let gateway = key.with_file_name("gateway.key");
        let before = fs::read(&gateway)?;
        fs::copy(&key, &gateway)?;
        wait_until("the complaint", Duration::from_secs(15), || shown("does not fit"))?;
        for command in [&["check-config"][..], &["reload"]] {
            let refused = cli(world, command)?;
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            ensure!(!refused.status.success() && said.contains("does not fit"), "{command:?}: {said}");
        }
        secured(world, from, postfix)?.quit()?;
        fs::write(&gateway, before)?;

        postfix.authority().sign("gateway", &[NAME, "new.example.test"])?;
        wait_until("the new certificate", Duration::from_secs(15), || shown("new.example.test"))?;
        Client::greeted(world, from)?.start_tls("new.example.test", &ca)?.quit()?;
        postfix.authority().sign("gateway", &[NAME, "newer.example.test"])?;
        ensure!(cli(world, &["reload"])?.status.success(), "{}", agent.log());
        ensure!(shown("newer.example.test")?, "at once");
        // Other file names, which only SIGHUP takes.
        let (named, _) = postfix.authority().sign("named", &[NAME, "newest.example.test"])?;
        let text = fs::read_to_string(config_of(world))?;
        fs::write(config_of(world), text.replace("/gateway.", "/named."))?;
        agent.signal(Signal::SIGHUP)?;
        wait_until("the certificate of that name", Duration::from_secs(15), || shown("newest.example.test"))?;
        Client::greeted(world, from)?.start_tls("newest.example.test", &ca)?.quit()?;
        ensure!(named.exists() && agent.log().matches("listens on").count() == 2, "{}", agent.log());
        open.deliver("alice@example.test", "from before")?;
        open.quit()?;
        arrives(postfix, "from before")
    });
}

#[test]
fn mail_servers_are_spoken_to_by_tls_and_must_be_who_they_should_be() {
    in_world(|world, postfix| {
        let ca = postfix.authority().file();
        let from = "203.0.113.46";
        let services = [
            ("a", 2501, "mail_server_tls = \"starttls\"\nmail_servers = \"198.51.100.2:28\"\n"),
            ("b", 2502, "mail_server_tls = \"implicit\"\nmail_servers = \"198.51.100.2:29\"\n"),
            (
                "c",
                2503,
                "mail_server_tls = \"starttls\"\nmail_servers = \"198.51.100.2:30\"\nclient_address = \"xclient\"\n",
            ),
            ("d", 2504, "mail_server_tls = \"opportunistic\"\nmail_servers = \"198.51.100.2:25\"\n"),
            ("e", 2505, "mail_server_tls = \"starttls\"\nmail_servers = \"198.51.100.2:25\"\n"),
            (
                "f",
                2506,
                "mail_server_tls = \"implicit\"\nmail_servers = \"198.51.100.2:29\"\nmail_server_name = \"evil.test\"\n",
            ),
            (
                "g",
                2507,
                "mail_server_tls = \"starttls\"\nmail_servers = \"198.51.100.2:2600\"\nclient_address = \"none\"\n",
            ),
        ];
        let mut sections = format!("mail_server_ca = {ca:?}\nmail_server_name = \"mail.example.test\"\n");
        // What the others take from the first one is theirs alone.
        let sections_of = services.map(|(name, port, text)| {
            let named = if text.contains("mail_server_name") {
                ""
            } else {
                "mail_server_name = \"mail.example.test\"\n"
            };
            format!("[services.{name}]\nlisten = [\"{GATEWAY_V4}:{port}\"]\ntls = \"none\"\n{text}{named}")
        });
        sections.push_str(&sections_of.concat());
        let agent = Agent::start(world, &sections)?;
        let injector = world.mail.enter(|| Ok(TcpListener::bind(("198.51.100.2", 2600))?))?;
        let injecting = std::thread::spawn(move || inject(&injector));
        for (name, port, protected) in
            [("a", 2501, true), ("b", 2502, true), ("c", 2503, true), ("d", 2504, false)]
        {
            let mut client = Client::connect_on(world, from, port)?;
            client.expect(220)?;
            let offer = client.ask("EHLO client.example", 250)?.text;
            ensure!(!offer.contains("STARTTLS"), "{name}: {offer}");
            client.deliver("alice@example.test", &format!("by {name}"))?;
            client.quit()?;
            arrives(postfix, &format!("Subject: by {name}"))?;
            let messages = postfix.messages("alice")?;
            let message =
                messages.iter().find(|one| one.contains(&format!("by {name}"))).map_or("", |one| one);
            ensure!(message.contains("[203.0.113.46]"), "{name}: {message}");
            ensure!(message.contains("using TLSv1.3") == protected, "{name}: {message}");
        }
        for (port, remedy) in [
            (2505, "does not offer STARTTLS"),
            (2506, "mail_server_name"),
            (2507, "behind its reply to STARTTLS"),
        ] {
            let mut client = Client::connect_on(world, from, port)?;
            ensure!(client.expect(421)?.text.contains("4.3.0"));
            ensure!(agent.log().contains(remedy), "{}", agent.log());
        }
        let after = injecting.join().map_err(|_| anyhow!("the mail server that injects failed"))??;
        ensure!(after.is_empty(), "nothing is said to it any more: {after}");
        Ok(())
    });
}
