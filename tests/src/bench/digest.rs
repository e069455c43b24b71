//! How fast a log is read by all shipped rules, beside fail2ban's own tester and beside grep.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use super::report::{Cell, Report, Table};
use super::sample::Sample;
use crate::agent::binary;

/// Bytes of the whole log.
const WHOLE: usize = 100_000_000;
/// Bytes of the slice that fail2ban gets, which would take minutes for the whole.
const SLICE: usize = 3_000_000;
/// Rounds of each reader.
const ROUNDS: usize = 5;

const NOTE: &str = "\
thousands of lines in a second of one processor's time (median of 5 rounds, best in brackets), from reading the file to the count
of matches, in a process of its own. gatepost: `gatepost explain --summary` with all shipped rules. grep: `grep -E -c` for what the
Postfix and Dovecot rules look for, without taking anything out of a line. fail2ban-regex: Debian's, with its filters for Postfix
and for Dovecot one after the other, on the first 3 MB.";

/// What a mail server writes on a day: how often, and the line behind its prefix. `{ip}`, `{n}` and `{u}` are another each time.
const MIX: [(usize, &str); 24] = [
    (12, "postfix/smtpd[{n}]: connect from mail-{n}.example[{ip}]"),
    (
        12,
        "postfix/smtpd[{n}]: disconnect from mail-{n}.example[{ip}] ehlo=2 starttls=1 mail=1 rcpt=1 data=1 quit=1 commands=7",
    ),
    (8, "postfix/smtpd[{n}]: {n}A1B2C: client=mail-{n}.example[{ip}]"),
    (8, "postfix/cleanup[{n}]: {n}A1B2C: message-id=<{n}.{n}@mail-{n}.example>"),
    (12, "postfix/qmgr[{n}]: {n}A1B2C: from=<{u}@mail-{n}.example>, size={n}, nrcpt=1 (queue active)"),
    (
        8,
        "postfix/lmtp[{n}]: {n}A1B2C: to=<{u}@example.test>, relay=mail.example.test[private/dovecot-lmtp], delay=0.2, delays=0.1/0/0/0.1, dsn=2.0.0, status=sent (250 2.0.0 <{u}@example.test> Saved)",
    ),
    (8, "postfix/qmgr[{n}]: {n}A1B2C: removed"),
    (
        8,
        "dovecot: imap-login: Login: user=<{u}@example.test>, method=PLAIN, rip={ip}, lip=192.0.2.1, mpid={n}, TLS, session=<a{n}b{n}c>",
    ),
    (
        8,
        "dovecot: imap({u}@example.test)<{n}><a{n}b{n}c>: Disconnected: Logged out in=812 out=12468 deleted=0 expunged=0 trashed=0 hdr_count=2 hdr_bytes=1200 body_count=1 body_bytes=9000",
    ),
    (4, "CRON[{n}]: (root) CMD (command -v debian-sa1 > /dev/null && debian-sa1 1 1)"),
    (4, "sshd[{n}]: Failed password for invalid user {u} from {ip} port {n} ssh2"),
    (2, "kernel: [ {n}.{n}] IPv6: ADDRCONF(NETDEV_CHANGE): veth{n}: link becomes ready"),
    (
        6,
        "postfix/smtpd[{n}]: warning: unknown[{ip}]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username={u}",
    ),
    (6, "postfix/smtpd[{n}]: disconnect from unknown[{ip}] ehlo=1 auth=0/1 quit=1 commands=2/3"),
    (6, "postfix/smtpd[{n}]: lost connection after AUTH from unknown[{ip}]"),
    (
        4,
        "postfix/smtpd[{n}]: NOQUEUE: reject: RCPT from unknown[{ip}]: 550 5.1.1 <{u}@example.test>: Recipient address rejected: User unknown in virtual mailbox table; from=<{u}@mail-{n}.example> to=<{u}@example.test> proto=ESMTP helo=<mail-{n}.example>",
    ),
    (
        3,
        "postfix/smtpd[{n}]: NOQUEUE: reject: RCPT from unknown[{ip}]: 554 5.7.1 <{u}@elsewhere.test>: Relay access denied; from=<{u}@mail-{n}.example> to=<{u}@elsewhere.test> proto=ESMTP helo=<mail-{n}.example>",
    ),
    (
        2,
        "postfix/smtpd[{n}]: warning: hostname mail-{n}.example does not resolve to address {ip}: Name or service not known",
    ),
    (3, "postfix/postscreen[{n}]: CONNECT from [{ip}]:{n} to [192.0.2.1]:25"),
    (1, "postfix/postscreen[{n}]: PREGREET 14 after 0.1 from [{ip}]:{n}: EHLO ylmf-pc\\r\\n"),
    (3, "postfix/postscreen[{n}]: PASS OLD [{ip}]:{n}"),
    (4, "dovecot: auth: passwd-file({u}@example.test,{ip},<a{n}b{n}c>): Password mismatch"),
    (
        4,
        "dovecot: imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<{u}@example.test>, method=PLAIN, rip={ip}, lip=192.0.2.1, TLS, session=<a{n}b{n}c>",
    ),
    (
        1,
        "dovecot: imap-login: Disconnected: Connection closed (no auth attempts in 0 secs): user=<>, rip={ip}, lip=192.0.2.1, session=<a{n}b{n}c>",
    ),
];

