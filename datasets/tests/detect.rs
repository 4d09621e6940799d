//! Which layout a tree may have, and few-shot files that come with some.

mod common;

use std::fs;
use std::path::Path;

use common::sets::{BTAD, MPDD, MVTEC_3D, medical, visa};
use common::{open, pictures, tree};
use loupe_datasets::{Layout, Select};

/// The layouts that a tree may have: `name images masks unmatched`, the likeliest first.
fn detected(root: &Path) -> Vec<String> {
    let fits = Layout::detect(root).expect("fits");
    fits.iter()
        .map(|fit| format!("{} {} {} {}", fit.layout, fit.n_images, fit.n_masks, fit.n_unmatched))
        .collect()
}

#[test]
fn layouts_are_detected() {
    let (_dir, root) = pictures(BTAD);
    assert_eq!(detected(&root), ["btad 9 3 0", "mvtec-ad 7 3 2"]);
    let (_dir, root) = pictures(MVTEC_3D);
    assert_eq!(detected(&root), ["mvtec-3d 6 2 0"]);
    let (_dir, root) = visa();
    assert_eq!(detected(&root), ["visa 7 2 0"]);
    for (object, layout) in [
        ("Brain", "brain"),
        ("Liver", "liver"),
        ("Retina_RESC", "retina-resc"),
        ("Retina_OCT2017", "retina-oct"),
        ("Chest", "chest"),
        ("Histopathology", "histopathology"),
    ] {
        let (_dir, root) = medical(object, None);
        assert_eq!(detected(&root), [format!("{layout} 5 0 0")]);
    }
}

/// A whole MPDD is MPDD; a few classes of it may be anyone's, and are read alike.
#[test]
fn of_two_layouts_that_read_all_the_narrower_comes_first_for_a_whole_set() {
    let (_dir, root) = pictures(MPDD);
    assert_eq!(detected(&root), ["mvtec-ad 8 3 0", "mpdd 8 3 0"]);
    let classes = ["bracket_brown", "bracket_white", "connector", "metal_plate"];
    let rest = classes.map(|class| format!("{class}/test/good/000.png"));
    let files: Vec<&str> = MPDD.iter().copied().chain(rest.iter().map(String::as_str)).collect();
    let (_dir, root) = pictures(&files);
    assert_eq!(detected(&root), ["mpdd 12 3 0", "mvtec-ad 12 3 0"]);
}

#[test]
fn what_fits_no_layout_gives_an_empty_list() {
    let (_dir, root) = tree(&["notes.txt", "a/b/c/d/e/f.png"]);
    assert_eq!(detected(&root), [""; 0]);
    let (_dir, root) = pictures(&["good/0.png", "scratch/0.png", "masks/scratch/0.png"]);
    assert_eq!(detected(&root), ["folder 2 1 0"]);
    assert!(Layout::detect(&root.join("good/0.png")).is_err());
    assert!(Layout::detect(&root.join("nowhere")).is_err());
}

/// MVFA's few-shot files name both kinds of references.
#[test]
fn few_shot_files_of_a_medical_set() {
    let (dir, root) = medical("Brain", Some("anomaly_mask"));
    let seeds = dir.path().join("fewshot_seed/Brain");
    fs::create_dir_all(&seeds).expect("folder");
    fs::write(seeds.join("1-shot.txt"), "a-0: 3.png\nn-0: 2.png").expect("file");
    fs::write(seeds.join("2-shot.txt"), "n-0: 2.png 1.png\na-0: 3.png gone.png").expect("file");
    let how = Select::Manifest(dir.path().join("fewshot_seed/{class}/{shots}-shot.txt"));
    let dataset = open(&root, "brain").expect("data set");
    let class = &dataset.classes[0];
    let names = |shots, anomalous| {
        let references = class.references(shots, anomalous, 0, &how);
        references.map_err(|error| error.to_string()).map(|references| {
            let samples = references.normal.into_iter().chain(references.anomalous);
            samples
                .map(|s| format!("{} {} {}", s.name, s.anomalous, s.mask.is_some()))
                .collect::<Vec<_>>()
        })
    };
    let (normal, anomalous) = ("Brain_AD/valid/good/img", "Brain_AD/valid/Ungood/img");
    assert_eq!(
        names(1, 1),
        Ok(vec![format!("{normal}/2.png false false"), format!("{anomalous}/3.png true true")])
    );
    assert_eq!(
        names(2, 0),
        Ok(vec![format!("{normal}/2.png false false"), format!("{normal}/1.png false false")])
    );
    assert_eq!(names(0, 1), Ok(vec![format!("{anomalous}/3.png true true")]));
    let error = names(2, 2).expect_err("too few");
    assert_eq!(
        error,
        "2 anomalous references are wanted, but the class has 1 such images to take from"
    );
    assert!(names(4, 1).expect_err("too few").starts_with("4 references are wanted"));
}
