//! Programs that show what others make of tokens and of providers of keys, and what ours does.

mod kit;
mod ours;
mod theirs;

use super::Case;

const AUTHORIZER: &str = "jwt-authorizer";
const JSONWEBTOKEN: &str = "jsonwebtoken";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "absent-jwt-authorizer",
        peer: AUTHORIZER,
        did: "an issuer and an audience are asked for; tokens with no audience, no issuer, neither, and null: how many of 4 come in",
        theirs: theirs::absent_jwt_authorizer,
        ours: ours::absent,
    },
    Case {
        name: "absent-jsonwebtoken",
        peer: JSONWEBTOKEN,
        did: "an issuer and an audience are asked for; tokens with no audience, no issuer, neither, and null: how many of 4 are good",
        theirs: theirs::absent_jsonwebtoken,
        ours: ours::absent,
    },
    Case {
        name: "silent-jwt-authorizer",
        peer: AUTHORIZER,
        did: "keys are fetched again each 100 ms, and their provider falls silent; 10 good tokens at once: how many come in within a second",
        theirs: theirs::silent,
        ours: ours::silent,
    },
    Case {
        name: "away-jwt-authorizer",
        peer: AUTHORIZER,
        did: "keys are fetched again each 100 ms, and their provider answers 503; a good token each 200 ms: how many of 5 come in",
        theirs: theirs::away,
        ours: ours::away,
    },
    Case {
        name: "outage-jwt-authorizer",
        peer: AUTHORIZER,
        did: "the provider of keys has answered 503 from the beginning: what a caller with a good token is told",
        theirs: theirs::outage,
        ours: ours::outage,
    },
    Case {
        name: "rotated-jwt-authorizer",
        peer: AUTHORIZER,
        did: "the defaults; the provider has a new key, right after the others were fetched: whether a token by it comes in",
        theirs: theirs::rotated,
        ours: ours::rotated,
    },
    Case {
        name: "leeway-jsonwebtoken",
        peer: JSONWEBTOKEN,
        did: "a token that expired in 2001, and clocks that may differ by 126 years: what comes of it",
        theirs: theirs::leeway,
        ours: ours::leeway,
    },
];
