use std::collections::BTreeMap;

use crate::balance::{BalancerSettings, Member};
use crate::base::{HostPort, Origin};
use crate::client::{ClientSettings, InvalidClient};

/// A service that has several endpoints, as far as it can be written down: see [`ClientSettings::upstream`].
///
/// ```
/// use stonework::balance::{BalancerSettings, Member, Pick};
/// use stonework::client::UpstreamSettings;
///
/// let settings = UpstreamSettings::new()
///     .members([Member::new("10.0.0.7:8080").weight(2), Member::new("10.1.0.7:8080").tier(1)])
///     .balancer(BalancerSettings::new().pick(Pick::LeastLoaded));
/// # #[cfg(feature = "serde")] {
/// let text = r#"{
///     "members": [{ "address": "10.0.0.7:8080", "weight": 2 }, { "address": "10.1.0.7:8080", "tier": 1 }],
///     "balancer": { "pick": "least_loaded" }
/// }"#;
/// assert_eq!(serde_json::from_str::<UpstreamSettings>(text).unwrap(), settings);
/// # }
/// # let _ = settings;
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(
    feature = "serde",
    serde(deny_unknown_fields, default, expecting = "a table of upstream settings")
)]
#[must_use = "settings do nothing until a client is built from them"]
pub struct UpstreamSettings {
    pub(super) balancer: BalancerSettings,
    #[cfg_attr(feature = "serde", serde(with = "super::file"))]
    pub(super) members: Vec<Member>,
}

impl UpstreamSettings {
    /// No members, and [`BalancerSettings::new`].
    pub fn new() -> Self {
        Self::default()
    }

    /// To whom each call goes. Default: [`BalancerSettings::new`].
    pub fn balancer(mut self, settings: BalancerSettings) -> Self {
        self.balancer = settings;
        self
    }

    /// The endpoints: until a discovery has found others, if the client's builder is [given](crate::client::ClientBuilder::upstream) one. Default: none.
    pub fn members(mut self, members: impl IntoIterator<Item = impl Into<Member>>) -> Self {
        self.members = members.into_iter().map(Into::into).collect();
        self
    }
}

impl ClientSettings {
    /// Send what goes to this origin, that is, a scheme, a host and maybe a port, to one of several endpoints: see
    /// [`ClientBuilder::upstream`](crate::client::ClientBuilder::upstream), which has the rest. Default: none.
    ///
    /// ```
    /// use stonework::client::{Client, ClientSettings, UpstreamSettings};
    ///
    /// let orders = UpstreamSettings::new().members(["10.0.0.7:8080", "10.0.0.8:8080"]);
    /// let settings = ClientSettings::new().upstream("http://orders.internal", orders);
    /// # #[cfg(feature = "serde")] {
    /// let text = r#"{ "upstreams": { "http://orders.internal": { "members": ["10.0.0.7:8080", "10.0.0.8:8080"] } } }"#;
    /// assert_eq!(serde_json::from_str::<ClientSettings>(text).unwrap(), settings);
    /// # }
    /// let client = Client::builder().settings(settings).build()?;
    /// assert!(client.explain().contains("upstream: http://orders.internal:80 by endpoint"));
    /// # Ok::<(), stonework::client::InvalidClient>(())
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "balance")))]
    pub fn upstream(mut self, origin: impl Into<String>, settings: UpstreamSettings) -> Self {
        self.upstreams.insert(origin.into(), settings);
        self
    }
}

/// Whether each has a name, no two the same, and members that say where they are.
pub(in crate::client) fn check(upstreams: &BTreeMap<String, UpstreamSettings>) -> Result<(), InvalidClient> {
    let mut known = Vec::new();
    for (text, settings) in upstreams {
        let origin = Origin::parse(text).ok_or_else(|| no_origin(text))?;
        if known.contains(&origin) {
            return Err(InvalidClient::UpstreamTwice { origin: origin.to_string() });
        }
        let nowhere = |member: &&Member| HostPort::parse(member.id().as_str(), origin.port()).is_none();
        if let Some(member) = settings.members.iter().find(nowhere) {
            let member = member.id().to_string();
            return Err(InvalidClient::UpstreamMember { origin: origin.to_string(), member });
        }
        known.push(origin);
    }
    Ok(())
}

pub(super) fn no_origin(text: &str) -> InvalidClient {
    // Nobody's name and password.
    let shown = text.rsplit('@').next().unwrap_or_default();
    InvalidClient::UpstreamOrigin { origin: shown.to_owned() }
}
