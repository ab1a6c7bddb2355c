//! Buying something, and looking at what one has bought.
//!
//! [`place`] has what the whole program is about: it may be killed anywhere, its client asks again, and there is one order. It does not do that by
//! looking whether there is one: it commits what it does with the record of its key, see [`Database::place`](crate::Database).

use std::time::SystemTime;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use stonework::idempotency::Claim;
use stonework::jwt::Claims;

use crate::answers::{Asks, Named, Read, Refusal};
use crate::app::Shop;
use crate::database::{MOST_LISTED, NewOrder, Order, Placed};

/// Nobody carries more.
const MOST_AT_ONCE: u32 = 100;
/// In characters.
const LONGEST_NOTE: usize = 100;

/// What somebody wants to buy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    product: String,
    quantity: u32,
    #[serde(default)]
    note: String,
}

impl Wanted {
    fn check(&self) -> Result<(), Refusal> {
        let wrong = |why: String| Err(Refusal::because(StatusCode::UNPROCESSABLE_ENTITY, why));
        if !(1..=MOST_AT_ONCE).contains(&self.quantity) {
            return wrong(format!("the quantity is 1 to {MOST_AT_ONCE}"));
        }
        // PostgreSQL keeps no zero in a text, and nobody needs one.
        if self.product.chars().any(char::is_control) {
            return wrong("there is no such product".to_owned());
        }
        if self.note.chars().count() > LONGEST_NOTE || self.note.chars().any(char::is_control) {
            return wrong(format!("a note is a line of at most {LONGEST_NOTE} characters"));
        }
        Ok(())
    }
}

/// `POST /orders`. Around it stands the idempotency layer, which hands it the claim.
pub(crate) async fn place(
    State(shop): State<Shop>,
    claims: Claims,
    claim: Option<Extension<Claim>>,
    Read(wanted): Read<Wanted>,
) -> Result<axum::response::Response, Refusal> {
    wanted.check()?;
    let customer = claims.subject().ok_or_else(|| Refusal::unauthorized("the token names nobody"))?;
    let now = shop.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let order = NewOrder {
        id: format!("{:032x}", shop.rng.unique_id()),
        customer: customer.to_owned(),
        product: wanted.product,
        quantity: wanted.quantity.into(),
        note: wanted.note,
        placed_at: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
    };
    let claim = claim.map(|Extension(claim)| claim);
    match shop.database.place(order, claim, placed).await? {
        Placed::Done(response) => Ok(response.map(axum::body::Body::from)),
        Placed::NoSuchProduct => {
            Err(Refusal::because(StatusCode::UNPROCESSABLE_ENTITY, "there is no such product"))
        }
        Placed::SoldOut => Err(Refusal::because(StatusCode::CONFLICT, "there are not so many left")),
        // It was taken for dead, and rolled back in time. The other one has the answer, or will have.
        Placed::Lost => {
            Err(Refusal::because(StatusCode::SERVICE_UNAVAILABLE, "it is being done somewhere else"))
        }
    }
}

/// What is answered, and kept with the key.
fn placed(order: &Order) -> Response<Bytes> {
    let response = Response::builder()
        .status(StatusCode::CREATED)
        .header(header::LOCATION, format!("/orders/{}", order.id))
        .header(header::CONTENT_TYPE, "application/json");
    let body = serde_json::to_vec(order).expect("texts and numbers are JSON");
    response.body(body.into()).expect("its name is in hexadecimal digits")
}

/// Which ones.
#[derive(Deserialize)]
pub(crate) struct Which {
    limit: Option<i64>,
}

/// `GET /orders`
pub(crate) async fn list(
    State(shop): State<Shop>,
    claims: Claims,
    Asks(Which { limit }): Asks<Which>,
) -> Result<Json<Value>, Refusal> {
    let limit = limit.unwrap_or(20);
    if !(1..=MOST_LISTED).contains(&limit) {
        return Err(Refusal::because(StatusCode::BAD_REQUEST, format!("the limit is 1 to {MOST_LISTED}")));
    }
    let orders = shop.database.orders(claims.subject().unwrap_or_default(), limit).await?;
    Ok(Json(json!({ "orders": orders })))
}

/// `GET /orders/{id}`. Other people's orders are not there.
pub(crate) async fn one(
    State(shop): State<Shop>,
    claims: Claims,
    Named(id): Named,
) -> Result<axum::response::Response, Refusal> {
    // What no order is called, the database need not be asked for.
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let found = match claims.subject() {
        Some(customer) if is_id => shop.database.order(customer, &id).await?,
        _ => None,
    };
    match found {
        Some(order) => Ok(Json(order).into_response()),
        None => Err(Refusal::because(StatusCode::NOT_FOUND, "you have no such order")),
    }
}
