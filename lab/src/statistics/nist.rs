//! NIST's Statistical Reference Datasets: certified to fifteen digits, and made to show arithmetic that loses them. The data are in
//! the public domain (https://www.itl.nist.gov/div898/strd/).

use super::{Anova, Sample};

/// How many digits of `found` are right.
fn digits(found: f64, certified: f64) -> f64 {
    let error = ((found - certified) / certified).abs();
    if error == 0.0 { 15.0 } else { -error.log10() }
}

/// One value, and then `times` times the two others: how NIST made the data by hand.
fn alternating(first: f64, then: [f64; 2], times: usize) -> Sample {
    let rest = then.into_iter().cycle().take(2 * times);
    Sample::new(std::iter::once(first).chain(rest).collect()).expect("finite")
}

fn check_univariate(sample: &Sample, mean: f64, std: f64, at_least: f64) {
    let found = sample.variance().expect("many values").sqrt();
    assert!(digits(sample.mean(), mean) > 14.0, "mean {} instead of {mean}", sample.mean());
    assert!(digits(found, std) > at_least, "deviation {found} instead of {std}");
}

#[test]
fn univariate() {
    let whole = Sample::from(&[10_000_001.0, 10_000_003.0, 10_000_002.0][..]);
    check_univariate(&whole, 10_000_002.0, 1.0, 14.0);
    check_univariate(&alternating(1.2, [1.1, 1.3], 500), 1.2, 0.1, 13.0);
    // No program has more: the tenths themselves are not exact, and the less so the larger the numbers are.
    check_univariate(&alternating(1_000_000.2, [1_000_000.1, 1_000_000.3], 500), 1_000_000.2, 0.1, 9.0);
    check_univariate(&alternating(10_000_000.2, [10_000_000.1, 10_000_000.3], 500), 10_000_000.2, 0.1, 8.0);
}

fn check_anova(groups: &[Sample], f: f64, r_squared: f64, at_least: f64) {
    let anova = Anova::of(&groups.iter().collect::<Vec<_>>()).expect("it varies");
    assert!(digits(anova.f, f) > at_least, "F {} instead of {f}", anova.f);
    assert!(digits(anova.eta_squared, r_squared) > at_least, "{} instead of {r_squared}", anova.eta_squared);
}

#[test]
fn anova_of_resistivity() {
    let instruments = [
        [196.3052, 196.1240, 196.1890, 196.2569, 196.3403],
        [196.3042, 196.3825, 196.1669, 196.3257, 196.0422],
        [196.1303, 196.2005, 196.2889, 196.0343, 196.1811],
        [196.2795, 196.1748, 196.1494, 196.1485, 195.9885],
        [196.2119, 196.1051, 196.1850, 196.0052, 196.2090],
    ];
    let groups = instruments.map(|values| Sample::from(&values[..]));
    check_anova(&groups, 1.180_462_374_402_55, 1.909_990_390_511_29e-1, 11.0);
}

#[test]
fn anova_of_the_atomic_weight_of_silver() {
    // The digits behind 107.868: seven leading ones are constant.
    let instruments: [[u32; 24]; 2] = [
        [
            1568, 1465, 1572, 1785, 1446, 1903, 1526, 1494, 1616, 1587, 1519, 1486, 1419, 1569, 1508, 1672,
            1385, 1518, 1662, 1424, 1360, 1333, 1610, 1477,
        ],
        [
            1079, 1344, 1513, 1197, 1604, 1385, 1642, 1365, 1151, 1082, 1517, 1448, 1198, 1482, 1334, 1609,
            1101, 1512, 1469, 1360, 1254, 1261, 1450, 1368,
        ],
    ];
    let groups = instruments.map(|values| {
        // As a reader of decimals would have them.
        let values = values.map(|digits| format!("107.868{digits}").parse::<f64>().expect("a number"));
        Sample::from(&values[..])
    });
    check_anova(&groups, 1.594_673_356_779_30e1, 2.574_265_445_383_21e-1, 7.0);
}

/// Simon and Lesage (1989): nine treatments whose values differ in the first decimal place, behind a constant of some digits.
fn simon_lesage(constant: f64, replicates: usize) -> Vec<Sample> {
    [4, 3, 5, 3, 5, 3, 5, 3, 5]
        .into_iter()
        .map(|tenths: u32| {
            let decimal = |tenths: u32| format!("{constant}.{tenths}").parse::<f64>().expect("a number");
            alternating(decimal(tenths), [decimal(tenths - 1), decimal(tenths + 1)], replicates / 2)
        })
        .collect()
}

#[test]
fn anova_of_simon_and_lesage() {
    let certified = [
        (21, 2.10e1, 4.827_586_206_896_55e-1),
        (201, 2.01e2, 4.718_309_859_154_93e-1),
        (2001, 2.001e3, 4.707_127_734_650_67e-1),
    ];
    for (replicates, f, r_squared) in certified {
        check_anova(&simon_lesage(1.0, replicates), f, r_squared, 11.0);
        check_anova(&simon_lesage(1e6, replicates), f, r_squared, 8.0);
        // Of a tenth behind thirteen digits a floating point number has three digits left; so has this.
        check_anova(&simon_lesage(1e12, replicates), f, r_squared, 2.0);
    }
}
