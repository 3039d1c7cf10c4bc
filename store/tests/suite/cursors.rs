//! Lists by cursor: page behind page is the whole list, in every order, whatever is written meanwhile.

use std::collections::HashSet;

use portcullis_scim::{ListPage, Outcome, PagePlace, ScimType};
use serde_json::{Value, json};

use crate::support::{HERE, Rig, USER};

/// A directory of people with and without what they are sorted by, equal values among them.
async fn crowd() -> Rig {
    let rig = Rig::new().await;
    for n in 0..40 {
        let mut body = json!({ "schemas": [USER], "userName": format!("user{:02}", (n * 7) % 40) });
        if n % 3 != 0 {
            body["title"] = format!("t{}", n % 5).into();
        }
        if n % 4 != 0 {
            body["emails"] =
                json!([{ "value": format!("{}@corp.test", (n * 11) % 17), "primary": n % 8 == 1 }]);
        }
        rig.post("/Users", body).await;
    }
    for n in 0..5 {
        rig.add_group(&format!("crew{n}"), &[]).await;
    }
    rig
}

async fn page(rig: &Rig, target: &str) -> ListPage {
    let answer = if let Some(query) = target.strip_prefix("/.search?") {
        // A search of both kinds is by POST.
        let mut body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"] });
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            body[name] = value.parse::<u64>().map_or_else(|_| Value::from(value), Value::from);
        }
        let portcullis_scim::ScimRequest::Find(query) = rig.read("POST", "/.search", None, &body) else {
            panic!()
        };
        rig.store.answer_query(crate::support::ORG, HERE, &query).await.unwrap()
    } else {
        rig.find_in(HERE, target).await
    };
    match answer.unwrap() {
        Outcome::Listed(page) => page,
        other => panic!("{other:?}"),
    }
}

fn next(page: &ListPage) -> Option<String> {
    match page.place {
        PagePlace::Cursor(next) => next.map(|cursor| cursor.to_text()),
        PagePlace::Index(_) => panic!("a page by cursor has no index"),
    }
}

/// The ids of all pages of a list, of that many at a time.
async fn walk(rig: &Rig, target: &str, count: usize) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = page(rig, &format!("{target}&count={count}&cursor={cursor}")).await;
        assert!(page.records.len() <= count);
        let next = next(&page);
        assert!(next.is_none() || page.records.len() == count, "a page that is not the last is full");
        ids.extend(page.records.iter().map(|record| record.id.as_str().to_owned()));
        match next {
            Some(next) => cursor = next,
            None => return ids,
        }
    }
}

#[tokio::test]
async fn page_behind_page_is_the_whole_list_in_every_order() {
    let rig = crowd().await;
    let orders = [
        "",
        "sortBy=userName",
        "sortBy=userName&sortOrder=descending",
        "sortBy=title",
        "sortBy=title&sortOrder=descending",
        "sortBy=emails",
        "sortBy=emails&sortOrder=descending",
        "sortBy=id",
        "sortBy=meta.created",
        "sortBy=meta.lastModified&sortOrder=descending",
        "sortBy=meta.version",
        "sortBy=nickName",
        "sortBy=active",
    ];
    for filter in [
        "",
        "&filter=title%20pr",
        "&filter=userName%20sw%20%22user1%22",
        "&filter=userName%20eq%20%22user05%22",
    ] {
        for order in orders {
            let target = format!("/Users?{order}{filter}");
            let whole = page(&rig, &target).await;
            let whole: Vec<&str> = whole.records.iter().map(|record| record.id.as_str()).collect();
            assert!(!whole.is_empty());
            for count in [1, 3, 10, 40, 41] {
                assert_eq!(walk(&rig, &target, count).await, whole, "{target} {count}");
            }
        }
    }
    let whole = page(&rig, "/.search?startIndex=1").await;
    let whole: Vec<&str> = whole.records.iter().map(|record| record.id.as_str()).collect();
    assert_eq!(whole.len(), 45);
    for count in [1, 7, 20, 40, 44, 45, 46] {
        assert_eq!(walk(&rig, "/.search?x=y", count).await, whole, "both kinds, {count}");
    }
}

