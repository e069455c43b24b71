//! Who may ask over TCP: users with passwords, programs with tokens, and what each may do.
//!
//! One task owns the register; everybody else hands it a question. Passwords and secrets are kept as hashes, and no
//! answer of this module tells a wrong name from a wrong password.

mod audit;
mod password;
mod register;
mod routes;
mod secret;

use std::net::IpAddr;
use std::time::Duration;

use filter_core::access::{Asker, Audit, NewToken, Rates, Role, Token, User};
use filter_core::client::{ClientAddr, ScopeWidth};
use filter_core::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

pub use audit::Done;
pub(super) use audit::record;
pub use register::{Identity, Notice, SIGN_IN_LASTS, Undo};

pub(super) use routes::describe;
pub use secret::Fingerprint;

use register::{Refusal, Register};

use crate::clock;
use crate::store::{AccessRecord, Entry, Store};

/// Questions that may wait for the task.
const WAITING_LIMIT: usize = 1024;

/// What a browser shows from now on, and what its forms must carry.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The value of the cookie.
    pub secret: String,
}

/// Why nobody is signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInFault {
    /// The name or the password; not said which.
    Wrong,
    /// Too many wrong ones; how long to wait.
    TooMany(Duration),
    /// The system has no randomness, or the agent is stopping.
    Broken,
}

type Job = Box<dyn FnOnce(&mut Register) + Send>;

/// The way to the register; cheap to clone.
#[derive(Debug, Clone)]
pub struct Access {
    jobs: mpsc::Sender<Job>,
    store: Store,
}

impl Access {
    /// Starts the task with what the store kept, for those who may ask this often.
    pub fn start(store: Store, rates: Rates) -> rusqlite::Result<Self> {
        let (users, tokens) = store.history().accounts()?;
        let mut register = Register::restore(users, tokens, rates);
        let (jobs, mut queue) = mpsc::channel::<Job>(WAITING_LIMIT);
        tokio::spawn(async move {
            while let Some(job) = queue.recv().await {
                job(&mut register);
            }
        });
        Ok(Self { jobs, store })
    }

