//! Several charts over one another, as one picture.

use std::fmt::Write;

use super::{Chart, WIDTH, begin};

/// Charts from top to bottom in one document.
pub fn stacked(charts: &[Chart]) -> String {
    let mut out = begin(charts.iter().map(|chart| chart.height).sum());
    let mut top = 0.0;
    for chart in charts {
        let inner = chart.svg();
        // Each stands in the whole as it stands alone, only lower.
        let place = format!("<svg y='{top:.0}' width='{WIDTH:.0}' height='{:.0}'", chart.height);
        let _ = write!(out, "{place}{}", inner.strip_prefix("<svg").unwrap_or_default());
        top += chart.height;
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Axis, Series};

    #[test]
    fn charts_stand_below_one_another() {
        let chart = |name: &str, height| Chart {
            height,
            ..Chart::new(
                name,
                Axis::linear("s"),
                Axis::linear("dB"),
                vec![Series::line("a", vec![(0.0, 1.0), (1.0, 2.0)])],
            )
        };
        let svg = stacked(&[chart("one", 200.0), chart("two", 250.0)]);
        let tree = roxmltree::Document::parse(&svg).unwrap();
        let root = tree.root_element();
        assert!(root.attribute("viewBox").unwrap().ends_with(" 450"));
        let inner = root.children().filter(|node| node.tag_name().name() == "svg");
        let places: Vec<_> = inner.map(|node| node.attribute("y").unwrap()).collect();
        assert_eq!(places, ["0", "200"]);
    }
}
