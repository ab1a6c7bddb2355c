//! stonework's, to which the same is done.

use std::time::Duration;

use stonework::base::{EndpointId, Fitness};
use stonework::health::{Prober, ProberSettings, Verdict, probe_fn};

use super::kit::{self, Begun, Does, EACH, FEW, HANGING, MANY};
use crate::flaws::{Found, block_on_paused};

fn started(endpoints: usize, begun: &Begun, does: fn(usize) -> Does, settings: ProberSettings) -> Prober {
    let begun = begun.clone();
    let probe = probe_fn(move |endpoint: EndpointId| {
        let number: usize = endpoint.to_string().parse().expect("its number");
        let check = begun.clone().check(number, does(number));
        async {
            check.await;
            Verdict::pass()
        }
    });
    let prober = Prober::builder(probe).settings(settings).build().expect("valid settings");
    prober.set((0..endpoints).map(|endpoint| endpoint.to_string()));
    prober
}

pub(super) fn together() -> Found {
    block_on_paused(async {
        let begun = Begun::default();
        let settings = ProberSettings::new().interval(Duration::from_secs(5));
        let _prober = started(MANY, &begun, |_| Does::Passes, settings);
        let (busiest, all) = kit::busiest(&begun).await;
        Found::new(busiest <= 3 && all >= 11 * MANY, format!("{busiest} of {all}"))
    })
}

pub(super) fn panics() -> Found {
    block_on_paused(async {
        let begun = Begun::default();
        let settings = ProberSettings::new().interval(Duration::from_secs(5));
        let prober = started(1, &begun, |_| Does::PassesOnce, settings);
        let known = kit::after_panics(&begun, async || prober.fitness(&"0".into())).await;
        Found::new(known == Fitness::Unfit, format!("{known:?}"))
    })
}

pub(super) fn held_up() -> Found {
    block_on_paused(async {
        let begun = Begun::default();
        let does = |endpoint| if endpoint == HANGING { Does::Hangs } else { Does::Passes };
        // A limit that is as long as the pause it refuses.
        let settings = ProberSettings::new().interval(EACH).timeout(EACH * 4 / 5);
        let _prober = started(FEW, &begun, does, settings);
        let times = kit::held_up(&begun).await;
        Found::new(times >= 38, times.to_string())
    })
}
