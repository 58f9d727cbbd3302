//! The control plane as a program.
