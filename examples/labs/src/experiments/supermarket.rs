//! The better of two. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001: many servers, each a queue, at a load
//! of λ, and calls that take a second on average. In the limit of many servers, calls are there for Σ λ^(2^i − 2) seconds on average,
//! where it is 1/(1 − λ) at random; and λ^(2^k − 1) of the queues have k calls or more. A hundred servers are not many enough for that:
//! what they come to is told by a Markov chain, which knows nothing of the layers.

use std::time::Duration;

use stonework::Error;
use stonework::balance::{BalancerSettings, Pick};
use stonework::base::{Outcome, Rng};
use tokio::time::{Instant, sleep};
use tower::{ServiceExt, service_fn};

use super::endpoints::balancer;
use crate::{Bar, Chart, Experiment, Figure, Finding, Line, Mean, Workers, chance, each_seed, poisson};

const SERVERS: usize = 100;
/// With so many the limit of many servers is near.
const MANY: usize = 500;
const SECOND: Duration = Duration::from_secs(1);
/// Until the queues are as long as they will be.
const WARM_UP: Duration = Duration::from_secs(100);
/// Loads, and how long each is watched: the higher, the slower what one sees changes.
const LOADS: [(f64, u32); 3] = [(0.5, 200), (0.7, 200), (HIGH, 600)];
const HIGH: f64 = 0.9;
/// Queues are counted up to this length.
const LONGEST: usize = 10;

struct Run {
    /// How long calls were there, in seconds.
    mean: f64,
    /// Which part of the queues had so many calls or more.
    longer: [f64; LONGEST],
}

pub const SUPERMARKET: Experiment = Experiment {
    letter: 'A',
    name: "of-two",
    title: "the better of two: how long calls are there in seconds, at a hundred servers",
    published: "Mitzenmacher (\"The Power of Two Choices in Randomized Load Balancing\", 2001) has many servers, each a queue, and calls that \
                go to the shorter of two: at nine tenths of the load they are there for 2.614 times their work, where it is ten times at random.",
    examine,
};

fn examine(seeds: u64) -> Finding {
    let mut finding = Finding::default();
    finding.say("    load | the less loaded of two | in theory | by turns       | at random, in theory");
    let (mut tails, mut means) = (Vec::new(), Vec::new());
    for (load, seconds) in LOADS {
        let time = WARM_UP + SECOND * seconds;
        let of_two = each_seed(seeds, |seed| run(SERVERS, Pick::LeastLoaded, load, time, seed));
        let by_turns = each_seed(seeds, |seed| run(SERVERS, Pick::WeightedRoundRobin, load, time, seed));
        let [mean, slower] = [&of_two, &by_turns].map(|runs| over(runs, |run| run.mean));
        let (limit, random) = (in_theory(load), 1.0 / (1.0 - load));
        let [shown, shown_slower] = [mean, slower].map(|mean| format!("{mean:.3}"));
        finding.say(format_args!(
            "    {load:>4} | {shown:<22} | {limit:<9.3} | {shown_slower:<14} | {random:.3}"
        ));
        finding.hold(
            format!("time that calls of 1 s are there at {SERVERS} servers, at {load} of what they can do"),
            format!("{limit:.3} s (many servers)"),
            Figure::mean(mean, 3, " s"),
            Bar::Between(limit * 0.97, limit * 1.03),
        );
        means.push((mean, slower));
        tails = vec![("by turns", by_turns), ("the less loaded of two", of_two)];
    }
    let [.., (mean, slower)] = means[..] else { unreachable!("there are loads") };
    let long = over(&tails[1].1, |run| run.longer[5]);
    let (chain_mean, chain) = chain(HIGH, 20);
    let limit = longer_in_theory(HIGH, 5);
    // Calls come five times as often, so a third of the time shows more of them.
    let many = each_seed(seeds, |seed| run(MANY, Pick::LeastLoaded, HIGH, WARM_UP + SECOND * 200, seed));
    let (mean_of_many, long_of_many) = (over(&many, |run| run.mean), over(&many, |run| run.longer[5]));
    finding.say(format_args!(
        "\n    at {HIGH}, queues with five calls or more: {long:.4}, by the chain {:.4} (and {chain_mean:.3} s)\n    \
         the same at {MANY} servers: {long_of_many:.4}, in theory {limit:.4} (and {mean_of_many:.3} s)",
        chain[5]
    ));
    finding.hold(
        format!("the same at {HIGH}, beside a Markov chain of as many servers"),
        format!("{chain_mean:.3} s (the chain)"),
        Figure::mean(mean, 3, " s"),
        Bar::Between(chain_mean * 0.975, chain_mean * 1.025),
    );
    finding.hold(
        "queues with five calls or more, beside that chain",
        format!("{:.4} (the chain)", chain[5]),
        Figure::mean(long, 4, ""),
        Bar::Between(chain[5] * 0.85, chain[5] * 1.15),
    );
    finding.hold(
        format!("the same at {MANY} servers"),
        format!("{limit:.4} (many servers)"),
        Figure::mean(long_of_many, 4, ""),
        Bar::AtMost(0.045),
    );
    finding.words = format!(
        "The balancer with the fewest calls under way picks the better of two as well: at {SERVERS} servers calls are there for {:.2} times their \
         work, which is {:+.1} % from that limit of many servers and {:+.1} % from a Markov chain of as many as there are; by turns it is {:.2} \
         times.",
        mean.mean,
        100.0 * (mean.mean / in_theory(HIGH) - 1.0),
        100.0 * (mean.mean / chain_mean - 1.0),
        slower.mean,
    );

    let mut lines = Vec::new();
    for (name, runs) in &tails {
        lines.push(line(name, |calls| over(runs, |run| run.longer[calls]).mean));
    }
    lines.push(line("of two, by the chain", |calls| chain[calls]));
    lines.push(line("of two, in theory", |calls| longer_in_theory(HIGH, calls)));
    finding.charts.push(Chart {
        title: format!("queues with so many calls or more, at {HIGH} of what the servers can do"),
        x: "calls".into(),
        y: "% of the queues".into(),
        most: Some(100.0),
        lines,
    });
    finding
}

