//! Tokens from the outside: what is accepted, and every way to be refused.

use banyan_core::{Clock, Code, Identity, Reason};
use banyan_identity::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use std::time::Duration;

const NOW_S: u64 = 1_800_000_000;
const LEEWAY_S: u64 = 5;

/// An issuer with one key, and a verifier that trusts it.
struct Fixture {
    key: SigningKey,
    verifier: Verifier,
}

impl Fixture {
    /// Call it inside a runtime with paused time.
    fn new() -> Self {
        let options = VerifierOptions {
            issuer: "https://shop.example".into(),
            audience: "shop".into(),
            leeway_s: LEEWAY_S,
            cache_max: 100,
        };
        let key = SigningKey::generate().expect("there is randomness");
        let verifier = Verifier::new(options, Clock::simulated(NOW_S * 1000));
        assert_eq!(verifier.set_keys(&Jwks { keys: vec![key.jwk().clone()] }), 1);
        Self { key, verifier }
    }

    fn refusal(&self, token: &str) -> String {
        // Twice: what was refused must not have been remembered as verified.
        let first = self.verifier.verify(token).expect_err("the token was accepted");
        let second = self.verifier.verify(token).expect_err("the token was accepted the second time");
        assert_eq!((first.code(), second.code()), (Code::Unauthenticated, Code::Unauthenticated));
        assert_eq!(first.reason(), second.reason());
        first.reason().to_owned()
    }

    fn refuses(&self, token: &str, reason: Reason) {
        assert_eq!(self.refusal(token), reason.as_str(), "{token}");
    }
}

fn claims() -> Claims {
    Claims {
        sub: "u-1".into(),
        roles: vec!["admin".into()],
        iss: "https://shop.example".into(),
        aud: vec!["shop".into()],
        iat: NOW_S,
        exp: NOW_S + 900,
        nbf: None,
        jti: "t-1".into(),
    }
}

