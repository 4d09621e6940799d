//! A block by definition, in f64.

use super::Parameters;
use crate::fused::BlockShape;

/// `x W^T + b` in f64.
pub(super) fn dense(x: &[f64], [weight, bias]: &[Vec<f32>; 2]) -> Vec<f64> {
    let n_in = weight.len() / bias.len();
    let rows = x.chunks_exact(n_in).flat_map(|x| {
        weight.chunks_exact(n_in).zip(bias).map(move |(w, b)| {
            w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(*b)
        })
    });
    rows.collect()
}

fn norm(x: &[f64], [weight, bias]: &[Vec<f32>; 2]) -> Vec<f64> {
    let rows = x.chunks_exact(weight.len()).flat_map(|x| {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let scale = 1.0 / (variance + 1e-5).sqrt();
        let scaled = x.iter().zip(weight).zip(bias);
        scaled.map(move |((v, w), b)| (v - mean) * scale * f64::from(*w) + f64::from(*b))
    });
    rows.collect()
}

/// `softmax(scale q k^T) v`, all `[n, d]`.
fn attend(q: &[f64], k: &[f64], v: &[f64], d: usize, scale: f64, causal: bool) -> Vec<f64> {
    let mut out = Vec::new();
    for (i, q) in q.chunks_exact(d).enumerate() {
        let n_seen = if causal { i + 1 } else { k.len() / d };
        let scores: Vec<f64> = k
            .chunks_exact(d)
            .take(n_seen)
            .map(|k| scale * q.iter().zip(k).map(|(a, b)| a * b).sum::<f64>())
            .collect();
        let peak = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - peak).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mean = |c: usize| {
            let values = weights.iter().zip(v.chunks_exact(d));
            values.map(|(w, v)| w * v[c]).sum::<f64>() / total
        };
        out.extend((0..d).map(mean));
    }
    out
}

fn unit(x: &[f64], d: usize) -> Vec<f64> {
    let row = |row: &[f64]| {
        let length = row.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
        row.iter().map(|v| v / length).collect::<Vec<_>>()
    };
    x.chunks_exact(d).flat_map(row).collect()
}

/// One block in f64: the tokens, and what GEM adds to its stream with `n_iterations`.
pub(super) fn block(
    x: &[f64],
    of: &Parameters,
    n_iterations: usize,
    temperature: Option<f32>,
) -> (Vec<f64>, Vec<f64>) {
    let BlockShape { width: c, n_heads, causal, .. } = of.shape;
    let d = c / n_heads;
    let normed = norm(x, &of.ln_1);
    let lengths = normed.chunks_exact(c).map(|row| row.iter().map(|v| v * v).sum::<f64>().sqrt());
    let n = x.len() / c;
    let tau = lengths.sum::<f64>() / n as f64 / (d as f64).sqrt();
    let tau = temperature.map_or(tau, f64::from);
    let qkv = dense(&normed, &of.qkv);
    let (mut plain, mut alike) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    for head in 0..n_heads {
        let part = |which: usize| -> Vec<f64> {
            let rows = qkv.chunks_exact(3 * c);
            rows.flat_map(|row| row[which * c + head * d..which * c + (head + 1) * d].to_vec())
                .collect()
        };
        let parts = [part(0), part(1), part(2)];
        let [q, k, v] = &parts;
        let put = |to: &mut [f64], from: &[f64], by: f64| {
            for (to, from) in to.chunks_exact_mut(c).zip(from.chunks_exact(d)) {
                let to = &mut to[head * d..(head + 1) * d];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += by * from);
            }
        };
        put(&mut plain, &attend(q, k, v, d, 1.0 / (d as f64).sqrt(), causal), 1.0);
        for vectors in &parts {
            let mut vectors = unit(vectors, d);
            for _ in 0..n_iterations {
                vectors = unit(&attend(&vectors, &vectors, &vectors, d, tau, false), d);
            }
            put(&mut alike, &attend(&vectors, &vectors, v, d, tau, false), 1.0 / 3.0);
        }
    }
    let plus = |a: Vec<f64>, b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
    let attended = plus(dense(&plain, &of.out), x);
    let hidden = dense(&norm(&attended, &of.ln_2), &of.fc);
    let active: Vec<f64> = hidden
        .into_iter()
        .map(|value| {
            let mut value = [value as f32];
            of.shape.activation.apply(&mut value);
            f64::from(value[0])
        })
        .collect();
    (plus(dense(&active, &of.proj), &attended), dense(&alike, &of.out))
}
