//! The contract of `Service`, kept by every layer, alone and in pairs.
//!
//! One script of cases runs over [`Strict`](stonework::testing::Strict), below each stack in turn. A new layer is one
//! row in [`rows`]; [`names`] fails until it has one. [`wrong`] shows that the script finds what it is there to find,
//! and [`same_as_tower`] compares with tower where it has the same layer.

mod cases;
mod kit;
mod names;
mod rows;
mod same_as_tower;
mod wrong;

use kit::{Row, Stack, Wire, run};
use rows::{Http, Text};

fn assert_kept<W: Wire>(stacks: &[Stack<W>]) {
    let complaints = run(stacks, cases::all);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn all_http() -> Vec<Row<Http>> {
    rows::http().into_iter().chain(rows::http_services()).collect()
}

fn all_text() -> Vec<Row<Text>> {
    rows::text().into_iter().chain(rows::text_services()).collect()
}

#[test]
fn every_layer_alone_keeps_the_contract_over_http() {
    assert_kept(&kit::alone(&all_http()));
}

#[test]
fn every_ordered_pair_of_layers_keeps_the_contract_over_http() {
    assert_kept::<Http>(&kit::pairs(&all_http()));
}

#[test]
fn every_generic_layer_alone_and_in_ordered_pairs_keeps_the_contract_over_any_request() {
    assert_kept(&kit::alone(&all_text()));
    assert_kept::<Text>(&kit::pairs(&all_text()));
}

#[test]
fn what_detaches_alone_and_over_every_layer_keeps_what_of_the_contract_is_not_about_dropping_a_call() {
    let detached = rows::detached();
    let stacks = kit::alone(&detached).into_iter().chain(kit::over(&detached, &all_http()));
    let complaints = run::<Http>(&stacks.collect::<Vec<_>>(), cases::without_dropped_calls);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn a_detached_call_that_nobody_waits_for_any_more_comes_to_its_end() {
    let complaints = run::<Http>(&kit::alone(&rows::detached()), cases::detached);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    let attached = run::<Http>(&kit::alone(&rows::http()[..1]), cases::detached);
    assert!(!attached.is_empty(), "the script finds a call that is dropped with its future");
}
