//! Whether a token that is genuine is good: whom it is from, whom it is for, and when. The clock is handed in.

use std::time::Duration;

use super::header::is_type;
use super::read::{Registered, Times};
use crate::base::TokenFault;

/// Who may have issued it, whom it must be for, and what it must say.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    /// Nothing: anybody may have issued it.
    pub(super) issuers: Option<Box<[Box<str>]>>,
    /// Nothing: it may be for anybody.
    pub(super) audiences: Option<Box<[Box<str>]>>,
    pub(super) required: Box<[Box<str>]>,
    /// Whether it may be bound to a key: somebody else has seen that its sender has that one.
    pub(super) bound: bool,
    /// Nothing: those that [`DEFAULT_TYPES`] names, or none.
    pub(super) types: Option<Box<[Box<str>]>>,
}

/// What a token may say that it is, if nobody said which: a token, or one that gives access (RFC 9068). Others, such as those that end a
/// session or prove the possession of a key, are made for something else (RFC 8725, section 3.11).
pub(super) const DEFAULT_TYPES: [&str; 2] = ["JWT", "at+jwt"];

impl Expected {
    pub(super) fn kind(&self, kind: Option<&str>) -> Result<(), TokenFault> {
        let fits = match (&self.types, kind) {
            (None, None) => true,
            (None, Some(kind)) => DEFAULT_TYPES.iter().any(|expected| is_type(kind, expected)),
            (Some(_), None) => false,
            (Some(types), Some(kind)) => types.iter().any(|expected| is_type(kind, expected)),
        };
        if fits { Ok(()) } else { Err(TokenFault::Type) }
    }

    /// All but the time.
    pub(super) fn claims(&self, claims: &Registered<'_>) -> Result<(), TokenFault> {
        if let Some(issuers) = &self.issuers {
            let issuer = claims.issuer.as_deref().ok_or(TokenFault::MissingIssuer)?;
            if !issuers.iter().any(|expected| **expected == *issuer) {
                return Err(TokenFault::Issuer);
            }
        }
        if self.audiences.is_some() && !claims.audience.ok_or(TokenFault::MissingAudience)? {
            return Err(TokenFault::Audience);
        }
        if claims.bound && !self.bound {
            return Err(TokenFault::Bound);
        }
        if self.missing(claims).is_some() {
            return Err(TokenFault::MissingClaim);
        }
        Ok(())
    }

    /// The first claim that it must have and has not.
    pub(super) fn missing(&self, claims: &Registered<'_>) -> Option<&str> {
        let has = |place: usize| claims.required & 1 << place != 0;
        self.required.iter().enumerate().find(|(place, _)| !has(*place)).map(|(_, name)| &**name)
    }
}

/// Whether now is its time, give or take: clocks differ. At `exp` itself it is over, at `nbf` it begins (RFC 7519, section 4.1).
pub(super) fn in_time(times: &Times, now: Duration, leeway: Duration) -> Result<(), TokenFault> {
    let expires = times.expires.ok_or(TokenFault::MissingExpiry)?;
    if now >= expires.saturating_add(leeway) {
        return Err(TokenFault::Expired);
    }
    let latest = now.saturating_add(leeway);
    if times.not_before.is_some_and(|begins| latest < begins) {
        return Err(TokenFault::NotYetValid);
    }
    if times.issued.is_some_and(|issued| latest < issued) {
        return Err(TokenFault::FromTheFuture);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn time_is_checked_at_both_ends_to_the_nanosecond() {
        let times = Times { expires: Some(s(100)), not_before: Some(s(50)), issued: Some(s(40)) };
        let tick = Duration::from_nanos(1);
        let at = |now| in_time(&times, now, s(10));
        assert_eq!(at(s(110) - tick), Ok(()));
        assert_eq!(at(s(110)), Err(TokenFault::Expired));
        assert_eq!(at(s(40)), Ok(()));
        assert_eq!(at(s(40) - tick), Err(TokenFault::NotYetValid));
        let issued = Times { not_before: None, ..times };
        assert_eq!(in_time(&issued, s(30), s(10)), Ok(()));
        assert_eq!(in_time(&issued, s(30) - tick, s(10)), Err(TokenFault::FromTheFuture));
    }

    #[test]
    fn a_token_without_an_end_is_refused_and_one_that_ends_never_does() {
        assert_eq!(in_time(&Times::default(), s(1), s(1)), Err(TokenFault::MissingExpiry));
        let times = Times { expires: Some(Duration::MAX), ..Times::default() };
        assert_eq!(in_time(&times, s(u64::MAX), Duration::MAX), Ok(()));
        let past = Times { expires: Some(Duration::ZERO), ..Times::default() };
        assert_eq!(in_time(&past, Duration::ZERO, Duration::ZERO), Err(TokenFault::Expired));
    }

    #[test]
    fn a_type_that_nobody_asked_for_is_refused() {
        let any = Expected::default();
        for kind in [None, Some("JWT"), Some("jwt"), Some("at+jwt"), Some("application/at+jwt")] {
            assert_eq!(any.kind(kind), Ok(()), "{kind:?}");
        }
        for kind in ["logout+jwt", "dpop+jwt", "secevent+jwt", ""] {
            assert_eq!(any.kind(Some(kind)), Err(TokenFault::Type), "{kind:?}");
        }
        let one = Expected { types: Some(["at+jwt".into()].into()), ..Expected::default() };
        assert_eq!(one.kind(Some("application/AT+jwt")), Ok(()));
        for kind in [None, Some("JWT")] {
            assert_eq!(one.kind(kind), Err(TokenFault::Type), "{kind:?}");
        }
    }

    #[test]
    fn what_is_configured_must_be_there_and_must_be_right() {
        let expected = Expected {
            issuers: Some(["i".into(), "j".into()].into()),
            audiences: Some(["me".into()].into()),
            required: ["a".into(), "b".into()].into(),
            ..Expected::default()
        };
        let good = || Registered {
            issuer: Some("j".into()),
            audience: Some(true),
            required: 0b11,
            ..Registered::default()
        };
        assert_eq!(expected.claims(&good()), Ok(()));
        assert_eq!(expected.claims(&Registered { issuer: None, ..good() }), Err(TokenFault::MissingIssuer));
        assert_eq!(
            expected.claims(&Registered { issuer: Some("k".into()), ..good() }),
            Err(TokenFault::Issuer)
        );
        assert_eq!(
            expected.claims(&Registered { audience: None, ..good() }),
            Err(TokenFault::MissingAudience)
        );
        assert_eq!(
            expected.claims(&Registered { audience: Some(false), ..good() }),
            Err(TokenFault::Audience)
        );
        let bound = Registered { bound: true, ..good() };
        assert_eq!(expected.claims(&bound), Err(TokenFault::Bound));
        assert_eq!(Expected { bound: true, ..expected.clone() }.claims(&bound), Ok(()));
        for (required, missing) in [(0b00, "a"), (0b01, "b"), (0b10, "a")] {
            let claims = Registered { required, ..good() };
            assert_eq!(expected.claims(&claims), Err(TokenFault::MissingClaim));
            assert_eq!(expected.missing(&claims), Some(missing));
        }
        assert_eq!(Expected::default().claims(&Registered::default()), Ok(()));
    }
}
