//! Findings of a chest radiograph, put together from a severity, a kind and a place as a report
//! words them. Five findings, and their absence; for chest X-rays only, whatever the class is
//! called.

use super::owned;
use crate::words::tidy;

/// A finding and what may be said of it. Empty words leave their place out.
struct Finding {
    severities: &'static [&'static str],
    kinds: &'static [&'static str],
    places: &'static [&'static str],
}

const FINDINGS: [Finding; 5] = [
    Finding {
        severities: &["", "mild", "marked"],
        kinds: &["linear atelectasis", "plate-like atelectasis", "lobar collapse", "volume loss"],
        places: &[
            "at the left base",
            "at the right base",
            "at both bases",
            "in the left upper lobe",
            "in the right upper lobe",
            "in the right middle lobe",
            "behind the heart",
        ],
    },
    Finding {
        severities: &["mild", "moderate", "gross"],
        kinds: &["cardiomegaly", "enlargement of the heart", "widening of the heart shadow"],
        places: &[""],
    },
    Finding {
        severities: &["", "patchy", "dense", "confluent"],
        kinds: &["consolidation", "airspace opacity", "opacity with an air bronchogram"],
        places: &[
            "in the left lower zone",
            "in the right lower zone",
            "in the left mid zone",
            "in the right mid zone",
            "in the left upper zone",
            "in the right upper zone",
            "in both lungs",
        ],
    },
    Finding {
        severities: &["mild", "moderate", "severe"],
        kinds: &[
            "interstitial oedema",
            "perihilar haze",
            "septal lines",
            "congestion of the upper lobe vessels",
        ],
        places: &["", "in both lungs"],
    },
    Finding {
        severities: &["small", "moderate", "large"],
        kinds: &[
            "pleural effusion",
            "blunting of the costophrenic angle",
            "layer of pleural fluid",
        ],
        places: &["on the left", "on the right", "on both sides"],
    },
];

const FRAMES: [&str; 3] =
    ["a chest radiograph with {}", "frontal chest X-ray showing {}", "{} on a chest film"];

const CLEAR: [&str; 10] = [
    "lungs that are clear on both sides",
    "a heart of normal size",
    "sharp costophrenic angles",
    "well aerated lung fields",
    "vessels of even calibre that taper outwards",
    "a crisp outline of both diaphragms",
    "a midline trachea and a slim mediastinum",
    "dark and symmetric lung fields",
    "a thin and even pleural line",
    "hila of usual size and density",
];

/// Normal and anomalous sentences: every phrase in every frame.
pub(super) fn findings() -> (Vec<String>, Vec<String>) {
    let mut phrases = Vec::new();
    for Finding { severities, kinds, places } in &FINDINGS {
        for severity in *severities {
            for kind in *kinds {
                let place = |place: &&str| tidy(&[severity, kind, *place].join(" "));
                phrases.extend(places.iter().map(place));
            }
        }
    }
    (super::grid(&owned(&CLEAR), &FRAMES), super::grid(&phrases, &FRAMES))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_finding_is_said_in_every_frame() {
        let (normal, anomalous) = super::findings();
        assert_eq!(normal.len(), 10 * 3);
        assert_eq!(anomalous.len(), (84 + 9 + 84 + 24 + 27) * 3);
        let wanted = "frontal chest X-ray showing mild lobar collapse behind the heart";
        assert!(anomalous.contains(&wanted.to_owned()));
    }
}
