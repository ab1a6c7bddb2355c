//! Sets of keys (RFC 7517, section 5), and which of them a token may be verified with.

use std::mem;
use std::sync::Arc;

use serde::Deserialize;

use super::header::Headers;
use super::{Algorithm, Key, jwk};
use crate::base::{KeyFault, TokenFault};

/// More keys than any issuer has, and few enough to look through.
const MOST: usize = 256;
/// Larger than any set of so many keys.
const LONGEST: usize = 1024 * 1024;
/// How many keys a token is tried with that does not say which is its own. Each try costs as much as a genuine token.
const TRIES: usize = 4;

/// Keys that do not change. Copying it copies none of them.
///
/// ```
/// use stonework::base::KeyFault;
/// use stonework::jwt::KeySet;
///
/// // One that is good, one that is for encryption, one of a kind that this version does not know.
/// let set = KeySet::jwks(r#"{"keys":[
///     {"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
///     {"kty":"RSA","use":"enc","kid":"b","n":"AQAB","e":"AQAB"},
///     {"kty":"AKP","alg":"ML-DSA-44","kid":"c","pub":"AQAB"}
/// ]}"#)?;
/// assert_eq!(set.len(), 1);
/// assert_eq!(set.skipped(), [KeyFault::Encryption, KeyFault::Type]);
/// # Ok::<(), stonework::jwt::InvalidKeySet>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeySet(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    keys: Vec<Arc<Key>>,
    skipped: Vec<KeyFault>,
    headers: Headers,
}

impl KeySet {
    /// Of these keys.
    ///
    /// ```
    /// use stonework::jwt::{Algorithm, Key, KeySet, SigningKey};
    ///
    /// let signs = SigningKey::generate(Algorithm::Es256)?;
    /// let secret = Key::secret(Algorithm::Hs256, b"the secret of an example, 32 by.")?;
    /// assert_eq!(KeySet::new([signs.public().clone(), secret])?.len(), 2);
    /// # Ok::<(), stonework::base::KeyFault>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyFault::DuplicateId`] if two of one kind have one name, [`KeyFault::TooMany`] if there are more than 256.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Result<Self, KeyFault> {
        let mut inner = Inner::default();
        for key in keys {
            inner.add(key)?;
        }
        Ok(Self(Arc::new(inner)))
    }

    /// A JWK Set. Each key is read on its own: one that cannot be used is [left out](Self::skipped), and the others are as good as
    /// without it. There are no secrets in such a set. A set of which nothing can be used is [empty](Self::is_empty).
    ///
    /// # Errors
    ///
    /// [`InvalidKeySet`], if it is no set at all, or larger than a mebibyte.
    pub fn jwks(json: &str) -> Result<Self, InvalidKeySet> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }

        if json.len() > LONGEST {
            return Err(InvalidKeySet::TooLarge);
        }
        if !jwk::is_object(json) {
            return Err(InvalidKeySet::NotASet);
        }
        let Set { keys } = serde_json::from_str(json).map_err(|_| InvalidKeySet::NotASet)?;
        let mut inner = Inner::default();
        for entry in keys {
            let added = jwk::of_set(entry).and_then(|read| inner.add(Key::from(read)));
            if let Err(fault) = added {
                // Nobody counts a million reasons.
                if inner.skipped.len() < MOST {
                    inner.skipped.push(fault);
                }
            }
        }
        Ok(Self(Arc::new(inner)))
    }

    /// How many keys can be used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.keys.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.keys.is_empty()
    }

    /// Those that can be used.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.keys.iter().map(|key| &**key)
    }

    /// Why those that are left out are, in their order; at most 256.
    #[must_use]
    pub fn skipped(&self) -> &[KeyFault] {
        &self.0.skipped
    }

    /// Of tokens that were signed with one of them.
    pub(super) fn headers(&self) -> &Headers {
        &self.0.headers
    }

    pub(super) fn holds(&self, key: &Arc<Key>) -> bool {
        self.0.keys.iter().any(|held| Arc::ptr_eq(held, key) || held == key)
    }

    /// Whether one of them has this name.
    pub(super) fn has(&self, id: &str) -> bool {
        self.0.keys.iter().any(|key| key.id() == Some(id))
    }

    /// Whether the keys are the same, and those left out.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.0.keys == other.0.keys && self.0.skipped == other.0.skipped
    }

    /// Those that a token may have been signed with: that with its name; if none has its name, or it says none, those without a name,
    /// or all.
    ///
    /// # Errors
    ///
    /// [`TokenFault::UnknownKey`], if there is none of that name, and [`TokenFault::Algorithm`], if there is one and it cannot do this.
    pub(super) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<impl Iterator<Item = &Arc<Key>>, TokenFault> {
        let named = id.is_some_and(|id| self.has(id));
        let asked = move |key: &&Arc<Key>| match id {
            Some(id) if named => key.id() == Some(id),
            Some(_) => key.id().is_none(),
            None => true,
        };
        let mut found =
            self.0.keys.iter().filter(asked).filter(move |key| key.fits(algorithm)).take(TRIES).peekable();
        if found.peek().is_some() {
            Ok(found)
        } else if self.0.keys.iter().any(|key| asked(&key)) {
            Err(TokenFault::Algorithm)
        } else {
            Err(TokenFault::UnknownKey)
        }
    }
}

