//! The shared state of the two planes: the Backend seam and the records on it.
#![forbid(unsafe_code)]
