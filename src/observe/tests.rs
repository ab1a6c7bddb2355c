//! What is counted and written down of each event: whoever reads a graph or a log relies on these words.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, span};

use super::{MetricsObserver, Prometheus};
use crate::base::{
    CloseReason, EndpointReason, EndpointState, Event, Fitness, HealthState, KeyFault, KeyedFault, Kind,
    Observer, PoolClose, Skip, Timings, TokenFault, TracingObserver,
};

const SECOND: Duration = Duration::from_secs(1);

/// The events of modules that have no test of their own for what is told of them, each with the lines that Prometheus reads, and
/// with the line of a log.
fn told() -> Vec<(Event, &'static [&'static str], Option<&'static str>)> {
    let name = || Arc::<str>::from("one");
    let endpoint = || "a:1".into();
    let (ejected, ready) = (EndpointState::Ejected, EndpointState::Ready);
    vec![
        (
            Event::HedgeFired { attempt: 2, waited: SECOND },
            &["stonework_hedges_total 1"],
            Some("DEBUG hedge fired attempt=2 waited=1s"),
        ),
        (
            Event::HedgeSkipped { why: Skip::Budget },
            &["stonework_hedges_skipped_total{reason=\"budget\"} 1"],
            Some("DEBUG hedge skipped why=the retry budget is spent"),
        ),
        (
            Event::HedgeWon { attempt: 2 },
            &["stonework_hedges_won_total 1"],
            Some("TRACE hedge won attempt=2"),
        ),
        (
            Event::DiscoveryFailed { balancer: name(), kind: Kind::Connect },
            &["stonework_balancer_discovery_failures_total{balancer=\"one\",kind=\"connect\"} 1"],
            Some("WARN endpoints could not be discovered balancer=one kind=connect"),
        ),
        (
            Event::EndpointChanged {
                balancer: name(),
                endpoint: endpoint(),
                from: ready,
                to: ejected,
                why: EndpointReason::FailureShare,
            },
            &[
                "stonework_endpoint_changes_total{balancer=\"one\",endpoint=\"a:1\",to=\"ejected\"} 1",
                "stonework_endpoint_state{balancer=\"one\",endpoint=\"a:1\",state=\"ejected\"} 1",
                "stonework_endpoint_state{balancer=\"one\",endpoint=\"a:1\",state=\"ready\"} 0",
            ],
            Some(
                "WARN endpoint left out balancer=one endpoint=a:1 from=ready to=ejected why=too many failures",
            ),
        ),
        (
            Event::EndpointChanged {
                balancer: name(),
                endpoint: endpoint(),
                from: ejected,
                to: ready,
                why: EndpointReason::TimeOver,
            },
            &["stonework_endpoint_changes_total{balancer=\"one\",endpoint=\"a:1\",to=\"ready\"} 1"],
            Some(
                "INFO endpoint changed balancer=one endpoint=a:1 from=ejected to=ready why=its time is over",
            ),
        ),
        (
            Event::FailedOver { balancer: name(), endpoint: endpoint(), kind: Kind::Connect },
            &["stonework_balancer_failovers_total{balancer=\"one\",kind=\"connect\"} 1"],
            Some("DEBUG failed over balancer=one endpoint=a:1 kind=connect"),
        ),
        (
            Event::PanicChanged { balancer: name(), tier: 1, begins: true },
            &["stonework_balancer_panic{balancer=\"one\",tier=\"1\"} 1"],
            Some("WARN too few endpoints are ready balancer=one tier=1"),
        ),
        (
            Event::PanicChanged { balancer: name(), tier: 1, begins: false },
            &["stonework_balancer_panic{balancer=\"one\",tier=\"1\"} 0"],
            Some("INFO enough endpoints are ready again balancer=one tier=1"),
        ),
        (
            Event::FitnessChanged {
                prober: name(),
                endpoint: endpoint(),
                from: Fitness::Fit,
                to: Fitness::Unfit,
                output: Some("503".into()),
            },
            &["stonework_prober_changes_total{prober=\"one\",endpoint=\"a:1\",to=\"unfit\"} 1"],
            Some("WARN endpoint is not well prober=one endpoint=a:1 from=fit output=503"),
        ),
        (
            Event::FitnessChanged {
                prober: name(),
                endpoint: endpoint(),
                from: Fitness::Unfit,
                to: Fitness::Fit,
                output: None,
            },
            &["stonework_prober_changes_total{prober=\"one\",endpoint=\"a:1\",to=\"fit\"} 1"],
            Some("INFO endpoint probed prober=one endpoint=a:1 from=unfit to=fit"),
        ),
        (
            Event::HealthChanged {
                check: name(),
                from: HealthState::Pass,
                to: HealthState::Fail,
                output: None,
            },
            &[
                "stonework_health_changes_total{check=\"one\",to=\"fail\"} 1",
                "stonework_health_state{check=\"one\",state=\"fail\"} 1",
                "stonework_health_state{check=\"one\",state=\"pass\"} 0",
            ],
            Some("WARN health check failed check=one from=pass"),
        ),
        (
            Event::HealthChanged {
                check: name(),
                from: HealthState::Fail,
                to: HealthState::Warn,
                output: None,
            },
            &["stonework_health_changes_total{check=\"one\",to=\"warn\"} 1"],
            Some("INFO health check changed check=one from=fail to=warn"),
        ),
        (
            Event::PoolClosed { pool: name(), why: PoolClose::Checked },
            &["stonework_pool_closed_total{pool=\"one\",why=\"checked\"} 1"],
            Some("DEBUG pool closed one pool=one why=did not pass its check"),
        ),
        (
            Event::PoolConnected { pool: name(), took: SECOND },
            &["stonework_pool_connect_count{pool=\"one\"} 1", "stonework_pool_connect_sum{pool=\"one\"} 1"],
            Some("DEBUG pool connected pool=one took=1s"),
        ),
        (
            Event::PoolConnectFailed { pool: name(), kind: Kind::Connect, again_in: SECOND },
            &["stonework_pool_connect_failures_total{pool=\"one\",kind=\"connect\"} 1"],
            Some("WARN pool could not connect pool=one kind=connect again_in=1s"),
        ),
        (
            Event::KeysNotFetched { from: name(), kind: Kind::Timeout, again_in: SECOND },
            &["stonework_jwt_fetch_failures_total{from=\"one\",kind=\"timeout\"} 1"],
            Some("WARN keys could not be fetched from=one kind=timeout again_in=1s"),
        ),
        (
            Event::KeysReplaced { usable: 2, skipped: 1 },
            &["stonework_jwt_keys 2"],
            Some("INFO keys replaced usable=2 skipped=1"),
        ),
        (
            Event::KeySkipped { why: KeyFault::RsaTooShort },
            &["stonework_jwt_keys_skipped_total{why=\"rsa_too_short\"} 1"],
            Some("DEBUG a key was left out why=its modulus has less than 2048 bits"),
        ),
        (
            Event::TokenRefused { why: TokenFault::NotYetValid, field: Some("nbf".into()) },
            &["stonework_jwt_refused_total{why=\"not_yet_valid\"} 1"],
            Some("DEBUG token refused why=it is not valid yet field=nbf"),
        ),
        (
            Event::KeyedReplayed {},
            &["stonework_keyed_replayed_total 1"],
            Some("DEBUG keyed request answered as before"),
        ),
        (
            Event::KeyedRefused { why: KeyedFault::Mismatch },
            &["stonework_keyed_refused_total{why=\"mismatch\"} 1"],
            Some("DEBUG keyed request refused why="),
        ),
        (Event::KeyedLost {}, &["stonework_keyed_lost_total 1"], None),
        (
            Event::ConnectFailed { host: name(), kind: Kind::Connect, timings: Timings::default() },
            &["stonework_connect_failures_total{kind=\"connect\"} 1"],
            Some("DEBUG connecting failed host=one kind=connect"),
        ),
        (
            Event::ConnectionOpened { host: name(), http2: true, timings: Timings::default(), took: SECOND },
            &["stonework_connect_count{http=\"2\"} 1", "stonework_connect_sum{http=\"2\"} 1"],
            Some("DEBUG connection opened host=one http2=true"),
        ),
        (
            Event::ConnectionTaken { host: name(), http2: false, reused: true, waited: SECOND },
            &[
                "stonework_connection_wait_count{reused=\"true\"} 1",
                "stonework_connection_wait_sum{reused=\"true\"} 1",
            ],
            Some("TRACE connection taken host=one http2=false reused=true waited=1s"),
        ),
        (
            Event::RequestReplayed { host: name() },
            &["stonework_requests_replayed_total 1"],
            Some("DEBUG request came back unsent, and goes out again host=one"),
        ),
        (
            Event::ConnectionClosed { why: CloseReason::Flood },
            &["stonework_server_closed_total{why=\"flood\"} 1"],
            None,
        ),
        (Event::HandlerPanicked { message: name() }, &["stonework_server_panics_total 1"], None),
    ]
}

