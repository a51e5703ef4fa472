//! An error with its causes, as one line for a person.

use std::error::Error;

/// An error and its causes in one line. A cause whose words its effect already says is left out.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn a_cause_is_said_once() {
        let check = |text, expected| {
            let error = Layer { text, source: std::io::Error::other("disk on fire") };
            assert_eq!(chain(&error), expected);
        };
        check("cannot read a.yaml", "cannot read a.yaml: disk on fire");
        check("cannot read a.yaml, disk on fire", "cannot read a.yaml, disk on fire");
    }
}