    /// Asks the task; none: it has ended, which only happens when the agent stops.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Register) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, wait) = oneshot::channel();
        let job = Box::new(move |register: &mut Register| {
            // Whoever has stopped waiting does not need it.
            let _ = answer.send(question(register));
        });
        self.jobs.send(job).await.ok()?;
        wait.await.ok()
    }

    /// Whether there is anybody who could come in.
    pub async fn has_anybody(&self) -> bool {
        let now = clock::now().wall;
        self.ask(move |register| register.has_anybody(now)).await.unwrap_or(false)
    }

    /// Takes a request from an address, or says how long it has to wait.
    pub async fn admit_address(&self, address: IpAddr) -> Result<(), Duration> {
        self.admit(Asker::Network(ScopeWidth::default().scope_of(ClientAddr::new(address)))).await
    }

    /// Takes a request of a user or token, or says how long it has to wait.
    pub async fn admit_account(&self, name: &str) -> Result<(), Duration> {
        self.admit(Asker::Account(name.to_owned())).await
    }

    async fn admit(&self, asker: Asker) -> Result<(), Duration> {
        let now = clock::instant();
        // Without the task nobody is answered anything, and whoever comes next says so.
        self.ask(move |register| register.rates.admit(asker, now)).await.unwrap_or(Ok(()))
    }

    /// Who shows this token.
    pub async fn of_token(&self, secret: &str, from: IpAddr) -> Option<Identity> {
        let (fingerprint, now) = (secret::fingerprint(secret), clock::now().wall);
        self.ask(move |register| register.of_token(fingerprint, from, now)).await.flatten()
    }

    /// Whose browser shows this cookie.
    pub async fn of_sign_in(&self, secret: &str, from: IpAddr) -> Option<Identity> {
        let (fingerprint, now) = (secret::fingerprint(secret), clock::now().wall);
        self.ask(move |register| register.of_sign_in(fingerprint, from, now)).await.flatten()
    }

    /// Takes a name and a password.
    pub async fn sign_in(
        &self,
        name: String,
        password: String,
        from: IpAddr,
    ) -> Result<SignedIn, SignInFault> {
        let scope = ScopeWidth::default().scope_of(ClientAddr::new(from));
        let now = clock::now();
        let asked = name.clone();
        let begun = self.ask(move |register| {
            register.attempts.begin(scope, now.instant)?;
            Ok(register.password_of(&asked))
        });
        let hash = begun.await.ok_or(SignInFault::Broken)?.map_err(SignInFault::TooMany)?;
        if !password::is_right(password, hash).await {
            return Err(SignInFault::Wrong);
        }
        let (Some(secret), Some(csrf)) = (secret::make(), secret::make()) else {
            return Err(SignInFault::Broken);
        };
        let fingerprint = secret::fingerprint(&secret);
        let user = name.clone();
        let signed_in = self.ask(move |register| {
            register.attempts.succeeded(scope);
            register.sign_in(&user, fingerprint, csrf, now.wall)
        });
        signed_in.await.ok_or(SignInFault::Broken)?.ok_or(SignInFault::Wrong)?;
        self.note(&name, &from.to_string(), "signed in".to_owned());
        Ok(SignedIn { secret })
    }

    /// Ends a sign-in.
    pub async fn sign_out(&self, secret: &str) {
        let fingerprint = secret::fingerprint(secret);
        self.ask(move |register| register.sign_out(fingerprint)).await;
    }

    /// Leaves word for the next page that somebody sees.
    pub async fn leave(&self, identity: &Identity, notice: Notice) {
        if let Some(sign_in) = identity.sign_in {
            self.ask(move |register| register.leave(sign_in, notice)).await;
        }
    }

    /// What was left for this page.
    pub async fn take(&self, identity: &Identity) -> Option<Notice> {
        let sign_in = identity.sign_in?;
        self.ask(move |register| register.take(sign_in)).await.flatten()
    }

    /// What somebody can undo, once.
    pub async fn take_undo(&self, identity: &Identity) -> Option<Undo> {
        let sign_in = identity.sign_in?;
        self.ask(move |register| register.take_undo(sign_in)).await.flatten()
    }

    /// Everybody who can sign in.
    pub async fn users(&self) -> Option<Vec<User>> {
        self.ask(|register| register.users()).await
    }

    /// Every token.
    pub async fn tokens(&self) -> Option<Vec<Token>> {
        self.ask(|register| register.tokens()).await
    }

    /// Makes a user; none: the agent is stopping.
    pub async fn add_user(
        &self,
        name: String,
        role: Role,
        password: String,
        author: String,
    ) -> Option<Result<User, Refusal>> {
        let hash = password::hash(password).await?;
        let user = User { name, role, author, since: clock::now().wall };
        let (added, kept) = (user.clone(), hash.clone());
        let result = self.ask(move |register| register.add_user(added, kept)).await?;
        Some(result.map(|()| {
            self.store.write(vec![Entry::Access(AccessRecord::PutUser(user.clone(), hash))]);
            user
        }))
    }

    /// Gives a user another password, and ends where he is signed in; none: the agent is stopping.
    pub async fn set_password(&self, name: String, password: String) -> Option<Result<User, Refusal>> {
        let hash = password::hash(password).await?;
        let kept = hash.clone();
        let result = self.ask(move |register| register.set_password(&name, kept)).await?;
        Some(result.inspect(|user| {
            self.store.write(vec![Entry::Access(AccessRecord::PutUser(user.clone(), hash))]);
        }))
    }

    /// Removes a user, and ends where he is signed in; none: the agent is stopping.
    pub async fn remove_user(&self, name: String) -> Option<Result<User, Refusal>> {
        let result = self.ask(move |register| register.remove_user(&name)).await?;
        Some(result.inspect(|user| {
            self.store.write(vec![Entry::Access(AccessRecord::DropUser(user.name.clone()))]);
        }))
    }

    /// Makes a token; none: the agent is stopping, or the system has no randomness.
    pub async fn add_token(
        &self,
        name: String,
        role: Role,
        until: Option<Timestamp>,
        author: String,
    ) -> Option<Result<NewToken, Refusal>> {
        let secret = secret::make()?;
        let fingerprint = secret::fingerprint(&secret);
        let token = Token { name, role, author, since: clock::now().wall, until };
        let added = token.clone();
        let result = self.ask(move |register| register.add_token(added, fingerprint)).await?;
        Some(result.map(|()| {
            self.store.write(vec![Entry::Access(AccessRecord::PutToken(token.clone(), fingerprint))]);
            NewToken { token, secret }
        }))
    }

    /// Takes a token's power away; none: the agent is stopping.
    pub async fn remove_token(&self, name: String) -> Option<Result<Token, Refusal>> {
        let result = self.ask(move |register| register.remove_token(&name)).await?;
        Some(result.inspect(|token| {
            self.store.write(vec![Entry::Access(AccessRecord::DropToken(token.name.clone()))]);
        }))
    }

    /// Enters a line in the audit trail.
    pub fn note(&self, author: &str, origin: &str, what: String) {
        tracing::info!(by = author, from = origin, what, "audit");
        let (time, author, origin) = (clock::now().wall, author.to_owned(), origin.to_owned());
        self.store.write(vec![Entry::Access(AccessRecord::Note(Audit { time, author, origin, what }))]);
    }
}
