//! The way back against torch's autograd, and against finite differences of the general form in f64.

use std::collections::BTreeMap;

use loupe_madff::{Ask, Bank, Cotangents, Kept, MvfaAdapter, ProjectorAdapter, summed};

use super::*;

/// Gradients in f32: largest difference over the root mean square of the recorded values.
const TOLERANCE: f64 = 1e-5;
const HEADS: [&str; 2] = ["seg", "det"];

const PROJECTOR_FILE: &[u8] = include_bytes!("../../golden/projector.safetensors");
const GRADIENTS_FILE: &[u8] = include_bytes!("../../golden/gradients.safetensors");

/// Gradients by name; that of the rows is `rows`.
type Gradients = BTreeMap<String, Vec<f32>>;

/// One step and its way back in tiles of `n_rows`, as the components cut them.
struct Case<'a> {
    rows: &'a [f32],
    /// By head.
    tokens: [Option<&'a [f32]>; 2],
    next: Option<&'a [f32]>,
    tap: usize,
    n_rows: usize,
}

impl Case<'_> {
    fn gradients<A: Adapter>(&self, file: &'static [u8], keys: &A::Keys) -> Gradients {
        let weights = Weights::from_bytes("a state", file).unwrap();
        let drawn = Drawn { width: 0, bottleneck: 0 };
        let bank = Bank::<A>::read(&weights, &HEADS, &TAPS, drawn, keys).unwrap();
        let (width, bottleneck) = (bank.width(), bank.bottleneck());
        let mix = self.next.map(|_| (0.8, &[0.1, 0.1][..]));
        let ask = Ask { tokens: &[true, true], mix };
        let tiles = self.rows.chunks(self.n_rows * width);
        let kept: Vec<_> =
            tiles.map(|rows| bank.step_kept(self.tap, rows, &ask).unwrap().1).collect();
        let tiles: Vec<Tile<'_>> = kept.iter().map(|kept| kept.tile(width)).collect();
        let (mut rows, mut shares) = (Vec::new(), Vec::new());
        for (i, tile) in tiles.iter().enumerate() {
            let part = |all: &[f32], width: usize| -> Vec<f32> {
                all.chunks(self.n_rows * width).nth(i).unwrap().to_vec()
            };
            let tokens = self.tokens.map(|all| all.map(|all| part(all, bottleneck)));
            let tokens: Vec<_> = tokens.iter().map(|all| all.as_deref()).collect();
            let next = self.next.map(|all| part(all, width));
            let given = (tokens.as_slice(), next.as_deref());
            let (of_tile, of_heads) =
                bank.pull_back(self.tap, tile, &kept[i].heads, given, &ask).unwrap();
            rows.extend(of_tile);
            shares.push(of_heads);
        }
        let mut gradients = Gradients::from([("rows".to_owned(), rows)]);
        for (h, head) in HEADS.iter().enumerate() {
            for (s, share) in shares[0][h].iter().enumerate() {
                let of_tiles: Vec<_> = shares.iter().map(|tile| &tile[h][s]).collect();
                let name = format!("{head}_{}.{}.{}", A::GROUP, self.tap, share.name);
                gradients.insert(name, summed(&of_tiles).unwrap());
            }
        }
        gradients
    }
}

/// Holds gradients against recorded ones by name, and these, moved by ten tolerances, must not pass.
fn agree(stage: &str, got: &Gradients, want: &Gradients) {
    assert_eq!(
        got.keys().collect::<Vec<_>>(),
        want.keys().collect::<Vec<_>>(),
        "{stage}: which parameters have a gradient"
    );
    for ((name, got), want) in got.iter().zip(want.values()) {
        if want.iter().all(|x| *x == 0.0) {
            assert!(got.iter().all(|x| *x == 0.0), "{stage}, {name}: wants zeros");
            continue;
        }
        let found = error(got, want);
        assert!(found <= TOLERANCE, "{stage}, {name}: {found:.2e}");
        let mut want = want.clone();
        let square: f32 = want.iter().map(|v| v * v).sum();
        want[0] += 10.0 * TOLERANCE as f32 * (square / want.len() as f32).sqrt();
        assert!(error(got, &want) > TOLERANCE, "{stage}, {name}: the test sees nothing");
    }
}

/// A recorded case, whole and in tiles; how many gradients were compared.
fn check_case<A: Adapter>(name: &str, tap: usize, file: &'static [u8], keys: &A::Keys) -> usize {
    let recorded = read(GRADIENTS_FILE);
    let of = |part: &str| recorded.get(&format!("{name}.{part}")).map(|t| t.f32s().unwrap());
    let prefix = format!("{name}.gradient.");
    let want: Gradients = recorded
        .iter()
        .filter_map(|(name, tensor)| {
            let name = name.strip_prefix(&prefix)?;
            Some((name.to_owned(), tensor.f32s().unwrap().to_vec()))
        })
        .collect();
    for n_rows in [26, 7] {
        let case = Case {
            rows: of("rows").unwrap(),
            tokens: [of("cotangent.seg"), of("cotangent.det")],
            next: of("cotangent.next"),
            tap,
            n_rows,
        };
        agree(&format!("{name} by {n_rows}"), &case.gradients::<A>(file, keys), &want);
    }
    want.len()
}

