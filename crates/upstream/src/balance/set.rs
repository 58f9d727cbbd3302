/// Some of the upstreams of a group, of which there are 64 at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set(u64);

impl Set {
    /// As many as a set can have.
    pub(crate) const ROOM: usize = 64;

    pub(crate) fn all(count: usize) -> Self {
        (0..count.min(Self::ROOM)).collect()
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn contains(self, at: usize) -> bool {
        at < Self::ROOM && self.0 & 1 << at != 0
    }

    #[must_use]
    pub(crate) fn with(self, at: usize) -> Self {
        if at < Self::ROOM { Self(self.0 | 1 << at) } else { self }
    }

    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[must_use]
    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let at = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            (at < Self::ROOM).then_some(at)
        })
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<I: IntoIterator<Item = usize>>(members: I) -> Self {
        members.into_iter().fold(Self::default(), Self::with)
    }
}
