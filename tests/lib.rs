//! Black-box tests; see `docs/testing.md`.
