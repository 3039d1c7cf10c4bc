//! The two texts of metrics: OpenMetrics 1.0, and the older one of Prometheus 0.0.4. The registry writes the first.

use std::collections::HashMap;

use axum::http::{HeaderMap, header};

/// A form of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposition {
    /// OpenMetrics, which has room for exemplars.
    Open,
    /// The older one, for whoever does not say.
    Older,
}

impl Exposition {
    /// The one that is wanted: OpenMetrics where it is named and the older one is not wanted more (RFC 9110 §12.5.1).
    pub(super) fn wanted_by(headers: &HeaderMap) -> Self {
        let fields = headers.get_all(header::ACCEPT).iter().filter_map(|field| field.to_str().ok());
        let ranges = fields.flat_map(|field| field.split(','));
        let (mut open, mut older) = (None, [None; 3]);
        for range in ranges {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let weight = parts
                .filter_map(|part| part.split_once('='))
                .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
            let weight: f32 = weight.map_or(1.0, |(_, weight)| weight.trim().parse().unwrap_or(0.0));
            let weight = Some(if (0.0..=1.0).contains(&weight) { weight } else { 0.0 });
            // The most specific range is what counts.
            let ranges = ["text/plain", "text/*", "*/*"];
            if kind.eq_ignore_ascii_case("application/openmetrics-text") {
                open = weight;
            } else if let Some(at) = ranges.iter().position(|range| kind.eq_ignore_ascii_case(range)) {
                older[at] = weight;
            }
        }
        let older = older.into_iter().flatten().next().unwrap_or_default();
        if open.is_some_and(|open| open > 0.0 && open >= older) { Self::Open } else { Self::Older }
    }

    /// Its media type.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Older => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The older text of what OpenMetrics says without exemplars. There a counter is described under the name that its sample has,
/// with `_total`; an info is a gauge by the name of its sample; and nothing stands at the end.
pub(super) fn older_text(open: &str) -> String {
    let renamed: HashMap<&str, Renamed> = open.lines().filter_map(Renamed::of_type).collect();
    let mut older = String::with_capacity(open.len() + 4 * 1024);
    for line in open.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        let described = line.strip_prefix("# ").and_then(|told| {
            let (what, rest) = told.split_once(' ')?;
            let (name, rest) = rest.split_once(' ')?;
            let Renamed { suffix, kind } = renamed.get(name)?;
            Some(["# ", what, " ", name, suffix, " ", if what == "TYPE" { kind } else { rest }])
        });
        match described {
            Some(parts) => older.extend(parts),
            None => older.push_str(line),
        }
        older.push('\n');
    }
    older
}

/// A metric whose description is another in the older text.
struct Renamed {
    /// The end of its sample's name.
    suffix: &'static str,
    /// The word for its type.
    kind: &'static str,
}

impl Renamed {
    fn of_type(line: &str) -> Option<(&str, Self)> {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        let renamed = match kind {
            "counter" => Self { suffix: "_total", kind: "counter" },
            "info" => Self { suffix: "_info", kind: "gauge" },
            "unknown" => Self { suffix: "", kind: "untyped" },
            _ => return None,
        };
        Some((name, renamed))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn openmetrics_is_for_who_wants_it_most() {
        let wanted = |fields: &[&str]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(header::ACCEPT, HeaderValue::from_bytes(field.as_bytes()).unwrap());
            }
            Exposition::wanted_by(&headers)
        };
        for open in [
            &["application/openmetrics-text"][..],
            &["Application/OpenMetrics-Text; version=1.0.0"],
            &[
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1",
            ],
            &["text/plain;q=0.5", "application/openmetrics-text"],
        ] {
            assert_eq!(wanted(open), Exposition::Open, "{open:?}");
        }
        for older in [
            &[][..],
            &["*/*"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=no"],
            &["application/openmetrics-text;q=2"],
            &["application/openmetrics-text;q=0.5,*/*;q=0.9"],
            &["text/*;q=1,application/openmetrics-text;q=0.3"],
            &["application/openmetrics-textual"],
            &["text/plain;q=0.9, application/openmetrics-text;q=0.1"],
        ] {
            assert_eq!(wanted(older), Exposition::Older, "{older:?}");
        }
    }

    #[test]
    fn a_counter_is_described_by_the_name_of_its_sample() {
        let open = "# HELP logins Logins that ended.\n# TYPE logins counter\nlogins_total{outcome=\"ok\"} 1\n\
                    # HELP took_seconds Time of logins.\n# TYPE took_seconds histogram\n# UNIT took_seconds seconds\n\
                    took_seconds_count 1\n# HELP build The build.\n# TYPE build info\nbuild_info{version=\"1\"} 1\n# EOF\n";
        let older = "# HELP logins_total Logins that ended.\n# TYPE logins_total counter\nlogins_total{outcome=\"ok\"} 1\n\
                     # HELP took_seconds Time of logins.\n# TYPE took_seconds histogram\ntook_seconds_count 1\n\
                     # HELP build_info The build.\n# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n";
        assert_eq!(older_text(open), older);
    }
}
