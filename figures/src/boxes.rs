//! Box plots on a logarithmic scale, as SVG, by Tukey: the box holds the middle half, the line in it is the median, whiskers reach
//! to the last figure within one and a half box lengths, and every figure beyond is a circle of its own.
//!
//! Titles stand above their boxes and the drawing is narrow, so that it can be read on a phone. It brings its colours for light
//! and dark surroundings along. Nothing is drawn that is not positive.

use std::fmt::Write as _;

use crate::number::escape;
use crate::palette::{COLOURS, STYLE};
use crate::scale::Scale;

/// A plot.
#[derive(Clone, Debug)]
pub struct BoxPlot {
    /// What it shows.
    pub title: String,
    /// In what.
    pub unit: String,
    /// From top to bottom.
    pub rows: Vec<Row>,
}

/// One box.
#[derive(Clone, Debug)]
pub struct Row {
    /// Whose.
    pub title: String,
    /// Which of the colours, counted from 0; they repeat.
    pub colour: usize,
    /// The figures, in rising order.
    pub sorted: Vec<f64>,
}

const WIDTH: f64 = 480.0;
const LEFT: f64 = 14.0;
const RIGHT: f64 = WIDTH - 22.0;
const TOP: f64 = 40.0;
const ROW: f64 = 46.0;
/// From the row's top to the middle of its box: the title stands above.
const MIDDLE: f64 = 30.0;
const BOX: f64 = 16.0;

/// Whiskers end at the last figure within so many box lengths from the box.
const WHISKER_BOXES: f64 = 1.5;

/// What is drawn of a row.
struct Drawn {
    quartiles: [f64; 3],
    whiskers: [f64; 2],
    beyond: Vec<f64>,
}

impl Drawn {
    /// `None` if no figure can be drawn.
    fn of(row: &Row) -> Option<Drawn> {
        let sorted: Vec<f64> =
            row.sorted.iter().copied().filter(|value| *value > 0.0 && value.is_finite()).collect();
        let last = sorted.len().checked_sub(1)?;
        let quantile = |of: f64| {
            let at = of * last as f64;
            let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
            low + (high - low) * at.fract()
        };
        let quartiles = [quantile(0.25), quantile(0.5), quantile(0.75)];
        let reach = WHISKER_BOXES * (quartiles[2] - quartiles[0]);
        let within = |value: &f64| (quartiles[0] - reach..=quartiles[2] + reach).contains(value);
        let whisker = |value: Option<&f64>| value.copied().unwrap_or(quartiles[1]);
        Some(Drawn {
            quartiles,
            whiskers: [
                whisker(sorted.iter().find(|value| within(value))),
                whisker(sorted.iter().rfind(|value| within(value))),
            ],
            beyond: sorted.iter().copied().filter(|value| !within(value)).collect(),
        })
    }

    fn ends(&self) -> impl Iterator<Item = f64> {
        self.whiskers.into_iter().chain(self.beyond.iter().copied())
    }
}

impl BoxPlot {
    /// The drawing; `None` if there is nothing to draw.
    pub fn draw(&self) -> Option<String> {
        let rows: Vec<(&Row, Drawn)> =
            self.rows.iter().filter_map(|row| Some((row, Drawn::of(row)?))).collect();
        let all = || rows.iter().flat_map(|(_, drawn)| drawn.ends());
        let scale = Scale::new(all().reduce(f64::min)?, all().reduce(f64::max)?, LEFT, RIGHT);
        let bottom = TOP + ROW * rows.len() as f64;
        let mut svg = String::new();
        let (title, unit) = (escape(&self.title), escape(&self.unit));
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {:.0}\" role=\"img\" \
             font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <text class=\"hf-ink\" x=\"{LEFT:.0}\" y=\"20\" font-size=\"15\" font-weight=\"bold\">{title}</text>\n\
             <text class=\"hf-dim\" x=\"{RIGHT:.0}\" y=\"{:.0}\" text-anchor=\"end\">{unit}, logarithmic scale</text>",
            bottom + 44.0,
            bottom + 36.0
        );
        for power in scale.powers() {
            let at = scale.at(power);
            let _ = writeln!(
                svg,
                "<line class=\"hf-grid\" x1=\"{at:.1}\" y1=\"{TOP:.0}\" x2=\"{at:.1}\" y2=\"{bottom:.0}\"/>\n\
                 <text class=\"hf-dim\" x=\"{at:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
                bottom + 17.0,
                Scale::name(power)
            );
        }
        for (at, (row, drawn)) in rows.iter().enumerate() {
            draw_row(row, drawn, TOP + ROW * at as f64, &scale, &mut svg);
        }
        svg.push_str("</svg>\n");
        Some(svg)
    }
}

