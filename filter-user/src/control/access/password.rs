//! Passwords as they are kept: Argon2id with a salt of its own each, in the PHC notation.

use std::sync::LazyLock;

use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

/// Passwords that are hashed at once. Each takes 19 MiB and a core for some time; who tries many at a time waits.
static AT_ONCE: Semaphore = Semaphore::const_new(1);

/// The hash of a password that nobody has: who tries a name that does not exist waits as long as for one that does.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash_now("no user has this password").unwrap_or_default());

/// The hash of a password; none if the system has no randomness for a salt.
pub(super) async fn hash(password: String) -> Option<String> {
    let _turn = AT_ONCE.acquire().await.ok()?;
    tokio::task::spawn_blocking(move || hash_now(&password)).await.ok().flatten()
}

/// Whether this is the password behind a hash. Without a hash it is not, and that takes as long.
pub(super) async fn is_right(password: String, hash: Option<String>) -> bool {
    let Ok(_turn) = AT_ONCE.acquire().await else { return false };
    let compare = move || {
        let matches = Argon2::default()
            .verify_password(password.as_bytes(), hash.as_deref().unwrap_or(&NOBODY))
            .is_ok();
        matches && hash.is_some()
    };
    tokio::task::spawn_blocking(compare).await.unwrap_or(false)
}

fn hash_now(password: &str) -> Option<String> {
    Argon2::default().hash_password(password.as_bytes()).ok().map(|hash| hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_is_right() {
        let kept = hash("four words in a row".to_owned()).await.unwrap();
        assert!(kept.starts_with("$argon2id$") && !kept.contains("four"), "{kept}");
        assert!(is_right("four words in a row".to_owned(), Some(kept.clone())).await);
        assert!(!is_right("four words in a ro".to_owned(), Some(kept)).await);
        assert!(!is_right("no user has this password".to_owned(), None).await);
        assert!(!is_right(String::new(), Some("no hash".to_owned())).await);
    }
}
