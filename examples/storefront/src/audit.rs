//! The audit: what the database says, beside what people were told.

use std::collections::HashMap;

use storefront::customer::Bought;
use storefront::{Books, Order};

/// An order, and what its customer was told, once for each press of the button.
pub(crate) struct Told {
    pub(crate) user: &'static str,
    pub(crate) note: String,
    pub(crate) presses: Vec<Bought>,
}

/// What was found.
pub(crate) struct Audit {
    /// How many orders exist never, once, and more often.
    pub(crate) times: [usize; 3],
    /// How many customers have been told the name of their order, which is the only one, whenever they were told anything.
    pub(crate) told: usize,
    /// Orders that nobody was told of.
    pub(crate) strangers: Vec<Order>,
    /// What was sold and what is left is what there was.
    pub(crate) adds_up: bool,
}

/// Looks at each order that somebody was told of, and at those that are left then.
pub(crate) fn audit<'a>(books: &Books, told: impl IntoIterator<Item = &'a Told>) -> Audit {
    let mut made: HashMap<(&str, &str), Vec<&Order>> = HashMap::new();
    for order in &books.orders {
        made.entry((&order.customer, &order.note)).or_default().push(order);
    }
    let mut audit = Audit { times: [0; 3], told: 0, strangers: Vec::new(), adds_up: books.add_up() };
    for one in told {
        let orders = made.remove(&(one.user, one.note.as_str())).unwrap_or_default();
        audit.times[orders.len().min(2)] += 1;
        let is_this = |press: &Bought| orders.len() == 1 && press.id == orders[0].id;
        audit.told += usize::from(one.presses.iter().all(is_this));
    }
    audit.strangers = made.into_values().flatten().cloned().collect();
    audit
}
