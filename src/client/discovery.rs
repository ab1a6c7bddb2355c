//! Names as the discovery of a balancer: the one place that knows both.

use crate::balance::{Discover, Member};
use crate::base::BoxError;
use crate::connect::DnsDiscovery;

impl Discover for DnsDiscovery {
    async fn next(&mut self) -> Option<Result<Vec<Member>, BoxError>> {
        let found = self.changed().await;
        let members = |found: Vec<std::net::SocketAddr>| {
            found.into_iter().map(|address| Member::new(address.to_string())).collect()
        };
        Some(found.map(members).map_err(Into::into))
    }
}
