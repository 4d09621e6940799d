//! Small drawings of a class: how its scores are distributed, what a threshold on them gives, and how the losses of
//! its training fell.

use std::fmt::Write;

use super::score;

const N_BINS: usize = 28;
/// Drawing area of the histogram, in units of the picture.
const WIDTH: f64 = 420.0;
const HALF: f64 = 80.0;
/// Side of the ROC curve's square.
const SQUARE: f64 = 176.0;

/// Normal images above the axis, anomalous ones below it, each as shares of its own number: their
/// counts often differ by far, and a mirror needs no colours to be read. `scores`: finite, with
/// whether the image is anomalous.
pub fn histogram(scores: &[(f64, bool)]) -> String {
    let low = scores.iter().map(|score| score.0).fold(f64::INFINITY, f64::min);
    let high = scores.iter().map(|score| score.0).fold(f64::NEG_INFINITY, f64::max);
    let span = if high > low { high - low } else { 1.0 };
    let mut shares = [[0.0_f64; N_BINS]; 2];
    for (value, anomalous) in scores {
        let group = usize::from(*anomalous);
        let n = scores.iter().filter(|score| score.1 == *anomalous).count().max(1);
        let bin = (((value - low) / span * N_BINS as f64) as usize).min(N_BINS - 1);
        shares[group][bin] += 1.0 / n as f64;
    }
    let most = shares.iter().flatten().copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let step = WIDTH / N_BINS as f64;
    let mut bars = String::new();
    for (group, (shares, class)) in shares.iter().zip(["n", "a"]).enumerate() {
        for (bin, share) in shares.iter().enumerate().filter(|bar| *bar.1 > 0.0) {
            let (x, height) = (10.0 + bin as f64 * step, share / most * HALF);
            let y = if group == 0 { 20.0 + HALF - height } else { 20.0 + HALF };
            // Writing to a String cannot fail.
            let _ = write!(
                bars,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" \
                 height=\"{height:.1}\"/>",
                step - 1.0
            );
        }
    }
    let [n_normal, n_anomalous] = count(scores);
    let (middle, bottom, right) = (20.0 + HALF, 20.0 + 2.0 * HALF, 10.0 + WIDTH);
    format!(
        "<svg viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\" \
         aria-label=\"Histogram of anomaly scores: \
         {n_normal} normal and {n_anomalous} anomalous images between {low} and {high}\">\
         <text class=\"n-text\" x=\"10\" y=\"13\">normal, {n_normal} ▲</text>{bars}\
         <path class=\"axis\" d=\"M10 {middle}H{right}\"/>\
         <text class=\"a-text\" x=\"10\" y=\"{below}\">anomalous, {n_anomalous} ▼</text>\
         <text x=\"{right}\" y=\"{below}\" text-anchor=\"end\">\
         scores {low} … {high}</text></svg>",
        w = WIDTH + 20.0,
        h = bottom + 20.0,
        below = bottom + 14.0,
        low = score(low),
        high = score(high),
    )
}

/// The ROC curve with one point per distinct score. `None` when one of the groups is empty.
pub fn roc(scores: &[(f64, bool)]) -> Option<String> {
    let [n_normal, n_anomalous] = count(scores);
    if n_normal == 0 || n_anomalous == 0 {
        return None;
    }
    let mut sorted = scores.to_vec();
    sorted.sort_by(|one, other| other.0.total_cmp(&one.0));
    let (mut false_alarms, mut hits) = (0, 0);
    let mut path = format!("M30 {:.1}", 10.0 + SQUARE);
    for equal in sorted.chunk_by(|one, other| one.0 == other.0) {
        let more = equal.iter().filter(|score| score.1).count();
        hits += more;
        false_alarms += equal.len() - more;
        let x = 30.0 + SQUARE * false_alarms as f64 / n_normal as f64;
        let y = 10.0 + SQUARE * (1.0 - hits as f64 / n_anomalous as f64);
        let _ = write!(path, "L{x:.1} {y:.1}");
    }
    let (right, bottom) = (30.0 + SQUARE, 10.0 + SQUARE);
    Some(format!(
        "<svg viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\" aria-label=\"ROC \
         curve of the image scores\">\
         <rect class=\"axis\" x=\"30\" y=\"10\" width=\"{SQUARE}\" height=\"{SQUARE}\"/>\
         <path class=\"guess\" d=\"M30 {bottom}L{right} 10\"/><path class=\"curve\" d=\"{path}\"/>\
         <text x=\"{right}\" y=\"{label}\" text-anchor=\"end\">false positive rate</text>\
         <text transform=\"translate(22 10) rotate(-90)\" text-anchor=\"end\">\
         true positive rate</text></svg>",
        w = right + 10.0,
        h = bottom + 22.0,
        label = bottom + 15.0,
    ))
}

/// Most points of a curve.
const N_POINTS: usize = 400;

