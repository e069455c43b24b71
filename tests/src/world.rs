//! Three name spaces in a row: `internet` with its clients, `gateway` with the agent, `mail` with the mail server.
//!
//! ```text
//!   internet                         gateway                              mail
//!   203.0.113.10 … .60  ── out0 ══ wan0  203.0.113.1
//!   2001:db8:a:N::1                      2001:db8:a::1
//!                                        198.51.100.1  lan0 ══ in0  198.51.100.2
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;

use crate::namespace::{Namespace, ip, succeed};
use crate::sweep::sweep;

/// The beginning of the names of name spaces; the owner's process id follows.
pub const PREFIX: &str = "gatepost-lab-";
/// The beginning of the names of pin directories.
pub const PINS: &str = "gatepost-lab-";
/// The beginning of the names of scratch folders.
pub const SCRATCH: &str = "gatepost-lab-";

/// The gateway as clients see it.
pub const GATEWAY_V4: &str = "203.0.113.1";
/// The gateway as clients see it.
pub const GATEWAY_V6: &str = "2001:db8:a::1";
/// The mail server as the gateway sees it.
pub const MAIL: &str = "198.51.100.2";
/// The clients' interface towards the gateway.
pub const OUT: &str = "out0";
/// The gateway's interface towards the clients.
pub const WAN: &str = "wan0";

/// A world; dropping it removes everything.
#[derive(Debug)]
pub struct World {
    /// Where clients are.
    pub internet: Namespace,
    /// Where the agent is.
    pub gateway: Namespace,
    /// Where the mail server is.
    pub mail: Namespace,
    scratch: PathBuf,
    pins: PathBuf,
}

impl World {
    /// Removes the worlds of dead owners and makes a new one.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        ensure!(Uid::effective().is_root(), "the lab makes network name spaces and needs root");
        mount_bpffs()?;
        sweep()?;
        let id = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let scratch = std::env::temp_dir().join(format!("{SCRATCH}{id}"));
        fs::create_dir(&scratch).context("cannot make a scratch folder")?;
        let space = |role: &str| Namespace::new(format!("{PREFIX}{id}-{role}"));
        let world = Self {
            internet: space("internet")?,
            gateway: space("gateway")?,
            mail: space("mail")?,
            scratch,
            pins: Path::new("/sys/fs/bpf").join(format!("{PINS}{id}")),
        };
        world.connect()?;
        Ok(world)
    }

    /// A folder of this world.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Where this world's agent pins its filter.
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    fn connect(&self) -> Result<()> {
        let (internet, gateway, mail) = (self.internet.name(), self.gateway.name(), self.mail.name());
        ip(&["link", "add", OUT, "netns", internet, "type", "veth", "peer", "name", WAN, "netns", gateway])?;
        ip(&["link", "add", "in0", "netns", mail, "type", "veth", "peer", "name", "lan0", "netns", gateway])?;
        for host in 10..=60 {
            self.internet.ip(&["address", "add", &format!("203.0.113.{host}/24"), "dev", OUT])?;
        }
        for network in 1..=5 {
            let address = format!("2001:db8:a:{network}::1/48");
            self.internet.ip(&["address", "add", &address, "dev", OUT, "nodad"])?;
        }
        self.gateway.ip(&["address", "add", &format!("{GATEWAY_V4}/24"), "dev", WAN])?;
        self.gateway.ip(&["address", "add", &format!("{GATEWAY_V6}/48"), "dev", WAN, "nodad"])?;
        self.gateway.ip(&["address", "add", "198.51.100.1/24", "dev", "lan0"])?;
        self.mail.ip(&["address", "add", &format!("{MAIL}/24"), "dev", "in0"])?;
        for (space, device) in
            [(&self.internet, OUT), (&self.gateway, WAN), (&self.gateway, "lan0"), (&self.mail, "in0")]
        {
            space.ip(&["link", "set", device, "up"])?;
        }
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Whatever stays is swept by the next world.
        let _ = fs::remove_dir_all(&self.pins);
        if std::thread::panicking() {
            eprintln!("the scratch folder is kept: {}", self.scratch.display());
        } else {
            let _ = fs::remove_dir_all(&self.scratch);
        }
    }
}

fn mount_bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    if mounts.lines().any(|line| line.split(' ').nth(1) == Some("/sys/fs/bpf")) {
        return Ok(());
    }
    succeed(Command::new("mount").args(["-t", "bpf", "bpf", "/sys/fs/bpf"]))
}
