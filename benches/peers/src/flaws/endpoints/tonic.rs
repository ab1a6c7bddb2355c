//! tonic's channel to several endpoints.

use std::panic::{AssertUnwindSafe, catch_unwind};

use http::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::{ServiceExt, service_fn};

use super::hosts::{self, Host, MANY, QUICK, SLOW, Tried, nobody};
use crate::flaws::{Found, block_on, block_on_paused};

fn over(hosts: impl IntoIterator<Item = String>) -> Channel {
    let endpoint = |host: String| Endpoint::from_shared(format!("http://{host}")).expect("a valid address");
    Channel::balance_list(hosts.into_iter().map(endpoint))
}

fn call(channel: &Channel) -> impl Future<Output = bool> + Send + use<> {
    let request = Request::post("http://orders.test/").body(Body::empty()).expect("valid");
    let asked = channel.clone().oneshot(request);
    async { asked.await.is_ok_and(|answer| answer.status().is_success()) }
}

pub(super) fn dead() -> Found {
    block_on(async {
        let host = Host::start(QUICK).await;
        let channel = over([host.address, nobody().await].map(|host| host.to_string()));
        let failed = hosts::failed(|| call(&channel)).await;
        Found::new(failed > 5, failed.to_string())
    })
}

pub(super) fn load() -> Found {
    block_on(async {
        let (slow, quick) = (Host::start(SLOW).await, Host::start(QUICK).await);
        let channel = over([&slow, &quick].map(|host| host.address.to_string()));
        hosts::eight(move || call(&channel)).await;
        let (got, rest) = (slow.asked(), quick.asked());
        Found::new(got > 140 && got + rest == 400, got.to_string())
    })
}

pub(super) fn many() -> Found {
    block_on(async {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let made =
            |many: usize| catch_unwind(AssertUnwindSafe(|| over(hosts::addresses().take(many)))).is_ok();
        let (some, all) = (made(1_000), made(MANY));
        std::panic::set_hook(hook);
        let figures = if all { "yes" } else { "no, it panics" };
        Found::new(some && !all, format!("{figures} (1000: {})", if some { "yes" } else { "no" }))
    })
}

pub(super) fn dials() -> Found {
    block_on_paused(async {
        let tried = Tried::default();
        let counts = tried.clone();
        let connect = service_fn(move |_: Uri| {
            let counts = counts.clone();
            async move { counts.connect::<TcpStream>().await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://orders.test").connect_with_connector_lazy(connect);
        hosts::paced(|| call(&channel)).await;
        Found::new(tried.so_often() == 100, tried.so_often().to_string())
    })
}
