use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::core::Core;
use crate::base::Alarm;

/// A service's place among those that wait until a circuit lets calls through. It is given up when this is dropped.
pub(super) struct Waiting {
    core: Arc<Core>,
    number: u64,
    // Only while it is open is there anything to wait for.
    alarm: Option<Pin<Box<Alarm>>>,
}

impl Waiting {
    pub(super) const fn new(core: Arc<Core>) -> Self {
        Self { core, number: 0, alarm: None }
    }

    /// Ready once a call would go through. It takes nothing: another call may be quicker.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let number = &mut self.number;
            let (next, _before) = self.core.change(Instant::now(), |gate, given| {
                if gate.circuit.would_admit(given) {
                    return (None, gate.waiters.leave(*number));
                }
                let before = gate.wait(number, cx.waker());
                (Some(gate.circuit.next_change(given.settings)), before)
            });
            let Some(next) = next else {
                self.alarm = None;
                return Poll::Ready(());
            };
            let Some(at) = next else { return Poll::Pending };
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(Alarm::new()));
            if alarm.as_mut().poll_until(cx, at).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.number != 0 {
            let number = self.number;
            self.core.leave(number);
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("number", &self.number).finish_non_exhaustive()
    }
}
