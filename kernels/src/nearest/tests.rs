use super::*;
use crate::golden::{max_error, noise};
use crate::parallel::tests::backwards_on_two_threads;
use crate::{serial, unit_rows};

const ONE: Team = Team { par: &serial, n_threads: 1 };
const TWO: Team = Team { par: &backwards_on_two_threads, n_threads: 2 };

/// Every set of instructions that this machine has, and both precisions.
fn kinds() -> impl Iterator<Item = (Isa, Precision)> {
    let own = Isa::ALL.into_iter().filter(|isa| *isa <= Isa::of_this_machine());
    own.flat_map(|isa| [(isa, Precision::F32), (isa, Precision::Bf16)])
}

fn unit(n: usize, width: usize, seed: u64) -> Vec<f32> {
    unit_rows(&noise(n * width, seed), width).unwrap()
}

fn search(
    query: &[f32],
    slabs: &[&[f32]],
    width: usize,
    kth: usize,
    (isa, precision): (Isa, Precision),
    team: Team,
) -> Result<Vec<f32>, KernelError> {
    let bank = |slab: &&[f32]| Bank::new(slab, width, isa, precision, team);
    let banks = slabs.iter().map(bank).collect::<Result<Vec<_>, _>>()?;
    nearest_cosine(query, &banks.iter().collect::<Vec<_>>(), width, kth, team)
}

const PLAIN: (Isa, Precision) = (Isa::Portable, Precision::F32);

#[test]
fn the_nearest_of_three_is_found() {
    let bank = [1.0, 0.0, 0.0, 1.0, -1.0, 0.0];
    let query = [0.6, 0.8, -1.0, 0.0];
    for (kth, want) in [(1, [0.8, 1.0]), (2, [0.6, 0.0]), (3, [-0.6, -1.0])] {
        assert_eq!(search(&query, &[&bank], 2, kth, PLAIN, ONE).unwrap(), want);
    }
}

#[test]
fn panels_agree_with_the_definition_at_all_sizes() {
    for (m, n, width, kth) in [
        (1, 1, 1, 1),
        (7, 5, 3, 2),
        (96, 512, 64, 1),
        (97, 513, 65, 3),
        (225, 1100, 40, 1),
        (3, 700, 640, 7),
        (2, 40, 1025, 40),
    ] {
        let (query, bank) = (unit(m, width, 1), unit(n, width, 2));
        let want = nearest_cosine_reference(&query, &[&bank], width, kth).unwrap();
        for kind in kinds() {
            let got = search(&query, &[&bank], width, kth, kind, ONE).unwrap();
            let error = max_error(&got, &want);
            // Rounding to bf16 moves a product by at most 2^-7 of itself, and its sum by far less.
            let most = if kind.1 == Precision::F32 { 5e-7 } else { 8e-3 };
            assert!(error < most, "{kind:?}, {m} x {n} x {width}, kth {kth}: off by {error}");
        }
    }
}

#[test]
fn threads_slabs_and_company_do_not_change_a_byte() {
    let width = 48;
    let (query, bank) = (unit(200, width, 3), unit(1300, width, 4));
    let (a, b) = bank.split_at(width * 701);
    let slabs: [&[f32]; 4] = [a, &[], &b[..width], &b[width..]];
    for (kind, kth) in kinds().flat_map(|kind| [(kind, 1), (kind, 2)]) {
        let whole = search(&query, &[&bank], width, kth, kind, ONE).unwrap();
        assert_eq!(search(&query, &slabs, width, kth, kind, TWO).unwrap(), whole, "{kind:?}");
        let alone = search(&query[150 * width..151 * width], &[&bank], width, kth, kind, ONE);
        assert_eq!(alone.unwrap(), whole[150..151], "{kind:?}");
    }
}

#[test]
fn a_query_in_its_own_bank_is_its_first_neighbour() {
    let (query, bank) = (unit(10, 16, 5), unit(30, 16, 6));
    let with_self = search(&query, &[&bank, &query], 16, 1, PLAIN, ONE).unwrap();
    assert!(with_self.iter().all(|cosine| (cosine - 1.0).abs() < 1e-6));
}

#[test]
fn padding_is_no_neighbour() {
    for kind in kinds() {
        let nearest = search(&[1.0, 0.0], &[&[-1.0, 0.0]], 2, 1, kind, ONE).unwrap();
        assert_eq!(nearest, [-1.0], "{kind:?}");
    }
}

#[test]
fn wrong_inputs_are_refused_by_name() {
    let check = |query: &[f32], rows: &[&[f32]], width, kth, want: &str| {
        let error = search(query, rows, width, kth, PLAIN, ONE).unwrap_err();
        assert_eq!(error.to_string(), want);
    };
    let row = [1.0, 0.0];
    check(&row, &[], 2, 1, "`nearest_cosine` wants at least one value in `banks`, got none");
    check(&row, &[&row], 0, 1, "`nearest_cosine` wants at least one value in `width`, got none");
    check(
        &row,
        &[&row[..1]],
        2,
        1,
        "`nearest_cosine` wants `rows` of whole rows of 2 values, got 1",
    );
    let want = "`nearest_cosine` wants `kth` at least 1 and at most the rows of the banks, got `2`";
    check(&row, &[&row], 2, 2, want);
    assert!(search(&row, &[&row], 2, 0, PLAIN, ONE).is_err());
    let nan = [f32::NAN, 0.0];
    let want = "`nearest_cosine` wants finite values, but `query` holds `NaN` at index 0";
    check(&nan, &[&row], 2, 1, want);
    let narrow = Bank::new(&row, 1, Isa::Portable, Precision::F32, ONE).unwrap();
    let error = nearest_cosine(&row, &[&narrow], 2, 1, ONE).unwrap_err();
    assert_eq!(error.to_string(), "`nearest_cosine` wants `banks` of width 2, got 1");
    assert_eq!(search(&[], &[&row], 2, 1, PLAIN, ONE).unwrap(), Vec::<f32>::new());
}
