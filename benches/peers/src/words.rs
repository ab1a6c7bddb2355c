//! What was said on the command line.

use std::path::PathBuf;

use crate::groups::{self, Effort, Group};
use crate::limit::memory;

pub(crate) const USAGE: &str = "usage: stonework-peers report|check [OPTION…] [GROUP…]
       stonework-peers flaws [NAME…]
       stonework-peers profile server|client ROW REQUESTS FILE

report measures groups, or all of them, and writes one table. check does not count instructions, and fails where a target is missed.

  --markdown FILE  the table goes there and not to standard output
  --json FILE      the same figures as JSON
  --write FOLDER   the same figures into the sections of its PERFORMANCE.md
  --keys N         of `memory`, in place of a million
  --quick          three rounds, and few requests: shows that it runs, and measures nothing";

/// What `report` and `check` are to do.
#[derive(Debug)]
pub(crate) struct Order {
    /// Fails where a target is missed.
    pub(crate) check: bool,
    pub(crate) effort: Effort,
    pub(crate) groups: Vec<&'static Group>,
    pub(crate) markdown: Option<PathBuf>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) page: Option<PathBuf>,
}

impl Order {
    /// What follows `report` or `check`, or what is wrong with it.
    pub(crate) fn parse(check: bool, words: &[&str]) -> Result<Self, String> {
        let effort = Effort { instructions: !check, quick: false, keys: memory::KEYS };
        let mut order = Self { check, effort, groups: Vec::new(), markdown: None, json: None, page: None };
        let mut names = Vec::new();
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let mut value = || {
                let value = words.next().filter(|value| !value.starts_with("--"));
                value.ok_or_else(|| format!("{word} says nothing"))
            };
            match word {
                "--markdown" => order.markdown = Some(value()?.into()),
                "--json" => order.json = Some(value()?.into()),
                "--write" => order.page = Some(PathBuf::from(value()?).join("PERFORMANCE.md")),
                "--keys" => {
                    let keys = value()?;
                    let number = keys.parse().ok().filter(|keys| *keys > 0);
                    order.effort.keys = number.ok_or_else(|| format!("{keys} is no number of keys"))?;
                }
                "--quick" => order.effort.quick = true,
                option if option.starts_with('-') => return Err(format!("there is no {option}")),
                name => names.push(name),
            }
        }
        if order.effort.quick && order.page.is_some() {
            return Err("--quick measures nothing that should be written on a page".to_owned());
        }
        if check && order.page.is_some() {
            return Err("check counts no instructions, and the page has them: that is for report".to_owned());
        }
        let is_known = |name: &str| groups::ALL.iter().any(|group| group.name == name);
        if let Some(name) = names.iter().find(|name| !is_known(name)) {
            let known: Vec<_> = groups::ALL.iter().map(|group| group.name).collect();
            return Err(format!("no group is called {name}; there are: {}", known.join(", ")));
        }
        let is_wanted = |group: &&Group| names.is_empty() || names.contains(&group.name);
        order.groups = groups::ALL.iter().filter(is_wanted).collect();
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(words: &[&str]) -> Vec<&'static str> {
        let order = Order::parse(false, words).expect("a good order");
        order.groups.iter().map(|group| group.name).collect()
    }

    #[test]
    fn no_names_are_all_groups_and_names_are_those_in_their_order_once() {
        assert_eq!(groups(&[]).len(), groups::ALL.len());
        assert_eq!(groups(&["client", "stack", "client"]), ["stack", "client"]);
    }

    #[test]
    fn options_stand_anywhere_and_report_counts_what_check_does_not() {
        let words = ["memory", "--keys", "10", "--json", "a.json", "queue", "--write", "docs"];
        let report = Order::parse(false, &words).expect("a good order");
        assert_eq!(report.groups.len(), 2);
        assert_eq!(report.json, Some(PathBuf::from("a.json")));
        assert_eq!(report.page, Some(PathBuf::from("docs/PERFORMANCE.md")));
        assert_eq!(report.effort, Effort { instructions: true, quick: false, keys: 10 });
        assert!(Order::parse(true, &["--write", "docs"]).is_err());
        let check = Order::parse(true, &["--quick"]).expect("a good order");
        assert_eq!(check.effort, Effort { instructions: false, quick: true, keys: memory::KEYS });
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        for (words, said) in [
            (&["servers"][..], "no group is called servers; there are: overhead, "),
            (&["--jsn", "f"], "there is no --jsn"),
            (&["--json"], "--json says nothing"),
            (&["--json", "--write", "docs"], "--json says nothing"),
            (&["--keys", "many"], "many is no number of keys"),
            (&["--keys", "0"], "0 is no number of keys"),
            (&["--quick", "--write", "docs"], "--quick measures nothing"),
        ] {
            let error = Order::parse(false, words).expect_err("a bad order");
            assert!(error.starts_with(said), "{words:?}: {error}");
        }
    }
}
