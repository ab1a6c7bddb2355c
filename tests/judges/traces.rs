//! W3C's own harness for Trace Context, if it is at hand: `test.py` of <https://github.com/w3c/trace-context>, in the folder that
//! `STONEWORK_TRACE_HARNESS` names, and Python with aiohttp.

use std::convert::Infallible;

use http::{Request, Response};
use stonework::Body;
use stonework::base::body::collect_up_to;
use stonework::client::{Client, ClientSettings};
use stonework::server::Server;
use tower::service_fn;

use crate::kit::{python, run};

/// Asks each of these, and says to each what to ask in turn.
async fn go_on(client: Client, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let asked = collect_up_to(request.into_body(), 1 << 20).await.expect("a short body");
    let asked: Vec<serde_json::Value> = serde_json::from_slice(&asked).expect("a list");
    for next in asked {
        let url = next["url"].as_str().expect("a text");
        let arguments = serde_json::to_vec(&next["arguments"]).expect("it came as JSON");
        let call = client.post(url).header("content-type", "application/json").body(arguments);
        call.send().await.expect("the harness answers");
    }
    Ok(Response::new(Body::empty()))
}

#[tokio::test]
async fn the_harness_of_w3c_finds_nothing_wrong_with_a_server_that_asks_on() {
    let Ok(folder) = std::env::var("STONEWORK_TRACE_HARNESS") else {
        eprintln!("skipped: STONEWORK_TRACE_HARNESS does not say where the harness is");
        return;
    };
    let Some(python) = python("aiohttp") else { return };
    let client = Client::builder().settings(ClientSettings::new().without_retry()).build().unwrap();
    let service = service_fn(move |request| go_on(client.clone(), request));
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/", server.local_addr());
    let serving = tokio::spawn(server.serve(service));
    let output = run("env", &["SPEC_LEVEL=2", &python, &format!("{folder}/test.py"), &endpoint], b"").await;
    serving.abort();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("\nOK"), "{said}");
    assert!(!said.contains("skipped"), "{said}");
}