fn encode(part: &serde_json::Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// Replaces part `index` (0 header, 1 payload, 2 signature) of a token.
fn with_part(token: &str, index: usize, part: &str) -> String {
    let mut parts: Vec<_> = token.split('.').collect();
    parts[index] = part;
    parts.join(".")
}

#[tokio::test(start_paused = true)]
async fn a_genuine_token_proves_an_identity() {
    let it = Fixture::new();
    let token = it.key.sign(&claims()).unwrap();
    let expected = Identity::user("u-1", &["admin".into()]);
    assert_eq!(it.verifier.verify(&token).unwrap(), expected);
    assert_eq!(it.verifier.verify(&token).unwrap(), expected, "from the cache");

    let many = Claims { aud: vec!["other".into(), "shop".into()], roles: Vec::new(), ..claims() };
    assert_eq!(it.verifier.verify(&it.key.sign(&many).unwrap()).unwrap(), Identity::user("u-1", &[]));
}

#[tokio::test(start_paused = true)]
async fn the_header_names_algorithm_and_key() {
    let it = Fixture::new();
    let token = it.key.sign(&claims()).unwrap();
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header, json!({"typ": "JWT", "alg": "EdDSA", "kid": it.key.kid()}));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_a_token_is_refused() {
    let it = Fixture::new();
    let token = it.key.sign(&claims()).unwrap();
    let long = format!("{token}{}", "A".repeat(10_000));
    for bad in ["", ".", "..", "...", "a.b.c", "Bearer x", "\u{0}", token.rsplit_once('.').unwrap().0, &long]
    {
        it.refuses(bad, TOKEN_MALFORMED);
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_token_is_refused() {
    let it = Fixture::new();
    let token = it.key.sign(&claims()).unwrap();
    it.verifier.verify(&token).unwrap();

    let other = it.key.sign(&Claims { sub: "u-2".into(), ..claims() }).unwrap();
    let other: Vec<_> = other.split('.').collect();
    it.refuses(&with_part(&token, 1, other[1]), TOKEN_SIGNATURE_INVALID);
    it.refuses(&with_part(&token, 2, other[2]), TOKEN_SIGNATURE_INVALID);
    it.refuses(&with_part(&token, 2, ""), TOKEN_SIGNATURE_INVALID);

    let header = encode(&json!({"alg": "EdDSA", "kid": it.key.kid(), "typ": "at+jwt"}));
    it.refuses(&with_part(&token, 0, &header), TOKEN_SIGNATURE_INVALID);
}

#[tokio::test(start_paused = true)]
async fn every_changed_octet_of_the_signature_is_noticed() {
    let it = Fixture::new();
    let token = it.key.sign(&claims()).unwrap();
    let signature = URL_SAFE_NO_PAD.decode(token.rsplit('.').next().unwrap()).unwrap();
    for octet in 0..signature.len() {
        let mut changed = signature.clone();
        changed[octet] ^= 1;
        it.refuses(&with_part(&token, 2, &URL_SAFE_NO_PAD.encode(changed)), TOKEN_SIGNATURE_INVALID);
    }
}

#[tokio::test(start_paused = true)]
async fn the_token_does_not_choose_the_algorithm() {
    let it = Fixture::new();
    let token = it.key.sign(&claims()).unwrap();
    for alg in ["none", "None", "HS256", "RS256", "ES256", "", "EDDSA"] {
        let header = encode(&json!({"alg": alg, "kid": it.key.kid(), "typ": "JWT"}));
        it.refuses(&with_part(&token, 0, &header), TOKEN_MALFORMED);
        it.refuses(&with_part(&with_part(&token, 0, &header), 2, ""), TOKEN_MALFORMED);
    }
}

#[tokio::test(start_paused = true)]
async fn the_public_key_is_not_a_shared_secret() {
    let it = Fixture::new();
    let public = &it.key.jwk().x;
    let header = Header { kid: Some(it.key.kid().to_owned()), ..Header::new(Algorithm::HS256) };
    for secret in [public.as_bytes(), &URL_SAFE_NO_PAD.decode(public).unwrap()] {
        let forged = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap();
        it.refuses(&forged, TOKEN_MALFORMED);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_has_its_own_reason_so_that_keys_can_be_fetched_again() {
    let it = Fixture::new();
    let stranger = SigningKey::generate().unwrap();
    let token = stranger.sign(&claims()).unwrap();
    it.refuses(&token, TOKEN_KEY_UNKNOWN);

    let keys = vec![it.key.jwk().clone(), stranger.jwk().clone()];
    assert_eq!(it.verifier.set_keys(&Jwks { keys }), 2);
    assert!(it.verifier.verify(&token).is_ok());

    let nameless = encode(&json!({"alg": "EdDSA", "typ": "JWT"}));
    it.refuses(&with_part(&token, 0, &nameless), TOKEN_MALFORMED);
    let borrowed = encode(&json!({"alg": "EdDSA", "typ": "JWT", "kid": it.key.kid()}));
    it.refuses(&with_part(&token, 0, &borrowed), TOKEN_SIGNATURE_INVALID);
}

#[tokio::test(start_paused = true)]
async fn a_key_in_the_header_is_not_trusted_and_critical_extensions_are_refused() {
    let it = Fixture::new();
    let stranger = SigningKey::generate().unwrap();
    let sign = |header: Header| {
        let key = EncodingKey::from_ed_der(stranger.to_pkcs8().expose());
        jsonwebtoken::encode(&header, &claims(), &key).unwrap()
    };
    let jwk = serde_json::from_value(serde_json::to_value(stranger.jwk()).unwrap()).unwrap();
    let kid = Some(stranger.kid().to_owned());
    it.refuses(&sign(Header { jwk: Some(jwk), kid, ..Header::new(Algorithm::EdDSA) }), TOKEN_KEY_UNKNOWN);

    let kid = Some(it.key.kid().to_owned());
    let crit = Some(vec!["b64".to_owned()]);
    it.refuses(&sign(Header { crit, kid, ..Header::new(Algorithm::EdDSA) }), TOKEN_MALFORMED);
}

#[tokio::test(start_paused = true)]
async fn tokens_of_others_are_refused() {
    let it = Fixture::new();
    for (other, reason) in [
        (Claims { iss: "https://evil.example".into(), ..claims() }, TOKEN_NOT_FOR_US),
        (Claims { iss: String::new(), ..claims() }, TOKEN_NOT_FOR_US),
        (Claims { aud: vec!["other".into()], ..claims() }, TOKEN_NOT_FOR_US),
        (Claims { aud: Vec::new(), ..claims() }, TOKEN_NOT_FOR_US),
        (Claims { sub: String::new(), ..claims() }, TOKEN_MALFORMED),
    ] {
        it.refuses(&it.key.sign(&other).unwrap(), reason);
    }
}

#[tokio::test(start_paused = true)]
async fn missing_or_mistyped_claims_are_refused() {
    let it = Fixture::new();
    let key = EncodingKey::from_ed_der(it.key.to_pkcs8().expose());
    let header = Header { kid: Some(it.key.kid().to_owned()), ..Header::new(Algorithm::EdDSA) };
    let whole = serde_json::to_value(claims()).unwrap();
    for claim in ["sub", "iss", "aud", "iat", "exp"] {
        for wrong in [None, Some(json!({"a": 1})), Some(json!(-1))] {
            let mut claims = whole.clone();
            match wrong {
                None => drop(claims.as_object_mut().unwrap().remove(claim)),
                Some(wrong) => claims[claim] = wrong,
            }
            it.refuses(&jsonwebtoken::encode(&header, &claims, &key).unwrap(), TOKEN_MALFORMED);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_with_its_time_also_in_the_cache() {
    let it = Fixture::new();
    let token = it.key.sign(&claims()).unwrap();
    it.verifier.verify(&token).unwrap();
    tokio::time::advance(Duration::from_secs(900 + LEEWAY_S - 1)).await;
    it.verifier.verify(&token).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    it.refuses(&token, TOKEN_EXPIRED);

    let fresh = Fixture::new();
    let expired = fresh.key.sign(&Claims { exp: NOW_S - LEEWAY_S, ..claims() }).unwrap();
    fresh.refuses(&expired, TOKEN_EXPIRED);
}

#[tokio::test(start_paused = true)]
async fn a_token_starts_with_its_time() {
    let it = Fixture::new();
    let token = it.key.sign(&Claims { nbf: Some(NOW_S + LEEWAY_S + 10), ..claims() }).unwrap();
    it.refuses(&token, TOKEN_NOT_YET_VALID);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(it.verifier.verify(&token).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_removed_or_replaced_key_ends_its_tokens_at_once() {
    let it = Fixture::new();
    let token = it.key.sign(&claims()).unwrap();
    it.verifier.verify(&token).unwrap();
    it.verifier.set_keys(&Jwks { keys: vec![it.key.jwk().clone()] });
    it.verifier.verify(&token).unwrap();

    let other = SigningKey::generate().unwrap();
    let usurper = Jwk { kid: it.key.kid().to_owned(), ..other.jwk().clone() };
    it.verifier.set_keys(&Jwks { keys: vec![usurper] });
    it.refuses(&token, TOKEN_SIGNATURE_INVALID);

    it.verifier.set_keys(&Jwks::default());
    it.refuses(&token, TOKEN_KEY_UNKNOWN);
}

#[tokio::test(start_paused = true)]
async fn tokens_signed_before_a_rotation_stay_valid_until_they_expire() {
    let it = Fixture::new();
    let ring = KeyRing::generate(900 + LEEWAY_S, NOW_S).unwrap();
    it.verifier.set_keys(&ring.jwks(NOW_S));
    let old = ring.sign(&claims()).unwrap();

    let rotated = ring.rotate(NOW_S).unwrap();
    let new = rotated.sign(&Claims { exp: NOW_S + 5_000, ..claims() }).unwrap();
    assert!(it.verifier.verify(&new).is_ok(), "the next key is announced before it signs");
    it.verifier.set_keys(&rotated.jwks(NOW_S));
    assert!(it.verifier.verify(&old).is_ok());

    tokio::time::advance(Duration::from_secs(900 + LEEWAY_S)).await;
    it.refuses(&old, TOKEN_EXPIRED);
    it.verifier.set_keys(&rotated.jwks(NOW_S + 900 + LEEWAY_S));
    it.refuses(&old, TOKEN_KEY_UNKNOWN);
    assert!(it.verifier.verify(&new).is_ok());
}
