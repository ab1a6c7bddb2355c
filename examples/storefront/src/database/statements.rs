//! What both understand. To SQLite `$1` is a name, and names are numbered as they occur.

pub(super) const PASSWORD: &str = "SELECT salt, hash FROM users WHERE name = $1";
pub(super) const PRODUCTS: &str = "SELECT id, name, cents, stock FROM products ORDER BY id";
/// Waits for others who sell the same.
pub(super) const SELL: &str =
    "UPDATE products SET stock = stock - $1 WHERE id = $2 AND stock >= $1 RETURNING cents";
pub(super) const IS_THERE: &str = "SELECT 1 FROM products WHERE id = $1";
pub(super) const PLACE: &str = "INSERT INTO orders (id, customer, product, quantity, cents, note, placed_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
pub(super) const ORDERS: &str = "SELECT id, customer, product, quantity, cents, note, placed_at FROM orders
    WHERE customer = $1 ORDER BY number DESC LIMIT $2";
pub(super) const ORDER: &str = "SELECT id, customer, product, quantity, cents, note, placed_at FROM orders
    WHERE customer = $1 AND id = $2";
pub(super) const BOOKS: &str =
    "SELECT id, customer, product, quantity, cents, note, placed_at FROM orders ORDER BY number";
