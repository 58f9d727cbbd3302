//! The REST API: translation between HTTP and control.
#![forbid(unsafe_code)]
