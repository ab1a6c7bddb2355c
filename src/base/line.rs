use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// One connection that all callers share. It is made by whoever asks first, and given up for a new one when nothing was heard over it for
/// a while: the other end may be gone without a word, which TCP alone finds out after hours.
///
/// A clone of a connection is the same connection.
pub(crate) struct Line<C> {
    silence: Duration,
    state: Mutex<State<C>>,
}

struct State<C> {
    connection: Option<C>,
    /// How many there were before.
    number: u64,
    /// When the first question was asked since the last answer.
    silent_since: Option<Instant>,
}

impl<C: Clone> Line<C> {
    /// Which is given up so long after a question that nothing was heard of.
    pub(crate) const fn new(silence: Duration) -> Self {
        Self { silence, state: Mutex::new(State { connection: None, number: 0, silent_since: None }) }
    }

    /// The connection over which something is asked now, and its number. One that is no longer usable is replaced.
    pub(crate) fn ask<E>(
        &self,
        is_usable: impl FnOnce(&C) -> bool,
        connect: impl FnOnce() -> Result<C, E>,
    ) -> Result<(u64, C), E> {
        let now = Instant::now();
        let mut state = self.state();
        let since = *state.silent_since.get_or_insert(now);
        let silent = now.saturating_duration_since(since) >= self.silence;
        if let Some(connection) = state.connection.clone().filter(|one| !silent && is_usable(one)) {
            return Ok((state.number, connection));
        }
        state.connection = None;
        state.silent_since = Some(now);
        let connection = connect()?;
        state.number += 1;
        state.connection = Some(connection.clone());
        Ok((state.number, connection))
    }

    /// Something was heard over the connection of this number.
    pub(crate) fn heard(&self, number: u64) {
        let mut state = self.state();
        if number == state.number {
            state.silent_since = None;
        }
    }

    /// The connection of this number was lost: who asks next makes another.
    #[cfg(any(test, feature = "postgres"))]
    pub(crate) fn lost(&self, number: u64) {
        let mut state = self.state();
        if number == state.number {
            state.connection = None;
            state.silent_since = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> fmt::Debug for Line<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("silence", &self.silence).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ask(line: &Line<&'static str>, usable: bool) -> u64 {
        line.ask(|_| usable, || Ok::<_, Infallible>("connection")).unwrap().0
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_kept_as_long_as_it_is_heard_of() {
        let line = Line::new(SECOND);
        for _ in 0..5 {
            assert_eq!(ask(&line, true), 1);
            tokio::time::advance(SECOND * 3 / 4).await;
            line.heard(1);
        }
        assert_eq!(ask(&line, true), 1);
        tokio::time::advance(SECOND * 3 / 4).await;
        assert_eq!(ask(&line, true), 1, "of the first question nothing was heard for less than a second");
        tokio::time::advance(SECOND / 4).await;
        assert_eq!(ask(&line, true), 2);
        line.heard(1);
        tokio::time::advance(SECOND).await;
        assert_eq!(ask(&line, true), 3, "what is heard over the first says nothing of the second");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_not_usable_is_replaced_and_none_is_kept_where_none_can_be_made() {
        let line = Line::new(SECOND);
        assert_eq!((ask(&line, true), ask(&line, false), ask(&line, true)), (1, 2, 2));
        assert_eq!(line.ask(|_| false, || Err("refused")), Err("refused"));
        assert_eq!(ask(&line, true), 3);
        line.lost(2);
        assert_eq!(ask(&line, true), 3, "that was another");
        line.lost(3);
        assert_eq!(ask(&line, true), 4);
    }
}
