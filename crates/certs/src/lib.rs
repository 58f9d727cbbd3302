//! Certificates: read and checked, kept by name, made by a local authority, and given to TLS clients.
//!
//! Everything that builds a rustls server lives here; nothing here opens a socket or reads a clock.
//!
//! ```
//! use std::sync::Arc;
//! use certs::{CertTable, LocalCa};
//! use model::Timestamp;
//!
//! let now = Timestamp::from_millis(1_790_000_000_000);
//! let ca = LocalCa::generate(now)?;
//! let table = Arc::new(CertTable::new(now)?);
//!
//! let record = ca.issue(&"*.app.test".parse()?, now)?;
//! table.apply("*.app.test", Some(&record))?;
//! assert!(table.find("www.app.test").is_some());
//! assert!(table.find("app.test").is_some(), "`*.base` covers its base too");
//! assert!(table.find("a.b.app.test").is_none(), "`*` is one label");
//!
//! let tls = certs::server_config(&table)?; // for every listener
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod acme_tls;
mod entry;
mod error;
mod inspect;
mod issuing;
mod local_ca;
mod server;
mod table;
mod upload;

pub use acme_tls::{ACME_TLS, acme_tls_config};
pub use entry::Entry;
pub use error::Error;
pub use inspect::{Description, Inspected, describe, inspect};
pub use issuing::{
    BoxFuture, Failure, Issuer, Journal, JournalError, KeyKind, OrderState, RenewalWindow, Request,
    Stage, TxtValue, codes,
};
pub use local_ca::LocalCa;
pub use server::{provider, resolver, server_config};
pub use table::CertTable;
pub use upload::{Fault, check_upload};
