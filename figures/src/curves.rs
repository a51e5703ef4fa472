//! Lines over a growing size, both on logarithmic scales, as SVG: what grows in proportion is a straight line.
//!
//! The titles are above, with a piece of the line beside each, because lines that lie close together leave no room at their ends. Nothing is
//! drawn that is not positive.

use std::fmt::Write as _;

use crate::number::escape;
use crate::palette::{COLOURS, STYLE};
use crate::scale::Scale;

/// A plot.
#[derive(Clone, Debug)]
pub struct Curves {
    /// What it shows.
    pub title: String,
    /// What grows to the right.
    pub across: String,
    /// In what the lines are.
    pub unit: String,
    /// In the order of their titles.
    pub curves: Vec<Curve>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Whose.
    pub title: String,
    /// Which of the colours, counted from 0; they repeat.
    pub colour: usize,
    /// Size and figure, by rising size.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 480.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = WIDTH - 30.0;
const HEIGHT: f64 = 280.0;
const TOP: f64 = 34.0;
const TITLE: f64 = 18.0;

/// Lines of one colour differ in their dashes.
const DASHES: [&str; 4] = ["none", "7 3", "2 3", "9 3 2 3"];

impl Curves {
    /// The drawing; `None` if there is nothing to draw.
    pub fn draw(&self) -> Option<String> {
        let positive = |(x, y): &&(f64, f64)| *x > 0.0 && *y > 0.0 && x.is_finite() && y.is_finite();
        let curves: Vec<(&Curve, Vec<(f64, f64)>)> = self
            .curves
            .iter()
            .map(|curve| (curve, curve.points.iter().filter(positive).copied().collect()))
            .filter(|(_, points): &(_, Vec<_>)| !points.is_empty())
            .collect();
        let all = || curves.iter().flat_map(|(_, points)| points.iter().copied());
        let end = |of: fn((f64, f64)) -> f64, choose: fn(f64, f64) -> f64| all().map(of).reduce(choose);
        let top = TOP + TITLE * curves.len() as f64 + 14.0;
        let bottom = top + HEIGHT;
        let x = Scale::new(end(|point| point.0, f64::min)?, end(|point| point.0, f64::max)?, LEFT, RIGHT);
        let y = Scale::new(end(|point| point.1, f64::min)?, end(|point| point.1, f64::max)?, bottom, top);
        let mut svg = self.begin(bottom);
        for power in x.powers() {
            let at = x.at(power);
            let _ = writeln!(
                svg,
                "<line class=\"hf-grid\" x1=\"{at:.1}\" y1=\"{top:.0}\" x2=\"{at:.1}\" y2=\"{bottom:.0}\"/>\n\
                 <text class=\"hf-dim\" x=\"{at:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
                bottom + 17.0,
                Scale::name(power)
            );
        }
        for power in y.powers() {
            let at = y.at(power);
            let _ = writeln!(
                svg,
                "<line class=\"hf-grid\" x1=\"{LEFT:.0}\" y1=\"{at:.1}\" x2=\"{RIGHT:.0}\" y2=\"{at:.1}\"/>\n\
                 <text class=\"hf-dim\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                Scale::name(power)
            );
        }
        let mut used = [0; COLOURS];
        for (at, (curve, points)) in curves.iter().enumerate() {
            let colour = curve.colour % COLOURS;
            let dash = DASHES[used[colour] % DASHES.len()];
            used[colour] += 1;
            let middle = TOP + TITLE * at as f64 + 9.0;
            draw(curve, dash, middle, points.iter().map(|point| (x.at(point.0), y.at(point.1))), &mut svg);
        }
        svg.push_str("</svg>\n");
        Some(svg)
    }

    fn begin(&self, bottom: f64) -> String {
        let [title, across, unit] = [&self.title, &self.across, &self.unit].map(|words| escape(words));
        let mut svg = String::new();
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {:.0}\" role=\"img\" \
             font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <text class=\"hf-ink\" x=\"14\" y=\"20\" font-size=\"15\" font-weight=\"bold\">{title}</text>\n\
             <text class=\"hf-dim\" x=\"{RIGHT:.0}\" y=\"{:.0}\" text-anchor=\"end\">{unit} over {across}, logarithmic \
             scales</text>",
            bottom + 44.0,
            bottom + 36.0
        );
        svg
    }
}

fn draw(curve: &Curve, dash: &str, middle: f64, points: impl Iterator<Item = (f64, f64)>, svg: &mut String) {
    let colour = curve.colour % COLOURS;
    let title = escape(&curve.title);
    let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let line = format!("class=\"hf-s{colour}\" fill=\"none\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"");
    let _ = writeln!(
        svg,
        "<polyline {line} points=\"14,{middle:.1} 46,{middle:.1}\"/>\n\
         <text class=\"hf-ink\" x=\"54\" y=\"{:.1}\">{title}</text>\n<polyline {line} points=\"{}\"/>",
        middle + 4.0,
        points.join(" ")
    );
    for point in points {
        if let Some((x, y)) = point.split_once(',') {
            let _ = writeln!(svg, "<circle class=\"hf-{colour}\" cx=\"{x}\" cy=\"{y}\" r=\"3\"/>");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curves(points: &[(f64, f64)]) -> Option<String> {
        let curve = |colour| Curve { title: "<a>".to_owned(), colour, points: points.to_vec() };
        let curves = vec![curve(0), curve(0)];
        Curves { title: "t".to_owned(), across: "items".to_owned(), unit: "ms".to_owned(), curves }.draw()
    }

    #[test]
    fn lines_of_one_colour_differ_in_their_dashes() {
        let svg = curves(&[(100.0, 1.0), (1000.0, 10.0)]).expect("a plot");
        assert_eq!(svg.matches("stroke-dasharray=\"none\"").count(), 2);
        assert_eq!(svg.matches("stroke-dasharray=\"7 3\"").count(), 2);
        assert!(svg.contains("&lt;a&gt;") && !svg.contains("NaN"));
    }

    #[test]
    fn what_is_not_positive_is_left_out() {
        assert!(curves(&[]).is_none());
        assert!(curves(&[(0.0, 1.0), (10.0, 0.0), (10.0, f64::NAN)]).is_none());
        assert!(curves(&[(10.0, 1.0)]).expect("one point").contains("<circle"));
    }
}
