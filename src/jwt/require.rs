//! What somebody must be allowed to do: the decision, from what is known of them.

use std::sync::Arc;

use super::InvalidJwt;
use crate::base::{Principal, TokenFault, is_plain};

/// What is asked of whoever sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requirement {
    what: What,
    every: bool,
    words: Box<[Box<str>]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Role,
    Scope,
}

impl Requirement {
    pub(super) fn scopes<I>(scopes: I, every: bool) -> Result<Self, InvalidJwt>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let made = Self::of(What::Scope, "scopes", scopes, every)?;
        if made.words.iter().any(|word| !is_plain(word) || word.contains(' ')) {
            return Err(InvalidJwt::Unwritable { field: "scopes" });
        }
        Ok(made)
    }

    pub(super) fn roles<I>(roles: I, every: bool) -> Result<Self, InvalidJwt>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self::of(What::Role, "roles", roles, every)
    }

    fn of<I>(what: What, field: &'static str, words: I, every: bool) -> Result<Self, InvalidJwt>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let words: Box<[Box<str>]> = words.into_iter().map(|word| word.into().into()).collect();
        if words.is_empty() || words.iter().any(|word| word.is_empty()) {
            return Err(InvalidJwt::Empty { field });
        }
        Ok(Self { what, every, words })
    }

    /// Whether they may.
    pub(super) fn check(&self, who: Option<&Principal>) -> Result<(), TokenFault> {
        let Some(who) = who else { return Err(TokenFault::Missing) };
        let (fault, has): (_, fn(&Principal, &str) -> bool) = match self.what {
            What::Role => (TokenFault::Role, Principal::has_role),
            What::Scope => (TokenFault::Scope, Principal::has_scope),
        };
        let mut words = self.words.iter();
        let may =
            if self.every { words.all(|word| has(who, word)) } else { words.any(|word| has(who, word)) };
        if may { Ok(()) } else { Err(fault) }
    }

    /// The scopes that would do, for whoever is refused (RFC 6750, section 3). Of several that each would do, that is the first.
    pub(super) fn scope(&self) -> Option<Arc<str>> {
        match (self.what, self.every) {
            (What::Role, _) => None,
            (What::Scope, true) => Some(self.words.join(" ").into()),
            (What::Scope, false) => self.words.first().map(|word| Arc::from(&**word)),
        }
    }
}

/// A realm that can stand between quotes.
pub(super) fn realm(realm: Arc<str>) -> Result<Arc<str>, InvalidJwt> {
    if realm.is_empty() {
        return Err(InvalidJwt::Empty { field: "realm" });
    }
    if is_plain(&realm) { Ok(realm) } else { Err(InvalidJwt::Unwritable { field: "realm" }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Grants;

    struct Has(&'static str, Vec<Box<str>>);

    impl Grants for Has {
        fn scopes(&self) -> &str {
            self.0
        }

        fn roles(&self) -> &[Box<str>] {
            &self.1
        }
    }

    fn who(scopes: &'static str, roles: &[&str]) -> Principal {
        let roles = roles.iter().map(|role| Box::from(*role)).collect();
        Principal::with(None, Arc::new(Has(scopes, roles)))
    }

    #[test]
    fn all_scopes_must_be_there_or_any_as_whole_words() {
        let all = Requirement::scopes(["a:r", "a:w"], true).unwrap();
        let any = Requirement::scopes(["a:r", "a:w"], false).unwrap();
        for (scopes, has_all, has_any) in [
            ("a:r a:w", true, true),
            ("x  a:w y a:r", true, true),
            ("a:r", false, true),
            ("a:w", false, true),
            ("a:rw A:R a:r,a:w", false, false),
            ("", false, false),
        ] {
            let who = who(scopes, &["a:r", "a:w"]);
            assert_eq!(all.check(Some(&who)).is_ok(), has_all, "{scopes}");
            assert_eq!(any.check(Some(&who)).is_ok(), has_any, "{scopes}");
        }
        assert_eq!(all.check(Some(&who("", &[]))), Err(TokenFault::Scope));
        assert_eq!(all.check(None), Err(TokenFault::Missing));
        assert_eq!((all.scope().as_deref(), any.scope().as_deref()), (Some("a:r a:w"), Some("a:r")));
    }

    #[test]
    fn roles_are_no_scopes() {
        let all = Requirement::roles(["admin", "on call"], true).unwrap();
        let any = Requirement::roles(["admin", "on call"], false).unwrap();
        for (roles, has_all, has_any) in [
            (&["admin", "on call"][..], true, true),
            (&["on call"], false, true),
            (&["Admin", "on", "call"], false, false),
            (&[], false, false),
        ] {
            let who = who("admin on call", roles);
            assert_eq!(all.check(Some(&who)).is_ok(), has_all, "{roles:?}");
            assert_eq!(any.check(Some(&who)).is_ok(), has_any, "{roles:?}");
        }
        assert_eq!(all.check(Some(&who("", &[]))), Err(TokenFault::Role));
        assert_eq!(all.scope(), None);
    }

    #[test]
    fn what_nobody_can_have_is_an_error() {
        let none: [&str; 0] = [];
        for every in [true, false] {
            assert_eq!(Requirement::scopes(none, every), Err(InvalidJwt::Empty { field: "scopes" }));
            assert_eq!(Requirement::roles([""], every), Err(InvalidJwt::Empty { field: "roles" }));
            for scope in ["a b", "a\"", "a\\", "\u{e4}", "a\n"] {
                let made = Requirement::scopes(["a", scope], every);
                assert_eq!(made, Err(InvalidJwt::Unwritable { field: "scopes" }), "{scope:?}");
            }
        }
        assert_eq!(realm("".into()), Err(InvalidJwt::Empty { field: "realm" }));
        assert_eq!(realm("a\"b".into()), Err(InvalidJwt::Unwritable { field: "realm" }));
        assert_eq!(realm("an api".into()).as_deref(), Ok("an api"));
    }
}
