//! The form of a refusal: a page for a person, JSON for a program, trailers for gRPC, each as its asker understands it.
//! Only a navigation is sent to login.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use portcullis_policy::DenyReason;

use super::refusal::RequestRefusal;
use crate::kind::Kind;
use crate::rules::AppRules;

/// The looks of a refused request.
pub(super) struct Asker<'a> {
    pub(super) kind: Kind,
    pub(super) place: Option<&'a AppRules>,
    /// Path and query, for the way back.
    pub(super) target: &'a str,
    pub(super) reference: &'a str,
}

/// The answer to a refused request, but for a person's page: that one has no body yet.
pub(super) fn answer_refusal(refusal: RequestRefusal, asker: &Asker<'_>) -> Response<Bytes> {
    let status = refusal.status();
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    let place = asker.place.filter(|_| refusal != RequestRefusal::Denied(DenyReason::UnknownHost));
    match (asker.kind, place) {
        (_, None) => {
            *answer.body_mut() =
                Bytes::from(format!("{}\n", refusal.kind_told(asker.kind).few_words(asker.reference)));
            set_field(&mut answer, CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        (Kind::Navigation, Some(place)) if status == StatusCode::UNAUTHORIZED => {
            *answer.status_mut() = StatusCode::SEE_OTHER;
            if let Ok(to) = HeaderValue::from_str(&login_address(place, Some(asker.target))) {
                set_field(&mut answer, LOCATION, to);
            }
        }
        (Kind::Grpc, Some(_)) => {
            *answer.status_mut() = StatusCode::OK;
            set_field(&mut answer, CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            set_field(&mut answer, GRPC_STATUS, HeaderValue::from_static(refusal.grpc_status()));
            if let Ok(words) =
                HeaderValue::from_str(&refusal.kind_told(asker.kind).few_words(asker.reference))
            {
                set_field(&mut answer, GRPC_MESSAGE, words);
            }
        }
        (kind, Some(place)) if !kind.is_page() => {
            let mut said =
                serde_json::json!({ "error": refusal.kind_told(kind).json_word(), "ref": asker.reference });
            if status == StatusCode::UNAUTHORIZED {
                said["login_url"] = format!("{}{}", place.site().origin, login_address(place, None)).into();
            }
            *answer.body_mut() = Bytes::from(said.to_string());
            set_field(&mut answer, CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        _ => {}
    }
    if status == StatusCode::UNAUTHORIZED && answer.status() == status {
        set_field(&mut answer, WWW_AUTHENTICATE, HeaderValue::from_static("Portcullis"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        set_field(&mut answer, RETRY_AFTER, HeaderValue::from_static("1"));
    }
    // A 405 says what would be taken (RFC 9110 §15.5.6).
    match (refusal, place) {
        (RequestRefusal::Unacceptable(_, StatusCode::METHOD_NOT_ALLOWED), _) => {
            set_field(
                &mut answer,
                ALLOW,
                HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            );
        }
        (RequestRefusal::Denied(DenyReason::Method), Some(place)) => {
            let path = asker.target.split('?').next().unwrap_or_default();
            let methods: Vec<&str> = place.app().methods_at(path).into_iter().map(Method::as_str).collect();
            if let Ok(methods) = HeaderValue::from_str(&methods.join(", ")) {
                set_field(&mut answer, ALLOW, methods);
            }
        }
        _ => {}
    }
    answer
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

pub(super) fn set_field(answer: &mut Response<Bytes>, name: HeaderName, value: HeaderValue) {
    answer.headers_mut().insert(name, value);
}

/// The characters that stay as they are in the way back.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// A way back longer than this does not go into the address of the login page: encoded it grows, and that request's
/// head has to pass too.
pub(super) const WAY_BACK: usize = 2048;

/// The address of the login page; with the way back, for a person who was on the way to a page. One that is long is
/// kept at our side, see `kept_login`; where that fails, its path has to do.
pub(super) fn login_address(place: &AppRules, back_to: Option<&str>) -> String {
    let mut url = place.own_path("login");
    let path = back_to.and_then(|target| target.split('?').next());
    let fits = |target: &&str| target.len() <= WAY_BACK && way_back(place, target).is_some();
    if let Some(back_to) = back_to.filter(fits).or(path.filter(fits)) {
        url.push_str("?return_to=");
        url.extend(utf8_percent_encode(back_to, KEPT));
    }
    url
}

pub(super) fn way_back<'a>(place: &AppRules, target: &'a str) -> Option<&'a str> {
    let ours = place.own_path("");
    crate::way_back(target, &place.app().base, ours.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use portcullis_session::Ended;

    use super::*;
    use crate::rooms::accept::Unacceptable;
    use crate::test;

    fn refused(why: RequestRefusal, kind: Kind) -> Response<Bytes> {
        let place = test::place();
        answer_refusal(
            why,
            &Asker { kind, place: Some(&place), target: "/a b?c=d&e", reference: "7Q2M-X4KD" },
        )
    }

    fn field<'a>(answer: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
        answer.headers().get(name).map(|value| value.to_str().unwrap())
    }

    /// Every kind of asker, and what nobody-is-signed-in looks like to it.
    #[test]
    fn nobody_signed_in_by_kind() {
        for (kind, status, has) in [
            (Kind::Navigation, 303, "location"),
            (Kind::Form, 401, "www-authenticate"),
            (Kind::Frame, 401, "www-authenticate"),
            (Kind::WebSocket, 401, "www-authenticate"),
            (Kind::EventStream, 401, "www-authenticate"),
            (Kind::Api, 401, "www-authenticate"),
            (Kind::Grpc, 200, "grpc-status"),
        ] {
            for why in [
                RequestRefusal::Login,
                RequestRefusal::Ended(Ended::Revoked),
                RequestRefusal::Ended(Ended::Idle),
            ] {
                let answer = refused(why, kind);
                assert_eq!(answer.status(), status, "{kind:?}");
                assert!(field(&answer, has).is_some(), "{kind:?}");
                assert_eq!(field(&answer, "location").is_some(), kind == Kind::Navigation, "{kind:?}");
                assert!(!answer.headers().contains_key("set-cookie"));
            }
        }
        let api = refused(RequestRefusal::Login, Kind::Api);
        assert_eq!(field(&api, "www-authenticate"), Some("Portcullis"));
        let said: serde_json::Value = serde_json::from_slice(api.body()).unwrap();
        assert_eq!(said["error"], "login_required");
        assert_eq!(said["login_url"], "https://wiki.test/.portcullis/login");
        assert_eq!(said["ref"], "7Q2M-X4KD");
        assert_eq!(field(&refused(RequestRefusal::Login, Kind::Grpc), "grpc-status"), Some("16"));
    }

    #[test]
    fn every_other_refusal_has_its_status_whoever_asks() {
        for (why, status) in [
            (RequestRefusal::from(Unacceptable::Head), 431),
            (RequestRefusal::from(Unacceptable::Target), 414),
            (RequestRefusal::from(Unacceptable::Method), 405),
            (RequestRefusal::Denied(DenyReason::NoRoute), 404),
            (RequestRefusal::Denied(DenyReason::Method), 405),
            (RequestRefusal::Denied(DenyReason::AmbiguousPath), 400),
            (RequestRefusal::Denied(DenyReason::Role), 403),
            (RequestRefusal::Ended(Ended::Forbidden), 403),
            (RequestRefusal::OtherSite, 403),
            (RequestRefusal::Ended(Ended::OnHold), 503),
            (RequestRefusal::Ended(Ended::Unproven), 503),
            (RequestRefusal::Unproven, 503),
            (RequestRefusal::Unreachable, 502),
            (RequestRefusal::Slow, 504),
            (RequestRefusal::TooLarge, 413),
        ] {
            for kind in
                [Kind::Navigation, Kind::Form, Kind::Frame, Kind::WebSocket, Kind::EventStream, Kind::Api]
            {
                let answer = refused(why, kind);
                assert_eq!(answer.status(), status, "{why} {kind:?}");
                assert!(field(&answer, "location").is_none());
                assert_eq!(answer.body().is_empty(), kind.is_page(), "{why} {kind:?}");
            }
            assert_eq!(refused(why, Kind::Grpc).status(), 200);
        }
    }

    #[test]
    fn a_method_that_no_rule_takes_learns_which_are() {
        let rule = |path: &str, methods: &[Method]| portcullis_policy::Rule {
            pattern: portcullis_policy::Pattern::parse_path(path).unwrap(),
            methods: methods.into(),
            allow: portcullis_policy::Allow::SignedIn,
            on_change: portcullis_policy::OnChange::Cut,
            upstream: None,
        };
        let rules = vec![
            rule("/**", &[]),
            rule("/app/**", &[Method::GET, Method::HEAD]),
            rule("/app/**", &[Method::GET, Method::POST]),
        ];
        let rules = std::sync::Arc::new(test::rules(test::policy(rules)));
        let place = AppRules::of_host(&rules, "wiki.test").unwrap();
        let asker =
            Asker { kind: Kind::Api, place: Some(&place), target: "/app/x?a=1", reference: "7Q2M-X4KD" };
        let answer = answer_refusal(RequestRefusal::Denied(DenyReason::Method), &asker);
        assert_eq!((answer.status().as_u16(), field(&answer, "allow")), (405, Some("GET, HEAD, POST")));
        assert_eq!(
            field(&refused(RequestRefusal::from(Unacceptable::Method), Kind::Api), "allow").map(str::len),
            Some(44)
        );
    }

    #[test]
    fn an_unknown_host_learns_nothing() {
        for kind in [Kind::Navigation, Kind::Api, Kind::Grpc] {
            let asker = Asker { kind, place: None, target: "/", reference: "7Q2M-X4KD" };
            let answer = answer_refusal(RequestRefusal::Denied(DenyReason::UnknownHost), &asker);
            assert_eq!(answer.status(), 421);
            assert_eq!(answer.headers().len(), 1, "{:?}", answer.headers());
        }
    }

    #[test]
    fn the_way_back_is_a_path_of_this_site() {
        let place = test::place();
        let back = |target: &str| login_address(&place, Some(target));
        assert_eq!(back("/a?b=c&d"), "/.portcullis/login?return_to=/a%3Fb%3Dc%26d");
        assert_eq!(back("//evil.test/"), "/.portcullis/login");
        assert_eq!(back("*"), "/.portcullis/login");
        let long = format!("/p?{}", "q".repeat(WAY_BACK));
        assert_eq!(back(&long), "/.portcullis/login?return_to=/p");
        assert_eq!(back(&"/".repeat(WAY_BACK + 1)), "/.portcullis/login");
    }
}
