//! The data plane as a program.
