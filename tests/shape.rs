//! What the crate promises about its own source, proved from the text: who may use whom, what is pure, where the
//! clock is read, what stands in public signatures, how it is written about.
//!
//! The tables below are the agreed exceptions. An entry needs a reason, and one that is no longer used must go.

#[path = "shape/defaults.rs"]
mod defaults;
#[path = "shape/design.rs"]
mod design;
#[path = "shape/examples.rs"]
mod examples;
#[path = "shape/pages.rs"]
mod pages;
#[path = "shape/prose.rs"]
mod prose;
#[path = "shape/rules.rs"]
mod rules;
#[path = "shape/setters.rs"]
mod setters;
#[path = "shape/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};

use rules::Complaints;
use source::{Source, files, library, read, root};

/// Pages with snippets that the guide cannot compile: page, the file that does, why.
const COMPILED_ELSEWHERE: &[(&str, &str, &str)] =
    &[("COMPARE.md", "examples/moving_in/src/lib.rs", "they need the crates that are compared")];

/// Files that decide: no async, no lock, no clock. Each must exist, once its module has a service.
const DECIDERS: &[&str] = &[
    "base/backoff.rs",
    "base/basic.rs",
    "base/body/hold_until.rs",
    "base/body/tape.rs",
    "base/form.rs",
    "base/hop.rs",
    "base/host.rs",
    "base/ip_network.rs",
    "base/grpc.rs",
    "base/key.rs",
    "base/origin.rs",
    "base/outcome.rs",
    "base/paths.rs",
    "base/ratio.rs",
    "base/request_id.rs",
    "base/retry_after.rs",
    "base/trace.rs",
    "base/wire.rs",
    "balance/choice.rs",
    "balance/ewma.rs",
    "balance/life.rs",
    "balance/outlier.rs",
    "balance/rendezvous.rs",
    "balance/slow_start.rs",
    "balance/tiers.rs",
    "balance/weighted.rs",
    "breaker/circuit.rs",
    "client/basic.rs",
    "client/decode/codings.rs",
    "client/redirect/follow.rs",
    "client/redirect/reference.rs",
    "breaker/verdict.rs",
    "breaker/window.rs",
    "coalesce/decide.rs",
    "connect/basic.rs",
    "connect/discovery/schedule.rs",
    "connect/eyeballs.rs",
    "connect/head.rs",
    "connect/names.rs",
    "connect/no_proxy.rs",
    "exchange/check.rs",
    "exchange/delivery.rs",
    "exchange/framing.rs",
    "fallback/decide.rs",
    "health/answer.rs",
    "health/grpc.rs",
    "health/prober/judge.rs",
    "health/prober/pace.rs",
    "health/prober/roster.rs",
    "health/prober/streak.rs",
    "health/tally.rs",
    "health/verdict.rs",
    "hedge/decide.rs",
    "hedge/quantile.rs",
    "idempotency/columns.rs",
    "idempotency/digest.rs",
    "idempotency/entry.rs",
    "idempotency/fate.rs",
    "idempotency/key.rs",
    "idempotency/record.rs",
    "jwt/active.rs",
    "jwt/algorithm.rs",
    "jwt/base64url.rs",
    "jwt/bearer.rs",
    "jwt/check.rs",
    "jwt/der.rs",
    "jwt/header.rs",
    "jwt/issuer/claims.rs",
    "jwt/issuer/paths.rs",
    "jwt/issuer/rotation.rs",
    "jwt/json.rs",
    "jwt/jwk.rs",
    "jwt/material.rs",
    "jwt/pem.rs",
    "jwt/read.rs",
    "jwt/remote/document.rs",
    "jwt/remote/max_age.rs",
    "jwt/remote/missing.rs",
    "jwt/remote/schedule.rs",
    "jwt/require.rs",
    "jwt/set.rs",
    "jwt/token.rs",
    "jwt/verify.rs",
    "limit/address/entry.rs",
    "limit/address/from_right.rs",
    "limit/address/proxies.rs",
    "limit/body/size.rs",
    "limit/shared/away.rs",
    "limit/shared/decide.rs",
    "limit/adaptive/baseline.rs",
    "limit/adaptive/control.rs",
    "limit/adaptive/gradient.rs",
    "limit/adaptive/rule.rs",
    "limit/adaptive/vegas.rs",
    "limit/adaptive/window.rs",
    "limit/concurrency/line.rs",
    "limit/concurrency/state.rs",
    "limit/gate/fields.rs",
    "limit/quota/announced.rs",
    "limit/quota/ledger.rs",
    "limit/rate/allowed.rs",
    "limit/rate/bucket.rs",
    "limit/rate/log.rs",
    "limit/rate/pace.rs",
    "limit/rate/policy.rs",
    "limit/rate/quota.rs",
    "limit/throttle/decide.rs",
    "limit/throttle/window.rs",
    "oauth/answer.rs",
    "oauth/cached.rs",
    "observe/attributes.rs",
    "observe/received/record.rs",
    "pool/slots.rs",
    "reqwest/delivery.rs",
    "retry/collect/gather.rs",
    "retry/resume/range.rs",
    "retry/resume/reading.rs",
    "retry/verdict.rs",
    "sse/answer.rs",
    "sse/parse.rs",
    "sse/pause.rs",
    "timeout/body/watch.rs",
    "timeout/wire.rs",
];

/// Modules that have a service and nothing to decide: module, why.
const NOTHING_TO_DECIDE: &[(&str, &str)] = &[];

