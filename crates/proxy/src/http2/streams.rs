//! The streams of a connection, each a future in a slot whose memory serves one after the other.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::turns::{CODEC, Turns, waker};

/// The streams in flight. Dropping them drops their exchanges.
pub(super) struct Streams<F> {
    turns: Arc<Turns>,
    slots: Vec<Slot<F>>,
    free: Vec<usize>,
    woken: Vec<usize>,
}

struct Slot<F> {
    stream: Pin<Box<Option<F>>>,
    waker: Waker,
}

impl<F: Future<Output = ()>> Streams<F> {
    pub(super) fn new(turns: Arc<Turns>) -> Self {
        Self { turns, slots: Vec::new(), free: Vec::new(), woken: Vec::new() }
    }

    /// Adds a stream, whose turn it is next. It is made where it stays: it is large.
    pub(super) fn start(&mut self, stream: impl FnOnce() -> F) {
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(slot) = self.slots.get_mut(index) {
                    slot.stream.set(Some(stream()));
                }
                index
            }
            None => {
                let waker = waker(&self.turns, place(self.slots.len()));
                self.slots.push(Slot { stream: Box::pin(Some(stream())), waker });
                self.slots.len() - 1
            }
        };
        self.turns.wake(place(index));
    }

    /// Polls the streams that were woken; whether the codec was as well.
    pub(super) fn poll_woken(&mut self) -> bool {
        let mut woken = std::mem::take(&mut self.woken);
        self.turns.take(&mut woken);
        let mut codec = false;
        for place in woken.drain(..) {
            match place.checked_sub(FIRST) {
                Some(index) => self.poll(index),
                None => codec |= place == CODEC,
            }
        }
        self.woken = woken;
        codec
    }

    /// Whether there is memory for streams, in flight or not.
    pub(super) fn holds(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Gives the memory back if no stream is in flight.
    pub(super) fn rest(&mut self) {
        if self.free.len() == self.slots.len() {
            self.slots = Vec::new();
            self.free = Vec::new();
        }
    }

    fn poll(&mut self, index: usize) {
        // A waker may outlive its stream, and its slot.
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(stream) = slot.stream.as_mut().as_pin_mut() else { return };
        if let Poll::Ready(()) = stream.poll(&mut Context::from_waker(&slot.waker)) {
            slot.stream.set(None);
            self.free.push(index);
        }
    }
}

const FIRST: usize = CODEC + 1;

fn place(index: usize) -> usize {
    index + FIRST
}
