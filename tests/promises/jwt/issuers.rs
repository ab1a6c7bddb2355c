//! Several issuers, each with keys of its own.

use stonework::base::TokenFault;
use stonework::jwt::{
    Algorithm, CannotTell, InvalidJwt, JwtSettings, Key, KeySet, Keys, RemoteKeys, Verifier,
};

use super::provider::{Does, Provider, named, token_of};
use super::tokens::{ED25519, RSA, Signer};
use super::{AUDIENCE, ISSUER, NOON, fault, noon};

const PARTNER: &str = "https://partner.example";

fn claims_of(issuer: &str) -> String {
    format!(r#"{{"iss":"{issuer}","aud":"{AUDIENCE}","exp":{}}}"#, NOON + 3_600)
}

fn of_two(ours: impl Into<Keys>, theirs: impl Into<Keys>, settings: JwtSettings) -> Verifier {
    let builder = Verifier::builder().issuers_with_keys([(ISSUER, ours.into()), (PARTNER, theirs.into())]);
    let builder = builder.algorithms([Algorithm::EdDsa]).audience(AUDIENCE);
    builder.settings(settings).clock(noon()).build().expect("valid settings")
}

#[tokio::test(start_paused = true)]
async fn no_issuer_can_speak_for_another() {
    let theirs = Signer::ed25519();
    for settings in [JwtSettings::new(), JwtSettings::new().cache(100)] {
        let keys: [Key; 2] = [&ED25519, &theirs].map(|signer: &Signer| signer.key(Algorithm::EdDsa));
        let [our_keys, their_keys] = keys.map(Keys::from);
        let verifier = of_two(our_keys.clone(), their_keys, settings);
        let of = |signer: &Signer, claims: &str| signer.token(Algorithm::EdDsa, r#"{"alg":"EdDSA"}"#, claims);
        for _ in 0..2 {
            for (signer, issuer) in [(&*ED25519, ISSUER), (&theirs, PARTNER)] {
                let token = of(signer, &claims_of(issuer));
                assert_eq!(verifier.verify(&token).await.unwrap().issuer(), Some(issuer));
            }
            for (signer, issuer) in [(&*ED25519, PARTNER), (&theirs, ISSUER)] {
                assert_eq!(
                    fault(verifier.verify(&of(signer, &claims_of(issuer))).await),
                    TokenFault::Signature
                );
            }
        }
        for (claims, why) in [
            (claims_of("https://evil.example"), TokenFault::Issuer),
            (claims_of("https://id.example/"), TokenFault::Issuer),
            (format!(r#"{{"aud":"{AUDIENCE}","exp":{}}}"#, NOON + 3_600), TokenFault::MissingIssuer),
            (
                format!(r#"{{"iss":"{ISSUER}","iss":"{PARTNER}","aud":"{AUDIENCE}","exp":1}}"#),
                TokenFault::Claims,
            ),
            (format!(r#"{{"iss":["{ISSUER}"],"aud":"{AUDIENCE}","exp":1}}"#), TokenFault::Claims),
            ("[]".to_owned(), TokenFault::Claims),
        ] {
            assert_eq!(fault(verifier.verify(&of(&ED25519, &claims)).await), why, "{claims}");
        }
        for junk in ["", "a.b", "a.b.c", "eyJhbGciOiJFZERTQSJ9.!.AA"] {
            assert_eq!(fault(verifier.verify(junk).await), TokenFault::Encoding, "{junk}");
        }
        // A token that is remembered goes with the key of its issuer, whatever keys another has.
        our_keys.replace(theirs.key(Algorithm::EdDsa));
        assert_eq!(fault(verifier.verify(&of(&ED25519, &claims_of(ISSUER))).await), TokenFault::Signature);
        assert!(verifier.verify(&of(&theirs, &claims_of(PARTNER))).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_remembered_goes_with_the_keys_of_its_own_issuer() {
    // Both have the same key, which no two should; one lets it go.
    let shared = || Keys::from(ED25519.key(Algorithm::EdDsa));
    let (ours, theirs) = (shared(), shared());
    let verifier = of_two(ours, theirs.clone(), JwtSettings::new().cache(100));
    let of = |issuer: &str| token_of(&ED25519, "a", &claims_of(issuer));
    for issuer in [ISSUER, PARTNER] {
        assert!(verifier.verify(&of(issuer)).await.is_ok());
    }
    theirs.replace(Signer::ed25519().key(Algorithm::EdDsa));
    assert_eq!(fault(verifier.verify(&of(PARTNER)).await), TokenFault::Signature);
    assert!(verifier.verify(&of(ISSUER)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn issuers_fail_each_on_their_own() {
    let partner = Provider::with(named(&ED25519, "a"));
    partner.does(Does::Refuse);
    let ours = Provider::with(named(&ED25519, "a"));
    let our_keys = RemoteKeys::oidc(ours.clone(), ISSUER).build().unwrap();
    let their_keys = RemoteKeys::jwks(partner.clone(), format!("{PARTNER}/keys")).build().unwrap();
    let verifier = of_two(&our_keys, &their_keys, JwtSettings::new());
    our_keys.wait_ready().await;
    assert!(verifier.verify(&token_of(&ED25519, "a", &claims_of(ISSUER))).await.is_ok());
    let error = verifier.verify(&token_of(&ED25519, "a", &claims_of(PARTNER))).await.unwrap_err();
    assert_eq!(error.cause::<CannotTell>(), Some(&CannotTell::Keys));

    // What is unknown is looked for where it should be, and nowhere else.
    let (asked, others) = (ours.asked().1, partner.asked().1);
    let unknown = token_of(&ED25519, "b", &claims_of(ISSUER));
    assert_eq!(fault(verifier.verify(&unknown).await), TokenFault::UnknownKey);
    assert_eq!((ours.asked().1, partner.asked().1), (asked + 1, others));

    partner.does(Does::Answer(200));
    their_keys.wait_ready().await;
    assert!(verifier.verify(&token_of(&ED25519, "a", &claims_of(PARTNER))).await.is_ok());
}

#[test]
fn keys_that_fit_no_algorithm_are_refused_unless_somebody_can_replace_them() {
    let one = || ED25519.key(Algorithm::EdDsa);
    let of = |keys: Keys| {
        let builder = Verifier::builder().keys(keys).algorithms([Algorithm::Es256, Algorithm::Rs256]);
        builder.any_issuer().any_audience().build().map(drop)
    };
    let each = |keys: Keys| {
        let builder = Verifier::builder().issuers_with_keys([(ISSUER, Keys::pending()), (PARTNER, keys)]);
        builder.algorithms([Algorithm::Es256, Algorithm::Rs256]).any_audience().build().map(drop)
    };
    for refused in [of(one().into()), each(one().into()), of(KeySet::default().into())] {
        assert!(matches!(refused, Err(InvalidJwt::Useless { field: "keys", .. })), "{refused:?}");
    }
    let ours = Keys::new(one());
    let both = KeySet::new([one(), RSA.key(Algorithm::Rs256)]).unwrap();
    for made in [of(ours.clone()), each(ours.clone()), of(both.into()), of(Keys::pending())] {
        assert!(made.is_ok(), "{made:?}");
    }
}

#[test]
fn an_issuer_is_named_once_and_has_a_name() {
    let of = |issuers: [&str; 2]| {
        let builder = Verifier::builder().issuers_with_keys(issuers.map(|issuer| (issuer, Keys::pending())));
        builder.algorithms([Algorithm::EdDsa]).audience(AUDIENCE).build().map(|_| ())
    };
    assert!(matches!(of([ISSUER, ISSUER]), Err(InvalidJwt::Repeated { field: "issuer", .. })));
    assert!(matches!(of([ISSUER, ""]), Err(InvalidJwt::Empty { field: "issuer", .. })));
    assert!(of([ISSUER, PARTNER]).is_ok());
    let none = Verifier::builder().issuers_with_keys(Vec::<(String, Keys)>::new());
    let none = none.algorithms([Algorithm::EdDsa]).audience(AUDIENCE).build();
    assert!(matches!(none, Err(InvalidJwt::Empty { field: "issuer", .. })));
}
