//! The chart: for each flood a bar for everybody, in millions of packets a
//! second. Plain text, for bars and words need no library.

use std::fmt::Write as _;

use super::{Entry, Flood};

const WIDTH: f64 = 960.0;
/// Where bars begin; names stand before.
const LEFT: f64 = 360.0;
/// Room for the figure after the longest bar.
const RIGHT: f64 = 130.0;
const BAR: f64 = 15.0;
const GAP: f64 = 4.0;
const TITLE: f64 = 26.0;
const BETWEEN: f64 = 10.0;
const TOP: f64 = 10.0;

/// An SVG image that reads on light and dark pages.
pub fn draw(floods: &[Flood]) -> String {
    let entries = || floods.iter().flat_map(|flood| &flood.entries);
    let most = entries().map(|entry| entry.mpps.most).fold(0.1, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / most;
    let height = floods.iter().map(height).sum::<f64>() + 2.0 * TOP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    let mut y = TOP;
    for flood in floods {
        let _ = writeln!(
            svg,
            "<text x=\"8\" y=\"{:.0}\" font-weight=\"bold\" fill=\"#222222\">{}</text>",
            y + TITLE - 9.0,
            escaped(&flood.name)
        );
        y += TITLE;
        for entry in &flood.entries {
            bar(&mut svg, entry, y, scale);
            y += BAR + GAP;
        }
        y += BETWEEN;
    }
    svg.push_str("</svg>\n");
    svg
}

fn height(flood: &Flood) -> f64 {
    TITLE + BETWEEN + flood.entries.len() as f64 * (BAR + GAP)
}

fn bar(svg: &mut String, Entry { who, mpps, ratio, .. }: &Entry, y: f64, scale: f64) {
    let colour = match who.as_str() {
        "nodewall" => "#1f6feb",
        bare if bare.starts_with("bare") => "#c8c8c8",
        _ => "#e08a3c",
    };
    let (middle, length) = (y + BAR - 3.5, mpps.median * scale);
    let _ = writeln!(
        svg,
        "<text x=\"{:.0}\" y=\"{middle:.1}\" text-anchor=\"end\" fill=\"#222222\">{}</text>\
         <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
         <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#222222\"/>\
         <text x=\"{:.1}\" y=\"{middle:.1}\" fill=\"#222222\">{:.2} Mpps, {:.2}</text>",
        LEFT - 8.0,
        escaped(who),
        LEFT + mpps.least * scale,
        LEFT + mpps.most * scale,
        y + BAR / 2.0,
        y + BAR / 2.0,
        LEFT + mpps.most.max(mpps.median) * scale + 6.0,
        mpps.median,
        ratio.median
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
