//! The final tables of CLIP-LMFA: its own command lines, imported and run, against the columns that
//! its evaluation would have printed. `tests/golden/clip-lmfa/tables.json` holds them.

use std::collections::BTreeMap;

use loupe_tests::World;
use serde_json::Value;

use crate::recorded::folder;

const CLASSES: [&str; 2] = ["bracket_black", "tubes"];
const MODES: [&str; 4] = ["none", "language", "vision", "both"];
const N_IMAGE: usize = 3;
const N_PIXEL: usize = 5;
/// Image columns, then pixel columns, in the order in which they are recorded.
const HEAD: &str = "object_name,full_image_auroc,full_image_aupr,full_image_f1_max,full_pixel_auroc,\
                    full_pixel_f1_max,full_pixel_au_pro,anomaly_pixel_auroc,anomaly_pixel_f1_max";
/// Of metrics and scores. What is off by more than 1e-9 of all that is recorded is one cell, cut to another level of
/// 8 bits: `normalized`, `bracket_black`, `scratches/000`, row 8, column 0 is 101.00005 levels in the reference and
/// 100.99983 here. Both are f32 and 1.3e-6 apart, as a min-max divides what rounding leaves by the map's range, 0.2.
/// At 448 x 448 the cell is a patch of pixels, which moves `anomaly_pixel_auroc` by 6.3e-6, `full_pixel_auroc` by 3.1e-6.
const TOLERANCE: f64 = 1e-5;

/// One command line and what was recorded for it.
struct Line<'a> {
    recorded: &'a str,
    /// Modes of classification and segmentation.
    modes: [&'a str; 2],
    options: &'a str,
}

pub struct Tables {
    world: World,
    recorded: Value,
    /// The largest difference so far.
    apart: f64,
}

impl Tables {
    pub fn new() -> Tables {
        let world = World::new();
        let description = folder("fade").join("small.json");
        crate::weights::write(&description, &world.path("weights.safetensors"));
        let text = crate::recorded::read(&folder("clip-lmfa").join("tables.json"));
        Tables { world, recorded: serde_json::from_slice(&text).unwrap(), apart: 0.0 }
    }

    /// Every pair of modes but `none` and `none`.
    pub fn every_mode(&mut self, recorded: &str, options: &str) {
        for classification in MODES {
            for segmentation in MODES {
                if [classification, segmentation] != ["none", "none"] {
                    self.check(&Line { recorded, modes: [classification, segmentation], options });
                }
            }
        }
    }

    pub fn modes(&mut self, recorded: &str, modes: [&str; 2], options: &str) {
        self.check(&Line { recorded, modes, options });
    }

    pub fn finish(self) {
        println!("the tables' numbers are at most {:e} apart", self.apart);
    }

    fn check(&mut self, line: &Line<'_>) {
        let what = format!("{} {:?} {}", line.recorded, line.modes, line.options);
        let got = self.run(line, &what);
        let mut lines = got.lines();
        assert_eq!(lines.next(), Some(HEAD), "{what}");
        let mut means = vec![0.0; N_IMAGE + N_PIXEL];
        let mut want = BTreeMap::new();
        for class in CLASSES {
            let row = self.row(line, class);
            means.iter_mut().zip(&row).for_each(|(mean, value)| {
                *mean += value.unwrap_or(f64::NAN) / CLASSES.len() as f64;
            });
            want.insert(class, row);
        }
        let mean = means.into_iter().map(|mean| (!mean.is_nan()).then_some(mean)).collect();
        want.insert("mean", mean);
        for name in CLASSES.into_iter().chain(["mean"]) {
            let fields: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
            assert_eq!((fields[0], fields.len()), (name, 1 + N_IMAGE + N_PIXEL), "{what}");
            for (field, want) in fields[1..].iter().zip(&want[name]) {
                let Some(want) = want else {
                    assert_eq!(*field, "", "{what}: {name}");
                    continue;
                };
                let got: f64 =
                    field.parse().unwrap_or_else(|_| panic!("{what}: {name}: `{field}`"));
                self.apart = self.apart.max((got - want).abs());
                assert!((got - want).abs() <= TOLERANCE, "{what}: {name}: {got} is not {want}");
            }
        }
        assert_eq!(lines.next(), None, "{what}");
        self.scores(line, &what);
    }

