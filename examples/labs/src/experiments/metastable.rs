//! A stall that never ends. Bronson, Aghayev, Charapko, Zhu, "Metastable Failures in Distributed Systems", HotOS 2021, section 2.1: a database
//! does 300 queries a second; its clients send 280, wait for a second, and try again. After an outage of ten seconds it gets twice as many for
//! ever, and answers none of them in time.
//!
//! Here the database is one worker with an endless queue that does not notice when a caller has gone. Before it stands a web server that has
//! nothing, or an adaptive limit with its queue.

use std::convert::Infallible;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use stonework::Body;
use stonework::base::{Rng, TimeoutHeader};
use stonework::limit::{AdaptiveSettings, ConcurrencyLimitLayer, ConcurrencyLimiter};
use stonework::timeout::ReceiveDeadlineLayer;
use tokio::time::timeout;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use crate::{Bar, Chart, ENOUGH, Experiment, Figure, Finding, Line, Mean, Workers, each_seed, poisson};

const PER_SECOND: f64 = 280.0;
const QUERY: Duration = Duration::from_nanos(1_000_000_000 / 300);
const PATIENCE: Duration = Duration::from_secs(1);
const SECOND: Duration = Duration::from_secs(1);
const STALL: std::ops::Range<usize> = 20..30;
const END: usize = 180;
const FIELD: &str = "x-request-timeout";

#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// What a server without limits is told to do, by a model of the same: the part that is answered in time between 60 s and 180 s.
    modelled: &'static str,
    protected: bool,
    tries: u32,
    tells_deadline: bool,
}

const CASES: [Case; 7] = [
    case("nothing, no retries", "20 %", false, 1, false),
    case("nothing, 1 retry", "0 %", false, 2, false),
    case("nothing, 3 retries", "0 %", false, 4, false),
    case("limit and queue, no retries", "99.8 %, last first", true, 1, false),
    case("limit and queue, no retries, deadline told", "99.8 %, by slack", true, 1, true),
    case("limit and queue, 3 retries", "", true, 4, false),
    case("limit and queue, 3 retries, deadline told", "99.8 %, by slack", true, 4, true),
];

const fn case(
    name: &'static str,
    modelled: &'static str,
    protected: bool,
    tries: u32,
    tells_deadline: bool,
) -> Case {
    Case { name, modelled, protected, tries, tells_deadline }
}

/// For each second in which they were sent, how many calls there were, and how many were answered in time.
struct Run {
    seconds: Vec<(u32, u32)>,
}

impl Run {
    /// In percent.
    fn answered(&self, between: std::ops::Range<usize>) -> f64 {
        let (sent, answered) =
            self.seconds[between].iter().fold((0, 0), |(a, b), (sent, answered)| (a + sent, b + answered));
        100.0 * f64::from(answered) / f64::from(sent)
    }

    /// The first second of the first ten after the stall in which 95 % of the calls are answered.
    fn well_from(&self) -> Option<usize> {
        (STALL.end..END - 10).find(|second| self.answered(*second..second + 10) >= 95.0)
    }
}

pub const METASTABLE: Experiment = Experiment {
    letter: 'F',
    name: "metastable",
    title: "metastable failure: 280 calls a second for 300, a stall from 20 s to 30 s, callers who wait for a second",
    published: "Bronson and others (\"Metastable Failures in Distributed Systems\", HotOS 2021) have a database that does 300 queries a second for \
                clients that send 280, wait for a second and try again: after a stall of ten seconds it answers nobody in time, for ever.",
    examine,
};

