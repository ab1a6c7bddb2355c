//! An order exists once, whoever asks for it, however often, and wherever.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;
use storefront::new_key;
use storefront::scratch::Scratch;

use crate::kit::{Answer, Shop, over_both};

over_both!(
    what_is_sent_many_times_to_two_instances_is_ordered_once,
    without_the_layer_it_is_ordered_as_often_as_it_was_sent,
    a_token_of_one_instance_is_good_at_the_other,
    one_key_of_two_users_are_two_orders,
    a_key_is_for_one_order_and_there_has_to_be_one,
    nobody_sees_what_others_have_bought,
    what_there_is_one_of_is_sold_once,
);

/// Two instances of one shop.
async fn two(scratch: &Scratch, idempotency: bool) -> [Shop; 2] {
    let key = new_key().unwrap();
    [Shop::with(scratch, &key, idempotency).await, Shop::with(scratch, &key, idempotency).await]
}

/// The same order, ten times at once.
async fn ten_times(shops: &[Shop; 2]) -> Vec<Answer> {
    let token = shops[0].log_in(0).await;
    let order = json!({ "product": "honey", "quantity": 3, "note": "sweet – süß" });
    join_all((0..10).map(|number| shops[number % 2].order(&token, "\"one\"", &order))).await
}

async fn what_is_sent_many_times_to_two_instances_is_ordered_once(scratch: &Scratch) {
    let shops = two(scratch, true).await;
    let answers = ten_times(&shops).await;
    let told: BTreeSet<_> = answers.iter().map(|answer| (answer.status, answer.text.clone())).collect();
    assert_eq!(told.len(), 1, "{answers:?}");
    assert_eq!(answers[0].status, 201);
    let replayed = answers.iter().filter(|answer| answer.field("idempotency-replayed") == "true").count();
    assert_eq!(replayed, 9);
    let books = shops[1].books().await;
    assert!(books.add_up());
    let [order] = &books.orders[..] else { panic!("{books:?}") };
    assert_eq!((order.quantity, order.cents, order.note.as_str()), (3, 3 * 750, "sweet – süß"));
    assert_eq!(answers[0].field("location"), format!("/orders/{}", order.id));
}

async fn without_the_layer_it_is_ordered_as_often_as_it_was_sent(scratch: &Scratch) {
    let shops = two(scratch, false).await;
    let answers = ten_times(&shops).await;
    assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
    let books = shops[0].books().await;
    assert_eq!(books.orders.len(), 10);
    assert!(books.add_up());
}

async fn a_token_of_one_instance_is_good_at_the_other(scratch: &Scratch) {
    let [one, other] = two(scratch, true).await;
    let token = one.log_in(1).await;
    let order = other.order(&token, "k", &json!({ "product": "bread", "quantity": 1 })).await.json();
    let listed = one.get("/orders", &token).await.json();
    assert_eq!(listed["orders"], json!([order]));
    let stranger = Shop::open(scratch).await;
    assert_eq!(stranger.get("/orders", &token).await.status, 401, "it has another key");
}

async fn one_key_of_two_users_are_two_orders(scratch: &Scratch) {
    let shop = Shop::open(scratch).await;
    let order = json!({ "product": "bread", "quantity": 1 });
    let mut names = BTreeSet::new();
    for user in [0, 1] {
        let token = shop.log_in(user).await;
        names.insert(shop.order(&token, "\"mine\"", &order).await.json()["id"].to_string());
    }
    assert_eq!(names.len(), 2);
}

async fn a_key_is_for_one_order_and_there_has_to_be_one(scratch: &Scratch) {
    let shop = Shop::open(scratch).await;
    let token = shop.log_in(0).await;
    let order = |quantity| json!({ "product": "bread", "quantity": quantity });
    assert_eq!(shop.order(&token, "\"one\"", &order(1)).await.status, 201);
    assert_eq!(shop.order(&token, "\"one\"", &order(2)).await.status, 422);
    assert_eq!(shop.order(&token, "\"\"", &order(1)).await.status, 400);
    let fields = [("authorization", format!("Bearer {token}"))];
    let fields = [("authorization", fields[0].1.as_str()), ("content-type", "application/json")];
    assert_eq!(shop.ask("POST", "/orders", &fields, &order(1).to_string()).await.status, 400);
    assert_eq!(shop.books().await.orders.len(), 1);
}

async fn nobody_sees_what_others_have_bought(scratch: &Scratch) {
    let shop = Shop::open(scratch).await;
    let (ann, ben) = (shop.log_in(0).await, shop.log_in(1).await);
    let order = shop.order(&ann, "k", &json!({ "product": "bread", "quantity": 1 })).await;
    let path = order.field("location").to_owned();
    assert_eq!(shop.get(&path, &ann).await.json(), order.json());
    assert_eq!(shop.get(&path, &ben).await.status, 404);
    assert_eq!(shop.get("/orders", &ben).await.json(), json!({ "orders": [] }));
    assert_eq!(shop.ask("GET", &path, &[], "").await.status, 401);
}

async fn what_there_is_one_of_is_sold_once(scratch: &Scratch) {
    let shops = two(scratch, true).await;
    let token = shops[0].log_in(0).await;
    let order = json!({ "product": "salt", "quantity": 1 });
    let keys: Vec<String> = (0..10).map(|number| format!("\"salt {number}\"")).collect();
    let answers = join_all(keys.iter().enumerate().map(|(at, key)| shops[at % 2].order(&token, key, &order)));
    let mut answers: Vec<u16> = answers.await.into_iter().map(|answer| answer.status).collect();
    answers.sort_unstable();
    assert_eq!(answers, [vec![201], vec![409; 9]].concat());
    let books = shops[0].books().await;
    assert!(books.add_up());
    assert_eq!(books.orders.len(), 1);
}