impl Inner {
    /// Keys of different kinds may share a name (RFC 7517, section 4.5).
    fn add(&mut self, key: Key) -> Result<(), KeyFault> {
        if self.keys.len() >= MOST {
            return Err(KeyFault::TooMany);
        }
        let kind = mem::discriminant(&key.material.family);
        let same = |other: &Arc<Key>| {
            key.id().is_some() && other.id() == key.id() && mem::discriminant(&other.material.family) == kind
        };
        if self.keys.iter().any(same) {
            return Err(KeyFault::DuplicateId);
        }
        self.keys.push(Arc::new(key));
        Ok(())
    }
}

/// Of one key.
impl From<Key> for KeySet {
    fn from(key: Key) -> Self {
        Self(Arc::new(Inner { keys: vec![Arc::new(key)], ..Inner::default() }))
    }
}

/// What is no [set of keys](KeySet::jwks).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKeySet {
    /// It is no JSON object with an array `keys`.
    #[error("it is no JSON object with an array `keys`")]
    NotASet,
    /// It has more than a mebibyte.
    #[error("it has more than 1 MiB")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn ed(id: Option<&str>) -> Key {
        let key = Key::jwk(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"}}"#)).unwrap();
        match id {
            Some(id) => key.named(id),
            None => key,
        }
    }

    #[test]
    fn a_key_of_another_name_or_for_another_algorithm_is_another_key() {
        let secret_for = |algorithm| Key::secret(algorithm, &[7; 64]).unwrap().named("a");
        let key = secret_for(Algorithm::Hs256);
        assert!(key == secret_for(Algorithm::Hs256) && key.algorithm() == Some(Algorithm::Hs256));
        assert!(key != secret_for(Algorithm::Hs512));
        assert!(key != secret_for(Algorithm::Hs256).named("b"));
    }

    fn secret(id: &str) -> Key {
        Key::secret(Algorithm::Hs256, &[7; 32]).unwrap().named(id)
    }

    fn found(
        set: &KeySet,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<Option<String>>, TokenFault> {
        let keys = set.candidates(id, algorithm)?;
        Ok(keys.map(|key| key.id().map(str::to_owned)).collect())
    }

    #[test]
    fn a_token_is_verified_with_the_key_that_it_names() {
        let set = KeySet::new([ed(Some("a")), ed(Some("b")), secret("b")]).unwrap();
        assert_eq!(found(&set, Some("b"), Algorithm::EdDsa).unwrap(), [Some("b".to_owned())]);
        assert_eq!(found(&set, Some("b"), Algorithm::Hs256).unwrap(), [Some("b".to_owned())]);
        assert_eq!(found(&set, Some("a"), Algorithm::Hs256).unwrap_err(), TokenFault::Algorithm);
        assert_eq!(found(&set, Some("c"), Algorithm::EdDsa).unwrap_err(), TokenFault::UnknownKey);
        assert_eq!(found(&set, None, Algorithm::EdDsa).unwrap().len(), 2);
        assert_eq!(found(&set, None, Algorithm::Rs256).unwrap_err(), TokenFault::Algorithm);
        assert_eq!(found(&KeySet::default(), None, Algorithm::EdDsa).unwrap_err(), TokenFault::UnknownKey);
    }

    #[test]
    fn a_key_without_a_name_takes_tokens_whose_name_no_other_has() {
        let set = KeySet::new([ed(None), ed(Some("a"))]).unwrap();
        assert_eq!(found(&set, Some("x"), Algorithm::EdDsa).unwrap(), [None]);
        assert_eq!(found(&set, Some("a"), Algorithm::EdDsa).unwrap(), [Some("a".to_owned())]);
        assert_eq!(found(&set, Some("x"), Algorithm::Rs256).unwrap_err(), TokenFault::Algorithm);
    }

    #[test]
    fn a_token_that_does_not_say_which_key_is_tried_with_four() {
        let keys = (0..9).map(|at| ed(Some(&at.to_string())));
        let set = KeySet::new(keys).unwrap();
        assert_eq!(found(&set, None, Algorithm::EdDsa).unwrap().len(), TRIES);
    }

    #[test]
    fn of_two_with_one_name_and_kind_the_first_stays() {
        assert_eq!(KeySet::new([ed(Some("a")), ed(Some("a"))]).unwrap_err(), KeyFault::DuplicateId);
        assert_eq!(KeySet::new([ed(Some("a")), secret("a")]).unwrap().len(), 2);
        assert_eq!(KeySet::new([ed(None), ed(None)]).unwrap().len(), 2);
        let many = (0..=MOST).map(|at| ed(Some(&at.to_string())));
        assert_eq!(KeySet::new(many).unwrap_err(), KeyFault::TooMany);
    }

    #[test]
    fn what_has_changed_in_a_set_is_seen_and_which_names_it_has() {
        let set = |ids: &str, odd: &str| {
            let keys =
                ids.chars().map(|id| format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","kid":"{id}"}},"#));
            KeySet::jwks(&format!(r#"{{"keys":[{}{odd}]}}"#, keys.collect::<String>())).unwrap()
        };
        let ours = set("ab", "1");
        assert!(ours.is_same(&set("ab", "1")));
        for other in [set("ab", r#"{"kty":"oct","k":"AAAA"}"#), set("a", "1"), set("ac", "1")] {
            assert!(!ours.is_same(&other), "{other:?}");
        }
        assert!(ours.has("a") && ours.has("b") && !ours.has("c"));
        // One without a name may take such a token, and is not the one that it names.
        assert!(!KeySet::from(ed(None)).has("c") && !KeySet::default().has("c"));
    }

    #[test]
    fn what_is_no_set_is_refused_and_an_empty_one_is_empty() {
        for json in ["", "[]", "[[]]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"keys":[]} x"#] {
            assert_eq!(KeySet::jwks(json).unwrap_err(), InvalidKeySet::NotASet, "{json}");
        }
        assert!(KeySet::jwks(r#"{"keys":[]}"#).unwrap().is_empty());
        let odd = KeySet::jwks(r#"{"keys":[1,"a",null,["RSA"],{}]}"#).unwrap();
        assert_eq!((odd.len(), odd.skipped()), (0, &[KeyFault::Malformed; 5][..]));
        let none = r#"{"keys":[]}"#;
        let longest = format!("{none}{}", " ".repeat(LONGEST - none.len()));
        assert!(longest.len() == LONGEST && KeySet::jwks(&longest).unwrap().is_empty());
        let large = format!(r#"{{"keys":["{}"]}}"#, "x".repeat(LONGEST));
        assert_eq!(KeySet::jwks(&large).unwrap_err(), InvalidKeySet::TooLarge);
        let many = format!(r#"{{"keys":[{}1]}}"#, "1,".repeat(2 * MOST));
        assert_eq!(KeySet::jwks(&many).unwrap().skipped().len(), MOST);
    }
}