fn line(name: &str, part: impl Fn(usize) -> f64) -> Line {
    Line {
        name: name.into(),
        points: (0..LONGEST).map(|calls| (calls as f64, 100.0 * part(calls))).collect(),
    }
}

fn over(runs: &[Run], what: impl Fn(&Run) -> f64) -> Mean {
    Mean::of(&runs.iter().map(what).collect::<Vec<_>>())
}

fn in_theory(load: f64) -> f64 {
    (1..20).map(|i| load.powf(2_f64.powi(i) - 2.0)).sum()
}

fn longer_in_theory(load: f64, calls: usize) -> f64 {
    load.powf(2_f64.powi(calls as i32) - 1.0)
}

/// The same hundred servers as a chain: a call comes to the shorter of two queues, or one of the servers ends one, if it has any. As long as
/// the runs together. Says how long calls are there, and which part of the queues has so many or more.
fn chain(load: f64, runs: u64) -> (f64, [f64; LONGEST]) {
    const STEPS: u64 = 200_000;
    const EACH: u64 = 50;
    let (rng, count) = (Rng::seeded(7), SERVERS as u64);
    let (mut queues, mut seen) = ([0_usize; SERVERS], [0_u64; 64]);
    let (mut calls, mut looks) = (0, 0.0);
    for step in 0..STEPS * (runs + 1) {
        let first = rng.below(count) as usize;
        if rng.unit() < load / (load + 1.0) {
            let second = (first + 1 + rng.below(count - 1) as usize) % SERVERS;
            queues[if queues[second] < queues[first] { second } else { first }] += 1;
        } else {
            queues[first] = queues[first].saturating_sub(1);
        }
        // Once it has warmed up.
        if step > STEPS && step % EACH == 0 {
            looks += count as f64;
            for queue in queues {
                calls += queue;
                seen[queue.min(63)] += 1;
            }
        }
    }
    let longer = std::array::from_fn(|calls| seen[calls..].iter().sum::<u64>() as f64 / looks);
    // By Little's law.
    (calls as f64 / looks / load, longer)
}

async fn run(count: usize, pick: Pick, load: f64, time: Duration, seed: u64) -> Run {
    let rng = Rng::seeded(seed);
    let servers: Vec<_> = (0..count).map(|_| Workers::new(1)).collect();
    let (all, lengths) = (servers.clone(), rng.clone());
    let settings = BalancerSettings::new().pick(pick).without_slow_start().without_outliers();
    let balancer = balancer(count, settings, seed, move |at| {
        let (server, rng) = (all[at].clone(), lengths.clone());
        service_fn(move |()| {
            let (server, work) = (server.clone(), chance::exponential(&rng, 1.0));
            async move {
                server.work(work).await;
                Ok::<_, Error>(())
            }
        })
    });
    let service = balancer.service().classify(|_: Result<&(), &Error>| Outcome::Success).plain();

    let looks = tokio::spawn(look(servers, time));
    let took = poisson(&rng, load * count as f64, time, |at| {
        let service = service.clone();
        async move {
            let asked = Instant::now();
            service.oneshot(()).await.expect("every call is answered");
            (at >= WARM_UP).then(|| asked.elapsed().as_secs_f64())
        }
    })
    .await;
    let counted: Vec<f64> = took.into_iter().flatten().collect();
    let mean = counted.iter().sum::<f64>() / counted.len() as f64;
    Run { mean, longer: looks.await.expect("it does not panic") }
}

/// How long the queues are, each second.
async fn look(servers: Vec<Workers>, time: Duration) -> [f64; LONGEST] {
    let (mut longer, mut looks) = ([0.0; LONGEST], 0.0);
    let begin = Instant::now();
    sleep(WARM_UP).await;
    while begin.elapsed() < time {
        sleep(SECOND).await;
        looks += servers.len() as f64;
        for (waiting, busy) in servers.iter().map(Workers::load) {
            for count in &mut longer[..LONGEST.min(waiting + busy + 1)] {
                *count += 1.0;
            }
        }
    }
    longer.map(|count| count / looks)
}
