//! Data sets of which a part is missing, renamed or twice there: read as far as they go, and told.

mod common;

use std::fs;

use common::{open, pictures, show, tree, wrap};
use expect_test::{Expect, expect};
use loupe_datasets::{Dataset, Layout};

/// The warnings and stray files of a tree.
fn check(layout: &str, files: &[&str], want: Expect) {
    let (_dir, root) = pictures(files);
    let shown = show(&root, &open(&root, layout).expect("data set"));
    let told = shown.find("\nunmatched").or_else(|| shown.find("\nwarning"));
    want.assert_eq(told.map_or("", |at| &shown[at + 1..]));
}

#[test]
fn masks_missing_or_elsewhere() {
    check(
        "mvtec-ad",
        &[
            "a/train/good/0.png",
            "a/test/good/0.png",
            "a/test/hole/0.png",
            "a/test/hole/1.png",
            "a/groundtruth/hole/0_mask.png",
            "a/groundtruth/hole/1_mask.png",
        ],
        expect![[r#"
            unmatched a/groundtruth
            warning: class `a`: 2 of 2 anomalous images of kind `hole` have no mask
                  (first: `a/test/hole/0.png`; the layout looks for
                  `{class}/ground_truth/{kind}/{stem}_mask.*`); pixel metrics are
                  undefined for them
        "#]],
    );
    check(
        "brain",
        &[
            "Brain_AD/valid/good/img/0.png",
            "Brain_AD/valid/Ungood/img/1.png",
            "Brain_AD/test/good/img/2.png",
            "Brain_AD/test/Ungood/img/3.png",
            "Brain_AD/test/Ungood/img/4.png",
            "Brain_AD/test/Ungood/masks/3.png",
            "Brain_AD/test/Ungood/label/4.png",
        ],
        expect![[r#"
            unmatched Brain_AD/test/Ungood/masks
            warning: class `Brain` is not the published one: it has 3 of 3715 test
                  images
            warning: class `Brain`: 1 of 1 anomalous reference images of kind `Ungood`
                  have no mask (first: `Brain_AD/valid/Ungood/img/1.png`; the layout
                  looks for `{class}_AD/valid/{kind}/anomaly_mask/{stem}.*`); pixel
                  metrics are undefined for them
            warning: class `Brain`: 1 of 2 anomalous images of kind `Ungood` have no
                  mask (first: `Brain_AD/test/Ungood/img/3.png`); pixel metrics are
                  undefined for them
        "#]],
    );
}

#[test]
fn splits_missing() {
    check(
        "brain",
        &["Brain_AD/test/good/img/2.png"],
        expect![[r#"
        warning: class `Brain` has no normal reference image: it can only be run
              with 0 shots
        warning: class `Brain` has no anomalous reference image
        warning: class `Brain` has no anomalous test image: image metrics are
              undefined for it
        warning: class `Brain` is not the published one: it has 1 of 3715 test
              images
    "#]],
    );
    check(
        "mvtec-ad",
        &["a/train/good/0.png", "a/test/hole/0.png", "a/ground_truth/hole/0.png"],
        expect![[r#"
            warning: class `a` has no normal test image: image metrics are undefined
                  for it
        "#]],
    );
    check(
        "mvtec-3d",
        &["rope/train/good/xyz/000.tiff", "rope/test/good/rgb/000.png"],
        expect![[r#"
            warning: 9 of the 10 classes of layout `mvtec-3d` are not there: bagel,
                  cable_gland, carrot, cookie, dowel, foam, peach, potato, tire
            warning: class `rope` has no normal reference image: it can only be run
                  with 0 shots
            warning: class `rope` has no anomalous test image: image metrics are
                  undefined for it
            warning: class `rope` is not the published one: it has 0 of 298 reference
                  images and 1 of 101 test images
        "#]],
    );
}

#[test]
fn ok_and_good_in_one_class() {
    check(
        "btad",
        &[
            "01/train/ok/0.bmp",
            "01/train/good/0.bmp",
            "01/train/ko/9.bmp",
            "01/test/ok/1.bmp",
            "01/test/good/1.bmp",
            "01/test/ko/2.bmp",
            "01/ground_truth/ok/2.png",
        ],
        expect![[r#"
            unmatched 01/ground_truth/ok/2.png
            unmatched 01/train/ko/9.bmp
            warning: 2 of the 3 classes of layout `btad` are not there: 02, 03
            warning: class `01` has normal reference images in `good` and in `ok`; make
                  sure that they are not the same images twice
            warning: class `01` has normal test images in `good` and in `ok`; make sure
                  that they are not the same images twice
            warning: class `01` is not the published one: it has 2 of 400 reference
                  images and 3 of 70 test images
            warning: class `01`: 1 of 1 anomalous images of kind `ko` have no mask
                  (first: `01/test/ko/2.bmp`; the layout looks for
                  `{class}/ground_truth/{kind}/{stem}.*`); pixel metrics are undefined
                  for them
        "#]],
    );
}

/// A class's own folder in the place of the folder of all classes.
#[test]
fn the_folder_of_one_class() {
    for (layout, files) in [
        ("brain", ["Brain_AD/valid/good/img/0.png", "Brain_AD/test/good/img/0.png"]),
        ("btad", ["01/train/ok/0.bmp", "01/test/ok/0.bmp"]),
    ] {
        let (_dir, root) = pictures(&files);
        let (class, _) = files[0].split_once('/').expect("class");
        let error = open(&root.join(class), layout).expect_err("error").to_string();
        let hint = "; this looks like the folder of one class: give its parent";
        assert!(error.ends_with(hint), "{error}");
        assert!(Layout::detect(&root.join(class)).expect("fits").is_empty());
    }
}

/// Only what was asked for must be there.
#[test]
fn classes_that_were_not_asked_for_are_not_missed() {
    let (_dir, root) = pictures(&["tubes/train/good/0.png", "connector/train/good/0.png"]);
    let layout = Layout::find("mpdd").expect("layout");
    let open = |classes: Option<&[String]>| {
        Dataset::open(&root, &layout, classes, None).expect("data set").warnings
    };
    assert_eq!(
        open(None)[0],
        "4 of the 6 classes of layout `mpdd` are not there: bracket_black, bracket_brown, \
         bracket_white, metal_plate"
    );
    let tubes = open(Some(&["tubes".to_owned()]));
    assert_eq!(
        tubes,
        [
            "class `tubes` has no test image",
            "class `tubes` is not the published one: it has 1 of 122 reference images and 0 of 101 \
             test images",
        ]
    );
}

/// Reads `table` as VisA's split, beside these files.
fn table(files: &[&str], table: &str, want: Expect) {
    let (_dir, root) = tree(files);
    fs::create_dir(root.join("split_csv")).expect("folder");
    fs::write(root.join("split_csv/1cls.csv"), table).expect("table");
    want.assert_eq(&match open(&root, "visa") {
        Ok(dataset) => show(&root, &dataset),
        Err(error) => wrap(&error.to_string().replace(&root.display().to_string(), "ROOT")),
    });
}

#[test]
fn a_table_that_does_not_match_its_tree() {
    let header = "object,split,label,image,mask";
    table(
        &["fryum/N/0.JPG", "fryum/N/1.JPG", "fryum/N/stray.JPG", "fryum/A/0.JPG", "fryum/A/no.txt"],
        &format!(
            "{header}\nfryum,train,normal,fryum/N/0.JPG,\nfryum,train,normal,fryum/N/2.JPG,\n\
             fryum,train,normal,fryum/N/3.JPG,\nfryum,test,normal,fryum/N/1.JPG,\n\
             fryum,test,anomaly,fryum/A/0.JPG,fryum/M/0.png\nfryum,test,normal,fryum/N/0.JPG,\n\
             fryum,val,normal,fryum/N/1.JPG,\nmine,train,normal,fryum/N/1.JPG,\n\
             fryum,test,anomaly,/etc/hosts,\nfryum,test,anomaly,fryum/../fryum/A/0.JPG,\n"
        ),
        expect![[r#"
            class fryum (fryum)
              train normal fryum/N/0.JPG
              test anomaly fryum/A/0.JPG anomalous
              test normal fryum/N/1.JPG
            unmatched fryum/N/stray.JPG
            warning: class `fryum`: 2 of the 5 `test` images of `split_csv/1cls.csv`
                  cannot be found below the root (first: line 10, `/etc/hosts`)
            warning: class `fryum`: 2 of the 3 `train` images of `split_csv/1cls.csv`
                  cannot be found below the root (first: line 3, `fryum/N/2.JPG`)
            warning: class `fryum`: 1 mask of `split_csv/1cls.csv` cannot be found
                  below the root (first: line 6, `fryum/M/0.png`)
            warning: class `fryum`: `split_csv/1cls.csv` repeats the image of an
                  earlier row in 1 row (first: line 7, `fryum/N/0.JPG`)
            warning: `split_csv/1cls.csv` has 1 row of class `mine`, which the layout
                  does not list (first: line 9)
            warning: `split_csv/1cls.csv` has 1 row of split `val`, which is neither
                  training nor test (first: line 8)
            warning: 11 of the 12 classes of layout `visa` are not there: candle,
                  capsules, cashew, chewinggum, macaroni1, macaroni2, pcb1, pcb2, pcb3,
                  pcb4, pipe_fryum
            warning: class `fryum` is not the published one: it has 1 of 450 reference
                  images and 2 of 150 test images
            warning: class `fryum`: 1 of 1 anomalous images of kind `anomaly` have no
                  mask (first: `fryum/A/0.JPG`); pixel metrics are undefined for them
        "#]],
    );
    table(
        &["fryum/N/0.JPG"],
        &format!("{header}\nfryum,train,normal,N/0.JPG,\n"),
        expect![[r#"
        no image in `ROOT` matches layout `visa`, which wants `a row in
              split_csv/1cls.csv`; found nothing at all; class `fryum`: 1 of the 1
              `train` images of `split_csv/1cls.csv` cannot be found below the root
              (first: line 2, `N/0.JPG`)"#]],
    );
    table(
        &["fryum/N/0.JPG"],
        "",
        expect!["split table `ROOT/split_csv/1cls.csv`: it is empty; wants a header line"],
    );
    table(
        &["fryum/N/0.JPG"],
        &format!("{header}\n\"fryum,train\"\n"),
        expect!["split table `ROOT/split_csv/1cls.csv`: line 2 has 2 cells, wants 5"],
    );
    let (_dir, root) = tree(&["fryum/N/0.JPG"]);
    let error = open(&root, "visa").expect_err("no table").to_string();
    assert!(error.contains("split_csv/1cls.csv"), "{error}");
}

/// Ten thousand rows without a file are one line of text.
#[test]
fn a_table_without_its_tree_says_so_once() {
    let mut text = "object,split,label,image,mask\n".to_owned();
    for number in 0..10_000 {
        text.push_str(&format!("fryum,train,normal,fryum/N/{number}.JPG,\n"));
    }
    text.push_str("fryum,train,normal,fryum/N/there.JPG,\n");
    table(
        &["fryum/N/there.JPG"],
        &text,
        expect![[r#"
        class fryum (fryum)
          train normal fryum/N/there.JPG
        warning: class `fryum`: 10000 of the 10001 `train` images of
              `split_csv/1cls.csv` cannot be found below the root (first: line 2,
              `fryum/N/0.JPG`)
        warning: 11 of the 12 classes of layout `visa` are not there: candle,
              capsules, cashew, chewinggum, macaroni1, macaroni2, pcb1, pcb2, pcb3,
              pcb4, pipe_fryum
        warning: class `fryum` has no test image
        warning: class `fryum` is not the published one: it has 1 of 450 reference
              images and 0 of 150 test images
    "#]],
    );
}
