//! What attackers send: each of it is refused, for the reason that it should be, by either backend.

use std::time::Duration;

use stonework::base::{KeyFault, TokenFault, TokenRefused};
use stonework::jwt::{Algorithm, Backend, JwtSettings, Key, KeySet, Verifier};

use super::tokens::{self, ALGORITHMS, ED25519, P256, RSA, SECRET, Signer, encode, hmac_of, token};
use super::{AUDIENCE, ISSUER, NOON, claims, fault, noon, verifier, with};

/// A key of each kind, all of whose algorithms are allowed.
fn keys() -> KeySet {
    KeySet::new([
        Key::jwk(&RSA.jwk(r#","kid":"rsa""#)).unwrap(),
        P256.key(Algorithm::Es256).named("ec"),
        ED25519.key(Algorithm::EdDsa).named("ed"),
        SECRET.key(Algorithm::Hs512).named("secret"),
    ])
    .unwrap()
}

/// Those of everybody: no secret among them.
fn public_keys() -> KeySet {
    KeySet::jwks(&format!(
        r#"{{"keys":[{},{},{}]}}"#,
        RSA.jwk(r#","kid":"rsa""#),
        P256.jwk(r#","kid":"ec""#),
        ED25519.jwk(r#","kid":"ed""#)
    ))
    .unwrap()
}

fn of(keys: KeySet, backend: Backend) -> Verifier {
    let builder = Verifier::builder().keys(keys).algorithms(ALGORITHMS).issuer(ISSUER).audience(AUDIENCE);
    builder.clock(noon()).backend(backend).build().unwrap()
}

/// A token with this header, signed as an attacker can who knows all that is public: with `secret` as if it were one.
fn hmac(header: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", encode(header), encode(claims("")));
    format!("{message}.{}", encode(hmac_of(Algorithm::Hs256, secret, message.as_bytes())))
}

fn unsigned(header: &str, signature: &[u8]) -> String {
    format!("{}.{}.{}", encode(header), encode(claims("")), encode(signature))
}

/// As issuers sign it, with this header and these claims.
fn rs(header: &str, claims: &str) -> String {
    token(Algorithm::Rs256, header, claims)
}

const RS256: &str = r#"{"alg":"RS256","kid":"rsa"}"#;

fn attacks() -> Vec<(String, String, TokenFault)> {
    let mut all: Vec<(String, String, TokenFault)> = Vec::new();
    let mut add = |what: &str, token: String, why| all.push((what.to_owned(), token, why));

    // The public key as a secret, in all the forms in which it is known.
    for kid in ["", r#","kid":"rsa""#, r#","kid":"ec""#] {
        let header = format!(r#"{{"alg":"HS256"{kid}}}"#);
        for signer in [&*RSA, &*P256] {
            let (pem, jwk) = (signer.pem(), signer.jwk(""));
            add("HS256 with the DER", hmac(&header, &signer.der()), TokenFault::Algorithm);
            add("HS256 with the PEM", hmac(&header, pem.as_bytes()), TokenFault::Algorithm);
            add("HS256 with the PEM, trimmed", hmac(&header, pem.trim().as_bytes()), TokenFault::Algorithm);
            add("HS256 with the JWK", hmac(&header, jwk.as_bytes()), TokenFault::Algorithm);
        }
        add("HS256 with nothing", hmac(&header, b""), TokenFault::Algorithm);
    }

    // No signature at all.
    for none in ["none", "None", "NONE", "nOnE", "noNe", "none "] {
        let header = format!(r#"{{"alg":"{none}"}}"#);
        add("none, with a signature", unsigned(&header, b"x"), TokenFault::Algorithm);
        add("none, without one", unsigned(&header, b""), TokenFault::Encoding);
    }
    add("none, escaped", unsigned(r#"{"\u0061lg":"\u006eone"}"#, b"x"), TokenFault::Algorithm);
    add("no algorithm", unsigned("{}", b"x"), TokenFault::Header);
    for alg in ["", "rs256", "RS256 ", "RS1", "ES256K", "HS1", "dir", "RSA-OAEP"] {
        add("an unknown algorithm", unsigned(&format!(r#"{{"alg":"{alg}"}}"#), b"x"), TokenFault::Algorithm);
    }
    add("a list of algorithms", unsigned(r#"{"alg":["RS256","none"]}"#, b"x"), TokenFault::Header);

    // A key of another kind.
    for (alg, kid) in [("ES256", "rsa"), ("RS256", "ec"), ("PS256", "ed"), ("EdDSA", "rsa"), ("ES384", "ec")]
    {
        let header = format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#);
        add("kid of another kind", unsigned(&header, &[1; 64]), TokenFault::Algorithm);
    }
    let kids = ["nobody", "", "RSA", "../../dev/null", "rsa' OR 1=1 --", "rsa\\u0000"];
    for kid in kids {
        let header = format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#);
        add("kid of nobody", rs(&header, &claims("")), TokenFault::UnknownKey);
    }
    let other = Signer::rsa().token(Algorithm::Rs256, RS256, &claims(""));
    add("another's signature", other, TokenFault::Signature);

    // Signatures that fit anything, where nobody looks.
    let es = r#"{"alg":"ES256","kid":"ec"}"#;
    let order = b"\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51";
    let one = [&[0; 31][..], &[1]].concat();
    for (r, s) in [
        (&[0; 32][..], &[0; 32][..]),
        (&[0; 32], &one),
        (&one, &[0; 32]),
        (order, order),
        (order, &one),
        (&[0xff; 32], &[0xff; 32]),
        (&[], &[]),
        (&[0; 31], &[0; 32]),
    ] {
        let signature = [r, s].concat();
        let why = if signature.is_empty() { TokenFault::Encoding } else { TokenFault::Signature };
        add("ES256 with zeros, or with the order", unsigned(es, &signature), why);
    }
    add("ES256 in DER", unsigned(es, b"\x30\x06\x02\x01\x00\x02\x01\x00"), TokenFault::Signature);
    for bytes in [[0; 64], [0xff; 64]] {
        add("EdDSA of nothing", unsigned(r#"{"alg":"EdDSA","kid":"ed"}"#, &bytes), TokenFault::Signature);
    }
    for bytes in [[0; 256], [0xff; 256], [1; 256]] {
        add("RS256 of nothing", unsigned(RS256, &bytes), TokenFault::Signature);
    }

    // What has to be understood, and a key brought along.
    for member in
        [r#""crit":["exp"],"exp":1"#, r#""crit":[]"#, r#""crit":["b64"],"b64":false"#, r#""b64":true"#]
    {
        add("crit, b64", rs(&format!(r#"{{"alg":"RS256",{member}}}"#), &claims("")), TokenFault::Critical);
    }
    add("zip", rs(r#"{"alg":"RS256","zip":"DEF"}"#, &claims("")), TokenFault::Critical);
    let mallory = Signer::rsa();
    let brings = [
        format!(r#""jwk":{}"#, mallory.jwk("")),
        r#""jku":"https://mallory.example/keys""#.to_owned(),
        r#""x5u":"https://mallory.example/cert""#.to_owned(),
        r#""x5c":["MIIB"]"#.to_owned(),
    ];
    for member in brings {
        let header = format!(r#"{{"alg":"RS256","kid":"rsa",{member}}}"#);
        add(
            "a key brought along",
            mallory.token(Algorithm::Rs256, &header, &claims("")),
            TokenFault::Signature,
        );
    }

    // Tokens within tokens, of another type, or of another form.
    let good = rs(RS256, &claims(""));
    add("nested, and says so", rs(r#"{"alg":"RS256","cty":"JWT"}"#, &good), TokenFault::Nested);
    add("nested", rs(RS256, &good), TokenFault::Claims);
    add("encrypted", format!("{good}.aaaa.aaaa"), TokenFault::Encoding);
    for kind in ["logout+jwt", "dpop+jwt", "secevent+jwt", "at+jwt+x", "JWE"] {
        add(
            "of another type",
            rs(&format!(r#"{{"alg":"RS256","typ":"{kind}"}}"#), &claims("")),
            TokenFault::Type,
        );
    }

    // Another text for the same bytes.
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let last = signature.chars().last().unwrap();
    // RSA's 256 bytes leave four bits over in the last character, which are zero.
    let spare = char::from_u32(u32::from(last) + 1).unwrap();
    for token in [
        format!("{good}="),
        format!("{good}=="),
        format!("{good}\n"),
        format!(" {good}"),
        format!("{good}."),
        format!("{signed}.{}{spare}", &signature[..signature.len() - 1]),
        signed.to_owned(),
        format!("{signed}."),
        format!(".{}", good.split_once('.').unwrap().1),
        good.replace('.', ".."),
        format!(r#"{{"token":"{good}"}}"#),
        String::new(),
        "..".to_owned(),
        "\u{e4}.\u{e4}.\u{e4}".to_owned(),
    ] {
        add("not canonical", token, TokenFault::Encoding);
    }
    add("a byte more in the signature", format!("{good}A"), TokenFault::Signature);
    add("huge", "a".repeat(8 * 1024 + 1), TokenFault::TooLong);
    add(
        "huge, and signed",
        rs(RS256, &claims(&format!(r#","x":"{}""#, "x".repeat(8 * 1024)))),
        TokenFault::TooLong,
    );
    let deep = |depth| format!(r#","x":{}{}"#, "[".repeat(depth), "]".repeat(depth));
    add("deep", rs(RS256, &claims(&deep(1_000))), TokenFault::Claims);
    let header = |depth| format!(r#"{{"alg":"RS256","kid":"rsa"{}}}"#, deep(depth));
    add("a deep header", rs(&header(1_000), &claims("")), TokenFault::Header);

    // Members that stand there twice: two readers would not agree.
    add("alg twice", rs(r#"{"alg":"none","alg":"RS256"}"#, &claims("")), TokenFault::Header);
    add("kid twice", rs(r#"{"alg":"RS256","kid":"ec","\u006bid":"rsa"}"#, &claims("")), TokenFault::Header);
    for member in
        [r#","sub":"mallory""#, r#","exp":9999999999"#, r#","\u0073ub":"x""#, r#","x":{"y":[{"z":1,"z":2}]}"#]
    {
        add("a claim twice", rs(RS256, &claims(member)), TokenFault::Claims);
    }

    // Claims that are no claims.
    for payload in [
        "",
        "null",
        "[]",
        "\"x\"",
        "1",
        "{",
        "{}{}",
        "{'sub':1}",
        "\u{feff}{}",
        "{\"exp\":\"9999999999\"}",
        "\u{0}",
    ] {
        let why = if payload.is_empty() { TokenFault::Encoding } else { TokenFault::Claims };
        add("no claims", rs(RS256, payload), why);
    }
    let text = [&b"{\"sub\":\""[..], &[0xff], b"\"}"].concat();
    let message = format!("{}.{}", encode(RS256), encode(text));
    add("no text", RSA.signed(Algorithm::Rs256, &message), TokenFault::Claims);

    // For somebody else, from somebody else, or from and for nobody.
    let end = NOON + 60;
    for (claims, why) in [
        (format!(r#"{{"aud":"{AUDIENCE}","exp":{end}}}"#), TokenFault::MissingIssuer),
        (format!(r#"{{"iss":"{ISSUER}","exp":{end}}}"#), TokenFault::MissingAudience),
        (format!(r#"{{"iss":"{ISSUER}","aud":[],"exp":{end}}}"#), TokenFault::Audience),
        (format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}/","exp":{end}}}"#), TokenFault::Audience),
        (format!(r#"{{"iss":"{ISSUER}","aud":["https://API.example"],"exp":{end}}}"#), TokenFault::Audience),
        (format!(r#"{{"iss":"{ISSUER}","aud":{{"a":"{AUDIENCE}"}},"exp":{end}}}"#), TokenFault::Claims),
        (format!(r#"{{"iss":"{ISSUER}","aud":null,"exp":{end}}}"#), TokenFault::Claims),
        (format!(r#"{{"iss":"{ISSUER}/","aud":"{AUDIENCE}","exp":{end}}}"#), TokenFault::Issuer),
        (format!(r#"{{"iss":"","aud":"{AUDIENCE}","exp":{end}}}"#), TokenFault::Issuer),
        (format!(r#"{{"iss":["{ISSUER}"],"aud":"{AUDIENCE}","exp":{end}}}"#), TokenFault::Claims),
        (format!(r#"{{"iss":null,"aud":"{AUDIENCE}","exp":{end}}}"#), TokenFault::Claims),
        (format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}"}}"#), TokenFault::MissingExpiry),
        (format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":null}}"#), TokenFault::Claims),
        (format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":"{end}"}}"#), TokenFault::Claims),
        (format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":-1}}"#), TokenFault::Expired),
        (format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":0}}"#), TokenFault::Expired),
    ] {
        add("of nobody, for nobody, or of no end", rs(RS256, &claims), why);
    }
    all
}

#[tokio::test]
async fn every_attack_is_refused_for_its_own_reason_by_either_backend() {
    let attacks = attacks();
    assert!(attacks.len() > 120, "{}", attacks.len());
    for backend in [Backend::aws_lc(), Backend::rust_crypto()] {
        let verifier = of(public_keys(), backend);
        assert!(verifier.verify(&rs(RS256, &claims(""))).await.is_ok(), "what is good is not refused");
        for (what, token, why) in &attacks {
            assert_eq!(fault(verifier.verify(token).await), *why, "{what}: {token}");
        }
    }
}

#[tokio::test]
async fn a_secret_beside_public_keys_makes_none_of_them_a_secret() {
    let verifier = of(keys(), Backend::default());
    for signer in [&*RSA, &*P256] {
        for secret in [signer.der(), signer.pem().into_bytes(), signer.jwk("").into_bytes()] {
            for header in [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","kid":"secret"}"#] {
                // The key says that it is for HS512.
                assert_eq!(fault(verifier.verify(&hmac(header, &secret)).await), TokenFault::Algorithm);
            }
            let message = format!("{}.{}", encode(r#"{"alg":"HS512"}"#), encode(claims("")));
            let token =
                format!("{message}.{}", encode(hmac_of(Algorithm::Hs512, &secret, message.as_bytes())));
            assert_eq!(fault(verifier.verify(&token).await), TokenFault::Signature);
        }
    }
    assert!(verifier.verify(&token(Algorithm::Hs512, r#"{"alg":"HS512"}"#, &claims(""))).await.is_ok());
}

#[test]
fn a_public_key_cannot_be_made_a_secret() {
    for signer in [&*RSA, &*P256, &*ED25519] {
        let pem = signer.pem();
        for public in
            [signer.der(), pem.trim().as_bytes().to_vec(), pem.into_bytes(), signer.jwk("").into_bytes()]
        {
            for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
                assert_eq!(Key::secret(algorithm, &public).unwrap_err(), KeyFault::PublicAsSecret);
            }
        }
    }
    for algorithm in ALGORITHMS {
        let made = [Key::pem(algorithm, &RSA.pem()), Key::der(algorithm, &RSA.der())];
        let is_rsa = algorithm.name().starts_with("RS") || algorithm.name().starts_with("PS");
        assert!(made.iter().all(|made| made.is_ok() == is_rsa), "{algorithm}");
    }
}

#[tokio::test]
async fn every_algorithm_is_verified_by_either_backend_and_no_other_key_of_its_kind_will_do() {
    for backend in [Backend::aws_lc(), Backend::rust_crypto()] {
        for algorithm in ALGORITHMS {
            let verifier = of(KeySet::from(tokens::signer(algorithm).key(algorithm)), backend);
            let good = tokens::plain(algorithm, &claims(""));
            assert!(verifier.verify(&good).await.is_ok(), "{backend:?} {algorithm}");
            for other in ALGORITHMS.into_iter().filter(|other| *other != algorithm) {
                let token = tokens::plain(other, &claims(""));
                assert_eq!(
                    fault(verifier.verify(&token).await),
                    TokenFault::Algorithm,
                    "{algorithm} {other}"
                );
                // The same signature under another name.
                let lies =
                    format!("{}.{}", encode(format!(r#"{{"alg":"{algorithm}"}}"#)), encode(claims("")));
                let token = tokens::signer(other).signed(other, &lies);
                assert_eq!(
                    fault(verifier.verify(&token).await),
                    TokenFault::Signature,
                    "{algorithm} {other}"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_algorithm_that_is_not_allowed_is_refused_though_a_key_could_do_it() {
    let only = |algorithm| {
        let builder =
            Verifier::builder().keys(keys()).algorithms([algorithm]).issuer(ISSUER).audience(AUDIENCE);
        builder.clock(noon()).build().unwrap()
    };
    let verifier = only(Algorithm::Rs256);
    assert!(verifier.verify(&tokens::plain(Algorithm::Rs256, &claims(""))).await.is_ok());
    for algorithm in ALGORITHMS.into_iter().filter(|algorithm| *algorithm != Algorithm::Rs256) {
        let result = verifier.verify(&tokens::plain(algorithm, &claims(""))).await;
        assert_eq!(fault(result), TokenFault::Algorithm, "{algorithm}");
    }
}

#[tokio::test(start_paused = true)]
async fn time_is_checked_at_both_edges_and_the_leeway_counts_both_ways() {
    let leeway = 10;
    let settings = JwtSettings::new().leeway(Duration::from_secs(leeway));
    let verifier = with(keys(), settings);
    let iss = format!(r#""iss":"{ISSUER}","aud":"{AUDIENCE}""#);
    let later = NOON + 3600;
    for (claims, expected) in [
        (format!(r#""exp":{}"#, NOON - leeway), Some(TokenFault::Expired)),
        (format!(r#""exp":{}.001"#, NOON - leeway), None),
        (format!(r#""exp":{}"#, NOON - leeway + 1), None),
        (format!(r#""exp":{later},"nbf":{}"#, NOON + leeway), None),
        (format!(r#""exp":{later},"nbf":{}.001"#, NOON + leeway), Some(TokenFault::NotYetValid)),
        (format!(r#""exp":{later},"nbf":{}"#, NOON + leeway + 1), Some(TokenFault::NotYetValid)),
        (format!(r#""exp":{later},"iat":{}"#, NOON + leeway), None),
        (format!(r#""exp":{later},"iat":{}"#, NOON + leeway + 1), Some(TokenFault::FromTheFuture)),
        (r#""exp":1e300"#.to_owned(), None),
        (r#""exp":18446744073709551615"#.to_owned(), None),
        (format!(r#""exp":{later},"nbf":-5,"iat":0"#), None),
        (format!(r#""exp":{later},"nbf":1e300"#), Some(TokenFault::NotYetValid)),
    ] {
        let result = verifier.verify(&rs(RS256, &format!("{{{iss},{claims}}}"))).await;
        assert_eq!(
            result.err().map(|error| error.cause::<TokenRefused>().unwrap().fault()),
            expected,
            "{claims}"
        );
    }
}

#[tokio::test]
async fn a_refusal_names_the_field_and_shows_nothing_of_the_token() {
    let verifier = with(keys(), JwtSettings::new().require(["sub", "client_id", "jti"]));
    let error = verifier.verify(&rs(RS256, &claims(r#","jti":"1""#))).await.unwrap_err();
    let refused = error.cause::<TokenRefused>().unwrap();
    assert_eq!((refused.fault(), refused.field()), (TokenFault::MissingClaim, Some("client_id")));
    assert!(verifier.verify(&rs(RS256, &claims(r#","jti":"1","client_id":"x""#))).await.is_ok());
    let null = verifier.verify(&rs(RS256, &claims(r#","jti":"1","client_id":null"#))).await;
    assert_eq!(fault(null), TokenFault::MissingClaim);

    let stranger =
        rs(RS256, &format!(r#"{{"iss":"https://mallory.example","aud":"{AUDIENCE}","exp":{}}}"#, NOON + 1));
    let error = verifier.verify(&stranger).await.unwrap_err();
    let refused = error.cause::<TokenRefused>().unwrap();
    assert_eq!(refused.field(), Some("iss"));
    let shown = format!("{error} {error:?} {refused}");
    assert!(shown.contains("`iss`") && !shown.contains("mallory"), "{shown}");
}

#[tokio::test]
async fn a_token_may_say_that_it_gives_access_and_must_where_that_is_asked() {
    let typed = |kind: &str| rs(&format!(r#"{{"alg":"RS256","typ":"{kind}"}}"#), &claims(""));
    let any = verifier(keys());
    let access = with(keys(), JwtSettings::new().types(["at+jwt"]));
    for (kind, by_default, where_asked) in [
        ("JWT", true, false),
        ("jwt", true, false),
        ("at+jwt", true, true),
        ("application/at+jwt", true, true),
        ("Application/AT+JWT", true, true),
        ("id+jwt", false, false),
    ] {
        assert_eq!(any.verify(&typed(kind)).await.is_ok(), by_default, "{kind}");
        assert_eq!(access.verify(&typed(kind)).await.is_ok(), where_asked, "{kind}");
    }
    let untyped = rs(RS256, &claims(""));
    assert!(any.verify(&untyped).await.is_ok());
    assert_eq!(fault(access.verify(&untyped).await), TokenFault::Type);

    let rfc9068 = with(keys(), JwtSettings::access_tokens());
    let token = |more: &str| rs(r#"{"alg":"RS256","typ":"at+jwt"}"#, &claims(more));
    assert!(rfc9068.verify(&token(&format!(r#","client_id":"c","iat":{NOON},"jti":"j""#))).await.is_ok());
    for more in [r#","client_id":"c","jti":"j""#, r#","client_id":"c","iat":1"#, r#","iat":1,"jti":"j""#] {
        assert_eq!(fault(rfc9068.verify(&token(more)).await), TokenFault::MissingClaim, "{more}");
    }
}

#[tokio::test]
async fn what_is_left_open_is_open_and_nothing_else() {
    let open = Verifier::builder().keys(keys()).algorithms(ALGORITHMS).any_issuer().any_audience();
    let open = open.clock(noon()).build().unwrap();
    let token = |claims: &str| rs(RS256, claims);
    assert!(open.verify(&token(&format!(r#"{{"exp":{}}}"#, NOON + 1))).await.is_ok());
    assert_eq!(fault(open.verify(&token("{}")).await), TokenFault::MissingExpiry);
    let several =
        Verifier::builder().keys(keys()).algorithms(ALGORITHMS).issuers(["a", "b"]).audiences(["x", "y"]);
    let several = several.clock(noon()).build().unwrap();
    for (claims, good) in [
        (r#""iss":"b","aud":["q","y"]"#, true),
        (r#""iss":"a","aud":"x""#, true),
        (r#""iss":"c","aud":"x""#, false),
        (r#""iss":"a","aud":["a"]"#, false),
    ] {
        let result = several.verify(&token(&format!(r#"{{{claims},"exp":{}}}"#, NOON + 1))).await;
        assert_eq!(result.is_ok(), good, "{claims}");
    }
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_is_no_bearers() {
    let (usual, behind) = (verifier(keys()), with(keys(), JwtSettings::new().bound_tokens(true)));
    for (bound, is_bound) in [
        (r#","cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#, true),
        (r#","cnf":{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}"#, true),
        (r#","cnf":"what is this""#, true),
        (r#","cnf":null"#, false),
    ] {
        let token = rs(RS256, &claims(bound));
        assert!(behind.verify(&token).await.is_ok(), "{bound}");
        if is_bound {
            let error = usual.verify(&token).await.unwrap_err();
            let refused: &TokenRefused = error.cause().unwrap();
            assert_eq!((refused.fault(), refused.field()), (TokenFault::Bound, Some("cnf")), "{bound}");
        } else {
            assert!(usual.verify(&token).await.is_ok(), "{bound}");
        }
    }
}
