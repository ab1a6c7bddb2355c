//! The files that decide, in the order in which they matter.

/// A folder and the names in it, a line each.
const LIST: &str = include_str!("../deciders.txt");

/// Their paths.
pub(crate) fn deciders() -> Vec<String> {
    let lines = LIST.lines().filter_map(|line| line.split_once(' '));
    lines.flat_map(|(folder, names)| names.split(' ').map(move |name| format!("{folder}{name}.rs"))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_file_that_decides_is_there_once() {
        let mut deciders = deciders();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for file in &deciders {
            assert!(root.join(file).is_file(), "{file}");
        }
        let all = deciders.len();
        deciders.sort();
        deciders.dedup();
        assert_eq!(deciders.len(), all);
    }
}
