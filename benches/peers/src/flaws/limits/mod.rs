//! Programs that show how other limits fail, and that ours do not.

mod crowd;
mod governor;
mod kit;
mod left;
mod ours;
mod resilience;
mod served;
mod tower;

use super::Case;

const TOWER: &str = "tower";
const GOVERNOR: &str = "governor";
const LAYER: &str = "tower_governor";
const ADAPTIVE: &str = "tower-resilience-adaptive";
const RATE: &str = "tower-resilience-ratelimiter";
const BULKHEAD: &str = "tower-resilience-bulkhead";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "two-tower",
        peer: TOWER,
        did: "one RateLimitLayer of 10 an hour, applied to two services, 20 calls to each: how many are answered",
        theirs: tower::two_rates,
        ours: ours::two_rates,
    },
    Case {
        name: "two-tower-concurrency",
        peer: TOWER,
        did: "one ConcurrencyLimitLayer of 2, applied to two services, 5 calls to each that hang: how many reach the backend",
        theirs: tower::two_concurrencies,
        ours: ours::two_concurrencies,
    },
    Case {
        name: "two-resilience",
        peer: RATE,
        did: "one layer of 10 an hour, applied to two services, 20 calls to each: how many are answered",
        theirs: resilience::two_rates,
        ours: ours::two_rates,
    },
    Case {
        name: "two-resilience-bulkhead",
        peer: BULKHEAD,
        did: "one layer of 2, applied to two services, 5 calls to each that hang: how many reach the backend",
        theirs: resilience::two_concurrencies,
        ours: ours::two_concurrencies,
    },
    Case {
        name: "stream-tower",
        peer: TOWER,
        did: "2 calls at once; three calls, whose answers are still being streamed: how many are answered",
        theirs: tower::stream,
        ours: ours::stream,
    },
    Case {
        name: "stream-resilience",
        peer: BULKHEAD,
        did: "2 calls at once; three calls, whose answers are still being streamed: how many are answered",
        theirs: resilience::stream,
        ours: ours::stream,
    },
    Case {
        name: "budget-tower",
        peer: TOWER,
        did: "LoadShed, 1 call at once; it has been full once; 10000 calls, one by one, by a task that does not yield: how many are shed",
        theirs: tower::budget,
        ours: ours::budget,
    },
    Case {
        name: "idle-tower",
        peer: TOWER,
        did: "LoadShed, 1 call at once; a clone was refused once and is idle; 100 calls by another, one by one: how many are answered",
        theirs: tower::idle,
        ours: ours::idle,
    },
    Case {
        name: "boundary-tower",
        peer: TOWER,
        did: "10 in 500 ms; calls before and after the end of a period: how many are answered within less than one",
        theirs: tower::boundary,
        ours: ours::boundary,
    },
    Case {
        name: "boundary-resilience",
        peer: RATE,
        did: "10 in 500 ms; calls before and after the end of a period: how many are answered within less than one",
        theirs: resilience::boundary,
        ours: ours::boundary,
    },
    Case {
        name: "overtaken-resilience",
        peer: RATE,
        did: "one each 20 ms; a call that waits up to 1 s, and others that come later and do not wait: when it is answered",
        theirs: resilience::overtaken,
        ours: ours::overtaken,
    },
    Case {
        name: "stampede-resilience",
        peer: RATE,
        did: "one each 10 ms; 30 calls at once that wait: how often they are polled, and how many are overtaken",
        theirs: resilience::stampede,
        ours: ours::stampede,
    },
    Case {
        name: "queue-resilience",
        peer: BULKHEAD,
        did: "2 calls at once, the defaults; 1002 calls to a backend that hangs: how many know where they stand after 200 ms",
        theirs: resilience::queue,
        ours: ours::queue,
    },
    Case {
        name: "slow-resilience",
        peer: ADAPTIVE,
        did: "a limit that finds out, with its defaults; a backend that takes 150 ms, 10 callers for 3 s (200 calls without a limit): calls that are answered, and the limit then",
        theirs: resilience::slow,
        ours: ours::slow,
    },
    Case {
        name: "retry-after-governor",
        peer: LAYER,
        did: "one each 900 ms; a client that comes back when it is told to: how often it is refused, and what it is told",
        theirs: governor::retry_after,
        ours: ours::retry_after,
    },
    Case {
        name: "forged-governor",
        peer: LAYER,
        did: "burst 5; 200 requests of one peer, each in the name of another client: how many are let in",
        theirs: governor::forged,
        ours: ours::forged,
    },
    Case {
        name: "per-second-governor",
        peer: LAYER,
        did: "per_second(4), burst 1: how many are let in within 1.1 s",
        theirs: governor::per_second,
        ours: ours::per_second,
    },
    Case {
        name: "growth-tower-governor",
        peer: LAYER,
        did: "one each ms; 100000 clients, each of which comes once: keys that are remembered",
        theirs: governor::layer_growth,
        ours: ours::layer_growth,
    },
    Case {
        name: "growth-governor",
        peer: GOVERNOR,
        did: "one a second; 100000 keys, one each ms: keys that are remembered at most, of 1000 that have something spent",
        theirs: governor::growth,
        ours: ours::growth,
    },
    Case {
        name: "inflated-adaptive",
        peer: ADAPTIVE,
        did: "a limit that finds out (its AIMD), with its defaults; one caller, who asks 500 times, one after the other: the limit then",
        theirs: resilience::inflated,
        ours: ours::inflated,
    },
    Case {
        name: "given-up-adaptive",
        peer: ADAPTIVE,
        did: "a limit that finds out (its AIMD); the service hangs, and ten callers give up after 50 ms each, for 3 s: the limit then",
        theirs: resilience::given_up,
        ours: ours::given_up,
    },
    Case {
        name: "shifted-adaptive",
        peer: ADAPTIVE,
        did: "a limit that finds out by Vegas; what took 2 ms takes 20 ms from then on, ten callers at once: the limit after two minutes or more",
        theirs: resilience::shifted,
        ours: ours::shifted,
    },
    Case {
        name: "lost-resilience",
        peer: RATE,
        did: "10 an hour, waited for in readiness; 10 clones become ready and are dropped: how many of 20 calls are answered",
        theirs: resilience::lost,
        ours: ours::lost,
    },
    Case {
        name: "log-resilience",
        peer: RATE,
        did: "exactly 1000000 in any hour: how much memory the limit has before the first call",
        theirs: resilience::log,
        ours: ours::log,
    },
    Case {
        name: "network-governor",
        peer: LAYER,
        did: "burst 5; 200 requests from 200 addresses of one network of 64 bits, which one client has: how many are let in",
        theirs: governor::network,
        ours: ours::network,
    },
    Case {
        name: "place-governor",
        peer: LAYER,
        did: "above a limit of 1 at once (tower's) a client is refused by its rate, and stays connected; another client asks: whether it is answered",
        theirs: governor::place,
        ours: ours::place,
    },
];