fn draw_row(row: &Row, drawn: &Drawn, top: f64, scale: &Scale, svg: &mut String) {
    let middle = top + MIDDLE;
    let (above, below) = (middle - BOX / 2.0, middle + BOX / 2.0);
    let [q1, median, q3] = drawn.quartiles.map(|value| scale.at(value));
    let [from, to] = drawn.whiskers.map(|value| scale.at(value));
    let title = escape(&row.title);
    let _ = writeln!(svg, "<text class=\"hf-ink\" x=\"{LEFT:.0}\" y=\"{:.0}\">{title}</text>", top + 15.0);
    let mut line = |x1: f64, y1: f64, x2: f64, y2: f64, width: f64| {
        let _ = writeln!(
            svg,
            "<line class=\"hf-line\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" \
             stroke-width=\"{width}\"/>"
        );
    };
    line(from, middle, q1, middle, 1.0);
    line(q3, middle, to, middle, 1.0);
    line(from, above + 4.0, from, below - 4.0, 1.0);
    line(to, above + 4.0, to, below - 4.0, 1.0);
    // A box of figures that are all the same can still be seen.
    let _ = writeln!(
        svg,
        "<rect class=\"hf-{}\" x=\"{q1:.1}\" y=\"{above:.1}\" width=\"{:.1}\" height=\"{BOX:.0}\"/>",
        row.colour % COLOURS,
        (q3 - q1).max(1.0)
    );
    let _ = writeln!(
        svg,
        "<line class=\"hf-line\" x1=\"{median:.1}\" y1=\"{above:.1}\" x2=\"{median:.1}\" y2=\"{below:.1}\" \
         stroke-width=\"2\"/>"
    );
    for value in &drawn.beyond {
        let at = scale.at(*value);
        let _ = writeln!(svg, "<circle class=\"hf-dot\" cx=\"{at:.1}\" cy=\"{middle:.1}\" r=\"3\"/>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(title: &str, sorted: &[f64]) -> Row {
        Row { title: title.to_owned(), colour: 1, sorted: sorted.to_vec() }
    }

    fn plot(rows: Vec<Row>) -> Option<String> {
        BoxPlot { title: "Recovery <time>".to_owned(), unit: "s".to_owned(), rows }.draw()
    }

    #[test]
    fn figures_beyond_the_whiskers_are_drawn_one_by_one() {
        let drawn = Drawn::of(&row("a", &[1.0, 2.0, 3.0, 4.0, 5.0, 400.0])).expect("it can be drawn");
        assert_eq!(drawn.whiskers, [1.0, 5.0]);
        assert_eq!(drawn.beyond, [400.0]);
        let svg = plot(vec![row("a", &[1.0, 2.0, 3.0, 4.0, 5.0, 400.0])]).expect("a plot");
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(svg.contains("Recovery &lt;time&gt;"));
    }

    #[test]
    fn what_is_not_positive_is_left_out() {
        assert!(plot(vec![]).is_none());
        assert!(plot(vec![row("a", &[]), row("b", &[-1.0, 0.0, f64::NAN])]).is_none());
        let svg = plot(vec![row("a", &[0.0, 0.0]), row("b", &[0.01])]).expect("a plot");
        assert_eq!(svg.matches("<rect").count(), 1);
    }

    #[test]
    fn figures_that_are_all_the_same_have_a_place() {
        let svg = plot(vec![row("a", &[0.01; 20])]).expect("a plot");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
