//! Probers as those who look at the endpoints of a balancer: the one place that knows both.

use crate::balance::{Found, Inspect};
use crate::base::{BoxError, EndpointId};
use crate::health::ProberBuilder;

impl Inspect for ProberBuilder {
    fn check(&self) -> Result<(), BoxError> {
        self.check().map_err(Into::into)
    }

    fn begin(self, found: Found) -> impl Fn(Vec<EndpointId>) + Send + Sync + 'static {
        let told = self.and_on_change(move |endpoint, fitness| {
            found.tell(endpoint, fitness);
        });
        let prober = told.build().expect("it was checked");
        move |endpoints| prober.set(endpoints)
    }
}
