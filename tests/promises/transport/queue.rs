//! How many connections there are, and who waits for one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use stonework::base::{Delivery, Elapsed, Kind, Phase};
use stonework::client::{Client, ConnectionsExhausted};
use stonework::testing::{ScriptedServer, respond};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::kit::{Net, SECOND, TURN, answer_each, plain, told};

#[tokio::test]
async fn five_hundred_calls_at_once_open_as_many_sockets_as_there_may_be() {
    let server = ScriptedServer::start(|_| respond(200).body("x").keep_alive()).await;
    let client = Client::builder().settings(plain().max_connections_per_host(7)).build().unwrap();
    let calls = (0..500).map(|_| {
        let (client, uri) = (client.clone(), server.uri("/"));
        tokio::spawn(async move { client.get(uri).send().await.unwrap().text().await.unwrap() })
    });
    assert!(join_all(calls).await.into_iter().all(|answer| answer.unwrap() == "x"));
    assert_eq!((server.peak_open(), server.connections()), (7, 7));
    let stats = client.connections();
    assert_eq!((stats.open, stats.idle, stats.dialing, stats.waiting), (7, 7, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn when_half_of_those_who_wait_leave_the_others_go_on_and_the_cap_holds() {
    let net = Net::new(Duration::ZERO, |_, peer| answer_each(peer, SECOND));
    let client = net.client(plain().max_connections_per_host(4).pool_timeout(SECOND * 1000));
    let calls: Vec<JoinHandle<_>> = (0..100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.get("http://a.test/").send().await.unwrap().text().await })
        })
        .collect();
    sleep(TURN).await;
    let (stay, leave): (Vec<_>, Vec<_>) = calls.into_iter().enumerate().partition(|(nth, _)| nth % 2 == 0);
    for (_, call) in &leave {
        call.abort();
    }
    let start = Instant::now();
    for (_, call) in stay {
        call.await.unwrap().unwrap();
    }
    // Two of the four that were under way were cut off, and their connections with them.
    assert_eq!(start.elapsed().as_secs(), 50 / 4, "fifty calls of a second each, over four connections");
    assert_eq!(net.peak(), 4);
    assert_eq!(client.connections().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn they_are_served_in_the_order_in_which_they_came() {
    let net = Net::new(Duration::ZERO, |_, peer| answer_each(peer, SECOND));
    let client = net.client(plain().max_connections_per_host(1).without_pool_timeout());
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut calls = Vec::new();
    for nth in 0..20 {
        let (client, order) = (client.clone(), Arc::clone(&order));
        calls.push(tokio::spawn(async move {
            client.get("http://a.test/").send().await.unwrap().text().await.unwrap();
            order.lock().await.push(nth);
        }));
        sleep(TURN).await;
    }
    join_all(calls).await;
    assert_eq!(*order.lock().await, (0..20).collect::<Vec<_>>());
    assert_eq!(net.dialed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_connection_ends_exactly_at_its_limit_and_names_host_and_counts() {
    let net = Net::new(Duration::ZERO, |_, peer| answer_each(peer, SECOND * 60));
    let client = net.client(plain().max_connections_per_host(2).pool_timeout(SECOND * 5));
    for _ in 0..2 {
        let client = client.clone();
        tokio::spawn(async move { client.get("http://a.test/").send().await.map(drop) });
    }
    sleep(TURN).await;
    let start = Instant::now();
    let error = client.get("http://a.test/").send().await.unwrap_err();
    assert_eq!(start.elapsed(), SECOND * 5);
    assert_eq!(told(&error), (Kind::Timeout, Delivery::NotSent));
    assert_eq!(error.cause::<Elapsed>().map(Elapsed::phase), Some(Phase::Pool));
    let exhausted = error.cause::<ConnectionsExhausted>().unwrap();
    assert_eq!((exhausted.host(), exhausted.open(), exhausted.max()), ("a.test:80", 2, 2));
    // Another host has connections of its own.
    assert!(timeout(SECOND * 61, client.get("http://b.test/").send()).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn where_all_connections_are_taken_the_error_says_that_and_not_that_the_host_has_none() {
    let net = Net::new(Duration::ZERO, |_, peer| answer_each(peer, SECOND * 60));
    let client = net.client(plain().max_connections(2).max_connections_per_host(1).pool_timeout(SECOND));
    for host in ["a", "b"] {
        tokio::spawn(client.get(format!("http://{host}.test/")).send());
    }
    sleep(TURN).await;
    for (host, everywhere, open, max, said) in
        [("c", true, 2, 2, "2 of 2 to all hosts open"), ("a", false, 1, 1, "1 of 1 open")]
    {
        let error = client.get(format!("http://{host}.test/")).send().await.unwrap_err();
        let exhausted = error.cause::<ConnectionsExhausted>().unwrap();
        assert_eq!((exhausted.is_everywhere(), exhausted.open(), exhausted.max()), (everywhere, open, max));
        let said = format!("no connection to {host}.test:80 was free: {said}, requests waiting: 1");
        assert_eq!(exhausted.to_string(), said);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_does_not_count_while_a_connection_is_being_made() {
    let net = Net::new(SECOND * 3, |_, peer| answer_each(peer, Duration::ZERO));
    let client = net.client(plain().pool_timeout(SECOND));
    client.get("http://a.test/").send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_finds_too_many_waiting_is_told_at_once() {
    let net = Net::new(Duration::ZERO, |_, peer| answer_each(peer, SECOND));
    let client = net.client(plain().max_connections_per_host(1).max_waiting(3));
    // What the host speaks is known from now on.
    client.get("http://a.test/").send().await.unwrap().text().await.unwrap();
    let call = || {
        let client = client.clone();
        tokio::spawn(async move { client.get("http://a.test/").send().await.map(drop) })
    };
    let calls: Vec<_> = (0..4).map(|_| call()).collect();
    sleep(TURN).await;
    let start = Instant::now();
    let error = call().await.unwrap().unwrap_err();
    assert_eq!((start.elapsed(), told(&error)), (Duration::ZERO, (Kind::Overload, Delivery::NotSent)));
    assert_eq!(error.cause::<ConnectionsExhausted>().map(ConnectionsExhausted::waiting), Some(3));
    assert!(join_all(calls).await.into_iter().all(|call| call.unwrap().is_ok()));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_finds_no_room_among_all_gets_that_of_one_that_lies_idle() {
    let net = Net::new(Duration::ZERO, |_, peer| answer_each(peer, SECOND));
    let client = net.client(plain().max_connections(3).idle_timeout(SECOND * 600).without_pool_timeout());
    for host in ["a", "b", "c", "d", "e"] {
        client.get(format!("http://{host}.test/")).send().await.unwrap().text().await.unwrap();
        sleep(TURN).await;
    }
    assert_eq!((net.peak(), net.dialed()), (3, 5));
    // What has lain idle for longest was closed: the newest are still there.
    client.get("http://d.test/").send().await.unwrap().text().await.unwrap();
    client.get("http://e.test/").send().await.unwrap().text().await.unwrap();
    assert_eq!(net.dialed(), 5);
    // Ten hosts at once, of which three have room at a time.
    let calls = (0..10).map(|nth| client.get(format!("http://{nth}.test/")).send());
    let start = Instant::now();
    for answer in join_all(calls.map(|call| async { call.await.unwrap().text().await })).await {
        answer.unwrap();
    }
    assert_eq!((net.peak(), start.elapsed().as_secs()), (3, 4));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_its_server_has_closed_is_not_taken_for_one_that_can_make_room() {
    let net = Net::new(Duration::ZERO, |nth, peer| async move {
        match nth {
            // Its server closes it after a second.
            0 => drop(timeout(SECOND, answer_each(peer, Duration::ZERO)).await),
            2 => answer_each(peer, SECOND * 600).await,
            _ => answer_each(peer, Duration::ZERO).await,
        }
    });
    let client = net.client(plain().max_connections(2).idle_timeout(SECOND * 60).pool_timeout(SECOND));
    for host in ["a", "b"] {
        client.get(format!("http://{host}.test/")).send().await.unwrap().text().await.unwrap();
    }
    sleep(SECOND * 2).await;
    assert_eq!((net.open(), client.connections().idle), (1, 1));
    let busy = tokio::spawn(client.get("http://d.test/").send());
    sleep(TURN).await;
    assert_eq!(net.open(), 2);
    // The one to `b` lies idle.
    client.get("http://c.test/").send().await.unwrap();
    assert_eq!((net.dialed(), net.peak()), (4, 2));
    busy.abort();
}

#[tokio::test(start_paused = true)]
async fn who_does_not_wait_for_room_any_more_closes_nothing_that_lies_idle() {
    let net = Net::new(Duration::ZERO, |_, peer| answer_each(peer, SECOND * 2));
    let client = net.client(plain().max_connections(1).pool_timeout(SECOND));
    let call = client.get("http://a.test/").send();
    let call = tokio::spawn(async move { call.await.unwrap().text().await });
    sleep(TURN).await;
    for host in 0..9 {
        let error = client.get(format!("http://{host}.test/")).deadline(SECOND / 9).send().await.unwrap_err();
        assert_eq!(told(&error), (Kind::Timeout, Delivery::NotSent));
    }
    call.await.unwrap().unwrap();
    sleep(TURN).await;
    assert_eq!((net.open(), client.connections().idle), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn thousands_of_hosts_that_cannot_be_reached_are_forgotten() {
    let net = Net::with(|_, _| async { Err(std::io::ErrorKind::ConnectionRefused.into()) });
    let client = net.client(plain());
    for host in 0..10_000 {
        client.get(format!("http://{host}.test/")).send().await.unwrap_err();
    }
    let stats = client.connections();
    assert!(stats.hosts <= 128, "{stats:?}");
    assert_eq!((stats.open, stats.dialing, net.open()), (0, 0, 0));
}