#[test]
fn madff_goes_back_as_autograd() {
    let check =
        |name: &str, tap, keys: &MadffKeys| check_case::<MadffAdapter>(name, tap, MADFF_FILE, keys);
    assert_eq!(check("madff", 1, &keys()), 17);
    // Behind the last tap nobody reads the stream, and what stretches the tokens has no gradient.
    assert_eq!(check("madff_last", 3, &keys()), 15);
    assert_eq!(check("madff_channel_off", 1, &MadffKeys { channel_gate: false, ..keys() }), 13);
    assert_eq!(check("madff_spatial_off", 1, &MadffKeys { spatial_gate: false, ..keys() }), 13);
    let off = MadffKeys { frequency_gate: false, ..keys() };
    assert_eq!(check("madff_frequency_off", 1, &off), 13);
    let weighed = MadffKeys {
        token_weights: [0.0, 0.7, -0.4, 0.3],
        stream_weights: [0.5, 0.0, 0.6, -0.2],
        ..keys()
    };
    assert_eq!(check("madff_weights", 1, &weighed), 17);
}

#[test]
fn mvfa_and_projectors_go_back_as_autograd() {
    assert_eq!(check_case::<MvfaAdapter>("mvfa", 1, MADFF_FILE, &()), 5);
    assert_eq!(check_case::<MvfaAdapter>("mvfa_last", 3, MADFF_FILE, &()), 3);
    assert_eq!(check_case::<ProjectorAdapter>("projector", 1, PROJECTOR_FILE, &()), 7);
}

#[test]
fn a_head_without_cotangents_learns_by_the_stream_alone() {
    let recorded = read(GRADIENTS_FILE);
    let of = |part: &str| recorded[&format!("madff.{part}")].f32s().unwrap().to_vec();
    let (rows, seg, next) = (of("rows"), of("cotangent.seg"), of("cotangent.next"));
    let gradients = |tokens, next| {
        let case = Case { rows: &rows, tokens, next, tap: 1, n_rows: 26 };
        case.gradients::<MadffAdapter>(MADFF_FILE, &keys())
    };
    let of_det = |all: &Gradients| all.keys().filter(|name| name.starts_with("det_")).count();
    assert_eq!(of_det(&gradients([Some(&seg), None], None)), 0);
    assert_eq!(of_det(&gradients([Some(&seg), None], Some(&next))), 8);
    let zeros = vec![0.0; seg.len()];
    let (absent, zero) = (
        gradients([None, None], Some(&next)),
        gradients([Some(&zeros), Some(&zeros)], Some(&next)),
    );
    assert_eq!(absent, zero);
}

/// What the general form makes, against cotangents of what an adapter gives.
fn loss(adapter: &ReferenceAdapter, x: &[f64], cotangents: [&[f32]; 2]) -> f64 {
    let made = adapter.forward(x, [1, 32]);
    let met = |(made, cotangents): (&Vec<f64>, &[f32])| -> f64 {
        made.iter().zip(cotangents).map(|(y, c)| y * f64::from(*c)).sum()
    };
    made.iter().zip(cotangents).map(met).sum()
}

/// Central differences of `loss` in each of the numbers that `at` gives.
fn slopes(
    adapter: &mut ReferenceAdapter,
    n: usize,
    at: impl Fn(&mut ReferenceAdapter, usize) -> &mut f64,
    loss: impl Fn(&ReferenceAdapter) -> f64,
) -> Vec<f32> {
    const STEP: f64 = 1e-6;
    let mut slope = |i: usize| {
        let kept = *at(adapter, i);
        let mut moved = |by: f64| {
            *at(adapter, i) = kept + by;
            loss(adapter)
        };
        let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        *at(adapter, i) = kept;
        slope as f32
    };
    (0..n).map(&mut slope).collect()
}

