//! A shop whose server is killed while people buy, and in which each order exists exactly once.
//!
//! *The problem:* whoever gets no answer does not know whether they have bought. A shop that loses orders, or makes them twice, when a server
//! dies, is restarted or answers late, is no shop; and looking in the database whether there is such an order already does not help where two
//! look at the same time.
//!
//! *What to look at:* the three tiers: `page.html`; the application server in [`app.rs`](app.rs), with [`orders.rs`](orders.rs); and the
//! [database](database/mod.rs), a file of SQLite's, or PostgreSQL. Then [`customer.rs`](customer.rs), a client that wants to know what became of its
//! orders; and [`show.rs`](show.rs), which is what happens to them.
//!
//! *What it shows:* customers, each with calls to two instances that know nothing but the database and a key; some press the button twice;
//! both instances are killed (SIGKILL) and restarted in the middle, again and again, and one is told to stop. An audit of the database then finds each order exactly
//! once, though nothing in it forbids a second one. Without the idempotency layer the same audit fails.
//!
//!     cargo run --package storefront
//!     cargo run --package storefront -- --without-idempotency
//!     cargo run --package storefront -- --serve [ADDRESS]
//!     cargo run --package storefront -- --soak SECONDS
//!
//! The first ends within half a minute, with exit code 0 if every claim held. The second ends with another one, which is what the
//! layer is for. The third is for people: it prints what to try, and serves a page. The fourth has good and bad clients for as long as it is
//! told, and looks at memory, descriptors and tasks. `DATABASE_URL=postgres://…` takes a server of PostgreSQL instead of a file.

mod audit;
#[path = "../../kit/mod.rs"]
mod kit;
mod measure;
mod rude;
mod serve;
mod show;
mod soak;

use std::process::ExitCode;
use std::time::Duration;

use stonework::base::BoxError;
use storefront::instance;

const USAGE: &str = "usage: storefront [--without-idempotency | --serve [ADDRESS] | --soak SECONDS]";

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ended = match words[..] {
        [] => return kit::end(show::both().await),
        ["--without-idempotency"] => return kit::end(show::without().await),
        ["--serve"] => serve::serve("127.0.0.1:8080").await,
        ["--serve", address] => serve::serve(address).await,
        ["--soak", seconds] => match seconds.parse() {
            Ok(seconds) => return kit::end(soak::soak(Duration::from_secs(seconds)).await),
            Err(_) => Err(BoxError::from(USAGE)),
        },
        // The show starts itself like this: a server that can be killed has to be a process.
        ["server", name, address] => instance::run(name, address, true).await,
        ["server", name, address, "--without-idempotency"] => instance::run(name, address, false).await,
        _ => Err(USAGE.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storefront: {error}");
            ExitCode::FAILURE
        }
    }
}
