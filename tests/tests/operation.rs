//! What those who run a gateway have around it: systemd, balancers, a terminal, shells, manuals.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use filter_tests::agent::{Agent, ask, binary, cli, config_of};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::web;
use filter_tests::world::{WAN, World};
use nix::sys::signal::Signal;

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/systemd/gatepost.service")
}

/// Reads what systemd would until somebody says this line; gives the whole message.
fn heard(socket: &UnixDatagram, line: &str) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut all = String::new();
    let mut buffer = [0; 4096];
    while Instant::now() < deadline {
        let Ok(count) = socket.recv(&mut buffer) else { continue };
        let message = String::from_utf8(buffer.get(..count).unwrap_or_default().to_vec())?;
        if message.lines().any(|said| said == line) {
            return Ok(message);
        }
        all.push_str(&message);
    }
    bail!("nobody said {line}, but\n{all}")
}

#[test]
fn systemd_hears_all_that_happens_from_an_agent_with_only_the_units_capabilities() {
    in_world(|world, _| {
        let path = world.scratch().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        let text = fs::read_to_string(unit())?;
        let set =
            text.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).context("no set")?;
        let kept: Vec<_> =
            set.split(' ').map(|name| name.trim_start_matches("CAP_").to_lowercase()).collect();
        let bounding = format!("--bounding-set=-all,+{}", kept.join(",+"));
        let place = format!("NOTIFY_SOCKET={}", path.display());
        let before = ["env", &place, "WATCHDOG_USEC=1000000", "setpriv", &bounding, "--inh-caps=-all"];
        let agent = Agent::start_through(world, "", &before)?;
        heard(&socket, "READY=1")?;
        heard(&socket, "WATCHDOG=1")?;
        let said = heard(&socket, "WATCHDOG=1")?;
        ensure!(said.contains("STATUS=0 sessions (0 of 100 incoming), 0 networks blocked"), "{said}");
        // It does its work with no more than that.
        ask(world, &["block", "add", "203.0.113.50"])?;
        ensure!(ask(world, &["maps", "get", "203.0.113.50"])?["verdict"] == "drop", "no drop");
        agent.signal(Signal::SIGHUP)?;
        let said = heard(&socket, "RELOADING=1")?;
        let since = said.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).context("no time")?;
        ensure!(since.parse::<u64>()? > 0, "{said}");
        heard(&socket, "READY=1")?;
        // What hangs is not alive.
        agent.signal(Signal::SIGSTOP)?;
        while socket.recv(&mut [0; 4096]).is_ok() {}
        ensure!(socket.recv(&mut [0; 4096]).is_err(), "it is fed though it hangs");
        agent.signal(Signal::SIGCONT)?;
        heard(&socket, "WATCHDOG=1")?;
        agent.stop()?;
        heard(&socket, "STOPPING=1").map(drop)
    });
}

#[test]
fn systemd_takes_the_unit() {
    let verified = || -> Result<()> {
        let folder = std::env::temp_dir().join(format!("gatepost-unit-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let file = folder.join("gatepost.service");
        let program = binary()?;
        let program = program.to_str().context("a path that is no text")?;
        fs::write(&file, fs::read_to_string(unit())?.replace("/usr/local/bin/gatepost", program))?;
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output()?;
        fs::remove_dir_all(&folder)?;
        ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        Ok(())
    };
    if let Err(error) = verified() {
        panic!("{error:?}");
    }
}

#[test]
fn health_is_for_everybody_and_its_reasons_are_not() {
    in_world(|world, _| {
        let _agent = Agent::start(world, web::SECTION)?;
        for path in ["/health/live", "/health/ready"] {
            // From a balancer that knows neither name nor user.
            let answer = web::ask(world, path, &["-H", "Host: balancer.example"])?;
            ensure!(answer.status == 200 && answer.body == r#"{"healthy":true}"#, "{path}: {answer:?}");
        }
        ensure!(web::ask(world, "/health/ready", &["-X", "POST"])?.status != 200, "it is not to be changed");
        ensure!(cli(world, &["health"])?.status.code() == Some(0), "not healthy");
        world.gateway.enter(|| {
            let status = Command::new("ip").args(["link", "delete", WAN]).status()?;
            ensure!(status.success(), "the interface stays");
            Ok(())
        })?;
        wait_until("the filter gone", Duration::from_secs(10), || {
            let answer = web::ask(world, "/health/ready", &[])?;
            ensure!(
                answer.status == 200 || (answer.status == 503 && !answer.body.contains("filter")),
                "{answer:?}"
            );
            Ok(answer.status == 503)
        })?;
        ensure!(web::ask(world, "/health/live", &[])?.status == 200, "a restart is no remedy");
        let output = cli(world, &["health"])?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1) && said.contains(WAN), "{said}");
        Ok(())
    });
}

/// A terminal of 80 columns and 24 lines in the gateway.
struct Terminal<'world> {
    world: &'world World,
    socket: String,
}

