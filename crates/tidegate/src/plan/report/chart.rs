//! Lines over the run, as SVG within HTML.
//!
//! The picture is stretched to whatever width there is, so only lines and areas are in it; all text is HTML beside
//! it, and stays readable on a phone. What is drawn is binned first: a bin shows the worst of its minutes.

use std::fmt::Write;

use super::{escape::markup, shown};

/// Bins of a line: more than a screen shows, few enough for a mail.
const BINS_MAX: usize = 600;
/// Of the picture's own coordinates.
const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 100.0;

/// How values become heights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// From zero to a value.
    Linear(f64),
    /// From one power of ten to another; what is zero is not drawn.
    Powers(f64, f64),
}

/// See the module.
pub struct Chart<'a> {
    pub title: &'a str,
    pub note: &'a str,
    pub length_s: f64,
    pub scale: Scale,
    /// What is written at a height.
    pub label: &'a dyn Fn(f64) -> String,
    pub series: Vec<Series>,
    /// Horizontal: promises.
    pub limits: Vec<(String, f64)>,
    /// Vertical: when something happened.
    pub marks: Vec<(f64, String)>,
}

/// A line, or an area between two.
pub struct Series {
    pub name: String,
    /// `c0` to `c5`, of the style.
    pub colour: &'static str,
    pub shape: Shape,
}

pub enum Shape {
    Line(Vec<f64>),
    Between(Vec<f64>, Vec<f64>),
}

/// The most of each bin of minutes: the worst, of nearly everything.
pub fn most(minutes: impl ExactSizeIterator<Item = f64>) -> Vec<f64> {
    binned(minutes, f64::max)
}

/// The least of each bin.
pub fn least(minutes: impl ExactSizeIterator<Item = f64>) -> Vec<f64> {
    binned(minutes, f64::min)
}

fn binned(minutes: impl ExactSizeIterator<Item = f64>, worse: fn(f64, f64) -> f64) -> Vec<f64> {
    let width = minutes.len().div_ceil(BINS_MAX).max(1);
    let all: Vec<f64> = minutes
        .map(|value| if value.is_finite() { value } else { 0.0 })
        .collect();
    all.chunks(width)
        .map(|bin| bin.iter().copied().reduce(worse).unwrap_or(0.0))
        .collect()
}

/// Zeros between other values, as a straight line from one to the next.
pub fn bridged(mut values: Vec<f64>) -> Vec<f64> {
    let known: Vec<usize> = (0..values.len()).filter(|place| values[*place] > 0.0).collect();
    for pair in known.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let (low, high) = (values[from], values[to]);
        let step = (high - low) / (to - from) as f64;
        for (count, value) in values[from..to].iter_mut().enumerate() {
            *value = low + step * count as f64;
        }
    }
    values
}

impl Scale {
    /// One from zero that has room for the largest of some values.
    pub fn linear(values: impl Iterator<Item = f64>) -> Self {
        let most = values.fold(0.0, f64::max).max(1e-9);
        let power = 10_f64.powf(most.log10().floor());
        let steps = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
        let step = steps.into_iter().find(|step| step * power >= most * 0.999);
        Self::Linear(step.unwrap_or(10.0) * power)
    }

    /// One of powers of ten around some values above zero.
    pub fn powers(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .filter(|value| *value > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        if high <= 0.0 {
            return Self::Powers(0.001, 1.0);
        }
        let (low, high) = (low.log10().floor(), high.log10().ceil());
        Self::Powers(10_f64.powf(low), 10_f64.powf(high.max(low + 1.0)))
    }

    /// From the top, in the picture's coordinates; none of what is not drawn.
    fn at(self, value: f64) -> Option<f64> {
        let share = match self {
            Self::Linear(most) => value / most,
            Self::Powers(..) if value <= 0.0 => return None,
            Self::Powers(low, high) => (value / low).ln() / (high / low).ln(),
        };
        Some((1.0 - share.clamp(0.0, 1.0)) * HEIGHT)
    }

    /// Where there is a line to read heights from.
    fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear(most) => vec![0.0, most / 2.0, most],
            Self::Powers(low, high) => {
                let decades = (high / low).log10().round() as i32;
                let step = (decades / 4 + 1) as usize;
                (0..=decades)
                    .step_by(step)
                    .map(|power| low * 10_f64.powi(power))
                    .collect()
            }
        }
    }
}

