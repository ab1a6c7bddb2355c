use std::fmt;
use std::time::Duration;

/// One of the two directions of a connection. Example: [`Happening`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From whoever connects to whoever accepts.
    Up,
    /// Back.
    Down,
}

impl Direction {
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// What happened to a connection of a [`Wire`](super::Wire), and when. It is shown as a line for people to read.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use stonework::base::Ratio;
/// use stonework::testing::chaos::{Direction, Faults, What, Wire};
///
/// let wire = Wire::new(7, Faults::none().refusals(Ratio::ONE));
/// let _accepted = wire.listen();
/// assert!(wire.connect().await.is_err());
/// let happenings = wire.happenings();
/// assert_eq!((happenings[0].connection, happenings[0].what), (0, What::Refused));
/// assert!(!happenings.iter().any(|happening| matches!(happening.what, What::Reset(Direction::Up, _))));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Happening {
    /// Since the wire was made.
    pub at: Duration,
    /// Which connection, counted from 0 as somebody wanted them.
    pub connection: u64,
    /// What.
    pub what: What,
}

/// What happens to connections. Example: [`Happening`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// It was made.
    Made,
    /// The other end said no: by chance, or since nobody accepts.
    Refused,
    /// Nothing was heard of the other end, and never will be.
    Hangs,
    /// It is reset, after so many bytes in this direction.
    Reset(Direction, u64),
    /// From now on what is sent in this direction is lost, after so many bytes of it.
    Silenced(Direction, u64),
    /// Both ends are gone.
    Gone,
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = |direction: Direction| match direction {
            Direction::Up => "up",
            Direction::Down => "down",
        };
        write!(f, "{:?}: connection {} ", self.at, self.connection)?;
        match self.what {
            What::Made => f.write_str("is made"),
            What::Refused => f.write_str("is refused"),
            What::Hangs => f.write_str("hangs"),
            What::Reset(direction, after) => write!(f, "is reset, {after} bytes {}", way(direction)),
            What::Silenced(direction, after) => write!(f, "falls silent, {after} bytes {}", way(direction)),
            What::Gone => f.write_str("is gone"),
        }
    }
}
