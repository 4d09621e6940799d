//! The transform against its definition.

use loupe_madff::Spectrum;

/// By definition, in f64.
fn plain(row: &[f32]) -> Vec<f64> {
    let n = row.len();
    let bin = |k: usize| {
        let term = |(c, x): (usize, &f32)| {
            let angle = -std::f64::consts::TAU * ((k * c) % n) as f64 / n as f64;
            [f64::from(*x) * angle.cos(), f64::from(*x) * angle.sin()]
        };
        let sum = row
            .iter()
            .enumerate()
            .map(term)
            .fold([0.0, 0.0], |sum, term| [sum[0] + term[0], sum[1] + term[1]]);
        sum[0].hypot(sum[1])
    };
    (0..n).map(bin).collect()
}

#[test]
fn every_length_agrees_with_the_definition() {
    for width in [1, 2, 3, 4, 5, 7, 8, 12, 30, 32, 97, 194, 640, 768, 896, 1024] {
        let value = |i: usize| ((i * i * 31 + i * 37 + 5) % 257) as f32 / 64.0 - 2.0;
        let rows: Vec<f32> = (0..19 * width).map(value).collect();
        let made = Spectrum::new(width).magnitudes(&rows);
        assert_eq!(made.len(), rows.len());
        for (row, made) in rows.chunks(width).zip(made.chunks(width)) {
            let want = plain(row);
            let square = want.iter().map(|x| x * x).sum::<f64>() / width as f64;
            for (got, want) in made.iter().zip(&want) {
                let error = (f64::from(*got) - want).abs() / square.sqrt();
                // Recorded tensors are held to 2e-5 of their RMS; a tenth of that is the transform's.
                assert!(error < 2e-6, "{width}: {got} for {want}");
            }
        }
    }
}

#[test]
fn a_rows_bytes_do_not_depend_on_its_neighbours() {
    let rows: Vec<f32> = (0..17 * 12).map(|i| (i % 29) as f32 - 11.0).collect();
    let spectrum = Spectrum::new(12);
    let (all, last) = (spectrum.magnitudes(&rows), spectrum.magnitudes(&rows[16 * 12..]));
    assert_eq!(all[16 * 12..], last);
    assert!(spectrum.magnitudes(&[]).is_empty() && Spectrum::new(0).magnitudes(&[]).is_empty());
}
