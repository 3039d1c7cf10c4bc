//! The head of a request: path, parameters, method override (§3.1, §3.2.2, §3.8 and §3.10 of the protocol 1.1).
//!
//! `X-HTTP-Method-Override` is part of 1.1, for clients behind what lets no PATCH through. It counts on a POST to one
//! resource, where POST has no meaning of its own; everywhere else it would make one request two, and is refused.

use http::header::ACCEPT;
use http::{HeaderMap, Method, Uri};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::ScimError;
use crate::schema::ResourceKind;

use super::names;

/// The header by which a POST says that it is another method.
const OVERRIDE: &str = "x-http-method-override";

/// The method and the address, below the base URL, of the request of 2.0 that says the same.
pub(crate) fn translate_head(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(Method, Uri), ScimError> {
    let path = translate_path(uri.path())?;
    if asks_for_xml(headers) {
        return Err(ScimError::NotAcceptable);
    }
    let method = true_method(method, &path, headers)?;
    let target = match uri.query() {
        Some(query) => format!("{path}?{}", translate_query(query)?),
        None => path,
    };
    let uri = target.parse().map_err(|_| ScimError::invalid_syntax("the address is too long"))?;
    Ok((method, uri))
}

/// The path that 2.0 has; one that 1.1 has not is none, whatever 2.0 would serve there.
fn translate_path(path: &str) -> Result<String, ScimError> {
    let path = path.strip_prefix('/').ok_or(ScimError::NoSuchPlace)?;
    let path = path.strip_suffix('/').unwrap_or(path);
    // The format may stand behind the last name (§3.8).
    let (path, is_xml) = match (path.strip_suffix(".json"), path.strip_suffix(".xml")) {
        (Some(path), _) => (path, false),
        (_, Some(path)) => (path, true),
        _ => (path, false),
    };
    let (first, second) = match path.split_once('/') {
        Some((first, second)) => (first, Some(second)),
        None => (path, None),
    };
    let is_collection = ResourceKind::ALL.iter().any(|kind| kind.endpoint().strip_prefix('/') == Some(first));
    let translated = match (first, second) {
        (_, Some(second)) if second.is_empty() || second.contains('/') || second == ".search" => {
            return Err(ScimError::NoSuchPlace);
        }
        (_, None) if is_collection => format!("/{first}"),
        (_, Some(id)) if is_collection => format!("/{first}/{id}"),
        ("ServiceProviderConfigs", None) => "/ServiceProviderConfig".to_owned(),
        ("Schemas", None) => "/Schemas".to_owned(),
        ("Schemas", Some(name)) => format!("/Schemas/{}", schema_urn(name)?),
        ("Bulk", None) => return Err(ScimError::NotOffered { what: "a Bulk of SCIM 1.1" }),
        _ => return Err(ScimError::NoSuchPlace),
    };
    if is_xml { Err(ScimError::NotAcceptable) } else { Ok(translated) }
}

/// The base schema of the resources that a schema of 1.1 describes, by their endpoint: `Users`, `Groups`.
fn schema_urn(name: &str) -> Result<&'static str, ScimError> {
    let kind = ResourceKind::ALL.into_iter().find(|kind| {
        kind.endpoint().strip_prefix('/').is_some_and(|endpoint| endpoint.eq_ignore_ascii_case(name))
    });
    kind.map(ResourceKind::urn).ok_or(ScimError::NotDescribed { what: "schema" })
}

/// Tells whether a client reads XML and nothing else.
fn asks_for_xml(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok());
    let media = fields.flat_map(|field| field.split(','));
    let mut media = media.map(|one| one.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let mut asks = false;
    let reads_other = media.any(|one| {
        let is_xml = one.ends_with("/xml") || one.ends_with("+xml");
        asks |= is_xml;
        one == "*/*" || one == "application/*" || one.ends_with("json")
    });
    asks && !reads_other
}

fn true_method(method: &Method, path: &str, headers: &HeaderMap) -> Result<Method, ScimError> {
    let mut given = headers.get_all(OVERRIDE).iter();
    let Some(first) = given.next() else { return Ok(method.clone()) };
    let meant = [Method::PUT, Method::PATCH, Method::DELETE]
        .into_iter()
        .find(|meant| first.as_bytes().eq_ignore_ascii_case(meant.as_str().as_bytes()));
    let is_one_resource = path.matches('/').count() == 2 && !path.starts_with("/Schemas/");
    match meant {
        Some(meant) if given.next().is_none() && method == Method::POST && is_one_resource => Ok(meant),
        _ => Err(ScimError::invalid_syntax(
            "X-HTTP-Method-Override is PUT, PATCH or DELETE, once, on a POST to one user or group; leave it out elsewhere",
        )),
    }
}

