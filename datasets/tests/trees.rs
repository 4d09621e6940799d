//! Small trees on disk, read under both layouts: what becomes of every file.

mod common;

use common::{open, show, tree, wrap};
use expect_test::{Expect, expect};
use loupe_datasets::{Dataset, Layout};

fn check(layout: &str, files: &[&str], want: Expect) {
    let (_dir, root) = tree(files);
    want.assert_eq(&match open(&root, layout) {
        Ok(dataset) => show(&root, &dataset),
        Err(error) => {
            let text = format!("error: {error}").replace(&format!("{}", root.display()), "ROOT");
            wrap(&text) + "\n"
        }
    });
}

#[test]
fn mvtec_ad() {
    check(
        "mvtec-ad",
        &[
            "metal_nut/train/good/001.png",
            "metal_nut/train/good/000.PNG",
            "metal_nut/test/good/000.png",
            "metal_nut/test/scratch/000.png",
            "metal_nut/test/Bent/001.jpg",
            "metal_nut/ground_truth/scratch/000_mask.png",
            "metal_nut/ground_truth/Bent/001_mask.tif",
            "metal_nut/license.txt",
            "bottle/train/good/0.png",
            "bottle/test/good/0.png",
            "readme.txt",
            ".DS_Store",
        ],
        expect![[r#"
            class bottle (bottle)
              train good bottle/train/good/0.png
              test good bottle/test/good/0.png
            class metal_nut (metal nut)
              train good metal_nut/train/good/000.PNG
              train good metal_nut/train/good/001.png
              test Bent metal_nut/test/Bent/001.jpg anomalous mask
                  metal_nut/ground_truth/Bent/001_mask.tif
              test good metal_nut/test/good/000.png
              test scratch metal_nut/test/scratch/000.png anomalous mask
                  metal_nut/ground_truth/scratch/000_mask.png
            warning: class `bottle` has no anomalous test image: image metrics are
                  undefined for it
        "#]],
    );
}

#[test]
fn masks_pair_by_name_never_by_position() {
    check(
        "mvtec-ad",
        &[
            "a/train/good/0.png",
            "a/test/crack/000.png",
            "a/test/crack/001.png",
            "a/test/crack/x.y.png",
            "a/test/good/000.png",
            "a/ground_truth/crack/001_mask.png",
            "a/ground_truth/crack/x.y_mask.png",
            "a/ground_truth/crack/002_mask.png",
            "a/ground_truth/crack/001_mask.bmp",
            "a/ground_truth/good/000_mask.png",
        ],
        expect![[r#"
            class a (a)
              train good a/train/good/0.png
              test crack a/test/crack/000.png anomalous
              test crack a/test/crack/001.png anomalous mask
                  a/ground_truth/crack/001_mask.bmp
              test crack a/test/crack/x.y.png anomalous mask
                  a/ground_truth/crack/x.y_mask.png
              test good a/test/good/000.png
            unmatched a/ground_truth/crack/001_mask.png
            unmatched a/ground_truth/crack/002_mask.png
            warning: class `a`: 1 of 3 anomalous images of kind `crack` have no mask
                  (first: `a/test/crack/000.png`); pixel metrics are undefined for them
        "#]],
    );
}

#[test]
fn stray_files_are_listed() {
    check(
        "mvtec-ad",
        &[
            "a/train/good/0.png",
            "a/train/broken/0.png",
            "a/train/good/notes.md",
            "a/train/good/deep/1.png",
            "a/test/good/0.png",
            "a/segmentation/x/0.png",
            "top.png",
        ],
        expect![[r#"
            class a (a)
              train good a/train/good/0.png
              test good a/test/good/0.png
            unmatched a/segmentation
            unmatched a/train/broken/0.png
            unmatched a/train/good/deep
            unmatched a/train/good/notes.md
            unmatched top.png
            warning: class `a` has no anomalous test image: image metrics are undefined
                  for it
        "#]],
    );
}

#[test]
fn a_missing_split_is_a_warning() {
    check(
        "mvtec-ad",
        &["a/test/good/0.png", "b/train/good/0.png"],
        expect![[r#"
            class a (a)
              test good a/test/good/0.png
            class b (b)
              train good b/train/good/0.png
            warning: class `a` has no normal reference image: it can only be run with 0
                  shots
            warning: class `a` has no anomalous test image: image metrics are undefined
                  for it
            warning: class `b` has no test image
        "#]],
    );
}

#[test]
fn nothing_to_read_is_an_error() {
    check(
        "mvtec-ad",
        &[],
        expect![[r#"
        error: no image in `ROOT` matches layout `mvtec-ad`, which wants
              `{class}/train/{kind}/*` or `{class}/test/{kind}/*`; found nothing at
              all
    "#]],
    );
    check(
        "mvtec-ad",
        &["photos/1.png", "photos/2.png"],
        expect![[r#"
        error: no image in `ROOT` matches layout `mvtec-ad`, which wants
              `{class}/train/{kind}/*` or `{class}/test/{kind}/*`; found
              `photos/1.png`, for one
    "#]],
    );
    check(
        "mvtec-ad",
        &["train/good/0.png", "test/good/0.png"],
        expect![[r#"
        error: no image in `ROOT` matches layout `mvtec-ad`, which wants
              `{class}/train/{kind}/*` or `{class}/test/{kind}/*`; found
              `test/good`, for one; this looks like the folder of one class: give
              its parent
    "#]],
    );
    check(
        "folder",
        &["0.png", "1.png"],
        expect![[r#"
        error: no image in `ROOT` matches layout `folder`, which wants
              `reference/*` or `{kind}/*` or `query/{kind}/*` or `{kind}/*`; found
              `0.png`, for one
    "#]],
    );
}

#[test]
fn folder_with_good_images_and_defects() {
    check(
        "folder",
        &[
            "good/0.png",
            "good/1.png",
            "scratch/0.png",
            "scratch/1.png",
            "stain/7.png",
            "masks/scratch/0.png",
            "masks/7_mask.png",
            "masks/9.png",
        ],
        expect![[r#"
            class data (data)
              train good good/0.png
              train good good/1.png
              test good good/0.png
              test good good/1.png
              test scratch scratch/0.png anomalous mask masks/scratch/0.png
              test scratch scratch/1.png anomalous
              test stain stain/7.png anomalous mask masks/7_mask.png
            unmatched masks/9.png
            warning: class `data`: 1 of 2 anomalous images of kind `scratch` have no
                  mask (first: `scratch/1.png`); pixel metrics are undefined for them
        "#]],
    );
}

#[test]
fn folder_with_reference_and_query() {
    check(
        "folder",
        &["reference/0.png", "query/good/1.png", "query/dent/2.png", "masks/2.png"],
        expect![[r#"
            class data (data)
              train good reference/0.png
              test dent query/dent/2.png anomalous mask masks/2.png
              test good query/good/1.png
        "#]],
    );
}

#[test]
fn a_mask_that_fits_two_images_is_used_for_none() {
    check(
        "folder",
        &["good/0.png", "dent/5.png", "stain/5.png", "masks/5.png"],
        expect![[r#"
            class data (data)
              train good good/0.png
              test dent dent/5.png anomalous
              test good good/0.png
              test stain stain/5.png anomalous
            warning: mask `ROOT/masks/5.png` fits several images by name and is used
                  for none; sort the masks into folders by kind
            warning: class `data`: 1 of 1 anomalous images of kind `dent` have no mask
                  (first: `dent/5.png`; the layout looks for `masks/{kind}/{stem}.*`);
                  pixel metrics are undefined for them
            warning: class `data`: 1 of 1 anomalous images of kind `stain` have no mask
                  (first: `stain/5.png`; the layout looks for `masks/{kind}/{stem}.*`);
                  pixel metrics are undefined for them
        "#]],
    );
}

#[test]
fn references_are_not_tested() {
    let (_dir, root) = tree(&["good/0.png", "good/1.png", "good/2.png", "dent/0.png"]);
    let dataset = open(&root, "folder").expect("data set");
    let names: Vec<&str> =
        dataset.classes[0].test_without(&[0, 2, 99]).iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["dent/0.png", "good/1.png"]);
    assert_eq!(dataset.check(0).expect("check").n_images, 4);
}

#[test]
fn classes_and_mask_level_can_be_chosen() {
    let (_dir, root) = tree(&["a/test/x/0.png", "b/test/x/0.png", "wood/test/x/0.png"]);
    let layout = Layout::find("mvtec-ad").expect("layout");
    let only = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Dataset::open(&root, &layout, Some(&names), Some(127))
    };
    let dataset = only(&["wood", "a"]).expect("data set");
    let names: Vec<&str> = dataset.classes.iter().map(|class| class.name.as_str()).collect();
    assert_eq!((names, dataset.mask_above), (vec!["a", "wood"], 127));
    assert!(dataset.unmatched.is_empty());
    let error = only(&["woods"]).expect_err("error").to_string();
    let want = "has no class `woods` (did you mean `wood`?); classes: a, b, wood";
    assert!(error.ends_with(want), "{error}");
}
