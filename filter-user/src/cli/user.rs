//! `gatepost user` and `gatepost token`: who may use the API and the web admin over TCP.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::{Args, Subcommand, ValueEnum};
use filter_core::access::{
    NewToken, PasswordRequest, Role, Token, TokenRequest, User, UserRequest, check_name, check_password,
};

use super::table::{self, Table, time};
use super::{Failure, Output};
use crate::control::Client;

const USERS: &str = "/api/v1/users";
const PASSWORD: &str = "/api/v1/users/password";
const TOKENS: &str = "/api/v1/tokens";

#[derive(Debug, Subcommand)]
pub(super) enum UserVerb {
    /// Make a user; the password is asked for, or read from a pipe
    Add {
        /// 1 to 64 letters, digits, dots, hyphens and underscores
        name: String,
        #[command(flatten)]
        role: RoleChoice,
        #[command(flatten)]
        output: Output,
    },
    /// Remove a user, and end where he is signed in
    Remove {
        /// Who
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Show all users
    List(Output),
    /// Give a user another password, and end where he is signed in
    Passwd {
        /// Who
        name: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenVerb {
    /// Make a token for a program; it is shown once
    Create {
        /// 1 to 64 letters, digits, dots, hyphens and underscores
        name: String,
        #[command(flatten)]
        role: RoleChoice,
        /// For how long: 1 to 999999999 minutes, or a span such as 2h [default: until it is revoked]
        #[arg(long, visible_alias = "for", value_name = "N|SPAN", value_parser = table::read_minutes)]
        minutes: Option<u64>,
        #[command(flatten)]
        output: Output,
    },
    /// Show all tokens, without their secrets
    List(Output),
    /// Take a token's power away
    Revoke {
        /// Which
        name: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct RoleChoice {
    /// viewer looks, operator also changes lists and ends sessions, administrator also reloads and manages users
    #[arg(long, value_enum)]
    role: RoleName,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleName {
    Viewer,
    Operator,
    Administrator,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Operator => Self::Operator,
            RoleName::Administrator => Self::Administrator,
        }
    }
}

pub(super) async fn users(client: &Client, verb: UserVerb) -> Result<(), Failure> {
    match verb {
        UserVerb::Add { name, role, output } => {
            check_name(&name).map_err(|error| Failure::usage(error.to_string()))?;
            // Before somebody thinks of a password in vain.
            let users: Vec<User> = client.get(USERS).await?;
            if users.iter().any(|user| user.name == name) {
                let sentence = format!("there is a user `{name}` already; see `gatepost user passwd {name}`");
                return Err(Failure::failed(sentence));
            }
            let password = password(&name)?;
            let user: User =
                client.post(USERS, &UserRequest { name, role: role.role.into(), password }).await?;
            tell(&user, output, &format!("{} can sign in as {}", user.name, user.role.name()))
        }
        UserVerb::Remove { name, output } => {
            check_name(&name).map_err(|error| Failure::usage(error.to_string()))?;
            let user: User = client.delete(&format!("{USERS}?name={name}")).await?;
            tell(&user, output, &format!("{} is removed, and no longer signed in anywhere", user.name))
        }
        UserVerb::List(output) => {
            let users: Vec<User> = client.get(USERS).await?;
            if output.json {
                return table::json(&users);
            }
            if users.is_empty() {
                return Ok(table::line(
                    "there are no users; `gatepost user add NAME --role administrator` makes one",
                )?);
            }
            let mut table = Table::new(&["NAME", "ROLE", "SINCE", "BY"]);
            for User { name, role, author, since } in users {
                table.row(&[name, role.name().to_owned(), time(since), author]);
            }
            Ok(table.print()?)
        }
        UserVerb::Passwd { name, output } => {
            check_name(&name).map_err(|error| Failure::usage(error.to_string()))?;
            let password = password(&name)?;
            let user: User = client.post(PASSWORD, &PasswordRequest { name, password }).await?;
            tell(&user, output, &format!("{} has another password, and must sign in again", user.name))
        }
    }
}

pub(super) async fn tokens(client: &Client, verb: TokenVerb) -> Result<(), Failure> {
    match verb {
        TokenVerb::Create { name, role, minutes, output } => {
            let request = TokenRequest { name, role: role.role.into(), minutes };
            let new: NewToken = client.post(TOKENS, &request).await?;
            if output.json {
                return table::json(&new);
            }
            // The secret alone, so that a script can keep it; the rest is for whoever looks on.
            if io::stdout().is_terminal() {
                table::line("This is shown once; keep it where only its program can read it:")?;
            }
            Ok(table::line(&new.secret)?)
        }
        TokenVerb::List(output) => {
            let tokens: Vec<Token> = client.get(TOKENS).await?;
            if output.json {
                return table::json(&tokens);
            }
            if tokens.is_empty() {
                return Ok(table::line(
                    "there are no tokens; `gatepost token create NAME --role viewer` makes one",
                )?);
            }
            let mut table = Table::new(&["NAME", "ROLE", "SINCE", "UNTIL", "BY"]);
            for Token { name, role, author, since, until } in tokens {
                let until = until.map_or_else(|| "revoked".to_owned(), time);
                table.row(&[name, role.name().to_owned(), time(since), until, author]);
            }
            Ok(table.print()?)
        }
        TokenVerb::Revoke { name, output } => {
            check_name(&name).map_err(|error| Failure::usage(error.to_string()))?;
            let token: Token = client.delete(&format!("{TOKENS}?name={name}")).await?;
            tell(&token, output, &format!("{} opens nothing any more", token.name))
        }
    }
}

fn tell(view: &impl serde::Serialize, output: Output, sentence: &str) -> Result<(), Failure> {
    if output.json { table::json(view) } else { Ok(table::line(sentence)?) }
}

/// A password: typed twice at a terminal that does not show it, or the first line of a pipe.
fn password(name: &str) -> Result<String, Failure> {
    let password = if io::stdin().is_terminal() {
        let first = rpassword::prompt_password(format!("Password for {name}: "))?;
        if rpassword::prompt_password("The same again: ")? != first {
            return Err(Failure::usage("the two passwords are not the same; nothing is changed".to_owned()));
        }
        first
    } else {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    check_password(name, &password).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(password)
}