fn examine(seeds: u64) -> Finding {
    let mut finding = Finding::default();
    finding
        .say(format_args!("    {:<44} | modelled           | from 60 s    | from 32 s    | well from", ""));
    let (mut lines, mut best, mut worst, mut slowest) = (Vec::new(), f64::NAN, f64::NAN, 0.0_f64);
    // The first is only there to compare with.
    for case in CASES.into_iter().skip(usize::from(seeds < ENOUGH)) {
        let runs = each_seed(if case.protected { seeds } else { seeds.min(5) }, |seed| run(case, seed));
        let over = |between: std::ops::Range<usize>| {
            Mean::of(&runs.iter().map(|run| run.answered(between.clone())).collect::<Vec<_>>())
        };
        let (late, soon) = (over(60..END), over(STALL.end + 2..END));
        let never = |well: Option<usize>| well.map_or(f64::INFINITY, |second| second as f64);
        let well = runs.iter().map(|run| never(run.well_from())).fold(0.0, f64::max);
        finding.say(format_args!(
            "    {:<44} | {:<18} | {:<12} | {:<12} | {}",
            case.name,
            case.modelled,
            format!("{late:.2} %"),
            format!("{soon:.2} %"),
            if well.is_finite() { format!("{well:.0} s") } else { "never".to_owned() }
        ));
        if case.protected {
            best = soon.mean.max(best);
            worst = soon.mean.min(worst);
            finding.hold(
                format!("answered in time from 2 s after the stall on: {}", case.name),
                if case.modelled.is_empty() { String::new() } else { format!("{} (model)", case.modelled) },
                Figure::mean(soon, 2, " %"),
                Bar::AtLeast(99.0),
            );
            slowest = slowest.max(well - STALL.end as f64);
        } else if case.tries > 1 {
            finding.hold(
                format!("answered in time half a minute after the stall: {}", case.name),
                "next to none",
                Figure::mean(late, 2, " %"),
                Bar::AtMost(1.0),
            );
        }
        let at =
            |second| runs.iter().map(|run| run.answered(second..second + 1)).sum::<f64>() / runs.len() as f64;
        let points = (0..END).map(|second| (second as f64, at(second))).collect();
        lines.push(Line { name: case.name.into(), points });
    }
    finding.hold(
        "time from the stall's end until 95 % are answered again, the longest of all these runs",
        "never, without a limit",
        Figure::together(slowest, 0.0, 0, " s"),
        Bar::AtMost(2.0),
    );
    finding.words = format!(
        "Without a limit the same happens here. With the default adaptive limit and its queue before that database, {worst:.1} % to {best:.1} % of the \
         calls are answered in time from two seconds after the stall on, whatever clients do, and whether they tell their deadlines or not."
    );
    finding.charts.push(Chart {
        title: "calls that are answered in time".into(),
        x: "seconds".into(),
        y: "%".into(),
        most: Some(100.0),
        lines,
    });
    finding
}

async fn run(case: Case, seed: u64) -> Run {
    let (database, rng) = (Workers::new(1), Rng::seeded(seed));
    database.stall(SECOND * STALL.start as u32..SECOND * STALL.end as u32);
    let handler = service_fn(move |_: Request<Body>| {
        let database = database.clone();
        async move {
            // A task of its own: the database does not notice when a handler is dropped.
            let query = tokio::spawn(async move { database.work(QUERY).await });
            query.await.expect("a query does not panic");
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    let field = TimeoutHeader::Millis(HeaderName::from_static(FIELD));
    let limiter = ConcurrencyLimiter::with_rng(AdaptiveSettings::new(), Rng::seeded(seed + 1_000));
    let limit = ConcurrencyLimitLayer::from(limiter.expect("possible settings"));
    let server = ServiceBuilder::new()
        .layer(ReceiveDeadlineLayer::new(field).answer())
        .layer(limit.queue().answer().when(case.protected))
        .service(handler);

    let calls = poisson(&rng, PER_SECOND, SECOND * END as u32, move |sent| {
        let server = server.clone();
        async move {
            let is_answered = async {
                for _ in 0..case.tries {
                    let mut request = Request::new(Body::empty());
                    if case.tells_deadline {
                        request.headers_mut().insert(FIELD, HeaderValue::from_static("1000"));
                    }
                    let answer = timeout(PATIENCE, server.clone().oneshot(request)).await;
                    if matches!(answer, Ok(Ok(response)) if response.status() == StatusCode::OK) {
                        return true;
                    }
                }
                false
            };
            (sent.as_secs() as usize, is_answered.await)
        }
    })
    .await;
    let mut seconds = vec![(0, 0); END];
    for (second, is_answered) in calls {
        seconds[second].0 += 1;
        seconds[second].1 += u32::from(is_answered);
    }
    Run { seconds }
}
