//! What every measurement of ours shows: the machine it was made on, numbers as people read them, plots.
//!
//! Whoever measures has the figures; here is only how they look. It refuses to compute: no mean, no test, no ratio.

mod bars;
mod boxes;
mod curves;
mod machine;
mod number;
mod palette;
mod scale;

pub use bars::{Bar, Bars, Group, Spread};
pub use boxes::{BoxPlot, Row};
pub use curves::{Curve, Curves};
pub use machine::{Machine, load_average};
pub use number::{escape, number};