impl Chart<'_> {
    /// The chart as a figure.
    pub fn html(&self) -> String {
        let mut text = String::from("<figure class=\"chart\">\n<figcaption>");
        let _ = write!(
            text,
            "<b>{}</b> <span class=\"soft\">{}</span>",
            markup(self.title),
            markup(self.note)
        );
        text.push_str("</figcaption>\n<ul class=\"key\">");
        for series in &self.series {
            let _ = write!(
                text,
                "<li><i class=\"{}\"></i>{}</li>",
                series.colour,
                markup(&series.name)
            );
        }
        for (name, _) in &self.limits {
            let _ = write!(text, "<li><i class=\"limit\"></i>{}</li>", markup(name));
        }
        text.push_str("</ul>\n<div class=\"plot\">");
        for tick in self.scale.ticks() {
            if let Some(at) = self.scale.at(tick) {
                let _ = write!(
                    text,
                    "<span class=\"y\" style=\"top:{at:.1}%\">{}</span>",
                    markup(&(self.label)(tick))
                );
            }
        }
        self.svg(&mut text);
        for (share, hour) in hours(self.length_s) {
            let _ = write!(
                text,
                "<span class=\"x\" style=\"left:{:.2}%\">{hour}</span>",
                share * 100.0
            );
        }
        text.push_str("</div>\n</figure>\n");
        text
    }

    fn svg(&self, text: &mut String) {
        let names: Vec<&str> = self.series.iter().map(|series| series.name.as_str()).collect();
        let said = format!("{}: {}", self.title, names.join(", "));
        let _ = write!(
            text,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
            markup(&said)
        );
        for tick in self.scale.ticks() {
            if let Some(at) = self.scale.at(tick) {
                let _ = write!(text, "<path class=\"grid\" d=\"M0 {at:.1}H{WIDTH}\"/>");
            }
        }
        for (at_s, what) in &self.marks {
            let at = (at_s / self.length_s.max(1.0)).clamp(0.0, 1.0) * WIDTH;
            let _ = write!(
                text,
                "<path class=\"mark\" d=\"M{at:.1} 0V{HEIGHT}\"><title>{}</title></path>",
                markup(what)
            );
        }
        for series in &self.series {
            let (class, path) = match &series.shape {
                Shape::Line(values) => ("line", self.line(values)),
                Shape::Between(low, high) => ("area", self.area(low, high)),
            };
            let _ = write!(text, "<path class=\"{class} {}\" d=\"{path}\"/>", series.colour);
        }
        for (_, value) in &self.limits {
            if let Some(at) = self.scale.at(*value) {
                let _ = write!(text, "<path class=\"line limit\" d=\"M0 {at:.1}H{WIDTH}\"/>");
            }
        }
        text.push_str("</svg>");
    }

    fn line(&self, values: &[f64]) -> String {
        let mut path = String::new();
        let mut is_down = false;
        for (place, value) in values.iter().enumerate() {
            let Some(y) = self.scale.at(*value) else {
                is_down = false;
                continue;
            };
            let _ = write!(
                path,
                "{}{:.1} {y:.1}",
                if is_down { 'L' } else { 'M' },
                across(place, values.len())
            );
            is_down = true;
        }
        path
    }

    /// One area for each piece in which both are drawn.
    fn area(&self, low: &[f64], high: &[f64]) -> String {
        let bins = low.len();
        let points: Vec<Option<(f64, f64, f64)>> = low
            .iter()
            .zip(high)
            .enumerate()
            .map(|(place, (low, high))| {
                Some((across(place, bins), self.scale.at(*low)?, self.scale.at(*high)?))
            })
            .collect();
        let mut path = String::new();
        for piece in points.split(Option::is_none) {
            let piece: Vec<(f64, f64, f64)> = piece.iter().flatten().copied().collect();
            for (at, (x, low, _)) in piece.iter().enumerate() {
                let _ = write!(path, "{}{x:.1} {low:.1}", if at == 0 { 'M' } else { 'L' });
            }
            for (x, _, high) in piece.iter().rev() {
                let _ = write!(path, "L{x:.1} {high:.1}");
            }
            if !piece.is_empty() {
                path.push('Z');
            }
        }
        path
    }
}

