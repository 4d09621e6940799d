//! Evaluation protocols by name. A number without its protocol compares with nothing: the same
//! maps differ by tens of points between these.

use std::borrow::Cow;

/// How `pixel.aupro` is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuproDefinition {
    Exact,
    Cflow200,
    SpadeFilled200,
    Quantile500FourConn,
    Quantile200,
    AnomalibOld,
}

/// Where maps meet masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Masks at their own resolution; float maps upsampled to them, bilinear with half-pixel
    /// centres.
    Native,
    /// FADE: maps clipped to 0..=1, times 255, truncated to 8 bits on their own grid, then resized
    /// by OpenCV's 8-bit bilinear rule to a square of `side`; masks resized with antialiasing, a
    /// pixel above 0.5 is anomalous.
    FadeU8 { side: usize },
}

/// Which columns a protocol prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// The headline block and `pixel.aupro` at each limit.
    Headline,
    /// FADE's own block: trapezoid AUPR, no pixel AP, anomalous-only pixel metrics.
    Fade,
    /// `pixel.aupro` alone; the rest equals `native`.
    Aupro,
}

/// One entry of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    pub name: Cow<'static, str>,
    /// One line.
    pub about: Cow<'static, str>,
    /// What it computes, step by step, and what differs from its origin.
    pub explain: &'static str,
    pub aupro: AuproDefinition,
    pub space: Space,
    pub columns: Columns,
}

impl Protocol {
    /// All protocols; the headline one first.
    pub fn all() -> &'static [Protocol] {
        &PROTOCOLS
    }

    pub fn names() -> impl Iterator<Item = &'static str> {
        PROTOCOLS.iter().map(|protocol| protocol.name.as_ref())
    }

    /// One of them by its name; `fade-448-u8` with another size in its name is that protocol at
    /// that size.
    pub fn find(name: &str) -> Option<Protocol> {
        let entry = |name: &str| PROTOCOLS.iter().find(|protocol| protocol.name == name).cloned();
        entry(name).or_else(|| {
            let side = fade_side(name)?;
            let fade = PROTOCOLS.iter().find(|entry| entry.columns == Columns::Fade)?;
            Some(Protocol {
                name: Cow::Owned(name.to_owned()),
                about: Cow::Owned(fade.about.replace("448", &side.to_string())),
                space: Space::FadeU8 { side },
                ..fade.clone()
            })
        })
    }
}

/// `SIDE` of `fade-SIDE-u8`, written plainly, in pixels.
fn fade_side(name: &str) -> Option<usize> {
    let side = name.strip_prefix("fade-")?.strip_suffix("-u8")?;
    let plain = side.bytes().all(|byte| byte.is_ascii_digit()) && !side.starts_with('0');
    side.parse().ok().filter(|side| plain && (1..=MOST_PIXELS_A_SIDE).contains(side))
}

/// Larger maps have more pixels than the metrics count.
const MOST_PIXELS_A_SIDE: usize = 8192;

const fn legacy(
    name: &'static str,
    about: &'static str,
    explain: &'static str,
    aupro: AuproDefinition,
) -> Protocol {
    let (name, about) = (Cow::Borrowed(name), Cow::Borrowed(about));
    Protocol { name, about, explain, aupro, space: Space::Native, columns: Columns::Aupro }
}

