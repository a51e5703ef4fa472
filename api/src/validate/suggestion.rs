//! What somebody may have meant by a field that does not exist.

/// Most edits between what is written and what is suggested. With three, `port` would become `image`.
const EDITS_MAX: usize = 2;

/// A message for a field that does not exist, where `known` do.
pub(super) fn unknown_field<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> String {
    let close = known
        .map(|name| (edits(&written.to_ascii_lowercase(), &name.to_ascii_lowercase()), name))
        .filter(|&(edits, name)| edits <= EDITS_MAX && edits < name.len())
        .min();
    match close {
        Some((_, name)) => format!("unknown field; did you mean {name}?"),
        None => "unknown field".to_owned(),
    }
}

/// How many letters have to be put in, taken out or replaced (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replace = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_are_suggested() {
        let check = |written, expected| {
            let names = ["replicas", "writeConcern", "image", "template"].into_iter();
            assert_eq!(unknown_field(written, names), expected);
        };
        check("replica", "unknown field; did you mean replicas?");
        check("writeconcern", "unknown field; did you mean writeConcern?");
        check("imgae", "unknown field; did you mean image?");
        check("tls", "unknown field");
        check("", "unknown field");
    }
}