    /// The image scores of the other table, where they are recorded.
    fn scores(&self, line: &Line<'_>, what: &str) {
        let bytes = crate::recorded::read(&self.world.path("run/result/plot_results.csv"));
        let text = String::from_utf8(bytes).unwrap();
        let mode = line.modes[0];
        let has_score = text.lines().next().unwrap_or_default().contains(",image_anomaly_score,");
        assert_eq!(has_score, mode != "none", "{what}");
        for class in CLASSES {
            let want = &self.recorded[line.recorded][class]["scores"][mode];
            let Some(want) = want.as_array() else { continue };
            let start = format!("{class},");
            let rows = text.lines().filter(|row| row.starts_with(&start));
            let got: Vec<f64> =
                rows.map(|row| row.split(',').nth(6).unwrap().parse().unwrap()).collect();
            assert_eq!(got.len(), want.len(), "{what}: {class}");
            for (got, want) in got.iter().zip(want) {
                let apart = (got - want.as_f64().unwrap()).abs();
                assert!(apart <= TOLERANCE, "{what}: {class}: {got} is not {want}");
            }
        }
    }

    /// What is recorded of a class, in the order of the columns; nothing for a mode that is `none`.
    fn row(&self, line: &Line<'_>, class: &str) -> Vec<Option<f64>> {
        let of = &self.recorded[line.recorded][class];
        let part = |part: &str, mode: &str, n: usize| -> Vec<Option<f64>> {
            if mode == "none" {
                return vec![None; n];
            }
            // Runs of one pair of modes alone are not recorded mode by mode.
            let values = if of[part].is_array() { &of[part] } else { &of[part][mode] };
            let values = values.as_array().unwrap_or_else(|| panic!("{}: {part}", line.recorded));
            assert_eq!(values.len(), n);
            values.iter().map(Value::as_f64).collect()
        };
        let [classification, segmentation] = line.modes;
        [part("image", classification, N_IMAGE), part("pixel", segmentation, N_PIXEL)].concat()
    }

    /// Imports the command line, runs it as the import says, and gives the table it left.
    fn run(&self, line: &Line<'_>, what: &str) -> String {
        let path = |name: &str| self.world.path(name).display().to_string();
        let golden = folder("clip-lmfa").display().to_string();
        let (pipeline, out) = (path("imported.toml"), path("run"));
        let data = format!("{golden}/data");
        let [classification, segmentation] = line.modes;
        let mut words = vec!["import", "clip-lmfa", "--out", &pipeline, "--replace", "--"];
        words.extend(["--dataset-name", "mpdd", "--dataset-source", &data]);
        words.extend(["--segmentation-img-sizes", "32,48,80", "--classification-img-size", "48"]);
        words.extend(["--classification-mode", classification]);
        words.extend(["--segmentation-mode", segmentation]);
        words.extend(["--no-save-visualization", "--no-save-segmentation"]);
        words.extend(line.options.split_whitespace());
        let imported = self.world.run(words);
        assert_eq!(imported.code, Some(0), "{what}: {}", imported.stderr);
        let model = format!("stages.clip.model=\"{}/small.json\"", folder("fade").display());
        let weights = format!("stages.clip.weights=\"{}\"", path("weights.safetensors"));
        // Its network's draws are not recorded: they cannot be had again.
        let off = "stages.adaptive.mode=off";
        let words = ["run", &pipeline, "--out", &out, "--save", "fade-tables"];
        let sets = ["--set", &model, "--set", &weights, "--set", off];
        let mut command = self.world.command(words.into_iter().chain(sets));
        command.env("LOUPE_CLIP_LMFA", &golden);
        let ended = self.world.ended(&command.output().unwrap());
        assert_eq!(ended.code, Some(0), "{what}: {}", ended.stderr);
        let bytes = crate::recorded::read(&self.world.path("run/result/evaluation_results.csv"));
        String::from_utf8(bytes).unwrap()
    }
}
