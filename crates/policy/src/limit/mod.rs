//! How often somebody may ask: token buckets in a table of fixed size.
//!
//! A bucket holds `burst` tokens, each request takes one, and they come back evenly. It is kept as one number, the
//! time at which it will be full again (GCRA), so a bucket that is full needs no memory and nothing runs in the
//! background.
//!
//! ```
//! use std::time::Duration;
//!
//! use policy::limit::{By, Limiter, Rate, Rule, Who};
//!
//! let limiter = Limiter::new(1 << 16);
//! let rate = Rate::new(2, Duration::from_secs(1), None)?;
//! let rule = Rule::new("*.example.com", "default", rate, By::Client)?;
//! let who = Who::Client("203.0.113.9".parse()?);
//! let mut now = Duration::ZERO; // since any fixed moment
//! assert!(limiter.take(&rule, who, now).admitted);
//! let last = limiter.take(&rule, who, now);
//! assert_eq!(rule.fields(&last).remaining, "\"default\";r=0;t=1");
//! let refused = limiter.take(&rule, who, now);
//! assert_eq!((refused.admitted, refused.retry_after_seconds()), (false, 1));
//! now += Duration::from_millis(500);
//! assert!(limiter.take(&rule, who, now).admitted);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod rate;
mod table;

pub use rate::{By, Fields, Rate, Rule, Standing, Who};
pub use table::Limiter;
