//! The redirect: whoever comes over plain http is sent to `public_url`. It reads no cookie and no body, and takes the host
//! from the configuration, never from the client.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::http::{HeaderValue, Response, StatusCode};

use crate::live::Current;

/// Sends everything on to the address of the application, with its path.
pub(crate) fn redirect_router(live: Arc<Current>) -> Router {
    Router::new().fallback(move |request: Request| {
        let live = live.clone();
        async move { sent_on(&live.in_force().public_origin, &request) }
    })
}

fn sent_on(origin: &str, request: &Request) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    let asked = request.uri().path_and_query().map_or("/", |asked| asked.as_str());
    // A target that begins with two slashes names another host to whoever joins it carelessly; ours stands in front.
    match HeaderValue::from_str(&format!("{origin}{asked}")) {
        Ok(location) if asked.starts_with('/') => {
            *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
            answer.headers_mut().insert(LOCATION, location);
            // Whoever turns the redirect off later is not held to it for ever.
            answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
        }
        _ => *answer.status_mut() = StatusCode::BAD_REQUEST,
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_ours_whatever_is_asked() {
        for (asked, location) in [
            ("/", Some("https://wiki.test/")),
            ("/a?b=c", Some("https://wiki.test/a?b=c")),
            ("//evil.test/x", Some("https://wiki.test//evil.test/x")),
            ("http://evil.test/x", Some("https://wiki.test/x")),
            ("*", None),
        ] {
            let request = Request::builder().uri(asked).body(Body::empty()).unwrap();
            let answer = sent_on("https://wiki.test", &request);
            let found = answer.headers().get(LOCATION).map(|value| value.to_str().unwrap());
            assert_eq!(found, location, "{asked}");
            assert_eq!(answer.status() == StatusCode::PERMANENT_REDIRECT, location.is_some());
        }
    }
}
