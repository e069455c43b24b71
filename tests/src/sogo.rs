//! `SOGo`, unpacked and not installed, on the gateway, behind an nginx and an Apache. It knows nobody, so nobody may log in.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::process::Process;
use crate::unpacked;
use crate::world::{GATEWAY_V4, World};

/// Where `SOGo` listens, on the gateway itself.
const PORT: u16 = 20_000;

/// A web server before it.
#[derive(Debug, Clone, Copy)]
pub enum Front {
    /// nginx.
    Nginx,
    /// Apache.
    Apache,
}

impl Front {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nginx, Self::Apache];

    /// How it calls itself.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Apache => "apache2",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Nginx => 8081,
            Self::Apache => 8082,
        }
    }

    /// What runs with its files in place; its settings are in /etc.
    const fn command(self) -> &'static str {
        match self {
            Self::Nginx => "mkdir -p /var/log/nginx /var/lib/nginx && exec nginx -c /etc/front.conf",
            Self::Apache => "mkdir -p /var/log/apache2 && exec apache2 -DFOREGROUND -f /etc/front.conf",
        }
    }

    const fn settings(self) -> &'static str {
        match self {
            Self::Nginx => NGINX,
            Self::Apache => APACHE,
        }
    }
}

/// A running `SOGo`.
#[derive(Debug)]
pub struct Sogo {
    scratch: PathBuf,
    _servers: Vec<Process>,
}

impl Sogo {
    /// Starts one, with the web servers before it.
    pub fn start(world: &World) -> Result<Self> {
        let scratch = world.scratch().join("sogo");
        let own = scratch.join("own");
        fs::create_dir_all(own.join("etc/sogo"))?;
        unpacked::add_users(&own.join("etc"), &["sogo"])?;
        fs::write(own.join("etc/sogo/sogo.conf"), SETTINGS)?;
        let mut servers = vec![unpacked::run(&world.gateway, "sogo", &own, SERVER, ("127.0.0.1", PORT))?];
        for front in Front::ALL {
            let own = scratch.join(front.name());
            fs::create_dir_all(own.join("etc"))?;
            fs::write(own.join("etc/front.conf"), front.settings())?;
            let listens = (GATEWAY_V4, front.port());
            servers.push(unpacked::run(&world.gateway, "sogo", &own, front.command(), listens)?);
        }
        Ok(Self { scratch, _servers: servers })
    }

    /// What it has logged itself.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.scratch.join("own/log"))?)
    }

    /// One of the logs of a web server, such as `access`.
    pub fn log_file(&self, front: Front, name: &str) -> PathBuf {
        self.scratch.join(front.name()).join("var/log").join(front.name()).join(name).with_extension("log")
    }

    /// Asks for a path with a client's own words for curl; gives the status.
    pub fn ask(&self, world: &World, from: &str, front: Front, path: &str, words: &[&str]) -> Result<String> {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "60", "-o", "/dev/null", "-w", "%{http_code}", "--interface", from]);
        curl.args(words).arg(format!("http://{GATEWAY_V4}:{}{path}", front.port()));
        let output = world.internet.enter(|| Ok(curl.output()?))?;
        ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Tries to log in, and is refused.
    pub fn log_in(
        &self,
        world: &World,
        from: &str,
        front: Front,
        account: &str,
        words: &[&str],
    ) -> Result<()> {
        let body = serde_json::json!({ "userName": account, "password": "wrong" }).to_string();
        let words = [&["-H", "Content-Type: application/json", "-d", &body], words].concat();
        let status = self.ask(world, from, front, "/SOGo/connect", &words)?;
        ensure!(status == "403", "{account} is answered {status}");
        Ok(())
    }
}

/// What runs with its files in place, as a user of its own, since it wants to be none with rights.
const SERVER: &str = "\
mkdir -p /var/lib/sogo /run/sogo && chown sogo: /var/lib/sogo /run/sogo && \
exec setpriv --reuid sogo --regid sogo --clear-groups env HOME=/var/lib/sogo \
sogod -WOWorkersCount 1 -WONoDetach YES -WOPidFile /run/sogo/sogo.pid -WOLogFile -";

const SETTINGS: &str = "{ WOPort = \"127.0.0.1:20000\"; SOGoUserSources = (); }\n";

const NGINX: &str = "\
daemon off;
user root;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events {}
http {
  access_log /var/log/nginx/access.log;
  server {
    listen 203.0.113.1:8081;
    location /SOGo {
      proxy_pass http://127.0.0.1:20000;
      proxy_set_header x-webobjects-remote-host $remote_addr;
    }
  }
}
";

const APACHE: &str = "\
ServerRoot /etc
ServerName mail.example.test
Listen 203.0.113.1:8082
PidFile /run/apache2.pid
DefaultRuntimeDir /run
ErrorLog /var/log/apache2/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LogFormat \"%h %l %u %t \\\"%r\\\" %>s %O \\\"%{Referer}i\\\" \\\"%{User-Agent}i\\\"\" combined
LogFormat \"%v:%p %h %l %u %t \\\"%r\\\" %>s %O \\\"%{Referer}i\\\" \\\"%{User-Agent}i\\\"\" vhost_combined
CustomLog /var/log/apache2/access.log combined
CustomLog /var/log/apache2/other_vhosts_access.log vhost_combined
ProxyPass /SOGo http://127.0.0.1:20000/SOGo
";