/// The loss of each epoch, and that of what was held out, which may be empty, with a dot at the one that was kept,
/// counted from 1. `None` without a finite loss, or with losses too far apart to draw.
pub fn losses(losses: &[f64], held_out: &[f64], kept_epoch: Option<usize>) -> Option<String> {
    let all = || losses.iter().chain(held_out).copied().filter(|loss| loss.is_finite());
    let low = all().fold(f64::INFINITY, f64::min);
    let high = all().fold(f64::NEG_INFINITY, f64::max);
    if !(high - low).is_finite() {
        return None;
    }
    let (span, last) = (if high > low { high - low } else { 1.0 }, losses.len().max(2) - 1);
    let finite = |losses: &'_ [f64]| -> Vec<(usize, f64)> {
        let points = losses.iter().copied().enumerate();
        points.filter(|point| point.1.is_finite()).collect()
    };
    let place = |(idx, loss): (usize, f64)| {
        let x = 10.0 + WIDTH * idx as f64 / last as f64;
        (x, 20.0 + 2.0 * HALF * (high - loss) / span)
    };
    let path = |losses: &[f64]| {
        let mut path = String::new();
        // A curve shows no more points than its width has pixels.
        for point in finite(losses).into_iter().step_by(losses.len().div_ceil(N_POINTS).max(1)) {
            let (x, y) = place(point);
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
        }
        path
    };
    let apart = match path(held_out) {
        path if path.is_empty() => path,
        path => format!("<path class=\"held-out\" d=\"{path}\"/>"),
    };
    // The dot lies on the curve that chose.
    let chosen = if held_out.is_empty() { losses } else { held_out };
    let kept = finite(chosen).into_iter().find(|point| Some(point.0 + 1) == kept_epoch);
    let kept = kept.map(|point| {
        let (x, y) = place(point);
        format!("<circle class=\"kept\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>")
    });
    let (right, bottom) = (10.0 + WIDTH, 20.0 + 2.0 * HALF);
    Some(format!(
        "<svg viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\" aria-label=\"Loss of {n} epochs, \
         between {low} and {high}\"><text x=\"10\" y=\"13\">loss {low} … {high}</text>\
         <path class=\"axis\" d=\"M10 20V{bottom}H{right}\"/><path class=\"curve\" d=\"{path}\"/>{apart}{kept}\
         <text x=\"10\" y=\"{below}\">epoch 1</text>\
         <text x=\"{right}\" y=\"{below}\" text-anchor=\"end\">{n}</text></svg>",
        w = WIDTH + 20.0,
        h = bottom + 20.0,
        n = losses.len(),
        below = bottom + 14.0,
        path = path(losses),
        low = score(low),
        high = score(high),
        kept = kept.unwrap_or_default(),
    ))
}

fn count(scores: &[(f64, bool)]) -> [usize; 2] {
    let n_anomalous = scores.iter().filter(|score| score.1).count();
    [scores.len() - n_anomalous, n_anomalous]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roc_curve_has_a_point_per_distinct_score() {
        let svg = roc(&[(0.9, true), (0.5, true), (0.5, false), (0.1, false)]).unwrap();
        assert!(svg.contains("d=\"M30 186.0L30.0 98.0L118.0 10.0L206.0 10.0\""), "{svg}");
        assert_eq!(roc(&[(0.9, true)]), None);
        assert_eq!(roc(&[]), None);
    }

    #[test]
    fn losses_fall_from_left_to_right_and_the_kept_epoch_has_a_dot() {
        let svg = losses(&[3.0, f64::NAN, 2.0, 1.0], &[], Some(3)).unwrap();
        assert!(svg.contains("d=\"M10.0 20.0L290.0 100.0L430.0 180.0\""), "{svg}");
        assert!(
            svg.contains("<circle class=\"kept\" cx=\"290.0\" cy=\"100.0\" r=\"4\"/>"),
            "{svg}"
        );
        assert!(svg.contains("Loss of 4 epochs, between 1.0000 and 3.0000"), "{svg}");
        assert!(losses(&[2.0], &[], Some(1)).unwrap().contains("cx=\"10.0\" cy=\"20.0\""));
        assert!(!losses(&[2.0, 1.0], &[], Some(2000)).unwrap().contains("circle"));
        assert!(losses(&vec![1.0; 9999], &[], None).unwrap().len() < 9000);
        for nothing in [vec![], vec![f64::NAN], vec![-1e308, 1e308]] {
            assert_eq!(losses(&nothing, &[], Some(1)), None);
        }
    }

    #[test]
    fn what_was_held_out_has_a_curve_of_its_own_and_the_dot() {
        let svg = losses(&[3.0, 2.0, 1.0], &[2.0, 1.5, 2.5], Some(2)).unwrap();
        assert!(svg.contains("class=\"curve\" d=\"M10.0 20.0L220.0 100.0L430.0 180.0\""), "{svg}");
        let apart = "class=\"held-out\" d=\"M10.0 100.0L220.0 140.0L430.0 60.0\"";
        assert!(svg.contains(apart), "{svg}");
        assert!(svg.contains("cx=\"220.0\" cy=\"140.0\""), "{svg}");
    }

    #[test]
    fn the_histogram_mirrors_shares_of_each_group() {
        let svg = histogram(&[(0.0, false), (0.0, false), (1.0, true)]);
        assert!(
            svg.contains(
                "<rect class=\"n\" x=\"10.0\" y=\"20.0\" width=\"14.0\" height=\"80.0\"/>"
            ),
            "{svg}"
        );
        assert!(svg.contains("<rect class=\"a\" x=\"415.0\" y=\"100.0\""), "{svg}");
        assert!(svg.contains("2 normal and 1 anomalous images between 0 and 1.0000"), "{svg}");
    }

    #[test]
    fn equal_and_huge_scores_draw_no_nonsense() {
        for scores in [vec![(3.0, false); 2], vec![(-1e308, false), (1e308, true)]] {
            let svg = histogram(&scores);
            assert!(!svg.contains("NaN") && !svg.contains("=\"inf"), "{svg}");
        }
    }
}
