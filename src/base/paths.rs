//! Paths that somebody has listed, for those who ask whether one is among them. Nothing here waits, locks or reads a clock.

use std::fmt;

/// Each as it stands there, or, with a `*` at its end, with all that begins like it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub(crate) struct Paths(Vec<String>);

impl Paths {
    pub(crate) fn of<P: Into<String>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self(paths.into_iter().map(Into::into).collect())
    }

    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.0.iter().any(|listed| match listed.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None => path == listed,
        })
    }
}

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_listed_as_it_is_or_by_how_it_begins() {
        let paths = Paths::of(["/shop.Catalogue/*", "/shop.Orders/Get"]);
        for (path, expected) in [
            ("/shop.Catalogue/Search", true),
            ("/shop.Catalogue/", true),
            ("/shop.Catalogue", false),
            ("/shop.Orders/Get", true),
            ("/shop.Orders/GetAll", false),
            ("/shop.Orders/*", false),
            ("", false),
        ] {
            assert_eq!(paths.has(path), expected, "{path}");
        }
        assert!(Paths::of(["*"]).has("/anything") && !Paths::none().has("/anything"));
        assert_eq!(paths.to_string(), "/shop.Catalogue/*, /shop.Orders/Get");
    }
}
