//! What a run would hold and where its time goes: `run --plan` and `bench`.

use expect_test::expect;
use serde_json::Value;

use super::world;

#[test]
fn the_plan_says_what_a_run_will_hold() {
    let world = world();
    let pipeline = world.path("r.toml").display().to_string();
    let said = |more: &[&str]| {
        let run = ["run", &pipeline, "--plan", "--set", "run.threads=2"];
        let ended = world.run(run.iter().chain(more));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    expect![[r#"
        memory            bytes
        clip: weights  835.9 kB  packed, and their file
        far: learned     1.7 kB  all that its fit is given
        features       332.8 kB  of up to 8 images, to and from the encoders
        images         522.2 kB  decoded and prepared, read ahead
        maps             1.2 MB  at most, scored and not yet judged
        cache           67.1 MB  at most, on the way to the disk
        metrics        536.9 MB  at most, then temporary files
        in all         606.9 MB  of the 4.3 GB of `run.memory`
    "#]]
    .assert_eq(&said(&[]));
    let doubled: Value =
        serde_json::from_str(&said(&["--shots", "1,2", "--format", "json"])).unwrap();
    assert_eq!((&doubled["classes"], &doubled["images"]), (&2.into(), &12.into()));
    let learned = |plan: &Value| plan["holds"][1]["bytes"].as_u64().unwrap();
    let one: Value = serde_json::from_str(&said(&["--format", "json"])).unwrap();
    assert_eq!(learned(&doubled), 2 * learned(&one));
    let little = said(&["--set", "run.memory=\"1 MiB\""]);
    assert!(little.contains("more than the 1.0 MB of `run.memory`"), "{little}");
    assert!(!world.path("runs").exists());
}

/// The columns of the table, and numbers that can be: nothing is asked of the machine's speed.
#[test]
fn a_bench_needs_no_data_and_adds_up() {
    let world = world();
    let pipeline = world.path("r.toml").display().to_string();
    let bench = |more: &[&str]| {
        let few = ["bench", &pipeline, "--images", "4", "--size", "64", "--set", "run.threads=2"];
        let ended = world.run(few.iter().chain(more));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    let table = bench(&[]);
    let head = "work by calls p50 ms p95 ms total s of wall in out GFLOP/s of ceiling";
    let heads =
        table.lines().filter(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") == head);
    assert_eq!(heads.count(), 2, "{table}");
    for said in
        ["4 images of 64 px, 2 threads", "cold cache: ", "warm cache: ", "ceiling of products: "]
    {
        assert!(table.contains(said), "{said}: {table}");
    }

    let found: Value = serde_json::from_str(&bench(&["--format", "json"])).unwrap();
    let [cold, warm] = [0, 1].map(|pass| found["passes"][pass].clone());
    assert_eq!((&cold["cache"], &warm["cache"]), (&"cold".into(), &"warm".into()));
    let calls = |pass: &Value, work: &str| {
        let rows = pass["work"].as_array().unwrap().iter();
        let row = rows.filter(|row| row["work"] == work || row["by"] == work);
        row.map(|row| row["calls"].as_u64().unwrap()).sum::<u64>()
    };
    // Two sizes of four tests and one reference.
    assert_eq!((calls(&cold, "clip"), calls(&warm, "clip")), (10 + 1, 0));
    // A memory bank of each size walks over the reference.
    assert_eq!((calls(&cold, "decode"), calls(&warm, "decode")), (4 + 2, 0));
    assert!(calls(&warm, "read") > 0);
    for pass in [&cold, &warm] {
        let seconds = pass["seconds"].as_f64().unwrap();
        let rows = pass["work"].as_array().unwrap();
        let sum: f64 = rows.iter().map(|row| row["seconds"].as_f64().unwrap()).sum();
        // Two threads, and the one that calls the components and waits for them.
        assert!(sum <= seconds * 3.0, "{sum} of {seconds}");
        for row in rows {
            assert!(row["p50_ms"].as_f64() <= row["p95_ms"].as_f64(), "{row}");
        }
    }
    let encoder =
        cold["work"].as_array().unwrap().iter().find(|row| row["work"] == "clip").unwrap();
    assert!(
        encoder["gflops"].as_f64().unwrap() > 0.0 && encoder["of_ceiling"].as_f64() < Some(1.0)
    );
}

#[test]
fn a_bench_without_a_pipeline_takes_the_built_in_model() {
    let world = loupe_tests::World::new();
    let ended = world.run(["bench", "--images", "2", "--size", "64", "--format", "json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&found["pipeline"], &found["images"]), (&"demo".into(), &Value::from(2)));
}