/// What grep looks for.
const WANTED: &str = "SASL [A-Z]+ authentication failed|reject: RCPT from [^ ]+: 5.*(Relay access denied|User unknown)|PREGREET [0-9]+ after|auth=0/|\\(auth failed, [0-9]+ attempts|(Password mismatch|unknown user)$";

/// Measures all three.
pub fn measure(report: &mut Report) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("gatepost-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = rounds(&folder, report);
    fs::remove_dir_all(&folder)?;
    outcome
}

fn rounds(folder: &Path, report: &mut Report) -> Result<()> {
    let (whole, slice, settings) =
        (folder.join("mail.log"), folder.join("slice.log"), folder.join("empty.toml"));
    let lines = write(&whole, WHOLE)?;
    let short = write(&slice, SLICE)?;
    fs::write(&settings, "")?;
    let mut gatepost = Command::new(binary()?);
    gatepost.arg("--config").arg(&settings).args(["explain", "--summary"]);
    let mut grep = Command::new("grep");
    grep.env("LC_ALL", "C").args(["-E", "-c", WANTED]);
    let fail2ban = |filter: &str| {
        let mut command = Command::new("fail2ban-regex");
        command.arg(&slice).arg(filter);
        command
    };
    let mut fail2ban = [fail2ban("postfix[mode=aggressive]"), fail2ban("dovecot[mode=aggressive]")];
    let (mut ours, mut theirs, mut peers) = (Sample::default(), Sample::default(), Sample::default());
    for _ in 0..ROUNDS {
        ours.add(time(&mut gatepost, &whole)?);
        theirs.add(time(&mut grep, &whole)?);
        let seconds = fail2ban.iter_mut().map(|command| time(command, &slice)).sum::<Result<f64>>()?;
        peers.add(seconds);
    }
    let mut table = Table::new("reading a mail log", NOTE, &["reader", "lines", "thousand lines a second"]);
    for (who, lines, sample) in
        [("gatepost", lines, &ours), ("grep", lines, &theirs), ("fail2ban-regex", short, &peers)]
    {
        let rate = |seconds: f64| f64::from(lines) / 1000.0 / seconds;
        let rates = Cell::Spread { middle: rate(sample.median()), best: rate(sample.best()), decimals: 1 };
        table.row(vec![Cell::Text(who.to_owned()), Cell::Figure(lines.into(), 0), rates]);
    }
    report.add(&table);
    Ok(())
}

/// Writes a log of about so many bytes; says how many lines it has.
fn write(path: &Path, bytes: usize) -> Result<u32> {
    let mut rng = Rng::with_seed(1);
    let total: usize = MIX.iter().map(|(often, _)| often).sum();
    let mut file = BufWriter::new(File::create(path)?);
    let (mut written, mut lines) = (0, 0);
    while written < bytes {
        let mut pick = rng.usize(..total);
        let line = MIX.iter().find(|(often, _)| {
            let found = pick < *often;
            pick = pick.saturating_sub(*often);
            found
        });
        let (_, line) = line.context("no line")?;
        let address = format!("203.0.{}.{}", rng.u8(..), rng.u8(1..255));
        let second = lines / 40 % 86_400;
        let line = line
            .replace("{ip}", &address)
            .replace("{u}", &format!("user{}", rng.u16(..999)))
            .replace("{n}", &rng.u32(1000..99_999).to_string());
        let time = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
        let line = format!("Nov 24 {time} mx {line}\n");
        file.write_all(line.as_bytes())?;
        (written, lines) = (written + line.len(), lines + 1);
    }
    file.flush()?;
    Ok(lines)
}

/// Seconds of processor time that a program takes, with a file as its input.
fn time(command: &mut Command, input: &Path) -> Result<f64> {
    let used = || -> Result<f64> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Ok(std::time::Duration::from_micros(u64::try_from(micros)?).as_secs_f64())
    };
    let before = used()?;
    let output = command.stdin(Stdio::from(File::open(input)?)).output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(used()? - before)
}
