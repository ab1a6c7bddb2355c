use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::life::{Chore, Life};
use super::outlier::{self, most_ejected};
use super::set::{Set, Tier};
use super::tiers::{self, Load};
use super::{BalancerSettings, Member, OutlierSettings, WhenUnhealthy};
use crate::base::{EndpointId, EndpointReason, EndpointState, Rng};

/// All endpoints with their lives: what is changed by one at a time.
pub(super) struct Fleet<S> {
    pub(super) entries: Vec<Entry<S>>,
    /// The tiers that panic.
    panicking: Vec<u8>,
    /// What has happened since this was last told.
    pub(super) news: Vec<News>,
    /// Those that went. They end when nobody holds the lock: what they are made of may look at the balancer.
    pub(super) gone: Vec<Arc<Endpoint<S>>>,
}

pub(super) struct Entry<S> {
    pub(super) endpoint: Arc<Endpoint<S>>,
    pub(super) member: Member,
    pub(super) life: Life,
    /// The task that looks after it, if there is anything to look after.
    pub(super) driver: Option<AbortHandle>,
}

/// What happened, for observers.
pub(super) enum News {
    Changed { id: EndpointId, from: EndpointState, to: EndpointState, why: EndpointReason },
    Panic { tier: u8, begins: bool },
}

impl<S> Entry<S> {
    /// Change its life, and say so if it did.
    pub(super) fn live(
        &mut self,
        news: &mut Vec<News>,
        change: impl FnOnce(&mut Life) -> Option<EndpointReason>,
    ) -> bool {
        let from = self.life.state();
        let Some(why) = change(&mut self.life) else { return false };
        let to = self.life.state();
        self.endpoint.set_epoch(self.life.epoch());
        match to {
            EndpointState::Backoff => self.endpoint.set_unproved(true),
            // What was counted before says nothing about what it does now, nor does what calls cost that failed.
            EndpointState::Ready => {
                self.endpoint.record.clear();
                self.endpoint.forget();
            }
            EndpointState::Ejected => self.endpoint.record.clear(),
            _ => {}
        }
        news.push(News::Changed { id: self.endpoint.id.clone(), from, to, why });
        true
    }

    /// Whether there is something to do that nobody does.
    pub(super) fn is_neglected(&self) -> bool {
        let has_driver = self.driver.as_ref().is_some_and(|driver| !driver.is_finished());
        !has_driver && self.life.chore() != Chore::Rest
    }
}

