//! Times, probabilities and effects as they stand in a report: with three digits that matter and a unit.

/// A time.
pub(super) fn time(seconds: f64) -> String {
    let (value, unit) = match seconds.abs() {
        0.0 => return "0 s".to_owned(),
        size if size < 1e-3 => (seconds * 1e6, "µs"),
        size if size < 1.0 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A time that may not have been measured.
pub(super) fn maybe(seconds: Option<f64>) -> String {
    seconds.map_or_else(missing, time)
}

/// What was not measured.
pub(super) fn missing() -> String {
    "–".to_owned()
}

/// A number with three digits that matter.
pub(super) fn three_digits(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

/// A share in percent; 99.96 is not 100.
pub(super) fn percent(value: f64) -> String {
    let text = if value == 0.0 || value == 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    if value < 100.0 && text == "100.00" { "> 99.99 %".to_owned() } else { format!("{text} %") }
}

/// A probability.
pub(super) fn probability(p: f64) -> String {
    if p < 1e-300 {
        "< 1e-300".to_owned()
    } else if p < 1e-4 {
        format!("{p:.1e}")
    } else {
        format!("{p:.4}")
    }
}

/// Bytes.
pub(super) fn bytes(bytes: f64) -> String {
    if bytes < 10_240.0 { format!("{bytes:.0} B") } else { format!("{} KiB", three_digits(bytes / 1024.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_matter() {
        let check = |found: String, expected: &str| assert_eq!(found, expected);
        check(time(0.0), "0 s");
        check(time(0.000_012_34), "12.3 µs");
        check(time(0.003_456), "3.46 ms");
        check(time(-0.25), "-250 ms");
        check(time(444.38), "444 s");
        check(percent(100.0), "100 %");
        check(percent(99.5), "99.50 %");
        check(percent(99.9999), "> 99.99 %");
        check(probability(0.04999), "0.0500");
        check(probability(1.234e-12), "1.2e-12");
        check(probability(0.0), "< 1e-300");
        check(bytes(1020.4), "1020 B");
        check(bytes(20_480.0), "20.0 KiB");
    }
}
