//! Use cases and reconcilers of the control plane.
#![forbid(unsafe_code)]