/// The parameters with the names in them turned. `cursor` is one of a later standard: 1.1 pages by `startIndex`.
fn translate_query(query: &str) -> Result<String, ScimError> {
    let mut pairs = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let lower = decoded(name).unwrap_or_default().to_ascii_lowercase();
        if lower == "cursor" {
            return Err(ScimError::invalid_value(
                "paging is by startIndex and count in SCIM 1.1, not by cursor",
            ));
        }
        let turned = decoded(value).and_then(|value| {
            let turned = match lower.as_str() {
                "filter" => names::to_filter(&value),
                "sortby" => names::to_name(value.trim()).into_owned(),
                "attributes" | "excludedattributes" => {
                    let turned = value.split(',').map(|one| names::to_name(one.trim()));
                    turned.collect::<Vec<_>>().join(",")
                }
                _ => return None,
            };
            (turned != value).then_some(turned)
        });
        pairs.push(match turned {
            Some(turned) => format!("{lower}={}", utf8_percent_encode(&turned, NON_ALPHANUMERIC)),
            None => pair.to_owned(),
        });
    }
    Ok(pairs.join("&"))
}

/// A name or value of a query; `None` where it is not UTF-8, which is said where it is read.
fn decoded(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, target: &str, headers: &[(&'static str, &'static str)]) -> Result<String, u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a value"));
        }
        let method = method.parse().expect("a method");
        translate_head(&method, &target.parse().expect("a target"), &map)
            .map(|(method, uri)| format!("{method} {uri}"))
            .map_err(|error| error.status().as_u16())
    }

    #[test]
    fn paths_and_formats() {
        let user = "urn:ietf:params:scim:schemas:core:2.0:User";
        for (target, due) in [
            ("/Users", Ok("GET /Users".to_owned())),
            ("/Users/", Ok("GET /Users".to_owned())),
            ("/Users.json?count=1", Ok("GET /Users?count=1".to_owned())),
            ("/Users/u-1.json", Ok("GET /Users/u-1".to_owned())),
            ("/Groups/a%20b", Ok("GET /Groups/a%20b".to_owned())),
            ("/ServiceProviderConfigs", Ok("GET /ServiceProviderConfig".to_owned())),
            ("/Schemas/Users", Ok(format!("GET /Schemas/{user}"))),
            ("/Schemas/People", Err(404)),
            ("/Users.xml", Err(406)),
            ("/Users/u-1.xml", Err(406)),
            ("/Bulk", Err(501)),
            ("/ServiceProviderConfig", Err(404)),
            ("/ResourceTypes", Err(404)),
            ("/.search", Err(404)),
            ("/Users/.search", Err(404)),
            ("/Users/.json", Err(404)),
            ("/Me", Err(404)),
            ("/", Err(404)),
            ("/Users/a/b", Err(404)),
        ] {
            assert_eq!(head("GET", target, &[]), due, "{target}");
        }
        for (accept, is_served) in [
            ("application/json", true),
            ("application/xml", false),
            ("text/xml, application/xml;q=0.9", false),
            ("application/xml, application/json", true),
            ("application/xml;q=0.9, */*;q=0.1", true),
            ("text/html", true),
            ("*/*", true),
        ] {
            assert_eq!(head("GET", "/Users", &[("accept", accept)]).is_ok(), is_served, "{accept}");
        }
    }

    #[test]
    fn an_override_counts_on_a_post_to_one_resource_alone() {
        let patch = ("x-http-method-override", "PATCH");
        assert_eq!(head("POST", "/Users/u-1", &[patch]), Ok("PATCH /Users/u-1".to_owned()));
        let delete = ("x-http-method-override", "delete");
        assert_eq!(head("POST", "/Groups/g-1", &[delete]), Ok("DELETE /Groups/g-1".to_owned()));
        for (method, target, headers) in [
            ("POST", "/Users", [patch].as_slice()),
            ("PUT", "/Users/u-1", &[delete]),
            ("GET", "/Users/u-1", &[delete]),
            ("POST", "/Users/u-1", &[patch, delete]),
            ("POST", "/Users/u-1", &[("x-http-method-override", "GET")]),
            ("POST", "/Users/u-1", &[("x-http-method-override", "PATCH, DELETE")]),
            ("POST", "/Schemas/Users", &[patch]),
        ] {
            assert_eq!(head(method, target, headers), Err(400), "{method} {target} {headers:?}");
        }
    }

    #[test]
    fn parameters_have_their_names_turned_and_nothing_else() {
        for (target, due) in [
            ("/Users?filter=userName%20eq%20%22a%26b%22", "GET /Users?filter=userName%20eq%20%22a%26b%22"),
            (
                "/Users?filter=urn:scim:schemas:core:1.0:userName+eq+%22a+b%22&x=1",
                "GET /Users?filter=userName%20eq%20%22a%20b%22&x=1",
            ),
            ("/Users?SortBy=urn:scim:schemas:core:1.0:title", "GET /Users?sortby=title"),
            ("/Users?attributes=urn:scim:schemas:core:1.0:title,id", "GET /Users?attributes=title%2Cid"),
            ("/Users?filter=%ff", "GET /Users?filter=%ff"),
        ] {
            assert_eq!(head("GET", target, &[]).as_deref(), Ok(due), "{target}");
        }
        assert_eq!(head("GET", "/Users?cursor", &[]), Err(400));
    }
}
