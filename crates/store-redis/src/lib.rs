//! The store on Redis: standalone, Sentinel or Cluster. The only crate that knows the client library.
//!
//! Records lie where older programs and `redis-cli` expect them, see `layout.rs`; a commit is one Lua script, see
//! `lua/commit.lua`. The server must be Redis 7.0 or later, or a Valkey. Reads and writes by others are welcome: expectations are judged by content.
//!
//! ```no_run
//! use model::Secret;
//! use store::Backend;
//! use store_redis::{RedisBackend, RedisSettings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let url = Secret::new("redis://127.0.0.1:6379".to_owned());
//! let backend = RedisBackend::connect(&RedisSettings::new(&url, "proxy_")?).await?;
//! println!("{}", backend.revision().await?);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod answer;
mod backend;
mod connection;
mod error;
mod layout;
mod legacy;
mod listen;
mod packed;
mod replicas;
mod scan;
mod script;
mod settings;
mod sweep;
mod trouble;

pub use backend::RedisBackend;
pub use error::Error;
pub use settings::RedisSettings;
