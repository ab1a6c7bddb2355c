//! Who calls, and what they are told.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{ShopError, What};
use crate::sdk::{DEADLINE, Options, Order, Shop};

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Wish {
    /// To know how much bread there is.
    Stock,
    /// The same, soon.
    Soon,
    /// The same, and whoever asks has retries of his own.
    Once,
    /// To know how much there is of something that nobody sells.
    Nothing,
    /// All orders, in three pages.
    Pages,
    /// To order bread, with a key.
    Keyed,
    /// To order bread, without one.
    Unkeyed,
}

impl Wish {
    pub(crate) const ALL: [Self; 7] =
        [Self::Stock, Self::Soon, Self::Once, Self::Nothing, Self::Pages, Self::Keyed, Self::Unkeyed];

    /// Of caller number so and so: of each ten, six read and four order.
    const fn of(number: u32) -> Self {
        match number % 20 {
            4 | 5 | 14 | 15 => Self::Keyed,
            6 | 7 | 16 | 17 => Self::Unkeyed,
            3 | 13 => Self::Soon,
            8 | 18 => Self::Once,
            9 => Self::Nothing,
            19 => Self::Pages,
            _ => Self::Stock,
        }
    }

    /// How long it may take.
    pub(crate) const fn limit(self) -> Duration {
        match self {
            // Shorter than an attempt, and than any pause that the shop asks for.
            Self::Soon => Duration::from_millis(300),
            _ => DEADLINE,
        }
    }
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) wish: Wish,
    pub(crate) begun: Instant,
    pub(crate) took: Duration,
    /// Whether the answer is the right one; or why there is none.
    pub(crate) answer: Result<bool, ShopError>,
}

impl Told {
    fn since(begun: Instant, wish: Wish, answer: Result<bool, ShopError>) -> Self {
        Self { wish, begun, took: begun.elapsed(), answer }
    }
}

/// One caller, with one call, or one for each page.
pub(crate) async fn call(shop: Shop, number: u32) -> Vec<Told> {
    let (wish, begun, options) = (Wish::of(number), Instant::now(), Options::default());
    let order = Order { item: "bread", customer: format!("customer {number}") };
    let answer = match wish {
        Wish::Stock => shop.stock("bread", options).await.map(|stock| stock.left == 7),
        Wish::Soon => shop.stock("bread", options.deadline(wish.limit())).await.map(|stock| stock.left == 7),
        Wish::Once => shop.stock("bread", options.once()).await.map(|stock| stock.left == 7),
        Wish::Nothing => shop.stock("snow", options).await.map(|_| false),
        Wish::Keyed => {
            shop.order(&order, options.key(format!("bread-{number}"))).await.map(|receipt| receipt.number > 0)
        }
        Wish::Unkeyed => shop.order(&order, options).await.map(|receipt| receipt.number > 0),
        Wish::Pages => return pages(&shop).await,
    };
    vec![Told::since(begun, wish, answer)]
}

/// As many as come, until one does not.
async fn pages(shop: &Shop) -> Vec<Told> {
    let mut pages = shop.orders(Options::default());
    let mut told = Vec::new();
    loop {
        let begun = Instant::now();
        let page = match pages.next().await {
            Ok(None) => return told,
            Ok(Some(page)) => Ok(!page.orders.is_empty()),
            Err(error) => Err(error),
        };
        let is_last = page.is_err();
        told.push(Told::since(begun, Wish::Pages, page));
        if is_last {
            return told;
        }
    }
}

/// What was asked for, and what its callers got.
pub(crate) fn table(told: &[Told]) {
    println!("  asked for  calls  good  refused  busy  away  late  failed  worst");
    for wish in Wish::ALL {
        let told: Vec<_> = told.iter().filter(|told| told.wish == wish).collect();
        let good = told.iter().filter(|told| matches!(told.answer, Ok(true))).count();
        let errors = || told.iter().filter_map(|told| told.answer.as_ref().err()).map(ShopError::what);
        let count = |is: fn(&What) -> bool| errors().filter(|what| is(what)).count();
        println!(
            "  {:<9}  {:>5}  {good:>4}  {:>7}  {:>4}  {:>4}  {:>4}  {:>6}  {:>5} ms",
            format!("{wish:?}"),
            told.len(),
            count(|what| matches!(what, What::Refused(_))),
            count(|what| *what == What::Busy),
            count(|what| *what == What::Away),
            count(|what| *what == What::Late),
            count(|what| matches!(what, What::Failed | What::Unreadable | What::Invalid)),
            told.iter().map(|told| told.took.as_millis()).max().unwrap_or_default(),
        );
    }
}
