//! What the pages of the design name, compared with the tests, the gaps and the programs.

use std::collections::BTreeSet;

use crate::rules::Complaints;
use crate::source::{files, library, read};

/// The names of a list, or of headings, that begin with a number: `1. **Safe when unsure.** A …`, `## 1. Safe when unsure`.
fn numbered(text: &str, before: &str, after: &str) -> Vec<String> {
    let number = |line: &str| {
        let line = line.strip_prefix(before)?;
        let (number, rest) = line.split_once(". ")?;
        let name = rest.strip_prefix(after)?;
        let name = if after.is_empty() { name } else { name.split(after).next()? };
        number.parse::<u32>().ok().map(|_| name.trim_end_matches('.').to_owned())
    };
    text.lines().filter_map(number).collect()
}

#[test]
fn the_tenets_are_the_same_in_the_same_order_wherever_they_stand() {
    let design = read("docs/design/README.md");
    let section = design.split("\n## ").find(|section| section.starts_with("2. Tenets")).expect("a section");
    let named = numbered(section, "", "**");
    assert_eq!(named.len(), 5, "{named:?}");
    assert_eq!(numbered(&read("docs/design/tenets.md"), "## ", ""), named);
}

/// What a row may say in the place of a test, if the script has a layer of its module.
const SCRIPT: &str = "the script";

/// Modules of whose layers the script has only the form that does nothing.
const SWITCHED_OFF: &[&str] = &["server"];

/// The modules of which the script has a layer or a service.
fn in_the_script() -> BTreeSet<String> {
    let rows = read("tests/contract/rows.rs");
    let has = |name: &str| {
        rows.contains(&format!("        {name} \"")) || rows.contains(&format!("layer: \"{name}\""))
    };
    let mut found = BTreeSet::new();
    for file in library() {
        let Some(module) = file.module().first().map(|module| (*module).to_owned()) else { continue };
        let code = file.code();
        let types =
            code.split("pub struct ").skip(1).filter_map(|rest| rest.split(['<', ' ', '(', ';']).next());
        if !SWITCHED_OFF.contains(&module.as_str()) && types.into_iter().any(has) {
            found.insert(module);
        }
    }
    found
}

/// Each table has each module once, and each row names a test, the script, or why there is neither; a gap names its issue.
fn contract(
    page: &str,
    modules: &BTreeSet<String>,
    is_test: impl Fn(&str) -> bool,
    scripted: &BTreeSet<String>,
    gaps: &str,
) -> Complaints {
    let mut bad = Complaints::new();
    for section in page.split("\n## ").skip(1).filter(|section| section.contains("\n| module | held by |\n"))
    {
        let title = section.lines().next().unwrap_or_default();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let rows: Vec<(&str, &str)> =
            rows.filter_map(|row| row.trim_matches(['|', ' ']).split_once(" | ")).collect();
        let named: Vec<&str> = rows.iter().map(|(module, _)| module.trim_matches('`')).collect();
        let complete: BTreeSet<String> = named.iter().map(|name| (*name).to_owned()).collect();
        if complete != *modules || named.len() != modules.len() {
            bad.push(format!("{title}: has not each module once: {named:?}"));
        }
        for (module, held) in rows {
            let said = held.split('`').skip(1).step_by(2).any(&is_test)
                || (held == SCRIPT && scripted.contains(module.trim_matches('`')))
                || held.strip_prefix("none: ").is_some_and(|why| why.len() > 10);
            let gap = held.split("gap #").nth(1).map(|rest| rest.split(':').next().unwrap_or_default());
            let known = |issue: &str| gaps.contains(&format!("| #{issue} |"));
            if gap.is_some_and(|issue| !known(issue)) {
                bad.push(format!("{title}, {module}: no line of the gaps has this issue"));
            }
            if !said && gap.is_none() {
                bad.push(format!("{title}, {module}: nothing holds it, and it does not say why"));
            }
        }
    }
    bad
}

#[test]
fn the_contract_has_each_module_in_each_table_with_a_test_or_a_reason() {
    let modules = library().into_iter().filter(|file| file.name() == "mod.rs");
    let modules = modules.map(|file| file.module()[0].to_owned());
    let left_out = |name: &String| crate::ALWAYS.contains(&name.as_str()) || name == "testing";
    let hidden = |name: &String| crate::HIDDEN.iter().any(|(hidden, _)| hidden == name);
    let modules: BTreeSet<String> = modules.filter(|name| !left_out(name) && !hidden(name)).collect();
    let functions = crate::functions();
    let page = read("docs/design/contract.md");
    let gaps = read("docs/design/gaps.md");
    assert_eq!(page.matches("\n| module | held by |\n").count(), 6, "six questions");
    crate::assert_none(&contract(
        &page,
        &modules,
        |name| functions.contains_key(name),
        &in_the_script(),
        &gaps,
    ));

    let modules = BTreeSet::from(["retry".to_owned(), "hedge".to_owned()]);
    let scripted = BTreeSet::from(["hedge".to_owned()]);
    let bad = |retry: &str| {
        let page = format!(
            "\n## A\n\n| module | held by |\n|---|---|\n| `retry` | {retry} |\n| `hedge` | the script |\n"
        );
        contract(&page, &modules, |name| name == "a_test", &scripted, "| x | y | #7 |").len()
    };
    for good in ["`a_test`", "`no_test`, `a_test`", "none: it has nothing to do", "gap #7: later"] {
        assert_eq!(bad(good), 0, "{good}");
    }
    for wrong in ["`no_test`", "the script", "none: no", "a word", "gap #8: later", "`a_test`; gap #8: later"]
    {
        assert_eq!(bad(wrong), 1, "{wrong}");
    }
    assert_eq!(contract("\n## A\n\n| module | held by |\n", &modules, |_| true, &scripted, "").len(), 1);
}

#[test]
fn the_flaws_of_others_that_are_named_are_those_of_the_program() {
    if !crate::is_checkout() {
        return;
    }
    let program: String = files("benches/peers/src/flaws", "rs").into_iter().map(|file| file.text).collect();
    let page = read("docs/design/how-others-fell.md");
    let section = page.split("\n## ").find(|section| section.starts_with("Run here")).expect("a section");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let names =
        rows.flat_map(|row| row.split(" | ").next().unwrap_or_default().split('`').skip(1).step_by(2));
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 20, "{names:?}");
    let lost = names.iter().filter(|name| !program.contains(&format!("name: \"{name}\"")));
    assert_eq!(lost.collect::<Vec<_>>(), Vec::<&&str>::new(), "the program has no such case");
}
