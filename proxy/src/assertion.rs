//! The signed header: who is there, in a form that an application can check by itself (`X-Portcullis-Assertion`).
//!
//! It is a JWT (RFC 7519), signed once for a session and half a minute, not for a request: what was signed stays with the
//! session. It is shown for half of its life at most, so that an application has the other half to look at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_keys::{AssertionKey, Random};
use portcullis_policy::{Principal, SIGNED_HEADER, SessionHash, SignedClaims, Timestamp};
use portcullis_session::{Session, SignedLine};

use crate::told::Told;

/// The life of what is signed, in seconds.
const LIFE: i64 = 60;
/// The time for which it is shown, in milliseconds.
const SHOWN: i64 = 30_000;

/// The key that signs now. Whoever keeps the keys puts another in its place.
#[derive(Debug, Default)]
pub struct AssertionSigner {
    key: ArcSwapOption<NumberedKey>,
    numbers: AtomicU64,
}

#[derive(Debug)]
struct NumberedKey {
    number: u64,
    key: Arc<AssertionKey>,
}

impl AssertionSigner {
    /// Signs by this key from now on. What another has signed is not shown any more.
    pub fn replace_key(&self, key: Arc<AssertionKey>) {
        let is_same = self.key.load().as_ref().is_some_and(|now| now.key.kid() == key.kid());
        if !is_same {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            self.key.store(Some(Arc::new(NumberedKey { number, key })));
        }
    }

    /// Says who is there, by the claims of that very person, to one upstream: by the line at hand, or a new one. Without a
    /// key nothing is said, and an application that asks for it refuses.
    pub(crate) fn tell(
        &self,
        (who, claims): (&Arc<Principal>, &SignedClaims),
        session: &Session,
        upstream: Option<&str>,
        now: Timestamp,
        told: &mut Told,
    ) {
        let signs = self.key.load();
        let Some(signs) = &*signs else { return };
        session.with_signed_lines(|kept| {
            kept.retain(|signed| is_good(signed, who, signs.number, now));
            if let Some(signed) = kept.iter().find(|signed| signed.upstream.as_deref() == upstream) {
                return told.add_lines(&signed.line);
            }
            let line =
                sign_line(claims, upstream, &signs.key, session.hash(), now, &mut Random::from_system());
            told.add_lines(&line);
            let upstream = upstream.map(Box::from);
            kept.push(SignedLine { upstream, who: who.clone(), key: signs.number, issued: now, line });
        });
    }
}

/// Tells whether what was signed still says who is there, by this key, and for long enough.
fn is_good(signed: &SignedLine, who: &Arc<Principal>, key: u64, now: Timestamp) -> bool {
    // A clock that went back would show it for longer.
    let is_young = (0..SHOWN).contains(&(now.0 - signed.issued.0));
    is_young && signed.key == key && Arc::ptr_eq(&signed.who, who)
}

fn sign_line(
    claims: &SignedClaims,
    upstream: Option<&str>,
    key: &AssertionKey,
    session: SessionHash,
    now: Timestamp,
    random: &mut Random,
) -> Box<[u8]> {
    let issued = now.0.div_euclid(1000);
    let (session, id) =
        (URL_SAFE_NO_PAD.encode(session.0), URL_SAFE_NO_PAD.encode(random.draw_bytes::<16>()));
    let mut line = format!("{SIGNED_HEADER}: ");
    key.sign_into(&claims.complete(upstream, &session, issued, issued + LIFE, &id), &mut line);
    line.push_str("\r\n");
    line.into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;
    use portcullis_policy::{IdentityHeaders, Policy, SignedHeader, UserFrom};

    fn policy(issuer: &str, budget: usize) -> Policy {
        let signed =
            SignedHeader { issuer: issuer.into(), audience: "wiki".into(), organization: "default".into() };
        let headers = IdentityHeaders::x_forwarded(UserFrom::UserName);
        let identity = IdentityHeaders { rules: Arc::new([]), budget, signed: Some(signed), ..headers };
        Policy::new(
            portcullis_policy::RulesVersion(1),
            vec![],
            portcullis_policy::Bindings::default(),
            identity,
        )
    }

    #[test]
    fn what_is_signed_is_shown_for_half_of_its_life() {
        let policy = policy("https://wiki.test", 16 << 10);
        let (who, other) = (Arc::new(test::alice(&policy)), Arc::new(test::alice(&policy)));
        let signed = SignedLine {
            upstream: None,
            who: who.clone(),
            key: 3,
            issued: Timestamp(5_000),
            line: Box::default(),
        };
        for (at, good) in [(4_999, false), (5_000, true), (34_999, true), (35_000, false)] {
            assert_eq!(is_good(&signed, &who, 3, Timestamp(at)), good, "{at}");
        }
        assert!(!is_good(&signed, &who, 4, Timestamp(5_000)), "another key");
        assert!(!is_good(&signed, &other, 3, Timestamp(5_000)), "another snapshot of the person");
        assert_eq!(SHOWN * 2, LIFE * 1000);
    }

    #[test]
    fn a_line_has_the_size_that_the_budget_counts() {
        let now = Timestamp(1_800_000_000_000);
        for issuer in ["https://wiki.test", "https://wiki.test/", "https://wiki.test/a"] {
            let who = test::alice(&policy(issuer, 16 << 10));
            let key = AssertionKey::new();
            let random = &mut Random::from_seed(1);
            let line = sign_line(who.claims().unwrap(), None, &key, SessionHash([255; 32]), now, random);
            let text = std::str::from_utf8(&line).unwrap();
            assert!(text.starts_with("x-portcullis-assertion: ey") && text.ends_with("\r\n"), "{text}");
            let claims = text.trim_end().split('.').nth(1).unwrap();
            let claims: serde_json::Value =
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
            assert_eq!((&claims["iat"], &claims["exp"]), (&1_800_000_000.into(), &1_800_000_060.into()));
            let facts = who.facts();
            let seq = portcullis_policy::Seq(1);
            assert!(policy(issuer, line.len()).describe_person(facts, seq).is_ok());
            let over = policy(issuer, line.len() - 1).describe_person(facts, seq).unwrap_err().to_string();
            assert!(over.contains(&format!("have {} bytes", line.len())), "{over}");
            assert!(over.contains("most are of x-portcullis-assertion"), "{over}");
        }
    }
}