/// The middle of a bin, in the picture's coordinates.
fn across(place: usize, bins: usize) -> f64 {
    (place as f64 + 0.5) / bins as f64 * WIDTH
}

/// Where hours are written, as shares of the run: at most seven.
fn hours(length_s: f64) -> Vec<(f64, String)> {
    const STEPS_MIN: [u32; 14] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 2_880, 7_200];
    let minutes = length_s / 60.0;
    let step = STEPS_MIN
        .into_iter()
        .map(f64::from)
        .find(|step| minutes / step <= 6.0);
    let step = step.unwrap_or(minutes / 6.0).max(1.0);
    (0..=(minutes / step) as u32)
        .map(|place| {
            let at = f64::from(place) * step;
            (at / minutes.max(1.0), shown::moment(at * 60.0))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_have_room_for_all() {
        assert_eq!(Scale::linear([3_406.0].into_iter()), Scale::Linear(4_000.0));
        assert_eq!(Scale::linear([0.95].into_iter()), Scale::Linear(1.0));
        assert_eq!(
            Scale::powers([0.0, 0.02, 3.0].into_iter()),
            Scale::Powers(0.01, 10.0)
        );
        assert_eq!(Scale::powers([0.0].into_iter()), Scale::Powers(0.001, 1.0));
        assert_eq!(Scale::Powers(0.01, 10.0).at(0.0), None);
        assert_eq!(Scale::Linear(4.0).at(1.0), Some(75.0));
    }

    #[test]
    fn a_bin_shows_its_worst_minute() {
        let mut minutes = vec![1.0; 3_600];
        minutes[7] = 9.0;
        minutes[8] = f64::NAN;
        let bins = most(minutes.iter().copied());
        assert_eq!((bins.len(), bins[1]), (600, 9.0));
        assert_eq!(least(minutes.into_iter())[1], 0.0);
        assert!(most(std::iter::empty()).is_empty());
    }

    #[test]
    fn a_bridge_is_straight_and_ends_where_values_do() {
        let bridged = bridged(vec![0.0, 1.0, 0.0, 0.0, 4.0, 0.0]);
        assert_eq!(bridged, [0.0, 1.0, 2.0, 3.0, 4.0, 0.0]);
    }

    #[test]
    fn what_was_not_measured_is_a_hole() {
        let chart = Chart {
            title: "<t>",
            note: "",
            length_s: 7_200.0,
            scale: Scale::Powers(0.01, 1.0),
            label: &shown::time,
            series: vec![
                Series {
                    name: "a&b".to_owned(),
                    colour: "c0",
                    shape: Shape::Line(vec![0.1, 0.0, 0.1]),
                },
                Series {
                    name: "band".to_owned(),
                    colour: "c1",
                    shape: Shape::Between(vec![0.1, 0.0, 0.1], vec![1.0; 3]),
                },
            ],
            limits: vec![("≤ 1 s".to_owned(), 1.0)],
            marks: vec![(3_600.0, "\"><script>".to_owned())],
        };
        let html = chart.html();
        assert!(html.contains("d=\"M166.7 50.0M833.3 50.0\""), "{html}");
        assert_eq!(html.matches('Z').count(), 2, "{html}");
        assert!(html.contains("a&amp;b") && !html.contains("<script>") && !html.contains("<t>"));
        assert_eq!(hours(7_200.0).last(), Some(&(1.0, "2h".to_owned())));
        assert!(hours(60.0 * 3_600.0).len() <= 7 && hours(366.0 * 86_400.0).len() <= 7);
    }
}
