//! The page that compares: its snippets are compiled here, where the other crates are.
#![doc = include_str!("../../../docs/COMPARE.md")]
