use std::fmt;

use crate::base::Kind;

/// How [`FallbackLayer`](super::FallbackLayer) behaves. With the feature `serde` it can be read from a file and written to one, kinds of errors as
/// words such as `"circuit_open"`; an unknown field or word, or an empty list, is an error that names the field.
///
/// ```
/// use stonework::base::Kind;
/// use stonework::fallback::FallbackSettings;
///
/// let settings = FallbackSettings::new().on([Kind::CircuitOpen, Kind::Connect]);
/// assert_ne!(settings, FallbackSettings::new());
/// # #[cfg(feature = "serde")] {
/// let read: FallbackSettings = serde_json::from_str(r#"{ "on": ["connect", "circuit_open"] }"#).unwrap();
/// assert_eq!(read, settings);
///
/// let refused = serde_json::from_str::<FallbackSettings>(r#"{ "on": ["sunday"] }"#).unwrap_err();
/// assert!(refused.to_string().contains("`on`"));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "settings do nothing until a layer is given them"]
pub struct FallbackSettings {
    pub(super) on: Kinds,
    pub(super) replay_cap: usize,
}

impl FallbackSettings {
    /// On errors that mean that nobody answered: `CircuitOpen`, `Connect`, `NoEndpoint`, `Overload`,
    /// `Timeout` and `Transport`. 64 KiB of body.
    pub const fn new() -> Self {
        let nobody_answered = Kinds::NONE
            .with(Kind::CircuitOpen)
            .with(Kind::Connect)
            .with(Kind::NoEndpoint)
            .with(Kind::Overload)
            .with(Kind::Timeout)
            .with(Kind::Transport);
        Self { on: nobody_answered, replay_cap: 64 * 1024 }
    }

    /// Fall back on errors of these kinds, and on no others. Default: see [`new`](Self::new).
    ///
    /// # Panics
    ///
    /// If there is none: [`when(false)`](super::FallbackLayer::when) switches the layer off.
    pub fn on(mut self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        self.on = kinds.into_iter().fold(Kinds::NONE, Kinds::with);
        assert!(self.on != Kinds::NONE, "`when(false)` switches the layer off");
        self
    }

    /// How many bytes of a request body to keep for another service. A request with more can only fall back where it came
    /// back unsent. Default: 64 KiB. A value needs none of it.
    pub const fn replay_cap(mut self, bytes: usize) -> Self {
        self.replay_cap = bytes;
        self
    }
}

impl Default for FallbackSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// One line, as `explain` shows it.
impl fmt::Display for FallbackSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Destructured, so that a new setting is either shown or left out on purpose.
        let Self { on, replay_cap } = self;
        let words: Vec<_> = on.iter().map(Kind::name).collect();
        write!(f, "on {}; bodies up to {replay_cap} bytes", words.join(", "))
    }
}

/// A value that [`FallbackSettings`] cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidFallback {
    /// `on` is empty.
    #[error("`on` names at least one kind of error; leave the layer out to fall back on none")]
    On,
    /// `on` holds a word that names no kind of error.
    #[error("`on` knows no kind of error `{0}`")]
    Kind(String),
}

/// A set of kinds: a bit for each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u32);

impl Kinds {
    const NONE: Self = Self(0);

    const fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u32)
    }

    pub(super) const fn contains(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u32 != 0
    }

    fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of fallback settings")]
struct Fields {
    on: Vec<String>,
    replay_cap: usize,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        FallbackSettings::new().into()
    }
}

#[cfg(feature = "serde")]
impl From<FallbackSettings> for Fields {
    fn from(FallbackSettings { on, replay_cap }: FallbackSettings) -> Self {
        Self { on: on.iter().map(|kind| kind.name().to_owned()).collect(), replay_cap }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for FallbackSettings {
    type Error = InvalidFallback;

    fn try_from(Fields { on, replay_cap }: Fields) -> Result<Self, InvalidFallback> {
        let kind = |word: String| {
            let named = Kind::ALL.into_iter().find(|kind| kind.name() == word);
            named.ok_or(InvalidFallback::Kind(word))
        };
        let kinds = on.into_iter().map(kind).collect::<Result<Vec<_>, _>>()?;
        if kinds.is_empty() {
            return Err(InvalidFallback::On);
        }
        Ok(Self::new().on(kinds).replay_cap(replay_cap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_kinds_has_what_was_put_in_and_nothing_else() {
        for one in Kind::ALL {
            let set = FallbackSettings::new().on([one, one]).on;
            assert!(
                Kind::ALL.into_iter().all(|kind| set.contains(kind) == (kind == one)),
                "{one:?}: {set:?}"
            );
        }
        let all = FallbackSettings::new().on(Kind::ALL).on;
        assert!(all.iter().eq(Kind::ALL));
    }

    #[test]
    #[should_panic(expected = "switches the layer off")]
    fn an_empty_set_is_refused() {
        let _ = FallbackSettings::new().on([]);
    }

    #[test]
    fn the_settings_are_one_line() {
        let settings = FallbackSettings::new().on([Kind::Timeout, Kind::CircuitOpen]);
        assert_eq!(settings.to_string(), "on circuit_open, timeout; bodies up to 65536 bytes");
    }
}
