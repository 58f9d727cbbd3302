//! Passwords, login tokens, and what each role may do. Knows no HTTP and no storage, and does no I/O.
//!
//! **Passwords** are bcrypt hashes, so that accounts made by Node's `bcrypt` (`$2a$`, `$2b$`, `$2y$`) go on working.
//! bcrypt reads 72 bytes and stops at a NUL; a password it can't take whole is refused when it is set and never
//! matches when it is tried, instead of being cut. Hashing takes a fifth of a second of CPU by design: call it where
//! nothing else is kept waiting.
//!
//! **Tokens** are 256 random bits. Only their SHA-256 is ever stored: a stolen store opens no session.
//!
//! ```
//! use auth::{Cost, Passwords, Permission, Token, allows};
//! use model::{Role, Secret};
//!
//! let passwords = Passwords::new(Cost::new(4)?); // the default cost in service is 12
//! let password = Secret::new("correct horse".to_owned());
//! let hash = passwords.hash(&password)?;
//! assert!(passwords.verify(&password, Some(&hash)));
//! assert!(!passwords.verify(&password, None)); // no such account: as slow as a wrong password
//!
//! let token = Token::generate()?;
//! assert!(token.expose().starts_with("gw_"));
//! assert_eq!(Token::hash_of(token.expose()), Some(token.hash()));
//!
//! assert!(allows(Role::Manager, Permission::WriteHosts));
//! assert!(!allows(Role::Viewer, Permission::WriteHosts));
//! # Ok::<(), auth::Error>(())
//! ```
#![forbid(unsafe_code)]

mod password;
mod permission;
mod token;

pub use password::{Cost, MAX_PASSWORD, MIN_PASSWORD, Passwords, check_password};
pub use permission::{Permission, allows};
pub use token::Token;

/// Why a password, a cost or a token was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The password breaks a rule; the text says which and may be shown to whoever chose it.
    #[error("{0}")]
    Password(&'static str),
    /// A bcrypt cost outside 4 to 16.
    #[error("the bcrypt cost {0} is outside 4 to 16")]
    Cost(u32),
    /// The hash could not be computed.
    #[error("hashing a password failed")]
    Hash(#[source] bcrypt::BcryptError),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
}
