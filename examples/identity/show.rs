//! What became of requests, as rows of a table.

use std::fmt;

use http::StatusCode;
use stonework::jwt::RemoteKeys;

use super::kit::Verdict;
use super::provider::Provider;

/// What became of requests.
#[derive(Clone, Copy, Default)]
pub(crate) struct Answered {
    pub(crate) asked: usize,
    pub(crate) good: usize,
    pub(crate) refused: usize,
    pub(crate) unavailable: usize,
    /// For want of a token.
    pub(crate) unsent: usize,
}

impl Answered {
    pub(crate) fn status(status: StatusCode) -> Self {
        let is = |other| usize::from(status == other);
        Self {
            asked: 1,
            good: is(StatusCode::OK),
            refused: is(StatusCode::UNAUTHORIZED),
            unavailable: is(StatusCode::SERVICE_UNAVAILABLE),
            unsent: 0,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.good += other.good;
        self.refused += other.refused;
        self.unavailable += other.unavailable;
        self.unsent += other.unsent;
    }

    pub(crate) fn is_all(&self, of_them: usize) -> bool {
        self.asked > 0 && of_them == self.asked
    }
}

/// What the provider was asked for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Hits {
    pub(crate) documents: u64,
    pub(crate) keys: u64,
    pub(crate) tokens: u64,
}

impl fmt::Display for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9}{:>6}{:>8}", self.documents, self.keys, self.tokens)
    }
}

pub(crate) struct Show {
    pub(crate) provider: Provider,
    pub(crate) keys: RemoteKeys,
    pub(crate) before: Hits,
    pub(crate) verdict: Verdict,
}

impl Show {
    pub(crate) fn scene(&mut self, title: &str) {
        println!("\n{title}\n");
        println!(
            "    {:<16}{:>7}{:>7}{:>7}{:>7}{:>10}   provider: {:>9}{:>6}{:>8}",
            "who", "asked", "200", "401", "503", "no token", "document", "keys", "tokens"
        );
        self.before = self.provider.hits();
    }

    /// And what the provider was asked for since the scene began.
    pub(crate) fn row(&mut self, who: &str, answered: &Answered) -> Hits {
        let (now, before) = (self.provider.hits(), self.before);
        let hits = Hits {
            documents: now.documents - before.documents,
            keys: now.keys - before.keys,
            tokens: now.tokens - before.tokens,
        };
        let Answered { asked, good, refused, unavailable, unsent } = answered;
        println!(
            "    {who:<16}{asked:>7}{good:>7}{refused:>7}{unavailable:>7}{unsent:>10}             {hits}"
        );
        hits
    }
}
