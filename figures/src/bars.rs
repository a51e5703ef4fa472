//! Bars on a logarithmic scale, as SVG: figures that differ by a factor of a thousand are on one plot, and a ratio is a
//! distance. Nothing is drawn that is not positive.

use std::fmt::Write as _;

use crate::number::{escape, number};
use crate::scale::Scale;

/// A plot.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What it shows.
    pub title: &'static str,
    /// In what.
    pub unit: &'static str,
    /// From top to bottom.
    pub groups: Vec<Group>,
    /// A line that no bar can be left of.
    pub floor: Option<f64>,
}

/// Bars that are compared with each other.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they have in common.
    pub title: String,
    /// From top to bottom.
    pub bars: Vec<Bar>,
}

/// One bar: as long as the median, with a line from the least to the most.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Whose.
    pub title: String,
    /// Its colour.
    pub colour: &'static str,
    /// How long.
    pub spread: Spread,
}

/// Several figures of the same thing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Half are below.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// `None` if there are none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let half = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 };
        Some(Spread { median, min, max })
    }
}

const WIDTH: f64 = 860.0;
/// Where bars begin, and where the longest may end: the numbers stand behind them.
const LEFT: f64 = 250.0;
const RIGHT: f64 = WIDTH - 110.0;
const TOP: f64 = 56.0;
const BAR: f64 = 18.0;
const GROUP: f64 = 30.0;

impl Bars {
    /// The drawing; `None` if there is nothing to draw.
    pub fn draw(&self) -> Option<String> {
        let drawn = |spread: &Spread| spread.min > 0.0;
        let groups: Vec<(&str, Vec<&Bar>)> = self
            .groups
            .iter()
            .map(|group| (&*group.title, group.bars.iter().filter(|bar| drawn(&bar.spread)).collect()))
            .filter(|(_, bars): &(&str, Vec<&Bar>)| !bars.is_empty())
            .collect();
        let all = || groups.iter().flat_map(|(_, bars)| bars.iter().map(|bar| bar.spread));
        let low = all().map(|spread| spread.min).chain(self.floor).reduce(f64::min)?;
        let high = all().map(|spread| spread.max).reduce(f64::max)?;
        // So that the least bar still has a length.
        let scale = Scale::new(low / 1.5, high, LEFT, RIGHT);
        let x = |value: f64| scale.at(value);
        let bars: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
        let bottom = TOP + GROUP * groups.len() as f64 + BAR * bars as f64;
        let mut svg = self.begin(bottom + 44.0);
        for value in scale.powers() {
            let (at, text) = (x(value), number(value));
            let _ = writeln!(
                svg,
                "<line x1=\"{at:.1}\" y1=\"{TOP:.0}\" x2=\"{at:.1}\" y2=\"{bottom:.0}\" stroke=\"#dddddd\"/>\n\
                 <text x=\"{at:.1}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#666666\">{text}</text>",
                bottom + 16.0
            );
        }
        let mut y = TOP;
        for (title, bars) in &groups {
            let title = escape(title);
            let _ = writeln!(svg, "<text x=\"16\" y=\"{:.0}\" font-weight=\"bold\">{title}</text>", y + 20.0);
            y += GROUP;
            for bar in bars {
                draw_bar(bar, y, &x, &mut svg);
                y += BAR;
            }
        }
        if let Some(floor) = self.floor {
            let at = x(floor);
            let _ = writeln!(
                svg,
                "<line x1=\"{at:.1}\" y1=\"{TOP:.0}\" x2=\"{at:.1}\" y2=\"{bottom:.0}\" stroke=\"#000000\" \
                 stroke-dasharray=\"4 3\"/>\n<text x=\"{:.1}\" y=\"{:.0}\">floor: {}</text>",
                at + 4.0,
                TOP + 10.0,
                number(floor)
            );
        }
        svg.push_str("</svg>\n");
        Some(svg)
    }

    fn begin(&self, height: f64) -> String {
        let mut svg = String::new();
        let (title, unit) = (escape(self.title), escape(self.unit));
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"16\" y=\"26\" font-size=\"16\" font-weight=\"bold\">{title}</text>\n\
             <text x=\"{RIGHT:.0}\" y=\"{:.0}\" text-anchor=\"end\" fill=\"#666666\">{unit}, logarithmic scale</text>",
            height - 10.0
        );
        svg
    }
}

fn draw_bar(bar: &Bar, y: f64, x: &dyn Fn(f64) -> f64, svg: &mut String) {
    let Spread { median, min, max } = bar.spread;
    let (length, middle, colour) = (x(median) - LEFT, y + BAR / 2.0 - 1.0, bar.colour);
    let title = escape(&bar.title);
    let _ = writeln!(
        svg,
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{title}</text>\n\
         <rect x=\"{LEFT:.0}\" y=\"{:.0}\" width=\"{length:.1}\" height=\"{:.0}\" fill=\"{colour}\"/>\n\
         <line x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" stroke=\"#222222\"/>\n\
         <text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
        LEFT - 8.0,
        y + 12.0,
        y + 1.0,
        BAR - 4.0,
        x(min),
        x(max),
        x(max) + 6.0,
        y + 12.0,
        number(median)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_and_both_ends() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(Spread::of([]), None);
    }
}
