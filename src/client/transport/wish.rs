/// What a request is to be sent over, by what it has gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Whatever is free.
    Any,
    /// It came back unsent: over HTTP/1.1, its connection had been closed while it lay idle, as others may have been. Over HTTP/2 its server may
    /// just have refused it, and any connection that is open will do.
    Rather,
    /// It was cut off on a connection that had been kept, or got no answer there in time, and its caller sends it again.
    New,
}

impl Wish {
    /// What a call asks for that has just begun.
    pub(super) const fn of(wants_new: bool) -> Self {
        if wants_new { Self::New } else { Self::Any }
    }

    /// What it asks for once it has come back unsent.
    pub(super) const fn came_back(self) -> Self {
        match self {
            Self::Any => Self::Rather,
            other => other,
        }
    }
}