static PROTOCOLS: [Protocol; 8] = [
    Protocol {
        name: Cow::Borrowed("native"),
        about: Cow::Borrowed("exact metrics on float maps at the masks' own resolution (headline)"),
        explain: "Maps are upsampled bilinearly (half-pixel centres) to their masks and evaluated \
            in f32 with one threshold per distinct score. pixel.aupro@L: 8-connected regions of \
            every mask, each weighing the same; false positives over all normal pixels of all \
            images, normal images included; the curve starts at (0, 0); trapezoids up to L with \
            linear interpolation at exactly L, divided by L. All sums are integers or compensated \
            f64. Values are per class; the mean over classes is unweighted.",
        aupro: AuproDefinition::Exact,
        space: Space::Native,
        columns: Columns::Headline,
    },
    Protocol {
        name: Cow::Borrowed("fade-448-u8"),
        about: Cow::Borrowed("FADE's own evaluation: 8-bit maps and resized masks at 448 x 448"),
        explain: "Maps are clipped to [0, 1], multiplied by 255 and truncated to 8 bits on the \
            grid they come in, then resized to 448 x 448 by OpenCV's 8-bit bilinear rule. Masks \
            are resized with an antialiased triangle filter and thresholded at more than 0.5. \
            Image scores are clipped to [0, 1]. image.aupr_trapz is the trapezoid area that FADE \
            calls AUPR; there is no pixel AP. pixel.aupro as in `native`, so at most 256 \
            thresholds. FADE keeps false positive rates in f32 (differences near 1e-9). Another \
            size in the name, as in `fade-240-u8`, is FADE's --eval-img-size.",
        aupro: AuproDefinition::Exact,
        space: Space::FadeU8 { side: 448 },
        columns: Columns::Fade,
    },
    legacy(
        "mvtec-official",
        "AUPRO of the MVTec script; also FADE, AnomalyDINO, anomalib from 2.3",
        "All distinct thresholds, 8-connected regions, false positives over all normal pixels, \
            interpolated at L and divided by L: the definition of `native`. The script keeps the \
            false positive rate in f32, this keeps it in f64 (differences near 1e-8).",
        AuproDefinition::Exact,
    ),
    legacy(
        "cflow-200",
        "AUPRO of AnomalyCLIP, APRIL-GAN, MuSc, ADer: 200 linear thresholds, rescaled axis",
        "Thresholds t_k = min + k (max - min) / 200 for k = 0..199, flagged if above; 8-connected \
            regions; points with a false positive rate under L; their rates min-max rescaled to \
            [0, 1]; trapezoid area. Not invariant to a monotone transform of the scores. Exactly \
            200 thresholds in f64 where the origin's `arange` may round to 201; undefined where \
            the origin gives NaN (fewer than two points).",
        AuproDefinition::Cflow200,
    ),
    legacy(
        "spade-filled-200",
        "AUPRO of WinClip's re-implementation and PromptAD: filled holes, 200 linear thresholds",
        "Thresholds t_k = max - k (max - min) / 200 for k = 0..199, flagged if above; 8-connected \
            regions; overlap = flagged pixels inside the filled region over the region's size \
            without holes, which may exceed 1; rates up to L inclusive, min-max rescaled; \
            trapezoid area. A hole is background not 8-connected with the outside of its region.",
        AuproDefinition::SpadeFilled200,
    ),
    legacy(
        "quantile-500-4conn",
        "AUPRO of imgad 0.6.0: 500 quantiles of normal pixels, 4-connected regions",
        "Thresholds are the linear quantiles of the normal pixels' scores at 1 - r for 500 rates r \
            from 0 to L, flagged if above; 4-connected regions; the curve begins flat at its first \
            overlap; linear interpolation at L; divided by L.",
        AuproDefinition::Quantile500FourConn,
    ),
    legacy(
        "quantile-200",
        "AUPRO of pyimgano: 200 quantiles of normal pixels, 8-connected regions",
        "One threshold 1e-12 above the highest normal score, then 199 quantiles of the normal \
            scores (the next higher score) at 1 - r for rates r up to L, flagged if at least; \
            8-connected regions; equal rates keep their best overlap; linear interpolation at L; \
            divided by L.",
        AuproDefinition::Quantile200,
    ),
    legacy(
        "anomalib-old",
        "AUPRO of anomalib up to 2.2: averaged per-region curves, can exceed 1",
        "For each 8-connected region a ROC curve against all normal pixels, cut at L (with an \
            interpolated last point); every curve resampled by point index to the length of the \
            overall curve; rates and overlaps averaged; trapezoid area divided by the last \
            averaged rate. Computed in f64 (the origin in f32, differences near 1e-5); scores \
            outside [0, 1] are not put through a logistic function.",
        AuproDefinition::AnomalibOld,
    ),
];
