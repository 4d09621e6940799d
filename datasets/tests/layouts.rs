//! A miniature tree of each public data set, read under its layout: what becomes of every file.

mod common;

use std::path::Path;

use common::sets::{BTAD, MPDD, MVTEC_3D, medical, visa};
use common::{open, pictures, show};
use expect_test::{Expect, expect};
use loupe_datasets::Layout;

fn check(root: &Path, layout: &str, want: Expect) {
    want.assert_eq(&show(root, &open(root, layout).expect("data set")));
}

#[test]
fn every_layout_is_what_it_is_called() {
    let names = Layout::names();
    assert_eq!(
        names,
        [
            "mvtec-ad",
            "folder",
            "visa",
            "mvtec-3d",
            "mpdd",
            "btad",
            "brain",
            "liver",
            "retina-resc",
            "retina-oct",
            "chest",
            "histopathology",
        ]
    );
    for name in names {
        let layout = Layout::find(name).expect("layout");
        assert_eq!((layout.name.as_str(), layout.mask_above), (name, 0));
        assert!(!layout.about.is_empty() && layout.about.len() < 100, "{name}: {}", layout.about);
    }
}

#[test]
fn mpdd() {
    let (_dir, root) = pictures(MPDD);
    check(
        &root,
        "mpdd",
        expect![[r#"
        class bracket_black (bracket black)
          train good bracket_black/train/good/000.png
          train good bracket_black/train/good/001.png
          test good bracket_black/test/good/000.png
          test hole bracket_black/test/hole/000.png anomalous mask
              bracket_black/ground_truth/hole/000_mask.png
          test scratches bracket_black/test/scratches/000.png anomalous mask
              bracket_black/ground_truth/scratches/000_mask.png
        class tubes (tubes)
          train good tubes/train/good/000.png
          test anomalous tubes/test/anomalous/000.png anomalous mask
              tubes/ground_truth/anomalous/000_mask.png
          test good tubes/test/good/000.png
        warning: 4 of the 6 classes of layout `mpdd` are not there: bracket_brown,
              bracket_white, connector, metal_plate
        warning: class `bracket_black` is not the published one: it has 2 of 289
              reference images and 3 of 79 test images
        warning: class `tubes` is not the published one: it has 1 of 122 reference
              images and 2 of 101 test images
    "#]],
    );
}

#[test]
fn btad_with_ok_and_ko_or_good() {
    let (_dir, root) = pictures(BTAD);
    check(
        &root,
        "btad",
        expect![[r#"
        class 01 (metal part)
          train ok 01/train/ok/0000.bmp
          test ko 01/test/ko/0002.bmp anomalous mask 01/ground_truth/ko/0002.png
          test ok 01/test/ok/0001.bmp
        class 02 (wooden surface)
          train ok 02/train/ok/0000.png
          test ko 02/test/ko/0002.png anomalous mask 02/ground_truth/ko/0002.png
          test ok 02/test/ok/0001.png
        class 03 (metal ring)
          train good 03/train/good/0000.bmp
          test good 03/test/good/0001.bmp
          test ko 03/test/ko/0002.bmp anomalous mask 03/ground_truth/ko/0002.bmp
        warning: class `01` is not the published one: it has 1 of 400 reference
              images and 2 of 70 test images
        warning: class `02` is not the published one: it has 1 of 399 reference
              images and 2 of 230 test images
        warning: class `03` is not the published one: it has 1 of 1000 reference
              images and 2 of 441 test images
    "#]],
    );
}

#[test]
fn mvtec_3d_in_colour() {
    let (_dir, root) = pictures(MVTEC_3D);
    check(
        &root,
        "mvtec-3d",
        expect![[r#"
        class bagel (bagel)
          train good bagel/train/good/rgb/000.png
          test crack bagel/test/crack/rgb/000.png anomalous mask
              bagel/test/crack/gt/000.png
          test good bagel/test/good/rgb/000.png
        class cable_gland (cable gland)
          train good cable_gland/train/good/rgb/000.png
          test bent cable_gland/test/bent/rgb/000.png anomalous mask
              cable_gland/test/bent/gt/000.png
          test good cable_gland/test/good/rgb/000.png
        warning: 8 of the 10 classes of layout `mvtec-3d` are not there: carrot,
              cookie, dowel, foam, peach, potato, rope, tire
        warning: class `bagel` is not the published one: it has 1 of 244 reference
              images and 2 of 110 test images
        warning: class `cable_gland` is not the published one: it has 1 of 223
              reference images and 2 of 108 test images
    "#]],
    );
}

#[test]
fn visa_with_its_table() {
    let (_dir, root) = visa();
    check(
        &root,
        "visa",
        expect![[r#"
        class candle (candle)
          train normal candle/Data/Images/Normal/0836.JPG
          train normal candle/Data/Images/Normal/0451.JPG
          test anomaly candle/Data/Images/Anomaly/000.JPG anomalous mask
              candle/Data/Masks/Anomaly/000.png
          test normal candle/Data/Images/Normal/0001.JPG
        class pcb1 (pcb1)
          train normal pcb1/Data/Images/Normal/0001.JPG
          test anomaly pcb1/Data/Images/Anomaly/007.JPG anomalous mask
              pcb1/Data/Masks/Anomaly/007.png
          test normal pcb1/Data/Images/Normal/0000.JPG
        warning: 10 of the 12 classes of layout `visa` are not there: capsules,
              cashew, chewinggum, fryum, macaroni1, macaroni2, pcb2, pcb3, pcb4,
              pipe_fryum
        warning: class `candle` is not the published one: it has 2 of 900 reference
              images and 2 of 200 test images
        warning: class `pcb1` is not the published one: it has 1 of 904 reference
              images and 2 of 200 test images
    "#]],
    );
}

/// What the preparation script of VisA makes of it.
#[test]
fn visa_prepared_is_mvtec_ad() {
    let (_dir, root) = pictures(&[
        "candle/train/good/0836.JPG",
        "candle/test/good/0001.JPG",
        "candle/test/bad/000.JPG",
        "candle/ground_truth/bad/000.png",
    ]);
    check(
        &root,
        "mvtec-ad",
        expect![[r#"
        class candle (candle)
          train good candle/train/good/0836.JPG
          test bad candle/test/bad/000.JPG anomalous mask
              candle/ground_truth/bad/000.png
          test good candle/test/good/0001.JPG
    "#]],
    );
}

#[test]
fn medical_sets_with_masks() {
    let (_dir, root) = medical("Brain", Some("anomaly_mask"));
    check(
        &root,
        "brain",
        expect![[r#"
        class Brain (brain)
          train good Brain_AD/valid/good/img/1.png
          train good Brain_AD/valid/good/img/2.png
          train_anomalous Ungood Brain_AD/valid/Ungood/img/3.png anomalous mask
              Brain_AD/valid/Ungood/anomaly_mask/3.png
          test Ungood Brain_AD/test/Ungood/img/5.png anomalous mask
              Brain_AD/test/Ungood/anomaly_mask/5.png
          test good Brain_AD/test/good/img/4.png
        warning: class `Brain` is not the published one: it has 2 of 3715 test
              images
    "#]],
    );
    let (_dir, root) = medical("Liver", Some("label"));
    check(
        &root,
        "liver",
        expect![[r#"
        class Liver (liver)
          train good Liver_AD/valid/good/img/1.png
          train good Liver_AD/valid/good/img/2.png
          train_anomalous Ungood Liver_AD/valid/Ungood/img/3.png anomalous mask
              Liver_AD/valid/Ungood/label/3.png
          test Ungood Liver_AD/test/Ungood/img/5.png anomalous mask
              Liver_AD/test/Ungood/label/5.png
          test good Liver_AD/test/good/img/4.png
        warning: class `Liver` is not the published one: it has 2 of 1493 test
              images
    "#]],
    );
    let (_dir, root) = medical("Retina_RESC", Some("anomaly_mask"));
    check(
        &root,
        "retina-resc",
        expect![[r#"
        class Retina_RESC (macular OCT)
          train good Retina_RESC_AD/valid/good/img/1.png
          train good Retina_RESC_AD/valid/good/img/2.png
          train_anomalous Ungood Retina_RESC_AD/valid/Ungood/img/3.png anomalous
              mask Retina_RESC_AD/valid/Ungood/anomaly_mask/3.png
          test Ungood Retina_RESC_AD/test/Ungood/img/5.png anomalous mask
              Retina_RESC_AD/test/Ungood/anomaly_mask/5.png
          test good Retina_RESC_AD/test/good/img/4.png
        warning: class `Retina_RESC` is not the published one: it has 2 of 1805
              test images
    "#]],
    );
}

#[test]
fn medical_sets_without_masks() {
    let (_dir, root) = medical("Retina_OCT2017", None);
    check(
        &root,
        "retina-oct",
        expect![[r#"
        class Retina_OCT2017 (retinal OCT)
          train good Retina_OCT2017_AD/valid/good/img/1.png
          train good Retina_OCT2017_AD/valid/good/img/2.png
          train_anomalous Ungood Retina_OCT2017_AD/valid/Ungood/img/3.png anomalous
          test Ungood Retina_OCT2017_AD/test/Ungood/img/5.png anomalous
          test good Retina_OCT2017_AD/test/good/img/4.png
        warning: class `Retina_OCT2017` is not the published one: it has 2 of 968
              test images
    "#]],
    );
    let (_dir, root) = medical("Histopathology", None);
    check(
        &root,
        "histopathology",
        expect![[r#"
        class Histopathology (histopathological image)
          train good Histopathology_AD/valid/good/img/1.png
          train good Histopathology_AD/valid/good/img/2.png
          train_anomalous Ungood Histopathology_AD/valid/Ungood/img/3.png anomalous
          test Ungood Histopathology_AD/test/Ungood/img/5.png anomalous
          test good Histopathology_AD/test/good/img/4.png
    "#]],
    );
    let (_dir, root) = pictures(&[
        "Chest_AD/valid/good/1.png",
        "Chest_AD/valid/Ungood/2.png",
        "Chest_AD/test/good/3.png",
        "Chest_AD/test/Ungood/4.png",
    ]);
    check(
        &root,
        "chest",
        expect![[r#"
        class Chest (chest X-ray film)
          train good Chest_AD/valid/good/1.png
          train_anomalous Ungood Chest_AD/valid/Ungood/2.png anomalous
          test Ungood Chest_AD/test/Ungood/4.png anomalous
          test good Chest_AD/test/good/3.png
        warning: class `Chest` is not the published one: it has 2 of 17194 test
              images
    "#]],
    );
}

#[test]
fn names_in_sentences() {
    let words = |root: &Path, layout: &str, number: usize| {
        let class = open(root, layout).expect("data set").classes.swap_remove(number);
        format!("{}: {}, {}", class.name, class.display, class.synonyms.join(", "))
    };
    let (_dir, root) = pictures(BTAD);
    assert_eq!(words(&root, "btad", 1), "02: wooden surface, wood, wood panel");
    let (_dir, root) = pictures(MPDD);
    assert_eq!(
        words(&root, "mpdd", 0),
        "bracket_black: bracket black, black bracket, black metal bracket"
    );
    let (_dir, root) = visa();
    assert_eq!(words(&root, "visa", 1), "pcb1: pcb1, printed circuit board, circuit board");
    let (_dir, root) = medical("Brain", Some("label"));
    assert_eq!(words(&root, "brain", 0), "Brain: brain, brain MRI, brain MRI scan");
    let (_dir, root) = pictures(&["metal_nut/test/good/0.png", "mine/test/good/0.png"]);
    let metal_nut = "metal_nut: metal nut, nut made of metal, hardware nut";
    assert_eq!(words(&root, "mvtec-ad", 0), metal_nut);
    assert_eq!(words(&root, "mvtec-ad", 1), "mine: mine, ");
}
