use std::time::Duration;

use crate::alarm::Alarm;
use crate::pool::Reusable;
use crate::stream::Stream;

/// A connection between or during exchanges. Bytes read but not used are never kept: a connection with some
/// left over is not used again.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) alarm: Alarm,
    generation: u64,
}

impl Connection {
    pub(crate) fn new(stream: Stream, idle_timeout: Option<Duration>, generation: u64) -> Self {
        Self { stream, alarm: Alarm::new(idle_timeout), generation }
    }
}

impl Reusable for Connection {
    fn is_quiet(&mut self) -> bool {
        self.stream.is_quiet()
    }

    fn is_quiet_in_kernel(&mut self) -> bool {
        self.stream.is_quiet_in_kernel()
    }

    fn generation(&self) -> u64 {
        self.generation
    }
}