impl<'world> Terminal<'world> {
    /// Runs `gatepost` in one of this name; the server of the one before may still be on its way out.
    fn open(world: &'world World, name: &str, arguments: &str) -> Result<Self> {
        let terminal = Self { world, socket: world.scratch().join(name).display().to_string() };
        let program = format!("{} --config {}", binary()?.display(), config_of(world).display());
        let line = format!(
            "{program} {arguments}; echo ended=$?; stty -a | tr ' ;' '\\n\\n' | grep -x -e icanon -e isig; sleep 60"
        );
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            "sh",
            "-c",
            &line,
        ])?;
        Ok(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let output = self.world.gateway.enter(|| {
            let mut command = Command::new("tmux");
            command.env("LC_ALL", "C.UTF-8").env_remove("TMUX");
            Ok(command.args(["-S", &self.socket]).args(arguments).output()?)
        })?;
        ensure!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Waits until the screen shows all of these.
    fn shows(&self, words: &[&str]) -> Result<()> {
        let mut screen = String::new();
        let shown = wait_until("the screen", Duration::from_secs(20), || {
            screen = self.tmux(&["capture-pane", "-p"])?;
            Ok(words.iter().all(|word| screen.contains(word)))
        });
        shown.with_context(|| format!("{words:?} are not in\n{screen}"))
    }

    /// Whether a program has the screen to itself.
    fn is_taken(&self) -> Result<bool> {
        Ok(self.tmux(&["display-message", "-p", "#{alternate_on}"])?.trim() == "1")
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

#[test]
fn top_shows_the_gateway_at_work_and_leaves_the_terminal_as_it_was() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        let mut client = Client::greeted(world, "203.0.113.51")?;
        client.ask("MAIL FROM:<sender@client.example>", 250)?;
        client.ask("RCPT TO:<nobody@example.test>", 550)?;
        for end in ["q", "C-c"] {
            let terminal = Terminal::open(world, end, "top")?;
            terminal.shows(&[
                "incoming 1 of 100",
                "203.0.113.51",
                "950 left",
                "threshold of 1000, by score",
                "bad-local-rcpt",
                "Dropped",
                "q quit",
            ])?;
            ensure!(terminal.is_taken()?, "it writes over what was there");
            terminal.tmux(&["send-keys", "s"])?;
            terminal.shows(&["by address"])?;
            terminal.tmux(&["send-keys", end])?;
            terminal.shows(&["ended=0", "icanon", "isig"])?;
            ensure!(!terminal.is_taken()?, "the terminal is not given back");
        }
        let output = cli(world, &["top"])?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(2) && said.contains("needs a terminal"), "{said}");
        Ok(())
    });
}

#[test]
fn without_an_agent_it_says_so_and_what_works_without_it() {
    in_world(|world, _| {
        drop(Agent::start(world, "")?);
        for verb in ["status", "health", "metrics", "events"] {
            let output = cli(world, &[verb])?;
            let said = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(3), "{verb}: {said}");
            ensure!(said.contains("is not running") && said.contains("gatepost maps"), "{said}");
        }
        let output = cli(world, &["maps", "list"])?;
        ensure!(output.status.success() && output.stdout.contains(&b'\t'), "tabs in a pipe: {output:?}");
        Ok(())
    });
}

#[test]
fn manuals_completions_and_colours_are_as_they_should_be() {
    let checked = || -> Result<()> {
        let folder = std::env::temp_dir().join(format!("gatepost-man-{}", std::process::id()));
        let program = binary()?;
        ensure!(Command::new(&program).arg("man").arg(&folder).output()?.status.success(), "no manuals");
        let pages: Vec<_> = fs::read_dir(&folder)?.map(|page| Ok(page?.path())).collect::<Result<_>>()?;
        ensure!(pages.len() > 30, "{pages:?}");
        let lint = Command::new("mandoc").args(["-T", "lint", "-W", "error"]).args(&pages).output()?;
        ensure!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stdout));
        let page =
            Command::new("mandoc").args(["-T", "ascii"]).arg(folder.join("gatepost-block-add.1")).output()?;
        ensure!(String::from_utf8_lossy(&page.stdout).contains("999999999"), "{page:?}");
        fs::remove_dir_all(&folder)?;

        for (shell, sign) in
            [("bash", "complete -F"), ("zsh", "#compdef gatepost"), ("fish", "complete -c gatepost")]
        {
            let output = Command::new(&program).args(["completions", shell]).output()?;
            let text = String::from_utf8(output.stdout)?;
            ensure!(text.contains(sign) && text.contains("never"), "{shell}: {text}");
        }
        let line = format!("source <({} completions bash) && complete -p gatepost", program.display());
        let output = Command::new("bash").args(["-c", &line]).output()?;
        ensure!(output.status.success(), "bash does not take it: {output:?}");

        let on_a_terminal = |no_color: &str| -> Result<Vec<u8>> {
            let mut command = Command::new("script");
            command.args(["-qec", &format!("{} --help", program.display()), "/dev/null"]);
            command.env("NO_COLOR", no_color).env("TERM", "xterm-256color");
            Ok(command.output()?.stdout)
        };
        ensure!(on_a_terminal("")?.contains(&0x1b), "no colours on a terminal");
        ensure!(!on_a_terminal("1")?.contains(&0x1b), "colours against NO_COLOR");
        ensure!(!Command::new(&program).arg("--help").output()?.stdout.contains(&0x1b), "colours in a pipe");
        Ok(())
    };
    if let Err(error) = checked() {
        panic!("{error:?}");
    }
}
