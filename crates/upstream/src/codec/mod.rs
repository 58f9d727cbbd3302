//! HTTP/1.1 spoken by this crate, in the request's own task: no second task to wake, no channel between.

mod answer_body;
mod chunked;
mod connection;
mod exchange;
mod head;
mod intake;
mod upload;

use std::rc::Rc;
use std::time::Duration;

pub(crate) use self::answer_body::AnswerBody;
pub(crate) use self::connection::Connection;
pub(crate) use self::exchange::send;
use self::intake::Intake;
pub(crate) use self::upload::{Upload, UploadError, put_field};
use crate::{Settings, Spare};

/// What all connections of a worker share.
#[derive(Debug)]
pub(crate) struct Codec {
    intake: Intake,
    spare: Spare,
    idle_timeout: Option<Duration>,
    continue_timeout: Duration,
    max_head: usize,
    max_fields: usize,
}

impl Codec {
    pub(crate) fn new(settings: &Settings) -> Rc<Self> {
        Rc::new(Self {
            intake: Intake::default(),
            spare: Spare::default(),
            idle_timeout: settings.idle_timeout,
            continue_timeout: settings.continue_timeout,
            max_head: settings.max_head,
            max_fields: settings.max_headers,
        })
    }
}
