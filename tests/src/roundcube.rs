//! Roundcube, unpacked and not installed, on the gateway: a webmail for the Dovecot there, served by PHP's own web server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process::Process;
use crate::unpacked;
use crate::world::{GATEWAY_V4, World};

/// Its port on the gateway.
const PORT: u16 = 8080;

/// What runs with its files in place.
const SERVER: &str = "\
mkdir -p /var/log/roundcube && \
exec php8.2 -c /etc/php.ini -S 203.0.113.1:8080 -t /usr/share/roundcube";

/// The extensions that it needs, which a package would switch on when it is installed.
const EXTENSIONS: [&str; 13] = [
    "ctype",
    "iconv",
    "fileinfo",
    "pdo",
    "tokenizer",
    "sockets",
    "mbstring",
    "intl",
    "dom",
    "xml",
    "simplexml",
    "pdo_sqlite",
    "posix",
];

const SETTINGS: &str = "<?php
$config['db_dsnw'] = 'sqlite:////var/lib/roundcube/temp/mail.sqlite?mode=0640';
$config['imap_host'] = '203.0.113.1:143';
$config['log_driver'] = 'file';
$config['log_dir'] = '/var/log/roundcube/';
$config['temp_dir'] = '/var/lib/roundcube/temp/';
$config['des_key'] = 'a key of 24 letters long';
$config['plugins'] = [];
";

/// A running Roundcube.
#[derive(Debug)]
pub struct Roundcube {
    scratch: PathBuf,
    _server: Process,
}

impl Roundcube {
    /// Starts one.
    pub fn start(world: &World) -> Result<Self> {
        let scratch = world.scratch().join("roundcube");
        fs::create_dir_all(scratch.join("etc/roundcube"))?;
        fs::write(scratch.join("etc/roundcube/config.inc.php"), SETTINGS)?;
        let extensions = format!("extension={}\n", EXTENSIONS.join("\nextension="));
        fs::write(scratch.join("etc/php.ini"), extensions)?;
        let server = unpacked::run(&world.gateway, "roundcube", &scratch, SERVER, (GATEWAY_V4, PORT))?;
        Ok(Self { scratch, _server: server })
    }

    /// One of its logs, such as `errors`.
    pub fn log_file(&self, name: &str) -> PathBuf {
        self.scratch.join("var/log/roundcube").join(name).with_extension("log")
    }

    /// Tries to log in with a browser's requests, and headers of a client's choice; says whether it may.
    pub fn log_in(&self, world: &World, from: &str, account: &str, headers: &[&str]) -> Result<bool> {
        let jar = self.scratch.join("jar");
        // Another browser each time.
        let _ = fs::remove_file(&jar);
        let form = curl(world, from, &jar, &[])?;
        let (_, rest) =
            form.split_once("name=\"_token\" value=\"").with_context(|| format!("no form: {form}"))?;
        let token = format!("_token={}", rest.split('"').next().unwrap_or_default());
        let account = format!("_user={account}");
        let mut words = vec!["-i", "-d", "_task=login", "-d", "_action=login", "-d", &token];
        words.extend(["--data-urlencode", &account, "-d", "_pass=wrong"]);
        words.extend(headers.iter().flat_map(|header| ["-H", header]));
        let answer = curl(world, from, &jar, &words)?;
        Ok(answer.starts_with("HTTP/1.1 302"))
    }
}

fn curl(world: &World, from: &str, jar: &Path, words: &[&str]) -> Result<String> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "60", "--interface", from, "-b"]).arg(jar).arg("-c").arg(jar).args(words);
    let output = world
        .internet
        .enter(|| Ok(curl.arg(format!("http://{GATEWAY_V4}:{PORT}/?_task=login")).output()?))?;
    ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
