//! "Did you mean": the known name nearest to a mistyped one.

/// Bytes of the longest name that a mistyped one is compared with others: comparing takes the product of their lengths.
const NAME_MAX: usize = 100;

/// The known name nearest to `given`, if near enough to be what was meant.
pub(crate) fn closest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if given.len() > NAME_MAX {
        return None;
    }
    let plain = |name: &str| name.to_lowercase().replace(['-', ' '], "_");
    let given = plain(given);
    known
        .into_iter()
        .filter(|name| name.len() <= NAME_MAX)
        .map(|name| (strsim::osa_distance(&given, &plain(name)), name))
        .filter(|(distance, name)| {
            let length = given.chars().count().min(name.chars().count());
            *distance <= 1 + length / 4 && *distance < length
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `` `a`, `b` or `c` ``.
pub(crate) fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// "did you mean .. ?" where a name is near, and all of the names in any case.
pub(crate) fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let all = one_of(known.clone());
    match closest(given, known) {
        Some(name) => format!("did you mean `{name}`? It takes {all}"),
        None => format!("it takes {all}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_find_their_name_and_strangers_find_none() {
        let keys = ["model_channels", "out_channels", "kind", "p_mean", "p_std"];
        assert_eq!(closest("model_chanels", keys), Some("model_channels"));
        assert_eq!(closest("Model-Channels", keys), Some("model_channels"));
        assert_eq!(closest("knid", keys), Some("kind"));
        assert_eq!(closest("p_sdt", keys), Some("p_std"));
        assert_eq!(closest("velocity", keys), None);
        assert_eq!(closest("x", keys), None);
    }

    #[test]
    fn lists_read_as_a_sentence() {
        assert_eq!(one_of(["a"]), "`a`");
        assert_eq!(one_of(["a", "b", "c"]), "`a`, `b` or `c`");
        assert_eq!(did_you_mean("f23", ["f32", "bf16"]), "did you mean `f32`? It takes `f32` or `bf16`");
    }
}
