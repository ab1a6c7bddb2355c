//! Whatever happens to endpoints: who is picked is one of them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use stonework::Error;
use stonework::balance::{Balancer, BalancerSettings, Member, Pick};
use stonework::base::{EndpointId, EndpointState, Fitness, Kind, Outcome, Rng};
use tokio::time::sleep;
use tower::{ServiceExt, service_fn};

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// These are the endpoints from now on: a bit for each.
    Set(u8),
    Found(u8, Fitness),
    /// It refuses from now on, or no longer.
    Refuses(u8, bool),
    Calls(u8),
    Fails(u8),
    Pause(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let fitness = prop::sample::select(vec![Fitness::Fit, Fitness::Unfit, Fitness::Unknown]);
    prop_oneof![
        any::<u8>().prop_map(Step::Set),
        (0_u8..8, fitness).prop_map(|(at, fitness)| Step::Found(at, fitness)),
        (0_u8..8, any::<bool>()).prop_map(|(at, refuses)| Step::Refuses(at, refuses)),
        (1_u8..20).prop_map(Step::Calls),
        (1_u8..20).prop_map(Step::Fails),
        (0_u16..40_000).prop_map(Step::Pause),
    ]
}

fn names(bits: u8) -> BTreeSet<String> {
    (0..8).filter(|at| bits & (1 << at) != 0).map(|at| at.to_string()).collect()
}

async fn play(steps: Vec<Step>, pick: Pick, seed: u64) {
    let refusing = Arc::new(Mutex::new(BTreeSet::<String>::new()));
    let refuses = Arc::clone(&refusing);
    let make = move |id: &EndpointId| {
        let (id, refuses) = (id.to_string(), Arc::clone(&refuses));
        service_fn(move |fails: bool| {
            let refused = refuses.lock().unwrap().contains(&id);
            let id = id.clone();
            async move {
                match (refused, fails) {
                    (true, _) => Err(Error::new(Kind::Connect, "refused").with_request(fails)),
                    (false, true) => Err(Error::new(Kind::Transport, id)),
                    (false, false) => Ok(id),
                }
            }
        })
    };
    let balancer = Balancer::builder(make)
        .settings(BalancerSettings::new().pick(pick).without_wait_for_endpoint())
        .rng(Rng::seeded(seed))
        .build()
        .unwrap();
    let judge = |result: Result<&String, &Error>| match result {
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Failure,
    };
    let service = balancer.service().classify(judge).plain();
    let mut there = BTreeSet::new();
    for step in steps {
        match step {
            Step::Set(bits) => {
                there = names(bits);
                balancer.set(
                    there.iter().enumerate().map(|(at, name)| {
                        Member::new(name.as_str()).weight(1 + at as u32).tier((at / 4) as u8)
                    }),
                );
            }
            Step::Found(at, fitness) => {
                let id = EndpointId::from(at.to_string());
                assert_eq!(balancer.found(&id, fitness), there.contains(id.as_str()));
            }
            Step::Refuses(at, true) => drop(refusing.lock().unwrap().insert(at.to_string())),
            Step::Refuses(at, false) => drop(refusing.lock().unwrap().remove(&at.to_string())),
            Step::Calls(calls) | Step::Fails(calls) => {
                let fails = matches!(step, Step::Fails(_));
                for _ in 0..calls {
                    let refusing = refusing.lock().unwrap().clone();
                    match service.clone().oneshot(fails).await {
                        Ok(id) => assert!(there.contains(&id) && !refusing.contains(&id)),
                        Err(error) if error.kind() == Kind::Transport => assert!(fails),
                        Err(error) if error.kind() == Kind::NoEndpoint => assert!(there.is_empty()),
                        Err(error) => {
                            // It has been to as many as it may, and all of those refuse.
                            assert_eq!(error.kind(), Kind::Connect);
                            assert!(there.iter().any(|name| refusing.contains(name)));
                        }
                    }
                }
            }
            Step::Pause(millis) => sleep(Duration::from_millis(millis.into())).await,
        }
        let stats = balancer.stats();
        let listed: BTreeSet<_> = stats.endpoints().iter().map(|one| one.id().to_string()).collect();
        assert_eq!(listed, there);
        assert!(stats.endpoints().iter().all(|one| one.in_flight() == 0));
    }
    // Whatever was held against them: nobody is lost for ever.
    refusing.lock().unwrap().clear();
    for name in &there {
        balancer.found(&name.as_str().into(), Fitness::Unknown);
    }
    sleep(Duration::from_secs(400)).await;
    assert!(balancer.stats().endpoints().iter().all(|one| one.state() == EndpointState::Ready));
}

proptest! {
    #[test]
    fn whoever_is_picked_is_there_and_nobody_is_lost_for_ever(
        steps in prop::collection::vec(step(), 1..40),
        pick in prop::sample::select(vec![Pick::PeakEwma, Pick::LeastLoaded, Pick::WeightedRoundRobin]),
        seed in any::<u64>(),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(steps, pick, seed));
    }
}