/// Who reads tokio's clock: a file name, a file or a folder; why.
const CLOCK_READERS: &[(&str, &str)] = &[
    ("alarm.rs", "arms the one timer"),
    ("balance/builder.rs", "a shell: time begins when it is built"),
    ("balance/core.rs", "a shell: what surrounds the deciding files"),
    ("balance/driver.rs", "a shell: looks after endpoints when it is time"),
    ("balance/flight.rs", "a shell: how long a call took that was given up"),
    ("balance/handle.rs", "a shell: what is known now"),
    ("base/budget.rs", "a budget's time begins when it is made"),
    ("base/clock.rs", "the home of clocks"),
    ("base/line.rs", "a shell: what a connection was heard of"),
    ("base/scope.rs", "takes the one reading that layers share"),
    ("base/deadline.rs", "turns a length into an instant"),
    ("breaker/core.rs", "a shell: what surrounds the deciding circuit"),
    ("breaker/handle.rs", "a shell: what is done by hand is done now"),
    ("breaker/permit.rs", "a shell: tells whether a call was slow"),
    ("breaker/registry.rs", "a shell: what is used now is kept"),
    ("breaker/waiting.rs", "a shell: waits for a circuit"),
    ("client/", "a shell"),
    ("connect/discovery/dns.rs", "a shell: what surrounds the deciding schedule"),
    ("connect/hickory.rs", "a shell: how long one family waits for the other"),
    ("connect/lookups.rs", "a shell: what surrounds the deciding names"),
    ("connect/progress.rs", "a shell: how long a step takes"),
    ("connect/race.rs", "a shell: when the next address is tried"),
    ("future.rs", "a shell"),
    ("health/prober/state.rs", "a shell: what surrounds the deciding roster"),
    ("health/prober/task.rs", "a shell: probes endpoints when it is time"),
    ("health/probing.rs", "a shell: runs checks when it is time"),
    ("health/state.rs", "a shell: what surrounds the deciding tally"),
    ("hedge/handle.rs", "a shell: what is counted begins when it is made"),
    ("hedge/progress.rs", "a shell: what the future knows of its call"),
    ("idempotency/conformance.rs", "a script of time"),
    ("idempotency/core.rs", "a shell: how long it is tried to reach a store"),
    ("idempotency/memory.rs", "a shell: a store goes by its own clock"),
    ("idempotency/work.rs", "a shell: how long a request waits for another"),
    ("jwt/issuer/builder.rs", "a shell: the first key signs now"),
    ("jwt/issuer/handle.rs", "a shell: what surrounds the deciding rotation"),
    ("jwt/remote/builder.rs", "a shell: the first fetch is now"),
    ("jwt/remote/core.rs", "a shell: what surrounds the deciding schedule"),
    ("jwt/remote/fetch.rs", "a shell: until when an address is believed"),
    ("jwt/remote/refresh.rs", "a shell: fetches when it is time"),
    ("jwt/introspect.rs", "a shell: what is remembered, and who is away"),
    ("limit/concurrency/core.rs", "a shell: what surrounds the deciding queue and the deciding limit"),
    ("limit/concurrency/permit.rs", "a shell: how long a call took"),
    ("limit/quota/gate.rs", "a shell: waits for a server's quota"),
    ("limit/quota/handle.rs", "a shell: what surrounds the deciding ledger"),
    ("limit/rate/limiter.rs", "a shell: what surrounds the deciding pace"),
    ("limit/shared/conformance.rs", "a script of time"),
    ("limit/shared/limiter.rs", "a shell: what surrounds the deciding presence"),
    ("limit/shared/memory.rs", "a shell: a store goes by its own clock"),
    ("limit/rate/keyed.rs", "a shell: what is taken by hand is taken now"),
    ("limit/rate/limiter.rs", "as above"),
    ("limit/throttle/handle.rs", "a shell: what surrounds the deciding window"),
    ("limit/throttle/keyed.rs", "a shell: what is used now is kept"),
    ("limit/throttle/sent.rs", "a shell: tells whether a call had run out of time"),
    ("observe/received/exchange.rs", "a shell: how long a request took"),
    ("oauth/source.rs", "a shell: what surrounds the deciding cache"),
    ("pool/check.rs", "a shell: how long a check takes"),
    ("pool/core.rs", "a shell: what surrounds the deciding slots"),
    ("pool/dial.rs", "a shell: how long connecting takes"),
    ("pool/handle.rs", "a shell: how long a caller waits"),
    ("pool/keeper.rs", "a shell: closes and connects when it is time"),
    ("pool/state.rs", "a shell: what is put back or begun now"),
    ("retry/alone.rs", "a shell around a plain operation"),
    ("retry/progress.rs", "a shell: what the future knows of its call"),
    ("retry/resume/body.rs", "a shell: the body that asks for its rest"),
    ("server/", "a shell"),
    ("service.rs", "a shell"),
    ("sse/source.rs", "a shell: how long a stream is silent"),
    ("testing/", "scripts of time"),
    ("timeout/body/timed.rs", "a shell: the body that is limited"),
    ("timeout/attempt.rs", "a shell: the service that limits an attempt"),
];

/// Modules that no feature of their own name switches on.
const ALWAYS: &[&str] = &["base", "guide"];

/// Folders that users do not see: name, why.
const HIDDEN: &[(&str, &str)] = &[("exchange", "what the transports of `client` and `reqwest` share")];