#[test]
fn each_event_is_counted_under_the_name_and_the_labels_that_the_page_tells() {
    for (event, lines, _) in told() {
        let (prometheus, recorder) = Prometheus::with_recorder();
        metrics::with_local_recorder(&recorder, || MetricsObserver.observe(&event));
        let text = prometheus.render();
        for line in lines {
            assert!(text.lines().any(|one| one == *line), "{event:?}: no {line:?} in\n{text}");
        }
        // A histogram without buckets would be a summary, which nobody can add up over several servers.
        for line in text.lines().filter(|line| line.contains("_sum")) {
            let (name, _) = line.split_once("_sum").expect("just seen");
            assert!(text.contains(&format!("{name}_bucket")), "{event:?}: no buckets of {name} in\n{text}");
        }
    }
}

#[test]
fn each_event_is_one_line_of_the_log_at_the_level_of_its_weight() {
    // As long as there is one subscriber alone, whether anybody wants a line is asked of the thread that comes to it first: another
    // test's, which has none.
    let _company = [NoSubscriber::new(), NoSubscriber::new()].map(Dispatch::new);
    for (event, _, line) in told() {
        let log = Log::default();
        tracing::subscriber::with_default(log.clone(), || TracingObserver.observe(&event));
        let lines = log.0.lock().unwrap().clone();
        assert_eq!(lines.len(), usize::from(line.is_some()), "{event:?}: {lines:?}");
        for (said, wanted) in lines.iter().zip(line) {
            assert!(said.starts_with(wanted), "{event:?}: {said:?} is not {wanted:?}");
        }
    }
}

/// Level, message and fields of each line.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.lock().unwrap().push(format!("{} {}{}", event.metadata().level(), line.message, line.fields));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.fields, " {}={value}", field.name());
    }
}
