//! As much of HTML as a login by script needs: forms and links.

/// A form of a page.
#[derive(Clone, Debug)]
pub struct HtmlForm {
    pub action: String,
    pub method: String,
    pub fields: Vec<(String, String)>,
}

impl HtmlForm {
    /// Tells whether it has a field.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| known == name)
    }

    /// The fields as they are sent.
    pub fn encoded(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.fields).finish()
    }

    /// Sets a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Finds the forms of a page, in order.
pub fn forms(page: &str) -> Vec<HtmlForm> {
    let mut forms: Vec<HtmlForm> = Vec::new();
    let mut open = false;
    for tag in split_tags(page) {
        let value = |name: &str| attribute_value(tag, name);
        match tag_name(tag).as_str() {
            "form" => {
                open = true;
                forms.push(HtmlForm {
                    action: value("action").unwrap_or_default(),
                    method: value("method").unwrap_or_default().to_ascii_lowercase(),
                    fields: Vec::new(),
                });
            }
            "/form" => open = false,
            "input" if open => {
                let kind = value("type").unwrap_or_default().to_ascii_lowercase();
                let filled = kind != "checkbox" && kind != "radio";
                if let (true, Some(form), Some(name)) = (filled, forms.last_mut(), value("name")) {
                    form.fields.push((name, value("value").unwrap_or_default()));
                }
            }
            _ => {}
        }
    }
    forms
}

/// Finds the targets of the links of a page, in order.
pub fn links(page: &str) -> Vec<String> {
    split_tags(page)
        .filter(|tag| tag_name(tag) == "a")
        .filter_map(|tag| attribute_value(tag, "href"))
        .collect()
}

fn split_tags(page: &str) -> impl Iterator<Item = &str> {
    page.split('<').skip(1).filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag))
}

fn tag_name(tag: &str) -> String {
    tag.split([' ', '\n', '\t', '\r']).next().unwrap_or_default().trim_end_matches('/').to_ascii_lowercase()
}

fn attribute_value(tag: &str, wanted: &str) -> Option<String> {
    let mut rest = tag;
    while let Some(at) = rest.find(wanted) {
        let before = rest[..at].chars().next_back();
        let after = rest[at + wanted.len()..].trim_start();
        rest = &rest[at + wanted.len()..];
        if !before.is_some_and(char::is_whitespace) {
            continue;
        }
        let Some(value) = after.strip_prefix('=') else { continue };
        let value = value.trim_start();
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split(quote).next().unwrap_or_default(),
            _ => value.split([' ', '\n', '\t']).next().unwrap_or_default(),
        };
        return Some(decode_entities(value));
    }
    None
}

/// Gives a text as it was before a template escaped it.
fn decode_entities(text: &str) -> String {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        if let Some((letter, rest)) =
            part.split_once(';').and_then(|(name, rest)| Some((entity_char(name)?, rest)))
        {
            plain.push(letter);
            plain += rest;
        } else {
            plain.push('&');
            plain += part;
        }
    }
    plain
}

fn entity_char(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[test]
fn forms_are_found() {
    let page = "<form class=x action=\"/a?b=1&amp;c=2\" method='POST'><input type=hidden name=csrf value=\"1&quot;2&#x26;3&d\">\
                <input name=\"login\" placeholder='n'></form><a href='/next'>x</a>";
    let form = forms(page).remove(0);
    assert_eq!((form.action.as_str(), form.method.as_str()), ("/a?b=1&c=2", "post"));
    assert_eq!(
        form.fields,
        [("csrf".to_owned(), "1\"2&3&d".to_owned()), ("login".to_owned(), String::new())]
    );
    assert_eq!(links(page), ["/next"]);
}
