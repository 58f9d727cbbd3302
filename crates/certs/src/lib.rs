//! Certificates: the table by name, the local authority, the Issuer seam.
#![forbid(unsafe_code)]
