//! The known word nearest to one that is not known.

/// The candidate somebody most likely meant, if any is near: equal but for case and separators, else at most a third
/// of its letters wrong, missing, too many or swapped.
pub(crate) fn find_nearest<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let bare = |word: &str| -> String {
        word.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
    };
    let wanted = bare(wrong);
    if wanted.is_empty() || wanted.len() > 64 {
        return None;
    }
    if let Some(same) = known.clone().into_iter().find(|word| bare(word) == wanted) {
        return Some(same);
    }
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&wanted, &bare(word)), word))
        .filter(|(distance, word)| {
            let longer = word.len().max(wanted.len());
            *distance <= (longer / 3).max(1) && *distance < longer
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Says the remedy for a word that is not known: the nearest one, and all where they are few.
pub(crate) fn suggest_word<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match find_nearest(wrong, known.clone()) {
        Some(near) => format!("Did you mean {near}?"),
        None => list_known(known),
    }
}

/// The words that are known, or the first of very many.
pub(crate) fn list_known<'a>(known: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 24;
    let all: Vec<&str> = known.into_iter().collect();
    match all.len() {
        0 => "None is known".into(),
        count if count <= MOST => format!("Known: {}", all.join(", ")),
        count => format!("Known: {}, and {} more", all[..MOST].join(", "), count - MOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found() {
        let known = ["public_url", "upstream", "provisioning", "idps", "scim", "log"];
        for (wrong, near) in [
            ("publicUrl", Some("public_url")),
            ("public-url", Some("public_url")),
            ("upstrem", Some("upstream")),
            ("usptream", Some("upstream")),
            ("idp", Some("idps")),
            ("logs", Some("log")),
            ("cache", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(find_nearest(wrong, known), near, "{wrong}");
        }
        assert_eq!(suggest_word("x", ["a_b", "c_d"]), "Known: a_b, c_d");
        assert_eq!(suggest_word("A-B", ["a_b", "c_d"]), "Did you mean a_b?");
    }
}
