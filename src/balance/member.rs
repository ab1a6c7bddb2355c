use crate::base::EndpointId;

/// One endpoint, as a list of them says it: its name, what it can take, and which tier it is in.
///
/// ```
/// use stonework::balance::Member;
///
/// // In this zone, and twice as large as others; and one in another zone.
/// let members = [Member::new("10.0.0.1:80").weight(2), Member::new("10.1.0.1:80").tier(1)];
/// # let _ = members;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use = "a member does nothing until it is given to a balancer"]
pub struct Member {
    pub(super) id: EndpointId,
    pub(super) weight: u32,
    pub(super) tier: u8,
}

impl Member {
    /// Of weight 1, in tier 0.
    pub fn new(id: impl Into<EndpointId>) -> Self {
        Self { id: id.into(), weight: 1, tier: 0 }
    }

    /// Its share of the calls, compared with the other weights of its tier. Default: 1. 0 counts as 1.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight.max(1);
        self
    }

    /// The tier that it is in: calls go to the lowest as long as that can take them. Default: 0.
    pub const fn tier(mut self, tier: u8) -> Self {
        self.tier = tier;
        self
    }

    /// Its name, its weight and its tier.
    #[cfg(all(feature = "client", feature = "serde"))]
    pub(crate) const fn parts(&self) -> (&EndpointId, u32, u8) {
        (&self.id, self.weight, self.tier)
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> &EndpointId {
        &self.id
    }
}

impl From<&str> for Member {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Member {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}
