use super::*;
use crate::golden::{max_error, noise};
use crate::parallel::tests::backwards_on_two_threads;
use crate::{serial, unit_rows};

fn unit(n: usize, width: usize, seed: u64) -> Vec<f32> {
    unit_rows(&noise(n * width, seed), width).unwrap()
}

#[test]
fn the_nearest_of_three_is_found() {
    let bank = [1.0, 0.0, 0.0, 1.0, -1.0, 0.0];
    let query = [0.6, 0.8, -1.0, 0.0];
    assert_eq!(nearest_cosine(&query, &[&bank], 2, 1, &serial).unwrap(), [0.8, 1.0]);
    assert_eq!(nearest_cosine(&query, &[&bank], 2, 2, &serial).unwrap(), [0.6, 0.0]);
    assert_eq!(nearest_cosine(&query, &[&bank], 2, 3, &serial).unwrap(), [-0.6, -1.0]);
}

#[test]
fn tiles_agree_with_the_definition_at_all_sizes() {
    for (m, n, width, kth) in [
        (1, 1, 1, 1),
        (7, 5, 3, 2),
        (96, 512, 64, 1),
        (97, 513, 65, 3),
        (225, 1100, 40, 1),
        (3, 700, 640, 7),
    ] {
        let (query, bank) = (unit(m, width, 1), unit(n, width, 2));
        let got = nearest_cosine(&query, &[&bank], width, kth, &serial).unwrap();
        let want = nearest_cosine_reference(&query, &[&bank], width, kth).unwrap();
        let error = max_error(&got, &want);
        assert!(error < 5e-7, "{m} x {n} x {width}, kth {kth}: off by {error}");
    }
}

#[test]
fn threads_slabs_and_company_do_not_change_a_byte() {
    let width = 48;
    let (query, bank) = (unit(200, width, 3), unit(1300, width, 4));
    for kth in [1, 2] {
        let whole = nearest_cosine(&query, &[&bank], width, kth, &serial).unwrap();
        let (a, b) = bank.split_at(width * 701);
        let slabs: [&[f32]; 4] = [a, &[], &b[..width], &b[width..]];
        let split = nearest_cosine(&query, &slabs, width, kth, &backwards_on_two_threads).unwrap();
        assert_eq!(whole, split);
        let alone = nearest_cosine(&query[150 * width..151 * width], &[&bank], width, kth, &serial);
        assert_eq!(alone.unwrap(), whole[150..151]);
    }
}

#[test]
fn a_query_in_its_own_bank_is_its_first_neighbour() {
    let (query, bank) = (unit(10, 16, 5), unit(30, 16, 6));
    let with_self = nearest_cosine(&query, &[&bank, &query], 16, 1, &serial).unwrap();
    assert!(with_self.iter().all(|cosine| (cosine - 1.0).abs() < 1e-6));
}

#[test]
fn wrong_inputs_are_refused_by_name() {
    let check = |query: &[f32], rows: &[&[f32]], width, kth, want: &str| {
        let error = nearest_cosine(query, rows, width, kth, &serial).unwrap_err();
        assert_eq!(error.to_string(), want);
    };
    let row = [1.0, 0.0];
    check(&row, &[], 2, 1, "`nearest_cosine` wants at least one value in `rows`, got none");
    check(&row, &[&row], 0, 1, "`nearest_cosine` wants at least one value in `width`, got none");
    check(
        &row,
        &[&row[..1]],
        2,
        1,
        "`nearest_cosine` wants `rows` of whole rows of 2 values, got 1",
    );
    let want = "`nearest_cosine` wants `kth` at least 1 and at most the rows of the bank, got `2`";
    check(&row, &[&row], 2, 2, want);
    assert!(nearest_cosine(&row, &[&row], 2, 0, &serial).is_err());
    let nan = [f32::NAN, 0.0];
    let want = "`nearest_cosine` wants finite values, but `query` holds `NaN` at index 0";
    check(&nan, &[&row], 2, 1, want);
    assert_eq!(nearest_cosine(&[], &[&row], 2, 1, &serial).unwrap(), Vec::<f32>::new());
}

/// Prints its time: `cargo test --release -p loupe-kernels bank_of_one -- --nocapture`.
#[test]
fn a_bank_of_one_shot_at_896_is_searched() {
    let (query, bank) = (unit(3136, 640, 7), unit(3136, 640, 8));
    let start = std::time::Instant::now();
    let nearest = nearest_cosine(&query, &[&bank], 640, 1, &serial).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let gflops = 2.0 * 3136.0 * 3136.0 * 640.0 / seconds / 1e9;
    println!("3136 x 3136 x 640 on one thread: {seconds:.3} s, {gflops:.0} GFLOP/s");
    assert!(nearest.iter().all(|cosine| (0.0..0.5).contains(cosine)));
}
