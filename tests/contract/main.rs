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
    let complaints = run(stacks);
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
