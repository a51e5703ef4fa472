//! [`Violation`]: one thing that is wrong with what somebody wrote, and where. Whoever checks collects all of them, so that
//! nobody has to correct a file one error at a time.

use std::fmt;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The field's path, such as `spec.heartbeat.timeout`; empty for the whole document.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// All of them in one line.
pub(crate) fn joined(violations: &[Violation]) -> String {
    violations.iter().map(Violation::to_string).collect::<Vec<_>>().join("; ")
}

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Violations(Vec<Violation>);

impl Violations {
    pub(crate) fn add(&mut self, path: &str, message: impl Into<String>) {
        self.0.push(Violation { path: path.to_owned(), message: message.into() });
    }

    /// Nothing, or everything that is wrong: by path, and each once.
    pub(crate) fn into_result(mut self) -> Result<(), Vec<Violation>> {
        self.0.sort();
        self.0.dedup();
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_said_once_and_by_path() {
        let mut violations = Violations::default();
        for path in ["b", "a", "b", ""] {
            violations.add(path, "is wrong");
        }
        let all = violations.into_result().expect_err("something is wrong");
        assert_eq!(joined(&all), "is wrong; a: is wrong; b: is wrong");
        assert_eq!(Violations::default().into_result(), Ok(()));
    }
}
