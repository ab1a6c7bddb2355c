//! Mutants that survive, with the reason why that is no harm.

use std::collections::BTreeMap;

/// A line each: the name without line and column, a tab, the reason. The same change twice in one function is one line.
const LIST: &str = include_str!("../known.txt");

pub(crate) fn known() -> BTreeMap<&'static str, &'static str> {
    LIST.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_why() {
        for line in LIST.lines().filter(|line| !line.starts_with('#')) {
            let (name, why) = line.split_once('\t').unwrap_or_default();
            assert!(name.starts_with("src/") && why.len() > 10, "{line}");
        }
    }
}
