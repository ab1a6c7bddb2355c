//! For people: it stays, prints what to try, and writes a line for each request.

use stonework::base::BoxError;
use stonework::observe::Prometheus;
use storefront::scratch::Scratch;
use storefront::{DEMO_USERS, Database, Options, application, new_key};

/// Until Ctrl-C. Where `DATABASE_URL` says so, what is bought stays there: `sqlite:shop.db`, or `postgres://…`; else it is gone at the end.
pub(crate) async fn serve(address: &str) -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let (url, scratch) = match std::env::var("DATABASE_URL") {
        Ok(url) => (url, None),
        Err(_) => {
            let scratch = Scratch::new(None).await?;
            (scratch.url().to_owned(), Some(scratch))
        }
    };
    let options = Options { name: "storefront".to_owned(), key: new_key()?, idempotency: true, log: true };
    let database = Database::open(&url).await?;
    let (builder, router) = application(&options, database, Prometheus::install()?)?;
    let server = builder.stop_on_signals().bind(address).await?;
    let shop = format!("http://{}", server.local_addr());
    println!("{shop}/");
    println!("{}", try_this(&shop));
    println!("what a request meets:\n\n{}", server.explain());
    let report = server.serve(router).await;
    println!("{report:?}");
    drop(scratch);
    Ok(())
}

fn try_this(shop: &str) -> String {
    let (user, password) = DEMO_USERS[0];
    format!(
        r#"
Open that in a browser, or try:

    TOKEN=$(curl -s {shop}/login --json "{{\"user\": \"{user}\", \"password\": \"{password}\"}}" | sed 's/.*"token":"\([^"]*\)".*/\1/')
    curl -s {shop}/products
    curl -si {shop}/orders -H "authorization: Bearer $TOKEN" -H 'idempotency-key: "one"' --json '{{"product": "bread", "quantity": 2}}'

The last one as often as you like: there is one order.

    curl -s {shop}/orders -H "authorization: Bearer $TOKEN"
    curl -s {shop}/readyz
    curl -s {shop}/metrics
"#
    )
}