/// Types of other crates in public signatures: file, the words found, why.
const EXPOSED: &[(&str, &str, &str)] = &[
    ("base/body/replay.rs", "Empty", "implements our trait for the body that everyone uses"),
    ("base/body/replay.rs", "Full", "implements our trait for the body that everyone uses"),
    ("client/transport/dial.rs", "Executor", "a private type implements it for hyper"),
    ("client/transport/sender.rs", "http1::", "a private type hands requests to a connection of hyper"),
    ("client/transport/sender.rs", "http2::", "as above"),
    ("client/transport/wire.rs", "AsyncRead", "a private type implements it for hyper"),
    ("client/transport/wire.rs", "AsyncWrite", "a private type implements it for hyper"),
    ("connect/stream.rs", "AsyncRead", "what a connection is on tokio; decision 0010"),
    ("connect/stream.rs", "AsyncWrite", "as above"),
    ("connect/tcp.rs", "TcpStream", "what `Connect` makes of TCP"),
    ("connect/transport.rs", "AsyncRead", "what a connection is on tokio; decision 0010"),
    ("connect/transport.rs", "AsyncWrite", "as above"),
    ("connect/unix.rs", "UnixStream", "what `Connect` makes of a Unix socket"),
    ("client/decode/decoder.rs", "AsyncBufRead", "a private type implements it for the decoders"),
    ("client/decode/decoder.rs", "AsyncRead", "as above"),
    ("client/decode/source.rs", "AsyncBufRead", "as above"),
    ("client/decode/source.rs", "AsyncRead", "as above"),
    (
        "idempotency/postgres/store.rs",
        "Config",
        "whoever has PostgreSQL connects to it like this, TLS included",
    ),
    ("idempotency/postgres/store.rs", "MakeTlsConnect", "as above"),
    ("idempotency/postgres/store.rs", "Socket", "as above"),
    ("idempotency/postgres/store.rs", "TlsConnect", "as above"),
    (
        "idempotency/postgres/store.rs",
        "Transaction",
        "a handler's own transaction, with which a record is committed",
    ),
    ("idempotency/postgres/store.rs", "tokio_postgres::Error", "what the same handler has to do with anyway"),
    (
        "idempotency/sqlite/store.rs",
        "Transaction",
        "a handler's own transaction, with which a record is committed",
    ),
    ("idempotency/sqlite/store.rs", "rusqlite::Error", "what the same handler has to do with anyway"),
    ("limit/quota/announced.rs", "EntryVisitor", "a private type implements it to read a list"),
    ("limit/quota/announced.rs", "ItemVisitor", "as above"),
    ("limit/quota/announced.rs", "ListVisitor", "as above"),
    ("limit/quota/announced.rs", "ParameterVisitor", "as above"),
    (
        "server/listener.rs",
        "AsyncRead",
        "what a connection is on tokio, which the server needs anyway; decision 0010",
    ),
    ("server/listener.rs", "AsyncWrite", "as above"),
    ("server/listener.rs", "mpsc::", "implements our trait for the channel that everyone uses on tokio"),
    ("jwt/extract.rs", "FromRequestParts", "implements it for claims, behind the feature `axum`"),
    ("jwt/extract.rs", "IntoResponse", "as above"),
    ("jwt/extract.rs", "OptionalFromRequestParts", "as above"),
    ("observe/prometheus.rs", "Recorder", "what programs install, behind the feature `prometheus`"),
    ("server/listener.rs", "TcpListener", "as above: the listener that there is unless another is given"),
    ("server/listener.rs", "TcpStream", "as above"),
    ("server/handshake.rs", "AsyncRead", "a private type is a stream of bytes"),
    ("server/handshake.rs", "AsyncWrite", "as above"),
    ("server/serve.rs", "TcpListener", "as above"),
    ("server/unix.rs", "UnixStream", "as above"),
    ("server/wire.rs", "AsyncRead", "a private type implements it for hyper"),
    ("server/wire.rs", "AsyncWrite", "a private type implements it for hyper"),
    ("server/tasks.rs", "Executor", "a private type implements it for hyper"),
    ("testing/chaos/stream.rs", "AsyncRead", "what a connection is on tokio; decision 0010"),
    ("testing/chaos/stream.rs", "AsyncWrite", "as above"),
    (
        "testing/chaos/wire.rs",
        "mpsc::",
        "what a server listens to, so that nobody has to write a listener for it",
    ),
];

/// Services whose `Clone` may be derived: file, name, why.
const DERIVED_CLONES: &[(&str, &str, &str)] = &[];

/// Source files that may have more than 500 lines: file, why.
const LONG: &[(&str, &str)] = &[];

/// Files that insert an extension: file, which and why.
const INSERTS: &[(&str, &str)] = &[
    ("base/call.rs", "the one request extension"),
    (
        "client/informational.rs",
        "an extension of the request, for whoever hears what comes before the answer",
    ),
    ("client/redirect/trail.rs", "an extension of the response, where a redirect was followed"),
    ("client/transport/exchange.rs", "what was taken out of a request that came back unsent"),
    ("fallback/mark.rs", "an extension of the response, where a call has failed"),
    ("idempotency/work.rs", "what a handler commits with, as one of any framework can take it"),
    (
        "jwt/introspect_layer.rs",
        "who sends it and what their server says, as handlers and limits can take it",
    ),
    ("jwt/service.rs", "who sends it and what their token says, as handlers and limits can take it"),
    ("limit/address/service.rs", "who is asking, as handlers of any framework can take it"),
    ("observe/received/service.rs", "what it is called, as handlers of any framework can take it"),
    ("observe/route.rs", "which route it is, as layers of any framework can take it"),
    ("server/answering.rs", "when the connection of a probe is old"),
    (
        "server/exchange.rs",
        "who is at the other end and how to hear of the end, as handlers of any framework can take them",
    ),
    (
        "server/instead.rs",
        "an extension of the response, where a handler panicked or a request names no host, for what is above",
    ),
];

fn assert_none(bad: &Complaints) {
    assert!(bad.is_empty(), "\n{}\n", bad.join("\n"));
}

fn over(files: &[Source], rule: impl Fn(&Source) -> Complaints) {
    assert_none(&files.iter().flat_map(rule).collect());
}

/// What users and contributors read: source, tests, examples and pages, but for the design pages and the tests of
/// these very words.
fn prose() -> Vec<Source> {
    let mut found = Vec::new();
    for (folder, extension) in [
        ("src", "rs"),
        ("tests", "rs"),
        ("examples", "rs"),
        ("benches", "rs"),
        ("examples", "md"),
        ("docs", "md"),
    ] {
        found.extend(files(folder, extension).into_iter().map(|mut file| {
            file.path = format!("{folder}/{}", file.path);
            file
        }));
    }
    found.extend(
        ["README.md", "CHANGELOG.md", "SECURITY.md", "Cargo.toml"].map(|name| Source::new(name, &read(name))),
    );
    found.retain(|file| !file.path.starts_with("tests/shape"));
    found
}

#[test]
fn a_module_uses_only_base_and_only_the_assemblies_use_modules() {
    over(&library(), rules::imports);
}

