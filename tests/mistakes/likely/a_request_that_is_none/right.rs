use std::time::Duration;

use stonework::Error;
use stonework::base::BoxError;
use stonework::timeout::TimeoutLayer;
use tower::{Service, ServiceBuilder, service_fn};

fn shout() -> impl Service<String, Error = Error> {
    let shout = service_fn(async |text: String| Ok::<_, BoxError>(text.to_uppercase()));
    ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_secs(1)).plain()).service(shout)
}

fn main() {
    let _ = shout();
}