#[test]
fn gradients_are_the_slopes_of_the_general_form() {
    let recorded = read(GRADIENTS_FILE);
    let of = |part: &str| recorded[&format!("madff.{part}")].f32s().unwrap().to_vec();
    // Three tokens say as much as all, and a stream of no unit share needs no bank.
    let rows = of("rows")[..3 * 32].to_vec();
    let (tokens, stream) =
        (of("cotangent.seg")[..3 * 24].to_vec(), of("cotangent.next")[..3 * 32].to_vec());
    let spectrum = Spectrum::new(32);
    let (fast, tile) = (adapter(), Tile::new(&rows, 32, Some(&spectrum)));
    let made = fast.forward(&tile, true).unwrap();
    let kept = Kept { tokens: made.tokens, tape: made.tape };
    let cotangents = Cotangents { tokens: Some(&tokens), stream: Some(&stream) };
    let back = fast.pull_back(&tile, &kept, cotangents).unwrap();
    let mut got = Gradients::new();
    for share in &back.shares {
        got.insert(share.name.to_owned(), summed(&[share]).unwrap());
    }
    let mut of_rows = back.rows.clone();
    let of_magnitudes = spectrum.pull_back(&rows, back.magnitudes.as_ref().unwrap());
    of_rows.iter_mut().zip(of_magnitudes).for_each(|(sum, x)| *sum += x);
    got.insert("rows".to_owned(), of_rows);

    let x: Vec<f64> = rows.iter().map(|x| f64::from(*x)).collect();
    let mut plain = general();
    let at_x = |adapter: &ReferenceAdapter| loss(adapter, &x, [&tokens, &stream]);
    let mut want = Gradients::new();
    let moved = |i: usize, by: f64| {
        let mut x = x.clone();
        x[i] += by;
        loss(&general(), &x, [&tokens, &stream])
    };
    let slope = |i: usize| ((moved(i, 1e-6) - moved(i, -1e-6)) / 2e-6) as f32;
    want.insert("rows".to_owned(), (0..x.len()).map(slope).collect());
    let mut put = |name: &str, at: fn(&mut ReferenceAdapter, usize) -> &mut f64, n: usize| {
        want.insert(name.to_owned(), slopes(&mut plain, n, at, at_x));
    };
    put("fc1.0.weight", |a, i| &mut a.down[i], 24 * 32);
    put("fc2.0.weight", |a, i| &mut a.up[i], 24 * 32);
    put("channel_attention.fc.0.weight", |a, i| &mut a.channel[0][i], 2 * 32);
    put("channel_attention.fc.2.weight", |a, i| &mut a.channel[1][i], 2 * 32);
    put("spatial_attention.conv.weight", |a, i| &mut a.kernel[i], 14);
    put("spatial_attention.conv.bias", |a, _| &mut a.bias, 1);
    put("frequency_attention.fc.0.weight", |a, i| &mut a.frequency[0][i], 2 * 32);
    put("frequency_attention.fc.2.weight", |a, i| &mut a.frequency[1][i], 2 * 32);
    agree("the general form", &got, &want);
}

#[test]
fn a_token_of_zeros_passes_nothing_back_through_its_magnitudes() {
    for width in [1, 2, 7, 12, 32] {
        let spectrum = Spectrum::new(width);
        let back = spectrum.pull_back(&vec![0.0; 2 * width], &vec![1.0; 2 * width]);
        assert_eq!(back, vec![0.0; 2 * width], "{width}");
    }
}

/// The transform's way back in f64, by definition.
#[test]
fn magnitudes_of_every_length_go_back_as_their_definition() {
    for width in [1, 2, 3, 4, 5, 7, 8, 12, 30, 32, 97, 194] {
        // No bin of these is 0, where a magnitude has no slope.
        let value = |i: usize, by: usize| 2.0 * ((i * i * 31 + i * by + 5) as f32).sin();
        let rows: Vec<f32> = (0..19 * width).map(|i| value(i, 37)).collect();
        let cotangents: Vec<f32> = (0..19 * width).map(|i| value(i, 61)).collect();
        let got = Spectrum::new(width).pull_back(&rows, &cotangents);
        let angle =
            |k: usize, c: usize| -std::f64::consts::TAU * ((k * c) % width) as f64 / width as f64;
        for ((row, given), got) in
            rows.chunks(width).zip(cotangents.chunks(width)).zip(got.chunks(width))
        {
            let mut want = vec![0.0_f64; width];
            for (k, given) in given.iter().enumerate() {
                let terms = row.iter().enumerate().map(|(c, x)| (f64::from(*x), angle(k, c)));
                let bin = terms.fold([0.0, 0.0], |sum, (x, angle)| {
                    [sum[0] + x * angle.cos(), sum[1] + x * angle.sin()]
                });
                let factor = f64::from(*given) / bin[0].hypot(bin[1]);
                for (c, want) in want.iter_mut().enumerate() {
                    let (sin, cos) = angle(k, c).sin_cos();
                    *want += factor * (bin[0] * cos + bin[1] * sin);
                }
            }
            let want: Vec<f32> = want.iter().map(|x| *x as f32).collect();
            assert!(error(got, &want) < 5e-6, "{width}: {:.1e}", error(got, &want));
        }
    }
}
