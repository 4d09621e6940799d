use serde_json::Value;

use super::*;
use crate::report::{PictureOptions, ReportError};

const SCORES: [(f64, bool); 4] = [(0.1, false), (0.4, false), (0.3, true), (0.9, true)];

fn json_of(folder: &Path, file: &str) -> Value {
    serde_json::from_str(&read(folder, file)).unwrap()
}

#[test]
fn a_run_leaves_these_files() {
    let data = tempfile::tempdir().unwrap();
    let (_keep, path) = run(vec![class(data.path(), "tile", &SCORES, true)], true, true);
    for file in ["classes/tile.json", "maps/tile/0.npy", "report.html", "references/tile.json"] {
        assert!(path.join(file).is_file(), "{file}");
    }
    assert_eq!(read(&path, "pipeline.toml"), "loupe = 1\n\n[run]\nseed = 7\n");
    let run = json_of(&path, "run.json");
    assert_eq!((&run["complete"], &run["kind"]), (&true.into(), &"loupe-run".into()));
    assert_eq!((&run["name"], &run["seed"]), (&"demo".into(), &7.into()));
    assert_eq!(json_of(&path, "references/tile.json")["images"][0]["name"], "train/0.png");
    let npy = fs::read(path.join("maps/tile/3.npy")).unwrap();
    assert_eq!(npy, crate::files::npy_f32(&[2, 2], &[0.0, 0.1, 0.2, 0.9]));
}

#[test]
fn tables_keep_every_digit_and_leave_the_undefined_empty() {
    let data = tempfile::tempdir().unwrap();
    let scores = [(0.1 + 0.2, false), (1e-7, false), (0.25, true)];
    let (_keep, path) = run(vec![class(data.path(), "a,b", &scores, false)], false, true);
    let csv = read(&path, "results.csv");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "protocol,class,n_images,n_anomalous,image.auroc,image.ap,image.f1max,pixel.auroc,pixel.ap,\
         pixel.f1max,pixel.aupro@0.3,pixel.aupro@0.05,setting"
    );
    assert_eq!(lines[1], "native,\"a,b\",3,1,0.5,0.5,0.6666666666666666,,,,,,inductive");
    assert_eq!(lines[2], "native,mean,3,1,0.5,0.5,0.6666666666666666,,,,,,inductive");
    let images = read(&path, "images.csv");
    let line: Vec<&str> = images.lines().nth(1).unwrap().rsplitn(3, ',').collect();
    assert_eq!(line[0].parse::<f64>().unwrap(), 0.1 + 0.2);
    assert_eq!(read(&path, "timings.csv").lines().count(), 4);
    let results = json_of(&path, "results.json");
    let row = &results["protocols"][0]["classes"][0];
    assert_eq!(row["metrics"]["pixel.auroc"], Value::Null);
    assert_eq!(row["undefined"]["pixel.auroc"], "the class has no masks");
}

#[test]
fn the_same_records_give_the_same_bytes_whatever_time_they_took() {
    let data = tempfile::tempdir().unwrap();
    let slow = |ms: f64| {
        let mut record = class(data.path(), "tile", &SCORES, true);
        record.images.iter_mut().for_each(|image| image.ms = ms);
        run(vec![record], true, true)
    };
    let ((_one, one), (_other, other)) = (slow(1.0), slow(99.0));
    for file in ["results.json", "results.csv", "images.csv", "report.html", "classes/tile.json"] {
        assert_eq!(read(&one, file), read(&other, file), "{file}");
    }
    assert_ne!(read(&one, "timings.csv"), read(&other, "timings.csv"));
}

#[test]
fn only_a_run_of_ours_is_replaced_and_foreign_files_stay() {
    let data = tempfile::tempdir().unwrap();
    let (_keep, path) = run(vec![class(data.path(), "tile", &SCORES, true)], true, true);
    fs::write(path.join("notes.txt"), "mine").unwrap();
    fs::write(path.join("results.json.tmp-12"), "half").unwrap();
    fs::remove_dir_all(path.join("maps")).unwrap();
    std::os::unix::fs::symlink(data.path(), path.join("maps")).unwrap();
    RunFolder::create(&path, &facts("again"), &json!({})).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["notes.txt", "pipeline.toml", "run.json"]);
    assert_eq!(json_of(&path, "run.json")["complete"], false);
    assert!(data.path().join("image.png").is_file());
}