#[test]
fn what_decides_has_no_async_no_lock_and_no_clock() {
    let all = library();
    let missing: Complaints = DECIDERS
        .iter()
        .filter(|path| !all.iter().any(|file| file.path == **path))
        .filter(|path| {
            let service = path.split_once('/').map(|(home, _)| format!("{home}/service.rs"));
            path.starts_with("base/") || all.iter().any(|file| Some(&file.path) == service.as_ref())
        })
        .map(|path| format!("{path} is in the table and not in the tree"))
        .collect();
    assert_none(&missing);
    let deciding: Vec<Source> = all.into_iter().filter(|f| DECIDERS.contains(&f.path.as_str())).collect();
    over(&deciding, rules::pure);
}

#[test]
fn every_module_with_a_service_decides_in_a_file_of_its_own() {
    assert_none(&rules::decides(&library(), DECIDERS, NOTHING_TO_DECIDE));
}

#[test]
fn time_and_randomness_enter_through_one_file_each() {
    over(&library(), |file| rules::clocks(file, CLOCK_READERS));
}

#[test]
fn unsafe_code_is_forbidden() {
    over(&[Source::new("lib.rs", &read("src/lib.rs"))], rules::forbids_unsafe);
}

#[test]
fn a_table_of_settings_says_what_it_is() {
    over(&library(), rules::tables_have_names);
}

#[test]
fn every_module_stands_behind_a_feature_of_its_own_name() {
    over(&[Source::new("lib.rs", &read("src/lib.rs"))], |lib| rules::gated(lib, &read("Cargo.toml"), ALWAYS));
}

#[test]
fn every_folder_is_a_module_of_the_map_and_has_a_page() {
    let all = library();
    let lib = all.iter().find(|f| f.path == "lib.rs").expect("a crate root");
    let declared: BTreeSet<String> =
        rules::public_modules(lib).into_iter().map(|(name, _, _)| name).collect();
    let folders: BTreeSet<String> = all
        .iter()
        .filter_map(|f| f.path.split_once('/'))
        .map(|(folder, _)| folder.to_owned())
        .filter(|folder| HIDDEN.iter().all(|(hidden, _)| hidden != folder))
        .collect();
    assert!(folders.is_subset(&declared), "not in the map: {:?}", folders.difference(&declared));
    let pages: Vec<Source> = declared
        .iter()
        .map(|name| {
            let found =
                all.iter().find(|f| f.path == format!("{name}/mod.rs") || f.path == format!("{name}.rs"));
            found.unwrap_or_else(|| panic!("`pub mod {name}` has no file")).clone()
        })
        .collect();
    over(&pages, rules::has_page);
}

#[test]
fn a_front_page_holds_prose_and_exports_and_no_logic() {
    let pages: Vec<Source> = library().into_iter().filter(|f| f.name() == "mod.rs").collect();
    over(&pages, rules::no_logic);
}

#[test]
fn public_signatures_name_only_the_agreed_crates() {
    let private = rules::private_crates(&read("Cargo.toml"));
    assert!(private.iter().any(|name| name == "hyper_util"), "the manifest was not understood: {private:?}");
    let all = library();
    over(&all, |file| rules::signatures(file, &private, EXPOSED));
    let stale: Complaints = EXPOSED
        .iter()
        .filter(|(path, word, _)| {
            let file = all.iter().find(|f| f.path == *path);
            file.is_some_and(|file| !file.code().contains(word))
        })
        .map(|(path, word, _)| format!("`{word}` is excused in {path} and does not stand there"))
        .collect();
    assert_none(&stale);
}

#[test]
fn no_source_file_is_long_without_a_reason() {
    over(&library(), |file| rules::short(file, 500, LONG));
}

#[test]
fn words_of_the_design_page_stay_in_the_design_page() {
    let outside: Vec<Source> = prose().into_iter().filter(|f| !f.path.starts_with("docs/design/")).collect();
    over(&outside, |file| rules::phrases(file, rules::JARGON, "say module, layer or guarantee"));
}

#[test]
fn nothing_points_to_a_page_or_a_place_that_the_reader_does_not_have() {
    over(&prose(), rules::points_outside);
}