/// What is there from the first page to the last is told once, however much is made and removed in between.
#[tokio::test]
async fn what_stays_is_told_once_whatever_happens_between_two_pages() {
    for order in ["", "sortBy=userName"] {
        let rig = crowd().await;
        let all: HashSet<String> = walk(&rig, "/Users?x=y", 50).await.into_iter().collect();
        let (mut told, mut removed, mut cursor) = (Vec::new(), HashSet::new(), String::new());
        for n in 0.. {
            let page = page(&rig, &format!("/Users?{order}&count=6&cursor={cursor}")).await;
            let ids: Vec<String> = page.records.iter().map(|record| record.id.as_str().to_owned()).collect();
            // Not the last one of the page, behind which the next begins in an order by value.
            rig.delete(&format!("/Users/{}", ids[0])).await.value.unwrap();
            removed.insert(ids[0].clone());
            rig.add_user(&format!("aaa{n}")).await;
            told.extend(ids);
            match next(&page) {
                Some(next) if n < 30 => cursor = next,
                Some(_) => break,
                None => break,
            }
        }
        let once: HashSet<String> = told.iter().cloned().collect();
        assert_eq!(once.len(), told.len(), "{order}: nobody is told twice");
        assert!(all.is_subset(&once), "{order}: nobody is left out");
    }
}

#[tokio::test]
async fn a_cursor_is_one_of_its_search_and_of_what_is_there() {
    let rig = crowd().await;
    let first = page(&rig, "/Users?sortBy=userName&count=5&cursor=").await;
    let cursor = next(&first).unwrap();
    let refusal = |target: String| {
        let request = http::Request::builder().uri(target).body(bytes::Bytes::new()).unwrap();
        portcullis_scim::read_request(&rig.schemas, &request).unwrap_err().scim_type()
    };
    for other in
        ["sortBy=title", "sortBy=userName&sortOrder=descending", "", "sortBy=userName&filter=title%20pr"]
    {
        assert_eq!(
            refusal(format!("/Users?{other}&cursor={cursor}")),
            Some(ScimType::InvalidCursor),
            "{other}"
        );
    }
    assert_eq!(refusal(format!("/Groups?sortBy=userName&cursor={cursor}")), Some(ScimType::InvalidValue));
    assert_eq!(refusal("/Users?cursor=nonsense".to_owned()), Some(ScimType::InvalidCursor));
    assert_eq!(
        refusal(format!("/Users?sortBy=userName&startIndex=1&cursor={cursor}")),
        Some(ScimType::InvalidValue)
    );
    for count in ["0", "-1", "x"] {
        assert_eq!(refusal(format!("/Users?count={count}&cursor=")), Some(ScimType::InvalidCount), "{count}");
    }
    // The page goes on with another size, and with other attributes.
    let second =
        page(&rig, &format!("/Users?sortBy=userName&count=7&attributes=userName&cursor={cursor}")).await;
    assert_eq!(second.records[0].resource.user_name(), Some("user05"));
    // In an order by value, whoever the page ended with gives the next one its place: changed, they may have another.
    let last = &first.records.last().unwrap().id;
    let moved = json!([{ "op": "replace", "path": "userName", "value": "zzz" }]);
    rig.patch(&format!("/Users/{last}"), moved).await.value.unwrap();
    let expired = rig.find_in(HERE, &format!("/Users?sortBy=userName&cursor={cursor}")).await;
    assert_eq!(expired.unwrap_err().scim_type(), Some(ScimType::ExpiredCursor));
    let first = page(&rig, "/Users?sortBy=userName&count=5&cursor=").await;
    let cursor = next(&first).unwrap();
    let last = &first.records.last().unwrap().id;
    rig.delete(&format!("/Users/{last}")).await.value.unwrap();
    let expired = rig.find_in(HERE, &format!("/Users?sortBy=userName&cursor={cursor}")).await;
    assert_eq!(expired.unwrap_err().scim_type(), Some(ScimType::ExpiredCursor));
    let unsorted = next(&page(&rig, "/Users?count=5&cursor=").await).unwrap();
    let whole: Vec<String> = walk(&rig, "/Users?x=y", 50).await;
    rig.delete(&format!("/Users/{}", whole[4])).await.value.unwrap();
    let behind = page(&rig, &format!("/Users?count=1&cursor={unsorted}")).await;
    assert_eq!(behind.records[0].id.as_str(), whole[5]);
}