#[test]
fn one_run_at_a_time_fills_a_folder() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("run");
    let first = RunFolder::create(&path, &facts("first"), &json!({})).unwrap();
    let second = RunFolder::create(&path, &facts("second"), &json!({}));
    let message = second.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(message.starts_with("another run is filling"), "{message}");
    drop(first);
    assert!(RunFolder::create(&path, &facts("third"), &json!({})).is_ok());
}

#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| {
        let created = RunFolder::create(path, &facts("x"), &json!({}));
        created.err().map(|error: ReportError| error.to_string()).unwrap_or_default()
    };
    assert_eq!(refused(folder.path()), "");
    let (theirs, file) = (folder.path().join("theirs"), folder.path().join("file"));
    fs::create_dir_all(theirs.join("maps")).unwrap();
    fs::write(theirs.join("run.json"), "{\"kind\": \"other\"}").unwrap();
    assert!(refused(&theirs).contains("is not a run folder of loupe"), "{}", refused(&theirs));
    assert!(theirs.join("maps").is_dir() && refused(&theirs).contains("holds `maps`"));
    fs::write(&file, "x").unwrap();
    assert!(refused(&file).contains("is a file"), "{}", refused(&file));
}

#[test]
fn an_incomplete_run_is_valid_and_says_so() {
    let data = tempfile::tempdir().unwrap();
    let (_keep, path) = run(vec![class(data.path(), "tile", &SCORES, true)], true, false);
    assert_eq!(json_of(&path, "run.json")["complete"], false);
    assert_eq!(json_of(&path, "results.json")["n_classes"], 1);
    assert!(read(&path, "report.html").contains("did not come to its end"));
    let (_keep, path) = run(vec![], false, false);
    assert_eq!(json_of(&path, "results.json")["protocols"][0]["mean"], Value::Null);
    assert!(read(&path, "report.html").contains("No class was measured"));
}

#[test]
fn an_image_without_a_score_is_judged_by_the_peak_of_its_map() {
    let data = tempfile::tempdir().unwrap();
    let mut record = class(data.path(), "tile", &SCORES, true);
    record.images.iter_mut().for_each(|image| image.anomaly_score = None);
    let (_keep, path) = run(vec![record], true, true);
    assert!(read(&path, "images.csv").contains("tile,tile/0.png,good,0,0.5\n"));
}

#[test]
fn hostile_names_write_nothing_outside_the_folder() {
    let data = tempfile::tempdir().unwrap();
    let names = ["../../up", "/abs", "C:\\x", "", "..", "con"];
    let classes = names.map(|name| class(data.path(), name, &SCORES, true));
    let (keep, path) = run(classes.to_vec(), true, true);
    assert_eq!(fs::read_dir(keep.path()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(path.join("classes")).unwrap().count(), names.len());
    assert_eq!(fs::read_dir(path.join("maps")).unwrap().count(), names.len());
}

#[test]
fn overlays_are_pictures_of_the_images_size() {
    let data = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut run = RunFolder::create(folder.path(), &facts("x"), &json!({})).unwrap();
    run.set_pictures(PictureOptions { all_overlays: true, ..Default::default() });
    let record = class(data.path(), "tile", &SCORES, true);
    run.save_map("tile", "tile/0.png", [1, 2], &[0.0, 1.0]).unwrap();
    run.add_class(record).unwrap();
    let png = fs::read(folder.path().join("pictures/tile/0.png")).unwrap();
    let picture = crate::image::decode_rgb(&png, "0.png").unwrap();
    assert_eq!((picture.width, picture.height), (12, 8));
    assert!(!folder.path().join("pictures/tile/1.png").exists());
}

#[test]
fn a_map_whose_size_lies_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = RunFolder::create(folder.path(), &facts("x"), &json!({})).unwrap();
    let error = run.save_map("tile", "0.png", [2, 2], &[0.0]).unwrap_err();
    assert_eq!(error.to_string(), "the map of image `0.png` has 1 values, but 2 x 2 wants 4");
    assert!(run.save_map("tile", "0.png", [usize::MAX, 2], &[0.0]).is_err());
}
