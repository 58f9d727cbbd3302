//! Tests of the reading side, in three rings: a table of what is and is not a request, properties against an independent
//! slow parser, and connections whose bytes come in pieces.

mod connection;
mod cost;
mod properties;
mod reference;
mod table;

use super::feed::{Place, Seen, feed};
