//! What is there to buy?

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::answers::Refusal;
use crate::app::Shop;

/// `GET /products`
pub(crate) async fn list(State(shop): State<Shop>) -> Result<Json<Value>, Refusal> {
    Ok(Json(json!({ "products": shop.database.products().await? })))
}
