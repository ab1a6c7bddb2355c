//! Whatever cannot be done is answered with problem details, whoever notices it.

use storefront::scratch::Scratch;

use crate::kit::{Shop, over_both};

over_both!(every_refusal_is_a_problem, whoever_guesses_passwords_is_told_to_wait);

const JSON: (&str, &str) = ("content-type", "application/json");
const BREAD: &str = r#"{ "product": "bread", "quantity": 1 }"#;

/// A status; the method, the path, fields and the body that it is the answer to.
type Case<'a> = (u16, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

async fn every_refusal_is_a_problem(scratch: &Scratch) {
    let shop = Shop::open(scratch).await;
    let token = format!("Bearer {}", shop.log_in(0).await);
    let may = ("authorization", token.as_str());
    let key = |key| ("idempotency-key", key);
    let long = format!(r#"{{ "product": "bread", "quantity": 1, "note": "{}" }}"#, "x".repeat(101));
    let huge = format!(r#"{{ "product": "bread", "quantity": 1, "note": "{}" }}"#, "x".repeat(10_000));
    let cases: &[Case<'_>] = &[
        (404, "GET", "/nowhere", &[], ""),
        (404, "GET", "/orders/nowhere", &[may], ""),
        (404, "GET", "/orders/00000000000000000000000000000000", &[may], ""),
        (400, "GET", "/orders/%ff", &[may], ""),
        (405, "DELETE", "/orders", &[], ""),
        (405, "PUT", "/login", &[], ""),
        (405, "POST", "/metrics", &[], ""),
        (401, "GET", "/orders", &[], ""),
        (401, "GET", "/orders", &[("authorization", "Bearer aaaa.bbbb.cccc")], ""),
        (400, "GET", "/orders?limit=many", &[may], ""),
        (400, "GET", "/orders?limit=0", &[may], ""),
        (400, "GET", "/orders?limit=101", &[may], ""),
        (400, "POST", "/login", &[JSON], "{"),
        (415, "POST", "/login", &[("content-type", "text/plain")], "{}"),
        (422, "POST", "/login", &[JSON], "{}"),
        (401, "POST", "/login", &[JSON], r#"{ "user": "ann", "password": "wrong" }"#),
        (401, "POST", "/login", &[JSON], r#"{ "user": "nobody\u0000", "password": "wrong" }"#),
        (401, "POST", "/orders", &[JSON, key("a")], BREAD),
        (400, "POST", "/orders", &[may, JSON], BREAD),
        (400, "POST", "/orders", &[may, JSON, key("two words")], BREAD),
        (400, "POST", "/orders", &[may, JSON, key("b")], "{"),
        (415, "POST", "/orders", &[may, key("c")], BREAD),
        (422, "POST", "/orders", &[may, JSON, key("d")], r#"{ "product": "bread" }"#),
        (422, "POST", "/orders", &[may, JSON, key("e")], r#"{ "product": "bread", "quantity": 0 }"#),
        (422, "POST", "/orders", &[may, JSON, key("f")], r#"{ "product": "bread", "quantity": 1e99 }"#),
        (422, "POST", "/orders", &[may, JSON, key("g")], r#"{ "product": "gold", "quantity": 1 }"#),
        (
            422,
            "POST",
            "/orders",
            &[may, JSON, key("h")],
            r#"{ "product": "bread", "quantity": 1, "note": "\u0000" }"#,
        ),
        (422, "POST", "/orders", &[may, JSON, key("i")], &long),
        (413, "POST", "/orders", &[may, JSON, key("j")], &huge),
        (422, "POST", "/orders", &[may, JSON, key("l")], r#"{ "product": "\u0000", "quantity": 1 }"#),
        (409, "POST", "/orders", &[may, JSON, key("k")], r#"{ "product": "salt", "quantity": 2 }"#),
        // The time that the client has is over before it is begun.
        (504, "GET", "/products", &[("stonework-timeout-ms", "0")], ""),
        (400, "GET", "/products", &[("stonework-timeout-ms", "soon")], ""),
    ];
    for (status, method, path, fields, body) in cases {
        let answer = match status {
            504 => shop.ask(method, path, fields, body).await,
            _ => shop.ask_again(method, path, fields, body).await,
        };
        assert_eq!(answer.status, *status, "{method} {path} {body}: {answer:?}");
        assert_eq!(
            answer.field("content-type"),
            "application/problem+json",
            "{method} {path} {body}: {answer:?}"
        );
        let problem = answer.json();
        assert_eq!(problem["status"], *status, "{problem}");
        assert!(problem["title"].is_string() && problem["type"].is_string(), "{problem}");
        match status {
            401 => assert!(answer.field("www-authenticate").starts_with("Bearer"), "{answer:?}"),
            405 => assert!(!answer.field("allow").is_empty(), "{answer:?}"),
            _ => {}
        }
        assert_ne!(answer.field("x-request-id"), "", "{answer:?}");
    }
    assert!(shop.books().await.orders.is_empty());
}

async fn whoever_guesses_passwords_is_told_to_wait(scratch: &Scratch) {
    let shop = Shop::open(scratch).await;
    assert!(!shop.log_in(3).await.is_empty());
    // Guesses beyond the burst are not even looked at.
    let mut answers = Vec::new();
    for guess in 0..60 {
        let credentials =
            serde_json::json!({ "user": "ann", "password": format!("{guess:0200}") }).to_string();
        let answer = shop.ask("POST", "/login", &[JSON], &credentials).await;
        answers.push(answer.status);
        if answer.status == 429 {
            assert_ne!(answer.field("retry-after"), "");
            break;
        }
    }
    assert_eq!(answers.last(), Some(&429), "{answers:?}");
    assert!(answers[..answers.len() - 1].iter().all(|status| *status == 401), "{answers:?}");
}
