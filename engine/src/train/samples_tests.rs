use super::*;
use crate::image::{Rgb, encode_png};
use crate::pipeline::model::{Adam, Keep};
use crate::run::MaskedImage;

fn train(augment: Option<Augment>, masks: MaskFilter) -> Train {
    Train {
        stage: 0,
        text: 0,
        augment,
        auxiliary: Vec::new(),
        losses: Vec::new(),
        optimizer: Adam { lr: 0.1, betas: [0.5, 0.999], eps: 1e-8 },
        scale: 1.0,
        masks,
        epochs: 1,
        keep: Keep::Last,
        held_out: None,
        patience: None,
    }
}

fn image(content: u8) -> Image {
    let name = format!("{content}.png");
    Image { path: name.clone().into(), name, digest: [content; 32], change: None }
}

fn class(normal: &[u8], anomalous: &[u8]) -> ClassImages {
    let masked = |content: &u8| MaskedImage { image: image(*content), mask: None };
    ClassImages {
        references: normal.iter().copied().map(image).collect(),
        anomalous_references: anomalous.iter().map(masked).collect(),
        ..ClassImages::default()
    }
}

/// How many normal and anomalous images are held out.
fn n_held_out(normal: &[u8], anomalous: &[u8], share: f64) -> Result<[usize; 2], String> {
    let class = class(normal, anomalous);
    let found = held_out([&class].into_iter(), share, 7).map_err(|error| error.to_string())?;
    let n = |contents: &[u8]| contents.iter().filter(|x| found.contains(&[**x; 32])).count();
    Ok([n(normal), n(anomalous)])
}

#[test]
fn a_share_of_each_kind_is_held_out_and_one_at_least() {
    let n = |normal: &[u8], anomalous: &[u8], share| n_held_out(normal, anomalous, share).unwrap();
    assert_eq!(n(&[1, 2, 3, 4], &[11, 12, 13, 14, 15, 16, 17, 18], 0.25), [1, 2]);
    assert_eq!(n(&[1, 2, 3, 4], &[11, 12], 0.01), [1, 1]);
    assert_eq!(n(&[1, 2], &[], 0.99), [1, 0]);
    assert_eq!(n(&[], &[11, 12, 13], 0.5), [0, 2]);
    assert_eq!(n(&[], &[], 0.5), [0, 0]);
    // Copies of an image go together: both of the two, or the other one.
    assert!(matches!(n(&[1, 1, 2], &[], 0.5), [1 | 2, 0]));
    for (normal, anomalous, kind) in [
        (&[1][..], &[11, 12][..], "normal"),
        (&[1, 2], &[11], "anomalous"),
        (&[3, 3], &[], "normal"),
    ] {
        let said = n_held_out(normal, anomalous, 0.5).unwrap_err();
        assert!(said.contains(&format!("two {kind} images or more")), "{said}");
    }
}

#[test]
fn the_choice_is_of_contents_and_seed_and_not_of_order() {
    let (forth, back) = (class(&[1, 2, 3, 4, 5, 6], &[]), class(&[6, 5, 4, 3, 2, 1], &[]));
    let chosen = |class, seed| held_out([class].into_iter(), 0.5, seed).unwrap();
    assert_eq!(chosen(&forth, 0), chosen(&back, 0));
    assert!((1..20).any(|seed| chosen(&forth, seed) != chosen(&forth, 0)));
    // Classes share one lot.
    let (one, two) = (class(&[1, 2, 3], &[]), class(&[4, 5, 6], &[]));
    assert_eq!(held_out([&one, &two].into_iter(), 0.5, 0).unwrap(), chosen(&forth, 0));
}

#[test]
fn no_form_of_what_is_held_out_is_learned_from() {
    let class = class(&[1, 2, 3], &[]);
    let train = train(Some(Augment::Mvfa11), MaskFilter::Nearest);
    let found = samples(&class, &train, &Digests::from([[2; 32]]), 4, 0).unwrap();
    assert_eq!((found.learned.len(), found.held_out.len()), (22, 1));
    assert_eq!((found.held_out[0].image.digest, found.held_out[0].anomalous), ([2; 32], false));
    assert_eq!(found.held_out[0].mask.as_ref().unwrap(), &[false; 16]);
    assert!(found.learned.iter().all(|sample| !sample.image.name.starts_with("2.png")));
}

/// Every second photograph of a normal reference is anomalous where it was painted; one that is anomalous
/// itself stays as it is.
#[test]
fn painted_defects_are_learned_as_defects() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let pixels: Vec<u8> = (0..64 * 64 * 3).map(|i| (90 + i * 7 % 50) as u8).collect();
    let rgb = Rgb { width: 64, height: 64, pixels, exif_rotated: false };
    std::fs::write(&path, encode_png(&rgb).unwrap()).unwrap();
    let reference = Image::open("a", &path).unwrap();
    let mut class = ClassImages { references: vec![reference], ..ClassImages::default() };
    let painted = Augment::Painted { defects: 4, seed: 0 };
    for masks in [MaskFilter::Nearest, MaskFilter::Smooth] {
        let found = samples(&class, &train(Some(painted), masks), &Digests::new(), 32, 0).unwrap();
        let anomalous: Vec<bool> = found.learned.iter().map(|sample| sample.anomalous).collect();
        assert_eq!(anomalous, [false, true, false, true]);
        for sample in &found.learned {
            assert_eq!(sample.mask.as_ref().unwrap().contains(&true), sample.anomalous);
        }
    }
    let mask = Some(path.clone());
    class.anomalous_references = vec![MaskedImage { image: image(9), mask }];
    let all = train(Some(painted), MaskFilter::Nearest);
    let found = samples(&class, &all, &Digests::new(), 32, 0).unwrap();
    assert_eq!((found.learned.len(), &*found.learned[0].image.name), (5, "9.png"));
}

/// A pixel of 4 x 4 that is anomalous: the nearest pixel meets it or does not, smoothly it is less than a
/// fifth of one of 2 x 2. Four pixels are enough.
#[test]
fn masks_are_nearest_or_smooth() {
    let small = |set: &[usize], filter| {
        let pixels = (0..16).map(|i| set.contains(&i)).collect();
        let mask = resized(&Mask { width: 4, height: 4, pixels }, filter, 2).unwrap();
        mask.iter().map(|value| *value > 0.5).collect::<Vec<bool>>()
    };
    assert_eq!(small(&[5], MaskFilter::Nearest), [true, false, false, false]);
    assert_eq!(small(&[0], MaskFilter::Nearest), [false; 4]);
    assert_eq!(small(&[5], MaskFilter::Smooth), [false; 4]);
    assert_eq!(small(&[0, 1, 4, 5], MaskFilter::Smooth), [true, false, false, false]);
    assert_eq!(small(&[0, 1, 4, 5], MaskFilter::Nearest), [true, false, false, false]);
}
