//! The algorithms of signatures, and sets of them.

use std::fmt;

macro_rules! algorithms {
    ($($(#[$doc:meta])* $variant:ident $($name:literal)+;)*) => {
        /// How a token is signed (RFC 7518, section 3; RFC 8037; RFC 9864). There is no `none`.
        ///
        /// ```
        /// use stonework::jwt::Algorithm;
        ///
        /// assert_eq!(Algorithm::from_name("ES256"), Some(Algorithm::Es256));
        /// assert_eq!(Algorithm::Es256.name(), "ES256");
        /// assert_eq!(Algorithm::from_name("none"), None);
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Algorithm {
            $($(#[$doc])* $variant,)*
        }

        impl Algorithm {
            pub(super) const ALL: &[Self] = &[$(Self::$variant),*];

            /// By its name in a header, capitals and small letters as they are there.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($($name)|+ => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its name in a header.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => [$($name),+][0],)*
                }
            }
        }
    };
}

algorithms! {
    /// HMAC with SHA-256: whoever can verify can also sign.
    Hs256 "HS256";
    /// HMAC with SHA-384.
    Hs384 "HS384";
    /// HMAC with SHA-512.
    Hs512 "HS512";
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256 "RS256";
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384 "RS384";
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512 "RS512";
    /// RSASSA-PSS with SHA-256.
    Ps256 "PS256";
    /// RSASSA-PSS with SHA-384.
    Ps384 "PS384";
    /// RSASSA-PSS with SHA-512.
    Ps512 "PS512";
    /// ECDSA on P-256 with SHA-256.
    Es256 "ES256";
    /// ECDSA on P-384 with SHA-384.
    Es384 "ES384";
    /// ECDSA on P-521 with SHA-512.
    Es512 "ES512";
    /// Ed25519, which headers call `EdDSA` or `Ed25519`.
    EdDsa "EdDSA" "Ed25519";
}

impl Algorithm {
    /// For one that needs a secret: how many bytes of it there have to be (RFC 7518, section 3.2).
    pub(super) const fn secret_bytes(self) -> Option<usize> {
        match self {
            Self::Hs256 => Some(32),
            Self::Hs384 => Some(48),
            Self::Hs512 => Some(64),
            _ => None,
        }
    }

    pub(super) const fn is_rsa(self) -> bool {
        matches!(self, Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512)
    }
}

/// Its name in a header.
impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Those that are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Algorithms(u32);

impl Algorithms {
    pub(super) const fn has(self, algorithm: Algorithm) -> bool {
        self.0 & (1 << algorithm as u32) != 0
    }

    pub(super) fn each(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.iter().copied().filter(move |algorithm| self.has(*algorithm))
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Algorithm> for Algorithms {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(all: I) -> Self {
        Self(all.into_iter().fold(0, |set, algorithm| set | 1 << algorithm as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_none_is_no_algorithm() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(*algorithm));
            assert_eq!(Algorithm::from_name(&algorithm.name().to_lowercase()), None);
        }
        assert_eq!(Algorithm::from_name("Ed25519"), Some(Algorithm::EdDsa));
        for name in ["", "none", "None", "NONE", "nOnE", "Ed448", "ES256K", "RS1", "HS1", "ES256 ", "dir"] {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_set_has_what_was_put_into_it_and_nothing_else() {
        for one in Algorithm::ALL {
            let set: Algorithms = [*one].into_iter().collect();
            assert!(Algorithm::ALL.iter().all(|other| set.has(*other) == (one == other)));
            assert!(!set.is_empty());
            // Named twice it is allowed, and not struck out again.
            assert_eq!([*one, *one].into_iter().collect::<Algorithms>(), set);
        }
        assert!(Algorithms::default().is_empty());
    }
}
