//! Which upstream of a group gets a request, and what is done about those that fail.
//!
//! Who is next is [`strategy`]'s, how an upstream fares is [`state`]'s: both pure. [`vital`] shares the latter among the
//! workers; [`balancer`] brings them together for a group; [`watch`] asks upstreams regularly.

mod balancer;
mod budget;
mod care;
mod cookie;
mod set;
mod state;
#[cfg(test)]
mod state_tests;
mod strategy;
#[cfg(test)]
mod tests;
mod vital;
mod walk;
mod watch;

pub use self::balancer::{Balancer, Group, Permit};
pub(crate) use self::walk::Turns;
pub use self::walk::{Attempt, Refused, Walk};
pub use self::watch::{Ailing, Vitals, Watch};
