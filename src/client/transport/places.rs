//! Decides how many connections a host gets. Nothing here waits, locks or reads a clock.

/// What a host speaks, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// A first connection will tell.
    Unknown,
    /// HTTP/1.1: a connection is for one request at a time.
    Http1,
    /// HTTP/2: a connection is for as many requests as its server allows; the last one said so many.
    Http2 { streams: usize },
}

/// The places of a host. Each is of a connection that is open or being made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) max: usize,
    pub(super) open: usize,
    pub(super) dialing: usize,
}

impl Places {
    pub(super) const fn new(max: usize) -> Self {
        Self { max, open: 0, dialing: 0 }
    }

    pub(super) const fn room(&self) -> usize {
        self.max.saturating_sub(self.open + self.dialing)
    }

    /// Nothing is there, and nothing is on its way.
    pub(super) const fn is_empty(&self) -> bool {
        self.open + self.dialing == 0
    }

    /// How many connections to begin for so many who wait, whether or not there is room.
    ///
    /// Of a host about which nothing is known, the first connection tells whether one is enough for all. Making one for each who
    /// waits would be a burst of handshakes that a host over HTTP/2 needs one of.
    pub(super) fn wanted(&self, waiting: usize, speaks: Speaks) -> usize {
        let useful = match speaks {
            Speaks::Unknown => waiting.min(1),
            Speaks::Http1 => waiting,
            Speaks::Http2 { streams } => waiting.div_ceil(streams.max(1)),
        };
        useful.saturating_sub(self.dialing)
    }

    /// How many callers could find no place if one more came: those for whom neither a dial nor room for one is left.
    pub(super) fn without_a_place(&self, waiting: usize, speaks: Speaks) -> usize {
        let each = match speaks {
            Speaks::Unknown | Speaks::Http1 => 1,
            Speaks::Http2 { streams } => streams.max(1),
        };
        waiting.saturating_sub((self.dialing + self.room()).saturating_mul(each))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn places(max: usize, open: usize, dialing: usize) -> Places {
        Places { max, open, dialing }
    }

    #[test]
    fn one_connection_is_made_until_it_is_known_what_the_host_speaks() {
        assert_eq!(places(9, 0, 0).wanted(5, Speaks::Unknown), 1);
        assert_eq!(places(9, 0, 1).wanted(5, Speaks::Unknown), 0);
        assert_eq!(places(9, 0, 0).wanted(0, Speaks::Unknown), 0);
    }

    #[test]
    fn a_connection_serves_one_caller_over_http1_and_as_many_as_are_allowed_over_http2() {
        assert_eq!(places(9, 0, 0).wanted(5, Speaks::Http1), 5);
        assert_eq!(places(9, 0, 2).wanted(5, Speaks::Http1), 3);
        let many = Speaks::Http2 { streams: 10 };
        assert_eq!(places(9, 1, 0).wanted(25, many), 3);
        assert_eq!(places(9, 1, 3).wanted(25, many), 0);
        assert_eq!(places(9, 1, 0).wanted(1, Speaks::Http2 { streams: 0 }), 1, "no division by zero");
        assert_eq!(places(9, 1, 0).wanted(7, Speaks::Http2 { streams: usize::MAX }), 1);
    }

    #[test]
    fn only_those_count_as_waiting_for_whom_no_connection_can_be_made() {
        assert_eq!(places(3, 3, 0).without_a_place(2, Speaks::Http1), 2);
        assert_eq!(places(3, 1, 1).without_a_place(2, Speaks::Http1), 0);
        assert_eq!(places(3, 1, 1).without_a_place(3, Speaks::Http1), 1);
        assert_eq!(places(3, 2, 0).without_a_place(11, Speaks::Http2 { streams: 10 }), 1);
        assert_eq!(places(3, 3, 0).room(), 0);
        assert_eq!(places(1, 3, 0).room(), 0, "the most may be less than there are");
    }
}
