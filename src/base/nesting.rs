//! What the retries of one task tell each other, so that they do not multiply.
//!
//! Like the call scope it lives in a thread-local for the length of one `call` or one `poll`, and cannot leak into
//! another task. Down goes which request is being repeated and the number of the attempt, up comes that a retry inside
//! has done what it could.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use pin_project::pin_project;

/// Recognizes a request further down the same stack, without a mark on it: copies of a head share the bytes of its URI.
/// So do requests whose URIs are one static text, such as "/" without an authority; they are taken for one another. Only
/// meaningful while somebody keeps a copy of the head, and never dereferenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    authority: usize,
    path: usize,
}

impl Identity {
    pub(crate) fn of(uri: &Uri) -> Self {
        Self {
            authority: uri.authority().map_or(0, |authority| authority.as_str().as_ptr().addr()),
            path: uri.path().as_ptr().addr(),
        }
    }
}

/// A request that a retry outside is sending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeated {
    pub(crate) request: Identity,
    /// Whether it is sent again also when it may have been received. If not, one inside that may do more, does.
    pub(crate) is_safe: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Nesting {
    /// The attempt that all of this is part of, as the nearest retry outside says, in this task or before this hop.
    pub(crate) attempt: u32,
    pub(crate) repeated: Option<Repeated>,
    /// A retry inside gave up, and another one outside would only repeat what it has done.
    pub(crate) spent: bool,
}

impl Nesting {
    const NONE: Self = Self { attempt: 1, repeated: None, spent: false };

    /// Work that is part of this attempt, for whatever request.
    pub(crate) const fn part_of(attempt: u32) -> Self {
        Self { attempt, ..Self::NONE }
    }

    /// What is in force, for work of which somebody else says that it is part of this attempt.
    pub(crate) fn or_part_of(attempt: u32) -> Self {
        let outside = current();
        Self { attempt: attempt.max(outside.attempt), spent: false, ..outside }
    }
}

thread_local! {
    static NESTING: Cell<Nesting> = const { Cell::new(Nesting::NONE) };
}

#[inline]
pub(crate) fn current() -> Nesting {
    NESTING.get()
}

/// A nesting in force, until this is dropped, also by a panic. It never outlives the function that entered it.
#[must_use = "the nesting ends when this is dropped"]
pub(crate) struct Entered {
    outer: Nesting,
}

/// Put `inside` in force.
#[inline]
pub(crate) fn enter(inside: Nesting) -> Entered {
    Entered { outer: NESTING.replace(inside) }
}

impl Entered {
    /// End it, and say whether a retry in there gave up.
    #[inline]
    pub(crate) fn leave(self) -> bool {
        NESTING.get().spent
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        NESTING.set(self.outer);
    }
}

/// Tell whoever is outside that to repeat this would only repeat what was done.
pub(crate) fn tell_spent() {
    NESTING.set(Nesting { spent: true, ..NESTING.get() });
}

/// Work that is part of an attempt, and whether a retry in it gave up.
#[pin_project]
#[derive(Debug)]
pub(crate) struct Within<F> {
    #[pin]
    work: F,
    attempt: u32,
    spent: bool,
}

impl<F> Within<F> {
    pub(crate) const fn new(work: F, attempt: u32) -> Self {
        Self { work, attempt, spent: false }
    }
}

impl<F: Future> Future for Within<F> {
    type Output = (F::Output, bool);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let entered = enter(Nesting::or_part_of(*this.attempt));
        let poll = this.work.poll(cx);
        *this.spent |= entered.leave();
        poll.map(|output| (output, *this.spent))
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn what_is_told_comes_up_one_level_and_is_gone_after_it_also_by_a_panic() {
        let outer = enter(Nesting::part_of(2));
        assert_eq!(current().attempt, 2);
        let inner = enter(Nesting::part_of(3));
        tell_spent();
        assert!(inner.leave());
        assert!(!outer.leave(), "the level between decides what it passes on");
        let panicked = catch_unwind(|| {
            let _entered = enter(Nesting::part_of(4));
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        assert_eq!((current().attempt, current().spent), (1, false));
    }

    #[test]
    fn a_request_is_recognized_by_its_copy_and_not_by_one_that_was_parsed_anew() {
        let parsed = || "http://example.test/path?query".parse::<Uri>().unwrap();
        let first = parsed();
        assert_eq!(Identity::of(&first), Identity::of(&first.clone()));
        assert_ne!(Identity::of(&first), Identity::of(&parsed()));
    }
}
