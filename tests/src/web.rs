//! Asking the agent over TCP, as browsers and programs do.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::agent::{binary, config_of};
use crate::namespace::Namespace;
use crate::world::World;

/// The section that switches it on in the gateway.
pub const SECTION: &str = "[web]\nlisten = \"127.0.0.1:8025\"\n";
/// The same for those who ask as fast as they can.
pub const HURRIED: &str = "[web]\nlisten = \"127.0.0.1:8025\"\nrequests_per_second = 0\n";
/// Where it is then.
pub const URL: &str = "http://127.0.0.1:8025";
/// A password that is one.
pub const PASSWORD: &str = "four words in a row";

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The head, in lower case.
    pub head: String,
    /// The rest.
    pub body: String,
}

impl Answer {
    /// The value behind a name in a form of the page.
    pub fn field(&self, name: &str) -> Result<String> {
        let (_, rest) =
            self.body.split_once(&format!("name=\"{name}\" value=\"")).context("no such field")?;
        Ok(rest.split('"').next().unwrap_or_default().to_owned())
    }

    /// The cookie that it sets, as it is sent back.
    pub fn cookie(&self) -> Result<String> {
        let (_, rest) = self.head.split_once("set-cookie: ").context("no cookie is set")?;
        Ok(rest.split(';').next().unwrap_or_default().to_owned())
    }
}

/// Asks with curl from a name space.
pub fn ask_from(space: &Namespace, url: &str, arguments: &[&str]) -> Result<Answer> {
    let output = space.enter(|| {
        let mut curl = Command::new("curl");
        Ok(curl.args(["-sS", "-i", "--max-time", "60"]).args(arguments).arg(url).output()?)
    })?;
    ensure!(output.status.success(), "curl {url}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no head")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status")?;
    Ok(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
}

/// Asks from the gateway itself.
pub fn ask(world: &World, path: &str, arguments: &[&str]) -> Result<Answer> {
    ask_from(&world.gateway, &format!("{URL}{path}"), arguments)
}

/// Runs the command line with something on its standard input.
pub fn cli_reading(world: &World, input: &str, arguments: &[&str]) -> Result<std::process::Output> {
    world.gateway.enter(|| {
        let mut command = Command::new(binary()?);
        command.arg("--config").arg(config_of(world)).args(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
        Ok(child.wait_with_output()?)
    })
}

/// Makes a user with [`PASSWORD`].
pub fn add_user(world: &World, name: &str, role: &str) -> Result<()> {
    let output = cli_reading(world, &format!("{PASSWORD}\n"), &["user", "add", name, "--role", role])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Makes a token; gives its header.
pub fn token(world: &World, name: &str, role: &str) -> Result<String> {
    let output = cli_reading(world, "", &["token", "create", name, "--role", role])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(format!("Authorization: Bearer {}", String::from_utf8(output.stdout)?.trim()))
}
