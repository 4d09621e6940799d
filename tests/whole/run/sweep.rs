//! `loupe sweep`: one file, many cells, one table; nothing that is done is done again.

use loupe_tests::Running;

use super::*;

const SWEEP: &str = r#"sweep = 1
base  = "r.toml"
shots = [1, 2]
seeds = [0, 1]
[[variant]]
name  = "two-sizes"
label = "both sizes"
[[variant]]
name = "one-size"
set  = { "stages.image.sizes" = [48] }
"#;

fn text(world: &World, name: &str) -> String {
    let path = world.path(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sweep(world: &World, more: &[&str]) -> Ended {
    let file = world.path("s.toml").display().to_string();
    let out = world.path("out").display().to_string();
    let mut arguments = vec!["sweep", &file, "--out", &out];
    arguments.extend(more);
    world.run(arguments)
}

#[test]
fn a_sweep_ends_in_one_table_and_goes_on_where_it_was() {
    let world = world();
    world.write("s.toml", SWEEP);
    let first = sweep(&world, &[]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(first.stderr.contains("8 run, 0 done before, 0 failed"), "{}", first.stderr);
    let lines: Vec<&str> = first.stdout.lines().collect();
    assert!(lines[0].starts_with("protocol: native"), "{}", first.stdout);
    assert!(lines[2].starts_with("both sizes   ") && lines[2].contains(" ± "), "{}", lines[2]);
    assert_eq!(lines.len(), 2 + 2 * 2);
    let csv = text(&world, "out/sweep.csv");
    assert!(
        csv.starts_with("protocol,variant,baseline,shots,n_seeds,n_failed,image.auroc mean"),
        "{csv}"
    );
    assert!(text(&world, "out/sweep.md").contains("| one-size | 2 | 2 |"));
    // The cells are run folders of their own.
    let run = json(&world.path("out/cells/one-size-s2-seed1/run.json"));
    assert_eq!(
        (&run["shots"], &run["seed"], &run["complete"]),
        (&2.into(), &1.into(), &true.into())
    );

    let again = sweep(&world, &[]);
    assert!(again.stderr.contains("0 run, 8 done before, 0 failed"), "{}", again.stderr);
    assert_eq!((again.stdout, text(&world, "out/sweep.csv")), (first.stdout, csv));

    // A changed variant is run again, from the cache where its stages are the same; the other is not.
    world.write("s.toml", SWEEP.replace("[48]", "[32]"));
    let changed = sweep(&world, &[]);
    assert!(changed.stderr.contains("4 run, 4 done before, 0 failed"), "{}", changed.stderr);
    assert!(changed.stderr.contains("12 images, 12 from cache"), "{}", changed.stderr);
}

#[test]
fn a_cell_that_fails_is_recorded_and_the_others_go_on() {
    let world = world();
    let broken = "[[variant]]\nname = \"wrong\"\nset = { \"stages.far.k\" = \"one\" }\n";
    world.write("s.toml", format!("{}{broken}", SWEEP.replace("[1, 2]", "[1, 5]")));
    let ended = sweep(&world, &[]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stderr.contains("4 run, 0 done before, 8 failed"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("error: two-sizes-s5-seed0: class `wire_mesh`"),
        "{}",
        ended.stderr
    );
    assert!(ended.stdout.contains("0 (2 failed)"), "{}", ended.stdout);
    let records = text(&world, "out/cells.jsonl");
    assert!(
        records.contains("s.toml, variant `wrong`: `k` of stage `far` (scorer `nearest`) wants"),
        "{records}"
    );
    assert_eq!(ended.stderr.matches("(scorer `nearest`) wants").count(), 1, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches(": its pipeline cannot run").count(), 4, "{}", ended.stderr);
    // What failed is tried again.
    world.write("s.toml", SWEEP);
    let mended = sweep(&world, &[]);
    assert!(mended.stderr.contains("4 run, 4 done before, 0 failed"), "{}", mended.stderr);
}

#[test]
fn the_plan_shows_cells_and_runs_none() {
    let world = world();
    world.write("s.toml", SWEEP);
    let plan = sweep(&world, &["--plan", "--only", "one-size"]);
    assert_eq!(plan.code, Some(0), "{}", plan.stderr);
    let cells = plan.stdout.lines().filter(|line| line.ends_with("to do")).count();
    assert_eq!(cells, 4, "{}", plan.stdout);
    assert!(!world.path("out/cells").exists());
    // What is left out may have mistakes.
    let few = ["--only", "one-size", "--set", "stages.far.k=2"];
    let broken = "[[variant]]\nname = \"wrong\"\nset = { \"stages.none.k\" = 1 }\n";
    world.write("s.toml", format!("{SWEEP}{broken}"));
    let plan = sweep(&world, &[&["--plan"][..], &few[..]].concat());
    assert_eq!(plan.code, Some(0), "{}", plan.stderr);
    assert_eq!(plan.stdout.matches("to do").count(), 4, "{}", plan.stdout);
    assert!(!plan.stderr.contains("no stage `none`"), "{}", plan.stderr);
    let none = sweep(&world, &["--only", "nothing-like-it"]);
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("no cell's name contains `nothing-like-it`"), "{}", none.stderr);
}

/// A pipeline with mistakes still says how many shots its cells have.
#[test]
fn what_cannot_run_has_its_name() {
    let world = world();
    let broken = "[[variant]]\nname = \"wrong\"\nset = { \"stages.far.k\" = \"one\" }\n";
    let head = SWEEP.replace("shots = [1, 2]\nseeds = [0, 1]\n", "");
    world.write("s.toml", format!("{head}{broken}"));
    let plan = sweep(&world, &["--plan"]);
    assert_eq!(plan.code, Some(3), "{}", plan.stderr);
    assert!(plan.stdout.contains("two-sizes-s1-seed0"), "{}", plan.stdout);
    assert!(plan.stdout.contains("wrong-s1-seed0"), "{}", plan.stdout);
    assert!(plan.stdout.contains("has mistakes"), "{}", plan.stdout);
    let ended = sweep(&world, &["--only", "wrong"]);
    assert!(ended.stderr.contains("error: wrong-s1-seed0: its pipeline"), "{}", ended.stderr);
    // Data that are not there are no mistake of the pipeline, and end no plan in silence.
    let far = "[[variant]]\nname = \"far\"\nset = { \"data.root\" = \"none\" }\n";
    world.write("s.toml", format!("{head}{far}"));
    let plan = sweep(&world, &["--plan", "--only", "far"]);
    assert!(plan.stdout.contains("cannot run"), "{}", plan.stdout);
    assert!(plan.stderr.contains("error: far: "), "{}", plan.stderr);
}

#[test]
fn a_killed_sweep_ends_with_the_same_table() {
    let whole = world();
    whole.write("s.toml", SWEEP);
    assert_eq!(sweep(&whole, &[]).code, Some(0));

    let world = world();
    world.write("s.toml", SWEEP);
    let [file, out] = ["s.toml", "out"].map(|name| world.path(name).display().to_string());
    let mut running = Running::start(&mut world.command(["sweep", &file, "--out", &out]));
    let records = world.path("out/cells.jsonl");
    let n_done = || std::fs::read_to_string(&records).unwrap_or_default().lines().count();
    let start = std::time::Instant::now();
    while n_done() < 2 && start.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    running.kill();
    running.end();
    let n_before = n_done();
    assert!((2..8).contains(&n_before), "{n_before} cells were done before the kill");
    let rest = sweep(&world, &[]);
    let wanted = format!("{} run, {n_before} done before, 0 failed", 8 - n_before);
    assert!(rest.stderr.contains(&wanted), "{}", rest.stderr);
    assert_eq!(text(&world, "out/sweep.csv"), text(&whole, "out/sweep.csv"));
}
