//! Users' own layouts, their mistakes, and trees that nobody means to have.

mod common;

use std::fs;
use std::path::Path;

use common::{open, show, tree, wrap};
use expect_test::expect;
use loupe_datasets::{DatasetError, Layout};

#[test]
fn a_users_own_layout_loads_by_path() {
    let (_dir, root) = tree(&[
        "Brain_AD/valid/good/img/0.png",
        "Brain_AD/valid/Ungood/img/1.png",
        "Brain_AD/valid/Ungood/anomaly_mask/1.png",
        "Brain_AD/test/good/img/2.png",
        "Brain_AD/test/Ungood/img/3.png",
        "Brain_AD/test/Ungood/anomaly_mask/3.png",
        "Other_AD/test/Ungood/img/3.png",
    ]);
    let file = root.join("brain.toml");
    let text = r#"
        layout = 1
        name = "brain"
        about = "medical, normal and anomalous references apart"
        train = ["{class}/valid/{kind}/img/*"]
        train_anomalous = ["{class}/valid/{kind}/img/*"]
        train_mask = ["{class}/valid/{kind}/anomaly_mask/{stem}.*"]
        test = ["{class}/test/{kind}/img/*"]
        mask = ["{class}/test/{kind}/anomaly_mask/{stem}.*"]
        normal = ["good"]
        extensions = ["png"]
        classes = ["Brain_AD"]
        class.Brain_AD = { display = "brain", synonyms = ["brain scan"] }"#;
    fs::write(&file, text).expect("layout");
    let dataset = open(&root, file.to_str().expect("UTF-8")).expect("data set");
    assert_eq!(dataset.classes[0].synonyms, ["brain scan"]);
    expect![[r#"
        class Brain_AD (brain)
          train good Brain_AD/valid/good/img/0.png
          train_anomalous Ungood Brain_AD/valid/Ungood/img/1.png anomalous mask
              Brain_AD/valid/Ungood/anomaly_mask/1.png
          test Ungood Brain_AD/test/Ungood/img/3.png anomalous mask
              Brain_AD/test/Ungood/anomaly_mask/3.png
          test good Brain_AD/test/good/img/2.png
        unmatched Other_AD/test/Ungood/img/3.png
        unmatched brain.toml
    "#]]
    .assert_eq(&show(&root, &dataset));
}

/// The form of VisA: the split is a table, and its order within a kind is kept.
#[test]
fn a_table_may_say_the_split() {
    let (_dir, root) = tree(&["c/N/1.JPG", "c/N/2.JPG", "c/N/3.JPG", "c/A/0.JPG", "c/M/0.png"]);
    let text = r#"
        layout = 1
        name = "table"
        about = "a table"
        normal = ["normal"]
        extensions = ["jpg"]
        [split]
        file = "split.csv"
        class = "object"
        role = "split"
        kind = "label"
        image = "image"
        mask = "mask"
        train = "train"
        test = "test""#;
    let layout = Layout::parse("table.toml", text).expect("layout");
    let read = |table: &str| {
        fs::write(root.join("split.csv"), table).expect("table");
        match loupe_datasets::Dataset::open(&root, &layout, None, None) {
            Ok(dataset) => show(&root, &dataset),
            Err(error) => wrap(&error.to_string().replace(&root.display().to_string(), "ROOT")),
        }
    };
    expect![[r#"
        class c (c)
          train normal c/N/3.JPG
          train normal c/N/1.JPG
          test anomaly c/A/0.JPG anomalous mask c/M/0.png
          test normal c/N/2.JPG
        warning: class `c`: 1 of the 3 `test` images of `split.csv` cannot be found
              below the root (first: line 7, `../c/A/0.JPG`)
        warning: `split.csv` has 1 row of split `val`, which is neither training
              nor test (first: line 6)
    "#]]
    .assert_eq(&read(
        "object,split,label,image,mask\r\nc,train,normal,c/N/3.JPG,\nc,train,normal,c/N/1.JPG,\n\
         c,test,normal,c/N/2.JPG,\nc,test,anomaly,c/A/0.JPG,\"c/M/0.png\"\n\
         c,val,normal,c/N/1.JPG,\nc,test,anomaly,../c/A/0.JPG,\n\n",
    ));
    expect![[r#"
        split table `ROOT/split.csv`: no column is called `label`; columns: object,
              split, image, mask"#]]
    .assert_eq(&read("object,split,image,mask\n"));
    expect!["split table `ROOT/split.csv`: line 2 has 2 cells, wants 5"]
        .assert_eq(&read("object,split,label,image,mask\nc,train\n"));
    expect![[r#"
        no image in `ROOT` matches layout `table`, which wants `a row in
              split.csv`; found nothing at all"#]]
    .assert_eq(&read("object,split,label,image,mask\n"));
}

#[test]
fn layout_mistakes_are_named() {
    let error = |name: &str| wrap(&Layout::find(name).expect_err("error").to_string());
    expect![[r#"
        no layout is called `mvtec_ad` (did you mean `mvtec-ad`?); known layouts:
              mvtec-ad, folder, visa, mvtec-3d, mpdd, btad, brain, liver,
              retina-resc, retina-oct, chest, histopathology, or give a path to a
              .toml"#]]
    .assert_eq(&error("mvtec_ad"));
    expect!["cannot read `./none.toml`: No such file or directory (os error 2)"]
        .assert_eq(&error("./none.toml"));
    let parse =
        |text: &str| wrap(&Layout::parse("mine.toml", text).expect_err("error").to_string());
    expect![[r#"
        layout `mine.toml`: TOML parse error at line 4, column 1
          |
        4 | trian =
              []
          | ^^^^^
        unknown field `trian`, expected one of `layout`, `name`,
              `about`, `train`, `train_anomalous`, `test`, `mask`, `train_mask`,
              `split`, `normal`, `not_kinds`, `extensions`, `mask_above`, `ignore`,
              `classes`, `class`
    "#]]
    .assert_eq(&parse("layout = 1\nname = 'x'\nabout = ''\ntrian = []"));
    let rest = "name='x'\nabout=''\nnormal=['good']\nextensions=['png']";
    expect!["layout `mine.toml`: `class.b` speaks of a class that is not in `classes`"].assert_eq(
        &parse(&format!(
            "layout=1\ntrain=['{{class}}/*']\ntest=[]\n{rest}\nclasses=['a']\nclass.b.n_train=3"
        )),
    );
    expect!["layout `mine.toml`: `layout = 2` is not known here; write `layout = 1`"]
        .assert_eq(&parse(&format!("layout=2\ntrain=['a/*']\ntest=[]\n{rest}")));
    expect![[r#"
        layout `mine.toml`: give patterns in `train` and `test`, or a table in
              `split`"#]]
    .assert_eq(&parse(&format!("layout=1\ntrain=[]\ntest=[]\n{rest}")));
    expect![[r#"
        layout `mine.toml`: pattern `{clas}/*` names `{clas}`; known: {class},
              {kind}, {stem}"#]]
    .assert_eq(&parse(&format!("layout=1\ntrain=['{{clas}}/*']\ntest=[]\n{rest}")));
    expect![[r#"
        layout `mine.toml`: mask pattern `m/*` has no `{stem}`; masks pair with
              images by file name"#]]
    .assert_eq(&parse(&format!("layout=1\ntrain=['a/*']\ntest=[]\nmask=['m/*']\n{rest}")));
}

#[test]
fn a_file_without_end_is_not_read() {
    let (_dir, root) = tree(&["huge.toml"]);
    let file = root.join("huge.toml");
    let handle = fs::OpenOptions::new().write(true).open(&file).expect("file");
    handle.set_len((64 << 20) + 2).expect("length");
    let error = Layout::find(file.to_str().expect("UTF-8")).expect_err("error").to_string();
    assert!(error.ends_with("it is larger than 64 MiB"), "{error}");
}

#[test]
fn the_root_must_be_a_folder() {
    let (_dir, root) = tree(&["file"]);
    let error = |path: &Path| open(path, "folder").expect_err("error");
    assert!(matches!(error(&root.join("file")), DatasetError::NotAFolder { .. }));
    assert!(matches!(error(&root.join("none")), DatasetError::NotAFolder { .. }));
}

#[cfg(unix)]
#[test]
fn hostile_entries_are_left_out_by_name() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let (_dir, root) = tree(&["a/train/good/0.png", "a/test/good/0.png"]);
    let good = root.join("a/test/good");
    fs::write(good.join(std::ffi::OsStr::from_bytes(b"b\xff.png")), "x").expect("file");
    symlink(root.join("nowhere.png"), good.join("dangling.png")).expect("link");
    symlink(&root, root.join("a/test/loop")).expect("link");
    symlink(root.join("self"), root.join("self")).expect("link");
    fs::create_dir(good.join("folder.png")).expect("folder");
    let dataset = open(&root, "mvtec-ad").expect("data set");
    expect![[r#"
        class a (a)
          train good a/train/good/0.png
          test good a/test/good/0.png
        unmatched a/test/good/b�.png
        unmatched a/test/good/dangling.png
        unmatched a/test/good/folder.png
        unmatched a/test/loop/a
        unmatched a/test/loop/self
        unmatched self
        warning: `ROOT/a/test/good/b�.png` is left out: its name is not valid
              UTF-8; rename it
        warning: `ROOT/a/test/good/dangling.png` is left out: No such file or
              directory (os error 2)
        warning: `ROOT/a/test/loop/self` is left out: Too many levels of symbolic
              links (os error 40)
        warning: `ROOT/self` is left out: Too many levels of symbolic links (os
              error 40)
        warning: class `a` has no anomalous test image: image metrics are undefined
              for it
    "#]]
    .assert_eq(&show(&root, &dataset));
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_read_is_an_error_not_a_smaller_data_set() {
    use std::os::unix::fs::PermissionsExt;

    let (_dir, root) = tree(&["a/train/good/0.png", "a/test/good/0.png"]);
    let good = root.join("a/test/good");
    fs::set_permissions(&good, fs::Permissions::from_mode(0o000)).expect("mode");
    let is_root = fs::read_dir(&good).is_ok();
    let opened = open(&root, "mvtec-ad");
    fs::set_permissions(&good, fs::Permissions::from_mode(0o755)).expect("mode");
    match opened {
        Ok(_) => assert!(is_root, "only a superuser may read a folder without permission"),
        Err(error) => assert!(matches!(error, DatasetError::Read { path, .. } if path == good)),
    }
}
