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

impl Speaks {
    /// For how many requests at once a further connection would be.
    pub(super) const fn each(self) -> usize {
        match self {
            Self::Unknown | Self::Http1 | Self::Http2 { streams: 0 } => 1,
            Self::Http2 { streams } => streams,
        }
    }
}

/// The places of a host. Each is of a connection that is being made, is open, or is not closed yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    max: usize,
    taken: usize,
    dialing: usize,
    open: usize,
    /// Of those that are open, how many are being closed to make room.
    leaving: usize,
    /// Connecting has failed, nothing is open, and others are still trying.
    failing: bool,
}

/// Who is told that connecting failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Who has waited longest. The others may still be served.
    First,
    /// Everybody: nothing is left that could serve them.
    All,
}

impl Places {
    pub(super) const fn new(max: usize) -> Self {
        Self { max, taken: 0, dialing: 0, open: 0, leaving: 0, failing: false }
    }

    pub(super) const fn max(&self) -> usize {
        self.max
    }

    pub(super) const fn open(&self) -> usize {
        self.open
    }

    pub(super) const fn dialing(&self) -> usize {
        self.dialing
    }

    pub(super) const fn room(&self) -> usize {
        self.max.saturating_sub(self.taken)
    }

    /// A connection is being made.
    pub(super) const fn begin(&mut self) {
        self.taken += 1;
        self.dialing += 1;
    }

    /// It was made.
    pub(super) const fn opened(&mut self) {
        self.dialing -= 1;
        self.open += 1;
        self.failing = false;
    }

    /// It was not. Its place is free as soon as its socket is closed.
    pub(super) const fn failed(&mut self) -> Told {
        self.dialing -= 1;
        let last = self.dialing == 0;
        self.failing = self.open == 0 && !last;
        if self.open == 0 && last { Told::All } else { Told::First }
    }

    /// A socket was closed, of a connection that had been made or had not.
    pub(super) const fn closed(&mut self, opened: bool) {
        self.taken -= 1;
        if opened {
            self.open -= 1;
            self.leaving = self.leaving.saturating_sub(1);
        }
    }

    /// One is being closed to make room. It has its place until its socket is closed.
    pub(super) const fn leave(&mut self) {
        self.leaving += 1;
    }

    /// Whether a connection is on its way for somebody before whom so many wait, or can be made soon. `room`: there is some among all connections.
    pub(super) const fn covers(&self, before: usize, speaks: Speaks, room: bool) -> bool {
        let room = if room { self.room() } else { 0 };
        before < (self.dialing + self.leaving + room).saturating_mul(speaks.each())
    }

    /// How many connections to begin for so many who wait.
    ///
    /// Of a host about which nothing is known, the first connection tells whether one is enough for all. Making one for each who waits
    /// would be a burst of handshakes that a host over HTTP/2 needs one of. And where connecting has just failed and nothing is open,
    /// those that are under way tell whether it is worth trying again.
    pub(super) fn wanted(&self, waiting: usize, speaks: Speaks) -> usize {
        if self.failing {
            return 0;
        }
        let useful = match speaks {
            Speaks::Unknown => waiting.min(1),
            other => waiting.div_ceil(other.each()),
        };
        useful.saturating_sub(self.dialing).min(self.room())
    }

    /// How many of so many who wait have neither a connection on its way nor room for one.
    pub(super) const fn without_a_place(&self, waiting: usize, speaks: Speaks) -> usize {
        waiting.saturating_sub((self.dialing + self.leaving + self.room()).saturating_mul(speaks.each()))
    }

    /// Whether a connection is on its way for the one before whom so many wait.
    pub(super) const fn is_promised(&self, before: usize, speaks: Speaks) -> bool {
        before < self.dialing.saturating_mul(speaks.each())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn places(max: usize, open: usize, dialing: usize) -> Places {
        Places { max, taken: open + dialing, dialing, open, leaving: 0, failing: false }
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
        assert_eq!(places(3, 1, 0).wanted(5, Speaks::Http1), 2, "there is no more room");
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
        assert_eq!(places(1, 3, 0).room(), 0, "the most may be less than there are");
        assert!(places(3, 1, 2).is_promised(1, Speaks::Http1));
        assert!(!places(3, 1, 2).is_promised(2, Speaks::Http1));
        assert!(places(3, 1, 1).is_promised(9, Speaks::Http2 { streams: 10 }));
    }

    #[test]
    fn a_connection_that_leaves_counts_as_room_for_one_until_its_socket_is_closed() {
        let mut places = places(2, 2, 0);
        assert!(!places.covers(0, Speaks::Http1, true));
        places.leave();
        assert!(places.covers(0, Speaks::Http1, true) && !places.covers(1, Speaks::Http1, true));
        assert_eq!(places.without_a_place(1, Speaks::Http1), 0);
        places.closed(true);
        assert!(places.covers(0, Speaks::Http1, true), "now there is room");
        assert!(!places.covers(0, Speaks::Http1, false), "but not among all connections");
        places.begin();
        assert!(places.covers(0, Speaks::Http1, false) && !places.covers(1, Speaks::Http1, true));
        assert!(places.covers(9, Speaks::Http2 { streams: 10 }, false));
        places.opened();
        places.closed(true);
        places.closed(true);
        assert_eq!((places.open(), places.room(), places.leaving), (0, 2, 0));
    }

    #[test]
    fn a_failure_is_told_to_all_once_nothing_is_left_and_until_then_nothing_new_is_begun() {
        let mut places = places(2, 0, 2);
        assert_eq!(places.failed(), Told::First);
        places.closed(false);
        assert_eq!(places.wanted(9, Speaks::Http1), 0, "the other one will tell");
        assert_eq!(places.failed(), Told::All);
        places.closed(false);
        assert_eq!(places.wanted(9, Speaks::Http1), 2);

        places.begin();
        places.begin();
        assert_eq!(places.failed(), Told::First);
        places.opened();
        places.closed(false);
        assert_eq!(places.wanted(9, Speaks::Http1), 1, "it works after all");
        places.begin();
        assert_eq!(places.failed(), Told::First, "one is open");
        places.closed(false);
        places.closed(true);
        assert_eq!((places.open(), places.dialing(), places.room()), (0, 0, 2));
    }
}
