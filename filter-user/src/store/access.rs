//! Users, tokens and the audit trail in the database.

use std::fmt;
use std::time::Duration;

use filter_core::access::{Audit, Role, Token, User};
use filter_core::time::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Row, Transaction, params};

use super::History;
use crate::control::Fingerprint;

/// Lines of the audit trail that are kept; the oldest go first.
const AUDIT_LIMIT: i64 = 100_000;
/// How long a line of the audit trail is kept.
const AUDIT_KEPT_FOR: Duration = Duration::from_hours(24 * 365);
/// Lines of one answer.
const AUDIT_PAGE: u32 = 500;

/// One change of who may come in, or a line of the audit trail.
#[derive(Clone)]
pub enum AccessRecord {
    /// A user is new or has another password; the hash of it.
    PutUser(User, String),
    /// A user has gone.
    DropUser(String),
    /// A token is new; the hash of its secret.
    PutToken(Token, Fingerprint),
    /// A token has gone.
    DropToken(String),
    /// Somebody did something.
    Note(Audit),
}

impl fmt::Debug for AccessRecord {
    /// Without hashes: what cannot be stored is named in the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutUser(user, _) => write!(f, "user {}", user.name),
            Self::DropUser(name) => write!(f, "removal of user {name}"),
            Self::PutToken(token, _) => write!(f, "token {}", token.name),
            Self::DropToken(name) => write!(f, "removal of token {name}"),
            Self::Note(audit) => write!(f, "audit {} by {}", audit.what, audit.author),
        }
    }
}

/// Users with the hashes of their passwords, and tokens with those of their secrets.
pub type Accounts = (Vec<(User, String)>, Vec<(Token, Fingerprint)>);

impl History {
    /// Everybody who may come in. Reads the disk.
    pub fn accounts(&self) -> rusqlite::Result<Accounts> {
        let database = self.connect()?;
        let mut users = database.prepare("SELECT name, role, author, since, password FROM user")?;
        let users = users.query_map([], |row| Ok((user_of(row)?, row.get(4)?)))?.collect::<Result<_, _>>()?;
        let mut tokens = database.prepare("SELECT name, role, author, since, until, digest FROM token")?;
        let tokens = tokens.query_map([], token_of)?.collect::<Result<_, _>>()?;
        Ok((users, tokens))
    }

    /// The latest lines of the audit trail, the newest first. Reads the disk.
    pub fn audit(&self) -> rusqlite::Result<Vec<Audit>> {
        let sql = format!("SELECT time, author, origin, what FROM audit ORDER BY id DESC LIMIT {AUDIT_PAGE}");
        let audit_of = |row: &Row<'_>| {
            let time = Timestamp::from_millis(row.get(0)?);
            Ok(Audit { time, author: row.get(1)?, origin: row.get(2)?, what: row.get(3)? })
        };
        self.connect()?.prepare(&sql)?.query_map([], audit_of)?.collect()
    }
}

/// Makes a change.
pub(super) fn apply(transaction: &Transaction<'_>, record: &AccessRecord) -> rusqlite::Result<()> {
    match record {
        AccessRecord::PutUser(user, password) => {
            let sql = "INSERT OR REPLACE INTO user (name, role, author, since, password) VALUES (?1, ?2, ?3, ?4, ?5)";
            let since = user.since.as_millis();
            let values = params![user.name, user.role.name(), user.author, since, password];
            transaction.execute(sql, values)
        }
        AccessRecord::DropUser(name) => transaction.execute("DELETE FROM user WHERE name = ?1", [name]),
        AccessRecord::PutToken(token, digest) => {
            let sql = "INSERT OR REPLACE INTO token (name, role, author, since, until, digest) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let (since, until) = (token.since.as_millis(), token.until.map(Timestamp::as_millis));
            let values = params![token.name, token.role.name(), token.author, since, until, digest];
            transaction.execute(sql, values)
        }
        AccessRecord::DropToken(name) => transaction.execute("DELETE FROM token WHERE name = ?1", [name]),
        AccessRecord::Note(audit) => {
            let sql = "INSERT INTO audit (time, author, origin, what) VALUES (?1, ?2, ?3, ?4)";
            let time = audit.time.as_millis();
            transaction.execute(sql, params![time, audit.author, audit.origin, audit.what])?;
            let (last, oldest) = (transaction.last_insert_rowid(), audit.time.before(AUDIT_KEPT_FOR));
            let sql = "DELETE FROM audit WHERE id <= ?1 OR (id < ?1 + 1000 AND time < ?2)";
            transaction.execute(sql, params![last.saturating_sub(AUDIT_LIMIT), oldest.as_millis()])
        }
    }
    .map(drop)
}

fn user_of(row: &Row<'_>) -> rusqlite::Result<User> {
    let since = Timestamp::from_millis(row.get(3)?);
    Ok(User { name: row.get(0)?, role: role_of(row)?, author: row.get(2)?, since })
}

fn token_of(row: &Row<'_>) -> rusqlite::Result<(Token, Fingerprint)> {
    let User { name, role, author, since } = user_of(row)?;
    let until = row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis);
    Ok((Token { name, role, author, since, until }, row.get(5)?))
}

fn role_of(row: &Row<'_>) -> rusqlite::Result<Role> {
    let name: String = row.get(1)?;
    let unknown = || rusqlite::Error::FromSqlConversionFailure(1, Type::Text, name.clone().into());
    Role::named(&name).ok_or_else(unknown)
}