#[test]
fn the_version_in_prose_is_the_version_of_the_crate() {
    let pages: Vec<Source> = prose().into_iter().filter(|f| f.path.ends_with(".md")).collect();
    assert!(read("README.md").contains("stonework = "), "the README shows how to depend on the crate");
    over(&pages, |file| rules::versions(file, env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")));
}

#[test]
fn extensions_are_inserted_where_the_table_says_and_nowhere_else() {
    over(&library(), |file| rules::insertions(file, INSERTS));
}

#[test]
fn the_clone_of_a_service_is_written_by_hand() {
    over(&library(), |file| rules::clones(file, DERIVED_CLONES));
}

#[test]
fn the_indexes_name_every_page_and_every_example() {
    let pages: Vec<String> =
        files("docs", "md").into_iter().map(|f| f.path).filter(|path| path != "README.md").collect();
    assert_none(&rules::indexed(&Source::new("docs/README.md", &read("docs/README.md")), &pages));
    let examples: Vec<String> = files("examples", "rs").into_iter().map(|f| f.path).collect();
    let index = Source::new("examples/README.md", &read("examples/README.md"));
    assert_none(&rules::indexed(&index, &examples));
    if is_checkout() {
        let places = |path: &str| [root().join("examples").join(path), root().join(path)];
        assert_none(&pages::names_files(&index, |path| places(path).iter().any(|file| file.is_file())));
    }
}

#[test]
fn every_public_item_has_an_example_or_leads_to_one() {
    assert_none(&examples::without_example(&library()));
}

#[test]
fn every_example_is_compiled() {
    over(&prose(), examples::uncompiled);
}

#[test]
fn examples_have_one_shape_and_one_way_to_end() {
    let examples: Vec<Source> = files("examples", "rs");
    let programs: Vec<_> =
        examples.iter().filter_map(|file| pages::program(file).map(|name| (file, name))).collect();
    assert!(programs.iter().any(|(_, name)| *name == "quickstart"), "the examples were not found");
    assert_none(&programs.iter().flat_map(|(file, name)| pages::one_shape(file, name)).collect());
    let others: Vec<Source> = examples.into_iter().filter(|file| file.path != "kit/mod.rs").collect();
    over(&others, pages::own_verdict);
}

/// The published package leaves out the packages that stand beside it, which its pages name.
fn is_checkout() -> bool {
    root().join("benches").is_dir()
}

/// The pages, and the programs, which have commands in their comments.
fn pages_and_examples() -> Vec<Source> {
    prose()
        .into_iter()
        .filter(|file| file.path.ends_with(".md") || file.path.starts_with("examples/"))
        .collect()
}

#[test]
fn pages_lead_to_what_is_there_and_commands_name_what_can_be_run() {
    if !is_checkout() {
        return;
    }
    let all = pages_and_examples();
    let pages: Vec<Source> = all.iter().filter(|file| file.path.ends_with(".md")).cloned().collect();
    over(&pages, |page| pages::links(page, |path| root().join(path).exists()));

    let examples = files("examples", "rs");
    let programs: BTreeSet<String> = examples.iter().filter_map(pages::program).map(str::to_owned).collect();
    let manifests = ["benches", "examples", "tests"].into_iter().flat_map(|folder| files(folder, "toml"));
    let manifests = manifests.filter(|file| file.name() == "Cargo.toml").map(|file| file.text);
    let names = manifests.chain([read("Cargo.toml")]).filter_map(|text| {
        let name = text.lines().find_map(|line| line.strip_prefix("name = "))?;
        Some(name.trim_matches('"').to_owned())
    });
    let packages: BTreeSet<String> = names.collect();
    over(&all, |page| pages::commands(page, &programs, &packages));
}

#[test]
fn the_map_of_the_front_page_names_each_module_and_only_what_it_exports() {
    let all = library();
    let mut modules = BTreeMap::<String, String>::new();
    // A folder below one exports through it.
    for page in all.iter().filter(|file| file.name() == "mod.rs") {
        let name = page.module()[0];
        if !ALWAYS.contains(&name) && HIDDEN.iter().all(|(hidden, _)| *hidden != name) {
            modules.entry(name.to_owned()).or_default().push_str(&page.code());
        }
    }
    let modules: Vec<_> = modules.into_iter().collect();
    assert!(modules.iter().any(|(name, _)| name == "retry"), "the modules were not found");
    assert_none(&pages::map(&Source::new("README.md", &read("README.md")), &modules));
}

#[test]
fn a_page_of_the_guide_is_compiled_and_leads_on_from_both_places() {
    let guide = read("src/guide.rs");
    let included: BTreeSet<&str> =
        guide.split("include_str!(\"../docs/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(!included.is_empty(), "the guide has pages");
    for page in files("docs", "md").iter().filter(|page| page.path != "README.md") {
        if page.text.contains("```rust") {
            let elsewhere = COMPILED_ELSEWHERE.iter().find(|(path, _, _)| *path == page.path);
            let is_compiled = elsewhere.is_some_and(|(path, by, _)| {
                !is_checkout() || read(by).contains(&format!("/docs/{path}\")]"))
            });
            assert!(
                is_compiled || included.contains(page.path.as_str()),
                "docs/{}: its snippets are not compiled",
                page.path
            );
        }
        if included.contains(page.path.as_str()) {
            assert_none(&rules::links_from_both_places(page, &guide));
        }
    }
}

#[test]
fn the_page_on_other_crates_names_versions_that_are_built_and_cases_that_are_run() {
    if !is_checkout() {
        return;
    }
    let page = Source::new("docs/COMPARE.md", &read("docs/COMPARE.md"));
    let cases: String = files("benches/peers/src/flaws", "rs").into_iter().map(|file| file.text).collect();
    let is_module = |name: &str| root().join(format!("examples/moving_in/src/{name}.rs")).is_file();
    let (named, bad) = pages::compared(&page, &read("Cargo.lock"), &cases, is_module);
    assert_none(&bad);
    assert!(named > 30, "the page was not understood: {named} names");
}

#[test]
fn every_metric_is_in_the_table_of_its_layer_and_in_the_guide() {
    let guide = read("docs/observing.md");
    let mut named = 0;
    for (code, table) in [
        ("src/observe/metrics.rs", "src/observe/metrics.rs"),
        ("src/observe/received/metrics.rs", "src/observe/received/layers.rs"),
    ] {
        let table = read(table);
        for name in rules::metrics(&read(code)) {
            named += 1;
            assert!(table.contains(&format!("/// | `{name}` |")), "`{name}` is in no table");
            assert!(guide.contains(&format!("`{name}`")), "docs/observing.md does not name `{name}`");
        }
    }
    assert!(named > 30, "{named} metrics were found");
}

#[test]
fn every_gap_says_what_it_waits_for_and_which_issue_closes_it() {
    over(&[Source::new("docs/design/gaps.md", &read("docs/design/gaps.md"))], rules::gaps);
}

// ───────────────────────────────────────────────────────────────────────────── what the compiler knows

/// Whether a type is `Send + Sync + Unpin`, known while compiling: the inherent constant wins over the trait's
/// only where its bounds hold.
struct Probe<T: ?Sized>(std::marker::PhantomData<T>);

trait Otherwise {
    const HOLDS: bool = false;
}

impl<T: ?Sized> Otherwise for Probe<T> {}

impl<T: ?Sized + Send + Sync + Unpin> Probe<T> {
    const HOLDS: bool = true;
}

/// A body that is `Send` and no more, as many are.
type NotSync = std::cell::Cell<u8>;

/// What a pool is of, where that does not matter.
struct Nothing;

impl stonework::pool::Manage for Nothing {
    type Object = ();
    type Error = std::convert::Infallible;

    async fn connect(&self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// The names of those types that are not `Send + Sync + Unpin`.
macro_rules! not_shareable {
    ($($type:ty),* $(,)?) => {{
        let all: &[(bool, &str)] = &[$((<Probe<$type>>::HOLDS, stringify!($type))),*];
        all.iter().filter(|(holds, _)| !holds).map(|(_, name)| (*name).to_owned()).collect::<Complaints>()
    }};
}

#[test]
fn what_users_hold_can_cross_threads_and_be_moved() {
    // One line a type: settings, layers, handles, errors, services over a service that can.
    assert_none(&not_shareable![
        stonework::client::Client,
        stonework::client::ClientBuilder,
        stonework::client::ClientSettings,
        stonework::client::InvalidClient,
        stonework::client::InvalidRedirect,
        stonework::client::InvalidRequest,
        stonework::client::NotDecoded,
        stonework::client::Redirected,
        stonework::client::RequestBuilder,
        stonework::client::Response,
        stonework::client::TooManyRedirects,
        stonework::reqwest::Transport,
        stonework::base::Backoff,
        stonework::base::body::Body,
        stonework::base::body::Reopen<NotSync>,
        stonework::base::body::ReplayBody<NotSync>,
        stonework::base::Budget,
        stonework::base::Call,
        stonework::base::ClientAddress,
        stonework::base::ClassifyGrpc,
        stonework::base::Deadline,
        stonework::base::Error,
        stonework::base::Event,
        stonework::base::GrpcStatus,
        stonework::base::IdempotencyKey,
        stonework::base::Network,
        stonework::base::RateLimited,
        stonework::base::RequestId,
        stonework::base::Rng,
        stonework::base::Route,
        stonework::base::TraceContext,
        stonework::base::TrustedPeers,
        stonework::base::WallClock,
        stonework::base::Withdrawal,
        stonework::balance::AllUnhealthy,
        stonework::balance::Balancer<()>,
        stonework::balance::BalancerService<()>,
        stonework::balance::BalancerSettings,
        stonework::balance::BalancerStats,
        stonework::balance::InUse<(), stonework::base::ClassifyHttp>,
        stonework::balance::InvalidBalancer,
        stonework::balance::Member,
        stonework::balance::MemberSender,
        stonework::balance::MemberWatch,
        stonework::balance::NoEndpoints,
        stonework::balance::OutlierSettings,
        stonework::balance::StickyCookie,
        stonework::balance::StickyHeader,
        stonework::balance::StickyKey,
        stonework::base::EndpointId,
        stonework::breaker::Breaker,
        stonework::breaker::BreakerLayer,
        stonework::breaker::BreakerService<()>,
        stonework::breaker::BreakerSettings,
        stonework::breaker::BreakerStats,
        stonework::breaker::Breakers,
        stonework::breaker::BreakersLayer,
        stonework::breaker::BreakersService<()>,
        stonework::breaker::CircuitOpen,
        stonework::base::HostPort,
        stonework::breaker::InvalidBreaker,
        stonework::breaker::Permit,
        stonework::fallback::Fallback,
        stonework::fallback::FallbackFailed,
        stonework::fallback::FallbackLayer<stonework::fallback::Backup<()>>,
        stonework::fallback::FallbackLayer<stonework::fallback::Value<()>>,
        stonework::fallback::FallbackService<(), stonework::fallback::Backup<()>>,
        stonework::fallback::FallbackService<(), stonework::fallback::Value<()>>,
        stonework::fallback::FallbackSettings,
        stonework::health::CheckReport,
        stonework::health::Health,
        stonework::health::HealthLayer,
        stonework::health::HealthReport,
        stonework::health::HealthService<()>,
        stonework::health::HealthSettings,
        stonework::health::HealthStatus,
        stonework::health::HealthWatch,
        stonework::health::GrpcProbe<()>,
        stonework::health::HttpProbe<()>,
        stonework::health::InvalidHealth,
        stonework::health::ProbedEndpoint,
        stonework::health::Prober,
        stonework::health::ProberBuilder,
        stonework::health::ProberSettings,
        stonework::health::ProberStats,
        stonework::health::TcpProbe,
        stonework::health::Verdict,
        stonework::base::Principal,
        stonework::base::PrincipalId,
        stonework::base::TokenRefused,
        stonework::jwt::Claims<String>,
        stonework::jwt::Introspected,
        stonework::jwt::IntrospectLayer,
        stonework::jwt::IntrospectService<()>,
        stonework::jwt::IntrospectSettings,
        stonework::jwt::Introspector,
        stonework::jwt::IntrospectorBuilder,
        stonework::jwt::InvalidJwt,
        stonework::jwt::Issuer,
        stonework::jwt::IssuerBuilder,
        stonework::jwt::IssuerService,
        stonework::jwt::IssuerSettings,
        stonework::jwt::JwtLayer,
        stonework::jwt::JwtService<()>,
        stonework::jwt::JwtSettings,
        stonework::jwt::Key,
        stonework::jwt::KeySet,
        stonework::jwt::Keys,
        stonework::jwt::RemoteKeys,
        stonework::jwt::RemoteKeysSettings,
        stonework::jwt::RequireLayer,
        stonework::jwt::RequireService<()>,
        stonework::jwt::SigningKey,
        stonework::jwt::TokenInfo,
        stonework::jwt::Verifier<String>,
        stonework::jwt::VerifierBuilder,
        stonework::base::ClientAuth,
        stonework::observe::AccessLogLayer,
        stonework::observe::Prometheus,
        stonework::observe::PrometheusService,
        stonework::observe::PropagateLayer,
        stonework::observe::Propagate<()>,
        stonework::observe::Received<()>,
        stonework::observe::RequestIdLayer,
        stonework::observe::RequestSpanLayer,
        stonework::observe::RouteLayer,
        stonework::observe::Routed<()>,
        stonework::observe::ServerMetricsLayer,
        stonework::observe::TraceLayer,
        stonework::oauth::AccessToken,
        stonework::oauth::BearerLayer,
        stonework::oauth::BearerService<()>,
        stonework::oauth::InvalidOauth,
        stonework::oauth::NoToken,
        stonework::oauth::TokenSettings,
        stonework::oauth::TokenSource,
        stonework::oauth::TokenSourceBuilder,
        stonework::limit::ClientAddressLayer,
        stonework::limit::ClientAddressService<()>,
        stonework::base::Priority,
        stonework::limit::AdaptiveSettings,
        stonework::limit::AdaptiveThrottle,
        stonework::limit::AdaptiveThrottleLayer,
        stonework::limit::AdaptiveThrottleService<(), stonework::limit::AdaptiveThrottle, ()>,
        stonework::limit::InvalidThrottle,
        stonework::limit::KeyedAdaptiveThrottle,
        stonework::limit::QuotaUsedUp,
        stonework::limit::Sent,
        stonework::limit::ServerQuotaLayer,
        stonework::limit::ServerQuotas,
        stonework::limit::ThrottleSettings,
        stonework::limit::Throttled,
        stonework::limit::Admission,
        stonework::limit::Algorithm,
        stonework::limit::Allowed,
        stonework::limit::ConcurrencyLimitLayer,
        stonework::limit::ConcurrencyLimiter,
        stonework::limit::ConcurrencySettings,
        stonework::limit::Prioritized<stonework::limit::ConcurrencyLimiter, fn(&()) -> stonework::base::Priority>,
        stonework::limit::ForwardingHeader,
        stonework::limit::Gated<(), stonework::limit::Concurrency<stonework::limit::ConcurrencyLimiter>>,
        stonework::limit::Gated<(), stonework::limit::Rate<stonework::limit::RateLimiter>>,
        stonework::limit::InvalidConcurrency,
        stonework::limit::InvalidProxies,
        stonework::limit::InvalidQuota,
        stonework::limit::KeyedConcurrencyLimiter<String>,
        stonework::limit::KeyedRateLimiter<String>,
        stonework::limit::Overloaded,
        stonework::limit::Permit,
        stonework::limit::Quota,
        stonework::limit::RateLimitLayer,
        stonework::limit::RateLimiter,
        stonework::limit::Reservation,
        stonework::limit::TrustedProxies,
        stonework::base::InvalidRedis,
        stonework::idempotency::InvalidEntry,
        stonework::idempotency::RedisStore,
        stonework::limit::InvalidRedis,
        stonework::limit::InvalidSharedLimit,
        stonework::limit::KeyTooLong,
        stonework::limit::MemoryStore,
        stonework::limit::RedisStore,
        stonework::limit::SharedAllowed,
        stonework::limit::SharedLimitSettings,
        stonework::limit::SharedRateLimiter,
        stonework::limit::StoreAway,
        stonework::connect::ClientTls,
        stonework::connect::ConnectError,
        stonework::connect::Connector,
        stonework::connect::DiscoverySettings,
        stonework::connect::DnsDiscovery,
        stonework::connect::HickoryResolver,
        stonework::connect::InvalidConnector,
        stonework::connect::InvalidProxy,
        stonework::connect::InvalidTls,
        stonework::connect::LookAgain,
        stonework::connect::Progress,
        stonework::connect::Proxy,
        stonework::connect::Resolved,
        stonework::connect::SystemResolver,
        stonework::connect::Target,
        stonework::connect::Tcp,
        stonework::connect::TcpSettings,
        stonework::connect::Timings,
        stonework::pool::ConnectFailed,
        stonework::pool::InPool<Nothing>,
        stonework::pool::InvalidPool,
        stonework::pool::Pool<Nothing>,
        stonework::pool::PoolBuilder<Nothing>,
        stonework::pool::PoolClosed,
        stonework::pool::PoolExhausted,
        stonework::pool::PoolService<Nothing>,
        stonework::pool::PoolSettings,
        stonework::pool::PoolStats,
        stonework::pool::Pooled<Nothing>,
        stonework::retry::Changed,
        stonework::retry::Collect<()>,
        stonework::retry::CollectLayer,
        stonework::retry::NotResumed,
        stonework::retry::Policy,
        stonework::retry::Resume<()>,
        stonework::retry::ResumeLayer,
        stonework::retry::ResumeSettings,
        stonework::retry::Retry<()>,
        stonework::retry::RetryLayer,
        stonework::retry::RetrySettings,
        stonework::server::Server,
        stonework::server::ServerSettings,
        stonework::server::ServerTls,
        stonework::sse::EventParser,
        stonework::sse::EventSourceSettings,
        stonework::sse::EventTooLarge,
        stonework::sse::InvalidEventSource,
        stonework::sse::NotAStream,
        stonework::sse::ServerEvent,
        stonework::testing::Ledger,
        stonework::testing::Recorder,
        stonework::testing::ScriptedServer,
        stonework::testing::Strict<()>,
        stonework::timeout::AttemptTimeout<()>,
        stonework::timeout::AttemptTimeoutLayer,
        stonework::timeout::ReceiveDeadline<()>,
        stonework::timeout::ReceiveDeadlineLayer,
        stonework::timeout::SendDeadline<()>,
        stonework::timeout::SendDeadlineLayer,
        stonework::timeout::Timeout<()>,
        stonework::timeout::TimeoutLayer,
    ]);
}

#[test]
fn a_type_that_cannot_cross_threads_or_be_moved_is_seen() {
    use std::cell::Cell;
    use std::marker::PhantomPinned;
    use std::rc::Rc;
    let bad = not_shareable![Rc<()>, String, Cell<u8>, PhantomPinned, Box<dyn Send + Sync>];
    assert_eq!(bad, ["Rc<()>", "Cell<u8>", "PhantomPinned"]);
}

#[test]
fn every_default_is_on_its_page_as_it_is_in_the_code() {
    let rows = defaults::rows(&read("docs/design/defaults.md"), "## Settings");
    assert_none(&defaults::wrong(&rows));
    assert_none(&defaults::missing(&rows));
}

#[test]
fn no_type_of_settings_is_left_out_of_the_page_of_defaults() {
    let this = read("tests/shape/defaults.rs");
    let source: String = library().iter().map(Source::code).collect();
    assert_none(&defaults::overlooked(&source, &this));
    assert_eq!(
        defaults::overlooked("pub struct NewSettings {\npub struct RetrySettings {\n", &this).len(),
        1
    );
}

#[test]
fn a_default_that_is_wrong_unread_or_missing_is_seen() {
    let page = "## Settings\n|a|b|\n|-|-|\n| retry `attempts` | 4 |\n| retry `replay_cap` | much |\n| x | 1 |\n# next";
    let rows = defaults::rows(page, "## Settings");
    assert_eq!(defaults::wrong(&rows).len(), 3);
    assert!(defaults::missing(&rows).iter().any(|line| line.contains("client `deadline`")));
    assert!(!defaults::missing(&rows).iter().any(|line| line.contains("retry `attempts`")));
}

#[test]
fn the_files_of_the_guide_are_read_and_two_of_them_show_every_setting_with_its_default() {
    use stonework::client::{Client, ClientSettings};
    use stonework::server::ServerSettings;

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        client: ClientSettings,
        server: ServerSettings,
        health: stonework::health::HealthSettings,
    }
    let page = read("docs/configuring.md");
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let [differs, client, server] = blocks.collect::<Vec<_>>()[..] else { panic!("there are three files") };

    let Settings { client: own, server: its, health } = toml::from_str(differs).expect("it is read");
    assert_ne!((own.clone(), its), (ClientSettings::new(), ServerSettings::new()), "they say something");
    assert_ne!(health, Default::default(), "so do these");
    Client::builder().settings(own).build().expect("a client of these settings");

    let table = |text: &str| text.parse::<toml::Table>().expect("it is TOML");
    let client_has = toml::Table::try_from(ClientSettings::new()).expect("it can be written");
    assert_eq!(table(client), client_has);
    let server_has = toml::Table::try_from(ServerSettings::new()).expect("it can be written");
    assert_eq!(table(server), server_has);
}

/// The names of all functions of source, tests and what is tested beside them, each with the places in which it stands, as the page of
/// guarantees calls them: a kind of tests, `lib`, or a package.
fn functions() -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for folder in ["src", "tests", "examples"] {
        for file in files(folder, "rs") {
            let first = file.path.split('/').next().unwrap_or_default();
            let place = if folder == "src" { "lib" } else { first.trim_end_matches(".rs") };
            for rest in file.text.split("fn ").skip(1) {
                let name = rest.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_');
                found.entry(name.collect()).or_default().insert(place.to_owned());
            }
        }
    }
    found
}

#[test]
fn what_has_no_setting_is_held_by_a_test() {
    let rows = defaults::rows(&read("docs/design/defaults.md"), "## Fixed, with no setting");
    assert!(!rows.is_empty());
    let functions = functions();
    assert_none(&defaults::unheld(&rows, |name| functions.contains_key(name)));
    assert_eq!(defaults::unheld(&rows, |_| false).len(), rows.len());
}

/// Names in backticks that can only be a test: a sentence in snake case.
fn tests_named_in(page: &str) -> Vec<&str> {
    let sentence = |name: &&str| {
        name.matches('_').count() >= 4
            && name
                .chars()
                .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
    };
    page.split('`').skip(1).step_by(2).filter(sentence).collect()
}

#[test]
fn a_claim_names_a_test_that_exists() {
    let functions = functions();
    let mut named = 0;
    let pages = files("docs", "md").into_iter().map(|page| format!("docs/{}", page.path));
    for page in pages.chain(["README.md", "CHANGELOG.md", "SECURITY.md"].map(str::to_owned)) {
        let text = read(&page);
        for name in tests_named_in(&text) {
            named += 1;
            assert!(functions.contains_key(name), "{page} names the test `{name}`, which is not there");
        }
    }
    assert!(named > 0, "the first claim of the front page names its test");
    let page = "as `this_is_a_named_test`, `so_is_this_1_of_2` and `cargo_test` say";
    assert_eq!(tests_named_in(page), ["this_is_a_named_test", "so_is_this_1_of_2"]);
}

/// Rows that name tests in their second column, and in the last one places where none of these stands, or not all of them.
fn misplaced(page: &str, functions: &BTreeMap<String, BTreeSet<String>>) -> (usize, Complaints) {
    let (mut rows, mut bad) = (0, Complaints::new());
    for row in page.lines().filter(|row| row.starts_with('|')) {
        let columns: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, tests, places] = columns[..] else { continue };
        // Whatever the name looks like: here it can be nothing else.
        let is_name =
            |text: &&str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).filter(is_name).collect();
        if tests.is_empty() {
            continue;
        }
        rows += 1;
        let places: BTreeSet<&str> = places.split(", ").map(str::trim).collect();
        let nowhere = BTreeSet::new();
        let stands_in = |name: &&str, place: &&str| functions.get(*name).unwrap_or(&nowhere).contains(*place);
        let lost = tests.iter().filter(|name| !places.iter().any(|place| stands_in(name, place)));
        bad.extend(lost.map(|name| format!("`{name}` is not in any of {places:?}")));
        let empty = places.iter().filter(|place| !tests.iter().any(|name| stands_in(name, place)));
        bad.extend(empty.map(|place| format!("none of {tests:?} is in `{place}`")));
    }
    (rows, bad)
}

#[test]
fn a_guarantee_says_where_its_tests_stand() {
    let functions = functions();
    let (rows, bad) = misplaced(&read("docs/GUARANTEES.md"), &functions);
    assert_none(&bad);
    assert!(rows > 50, "the page was not understood: {rows} rows");
    let row = "| it is safe | `unsafe_code_is_forbidden`, `this_is_a_named_test` | shape, lib |";
    let (_, bad) = misplaced(row, &functions);
    assert_eq!(bad.len(), 2, "one that is nowhere, and a place with none: {bad:?}");
}