impl<S> Fleet<S> {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), panicking: Vec::new(), news: Vec::new(), gone: Vec::new() }
    }

    pub(super) fn entry(&mut self, endpoint: &Endpoint<S>) -> Option<(&mut Entry<S>, &mut Vec<News>)> {
        let entry = self.entries.iter_mut().find(|entry| entry.endpoint.number == endpoint.number)?;
        Some((entry, &mut self.news))
    }

    /// Have these members and no others, with what was made for those that are not there yet. Says whether anything is different.
    pub(super) fn set(&mut self, members: Vec<Member>, mut made: Vec<Arc<Endpoint<S>>>) -> bool {
        let mut changed = false;
        let mut old = std::mem::take(&mut self.entries);
        for member in members {
            if self.entries.iter().any(|entry| entry.member.id == member.id) {
                continue;
            }
            match old.iter().position(|entry| entry.member.id == member.id) {
                Some(at) => {
                    let mut entry = old.swap_remove(at);
                    changed |= entry.member != member;
                    entry.member = member;
                    self.entries.push(entry);
                }
                None => {
                    let Some(at) = made.iter().position(|endpoint| endpoint.id == member.id) else {
                        continue;
                    };
                    changed = true;
                    let endpoint = made.swap_remove(at);
                    self.entries.push(Entry { endpoint, member, life: Life::new(), driver: None });
                }
            }
        }
        for mut entry in old {
            changed |= entry.live(&mut self.news, Life::remove);
            // Calls to it go on, and hold it until they end.
            if let Some(driver) = entry.driver.take() {
                driver.abort();
            }
            self.gone.push(entry.endpoint);
        }
        changed
    }

    /// Leave this one out, unless as many are as may be. Says whether it was.
    pub(super) fn eject(
        &mut self,
        endpoint: &Endpoint<S>,
        (epoch, why, now): (u64, EndpointReason, Instant),
        settings: &OutlierSettings,
        rng: &Rng,
    ) -> bool {
        let ejected =
            self.entries.iter().filter(|entry| entry.life.state() == EndpointState::Ejected).count();
        if ejected >= most_ejected(self.entries.len(), settings) {
            return false;
        }
        let Some((entry, news)) = self.entry(endpoint) else { return false };
        let before = entry.life.ejections_at(now, settings);
        let time = outlier::ejection_time(before, settings, rng);
        entry.live(news, |life| life.eject(epoch, why, before, (now, time)))
    }

    /// Look at what was counted in the interval that has ended. Says whether one was left out.
    pub(super) fn sweep(&mut self, now: Instant, settings: &OutlierSettings, rng: &Rng) -> bool {
        let counted: Vec<_> = self.entries.iter().map(|entry| entry.endpoint.record.take()).collect();
        let found = outlier::judge(&counted, settings);
        let found: Vec<_> = found
            .into_iter()
            .map(|(at, why)| (Arc::clone(&self.entries[at].endpoint), self.entries[at].life.epoch(), why))
            .collect();
        let mut changed = false;
        for (endpoint, epoch, why) in found {
            changed |= self.eject(&endpoint, (epoch, why, now), settings, rng);
        }
        changed
    }

    /// What can be picked now.
    pub(super) fn choices(&mut self, settings: &BalancerSettings) -> Set<S> {
        let mut numbers: Vec<u8> = self.entries.iter().map(|entry| entry.member.tier).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let tiers: Vec<_> = numbers.iter().map(|tier| self.health(*tier)).collect();
        let loads = tiers::spread(&tiers, settings.overprovision_percent, settings.panic_threshold);
        let mut found = Vec::new();
        for (tier, load) in numbers.iter().zip(&loads) {
            self.note_panic(*tier, load.panics);
            let chosen = self.chosen(*tier, *load, settings.when_unhealthy);
            if !chosen.endpoints.is_empty() {
                found.push(chosen);
            }
        }
        self.panicking.retain(|tier| numbers.contains(tier));
        let waits = self.entries.iter().any(|entry| !entry.life.is_known());
        Set { tiers: found.into(), members: self.entries.len(), waits }
    }

    fn of_tier(&self, tier: u8) -> impl Iterator<Item = &Entry<S>> {
        self.entries.iter().filter(move |entry| entry.member.tier == tier)
    }

    fn health(&self, tier: u8) -> tiers::Tier {
        let ready = self.of_tier(tier).filter(|entry| entry.life.state() == EndpointState::Ready).count();
        let known = self.of_tier(tier).filter(|entry| entry.life.is_known()).count();
        tiers::Tier { ready, known }
    }

    fn chosen(&self, tier: u8, load: Load, when_unhealthy: WhenUnhealthy) -> Tier<S> {
        let those = |may_be: &dyn Fn(&Entry<S>) -> bool| {
            let chosen = self.of_tier(tier).filter(|entry| load.percent > 0 && may_be(entry));
            let member = |entry: &Entry<S>| {
                (Arc::clone(&entry.endpoint), entry.member.weight, entry.life.ready_since())
            };
            Tier::new(load.percent, chosen.map(member))
        };
        if !load.panics || when_unhealthy == WhenUnhealthy::FailFast {
            return those(&|entry| entry.life.state() == EndpointState::Ready);
        }
        // That it does badly may be wrong. That it cannot be reached is not, so nobody is sent there who has another choice.
        let open =
            those(&|entry| matches!(entry.life.state(), EndpointState::Ready | EndpointState::Ejected));
        if open.endpoints.is_empty() { those(&|entry| entry.life.is_known()) } else { open }
    }

    fn note_panic(&mut self, tier: u8, panics: bool) {
        let at = self.panicking.iter().position(|panicking| *panicking == tier);
        match (at, panics) {
            (None, true) => self.panicking.push(tier),
            (Some(at), false) => drop(self.panicking.swap_remove(at)),
            _ => return,
        }
        self.news.push(News::Panic { tier, begins: panics });
    }
}
