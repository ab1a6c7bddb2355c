//! What the retries of one task tell each other, so that they do not multiply; and which endpoints their attempts were made
//! with, so that a balancer further in picks another.
//!
//! Like the call scope it lives in a thread-local for the length of one `call` or one `poll`, and cannot leak into
//! another task. Down goes which request is being repeated, the number of the attempt and the endpoints tried, up comes
//! that a retry inside has done what it could, the endpoint that this attempt is made with, and that its connection was silent.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use pin_project::pin_project;

use super::endpoint::Tried;

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
    /// How often it was sent in there beside an attempt that was still under way: no repetition of what had failed.
    pub(crate) hedged: u32,
    /// The time of this attempt ran out on a connection that had been kept from before. Others that have lain idle may be as dead.
    pub(crate) silent: bool,
    /// The endpoints that its attempts were made with, if there is a retry outside that wants to know.
    pub(crate) tried: Option<Tried>,
}

impl Nesting {
    const NONE: Self =
        Self { attempt: 1, repeated: None, spent: false, hedged: 0, silent: false, tried: None };

    /// Work that is part of this attempt, for whatever request.
    pub(crate) const fn part_of(attempt: u32) -> Self {
        Self { attempt, ..Self::NONE }
    }

    /// What is in force, for work of which somebody else says that it is part of this attempt.
    pub(crate) fn or_part_of(attempt: u32) -> Self {
        let outside = current();
        Self { attempt: attempt.max(outside.attempt), spent: false, hedged: 0, silent: false, ..outside }
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
    /// End it, and say what became of it.
    #[inline]
    pub(crate) fn leave(self) -> Nesting {
        NESTING.get()
    }

    /// End it, and pass on what whoever is outside wants to know. Says whether a retry in there gave up.
    #[inline]
    pub(crate) fn pass_on(self) -> bool {
        let inside = self.leave();
        if inside.tried.is_some() {
            let outer = NESTING.get();
            let hedged = outer.hedged.saturating_add(inside.hedged);
            let silent = outer.silent || inside.silent;
            NESTING.set(Nesting { tried: inside.tried, hedged, silent, ..outer });
        }
        inside.spent
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

/// The endpoints that earlier attempts of this call were made with.
#[inline]
pub(crate) fn tried() -> Tried {
    NESTING.get().tried.unwrap_or_default()
}

/// Tell whoever repeats this, if anybody does, that this attempt is made with that endpoint.
#[inline]
pub(crate) fn tell_tried(endpoint: u32) {
    let mut nesting = NESTING.get();
    if let Some(tried) = &mut nesting.tried {
        tried.add(endpoint);
        NESTING.set(nesting);
    }
}

/// Tell whoever repeats this, if anybody does, that attempts were made with these endpoints.
#[cfg(feature = "hedge")]
pub(crate) fn tell_all_tried(endpoints: &Tried) {
    let mut nesting = NESTING.get();
    if let Some(tried) = nesting.tried {
        nesting.tried = Some(tried.and(endpoints));
        NESTING.set(nesting);
    }
}

/// Tell whoever repeats this, if anybody does, that it is sent once more while it is under way.
#[cfg(feature = "hedge")]
pub(crate) fn tell_hedged() {
    let mut nesting = NESTING.get();
    if nesting.tried.is_some() {
        nesting.hedged = nesting.hedged.saturating_add(1);
        NESTING.set(nesting);
    }
}

/// Tell whoever repeats this, if anybody does, that its time ran out on a connection that had been kept.
pub(crate) fn tell_silent() {
    let nesting = NESTING.get();
    if nesting.tried.is_some() {
        NESTING.set(Nesting { silent: true, ..nesting });
    }
}

/// Work that is part of an attempt, and what became of that.
#[pin_project]
#[derive(Debug)]
pub(crate) struct Within<F> {
    #[pin]
    work: F,
    attempt: u32,
    spent: bool,
    tried: Tried,
}

impl<F> Within<F> {
    pub(crate) const fn new(work: F, attempt: u32, tried: Tried) -> Self {
        Self { work, attempt, spent: false, tried }
    }
}

impl<F: Future> Future for Within<F> {
    type Output = (F::Output, bool, Tried);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let entered = enter(Nesting { tried: Some(*this.tried), ..Nesting::or_part_of(*this.attempt) });
        let poll = this.work.poll(cx);
        let inside = entered.leave();
        *this.spent |= inside.spent;
        if inside.silent {
            tell_silent();
        }
        *this.tried = inside.tried.unwrap_or_default();
        poll.map(|output| (output, *this.spent, *this.tried))
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
        assert!(inner.leave().spent);
        assert!(!outer.leave().spent, "the level between decides what it passes on");
        let panicked = catch_unwind(|| {
            let _entered = enter(Nesting::part_of(4));
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        assert_eq!((current().attempt, current().spent), (1, false));
    }

    #[test]
    fn the_endpoints_tried_come_up_to_whoever_wants_to_know_and_to_nobody_else() {
        tell_tried(1);
        assert!(tried().is_empty(), "nobody repeats anything");
        let outer = enter(Nesting { tried: Some(Tried::default()), ..Nesting::part_of(1) });
        tell_tried(2);
        let inner = enter(Nesting::or_part_of(1));
        assert!(tried().contains(2));
        tell_tried(3);
        assert!(!inner.pass_on());
        let found = outer.leave().tried.unwrap();
        assert!(found.contains(2) && found.contains(3) && !found.contains(1));
        assert!(tried().is_empty());
    }

    #[test]
    fn that_a_connection_was_silent_comes_up_to_whoever_repeats_the_attempt_and_to_nobody_else() {
        tell_silent();
        assert!(!current().silent, "nobody repeats anything");
        let outer = enter(Nesting { tried: Some(Tried::default()), ..Nesting::part_of(1) });
        let between = enter(Nesting::or_part_of(1));
        tell_silent();
        assert!(!between.pass_on());
        assert!(!Nesting::or_part_of(1).silent, "it is not said of what follows");
        assert!(outer.leave().silent && !current().silent);
    }

    #[test]
    fn a_request_is_recognized_by_its_copy_and_not_by_one_that_was_parsed_anew() {
        let parsed = || "http://example.test/path?query".parse::<Uri>().unwrap();
        let first = parsed();
        assert_eq!(Identity::of(&first), Identity::of(&first.clone()));
        assert_ne!(Identity::of(&first), Identity::of(&parsed()));
    }

    #[cfg(feature = "hedge")]
    #[test]
    fn each_hedge_inside_is_counted_once_and_what_it_has_tried_comes_up() {
        let outer = enter(Nesting { tried: Some(Tried::default()), ..Nesting::part_of(1) });
        tell_hedged();
        let inner = enter(Nesting::or_part_of(1));
        assert_eq!(current().hedged, 0, "none of its own");
        tell_hedged();
        let mut endpoints = Tried::default();
        endpoints.add(7);
        tell_all_tried(&endpoints);
        assert!(!inner.pass_on());
        let found = outer.leave();
        assert_eq!(found.hedged, 2);
        assert!(found.tried.is_some_and(|tried| tried.contains(7)));
    }
}
