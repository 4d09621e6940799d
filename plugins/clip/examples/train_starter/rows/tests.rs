use candle_core::{D, DType, Device, Tensor, Var};

use super::*;
use crate::attention::{Sequences, attend, attend_backward};
use crate::tensors::{own, with_values};
use crate::unit_rows::unit_rows;

fn wave(n: usize, a: f32, b: f32) -> Vec<f32> {
    (0..n).map(|i| (1.3 * (a * i as f32 + b).sin()) + 0.2).collect()
}

/// A variable in f64, in which candle's plain operations are the reference.
fn exact(x: &[f32], shape: &[usize]) -> Var {
    let x = Tensor::from_vec(x.to_vec(), shape, &Device::Cpu).unwrap();
    Var::from_tensor(&x.to_dtype(DType::F64).unwrap()).unwrap()
}

/// The gradient of `sum(y dy)` by `x`.
fn gradient(y: &Tensor, dy: &[f32], x: &Var) -> Vec<f64> {
    let dy = exact(dy, y.dims());
    let store = y.mul(&dy).unwrap().sum_all().unwrap().backward().unwrap();
    store.get(x).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_near(got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((f64::from(*got) - want).abs() < 1e-5 * (1.0 + want.abs()), "{got} is not {want}");
    }
}

fn all(x: &Tensor) -> Vec<f64> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

fn softmax_of(x: &Tensor) -> Tensor {
    let e = x.broadcast_sub(&x.max_keepdim(D::Minus1).unwrap().detach()).unwrap().exp().unwrap();
    e.broadcast_div(&e.sum_keepdim(D::Minus1).unwrap()).unwrap()
}

#[test]
fn layer_norm_and_its_gradients_equal_plain_operations() {
    let (n, width) = (5, 19);
    let (x, dy) = (wave(n * width, 0.37, 0.1), wave(n * width, 0.71, 0.5));
    let (weight, bias) = (wave(width, 0.9, 0.3), wave(width, 0.4, 0.7));
    let (vx, vw, vb) = (exact(&x, &[n, width]), exact(&weight, &[width]), exact(&bias, &[width]));
    let centred = vx.broadcast_sub(&vx.mean_keepdim(1).unwrap()).unwrap();
    let variance = (centred.sqr().unwrap().mean_keepdim(1).unwrap() + 1e-5).unwrap();
    let unit = centred.broadcast_div(&variance.sqrt().unwrap()).unwrap();
    let want = unit.broadcast_mul(&vw).unwrap().broadcast_add(&vb).unwrap();
    let (y, statistics) = layer_norm(&x, &weight, &bias);
    assert_near(&y, &all(&want));
    let (mut dx, mut dw, mut db) = (vec![1.0; n * width], vec![0.0; width], vec![0.0; width]);
    layer_norm_backward((&x, &statistics, &weight), &dy, &mut dx, (&mut dw, &mut db));
    dx.iter_mut().for_each(|v| *v -= 1.0);
    assert_near(&dx, &gradient(&want, &dy, &vx));
    assert_near(&dw, &gradient(&want, &dy, &vw));
    assert_near(&db, &gradient(&want, &dy, &vb));
}

#[test]
fn bias_and_gelu_and_their_gradients_equal_plain_operations() {
    let (n, width) = (6, 21);
    let x: Vec<f32> = wave(n * width, 0.37, 0.1).iter().map(|v| 3.0 * v).collect();
    let (bias, dy) = (wave(width, 0.4, 0.7), wave(n * width, 0.71, 0.5));
    let (vx, vb) = (exact(&x, &[n, width]), exact(&bias, &[width]));
    let want = vx.broadcast_add(&vb).unwrap().gelu_erf().unwrap();
    let mut slope = x.clone();
    assert_near(&biased_gelu(&mut slope, &bias), &all(&want));
    let (mut dx, mut db) = (dy.clone(), vec![0.0; width]);
    times_slope(&mut dx, &slope, &mut db);
    assert_near(&dx, &gradient(&want, &dy, &vx));
    assert_near(&db, &gradient(&want, &dy, &vb));
}

#[test]
fn attention_and_its_gradient_equal_plain_operations() {
    for causal in [false, true] {
        let (n_sequences, length, n_heads, width) = (3, 7, 2, 10);
        let shape = Sequences { n_sequences, length, n_heads, width, causal };
        let (rows, d) = (n_sequences * length, width / n_heads);
        let (x, dy) = (wave(rows * 3 * width, 0.37, 0.1), wave(rows * width, 0.71, 0.5));
        let vx = exact(&x, &[rows, 3 * width]);
        let split = vx.reshape((n_sequences, length, 3, n_heads, d)).unwrap();
        let part = |i| {
            let part = split.narrow(2, i, 1).unwrap().squeeze(2).unwrap();
            part.transpose(1, 2).unwrap().contiguous().unwrap()
        };
        let scores = part(0).matmul(&part(1).transpose(2, 3).unwrap().contiguous().unwrap());
        let mut scores = (scores.unwrap() / (d as f64).sqrt()).unwrap();
        if causal {
            let hidden: Vec<f32> = (0..length * length)
                .map(|i| if i % length > i / length { -1e9 } else { 0.0 })
                .collect();
            let hidden = exact(&hidden, &[length, length]);
            scores = scores.broadcast_add(&hidden).unwrap();
        }
        let mixed = softmax_of(&scores).matmul(&part(2)).unwrap();
        let want = mixed.transpose(1, 2).unwrap().reshape((rows, width)).unwrap();
        let qkv = own(x, &[rows, 3 * width]).unwrap();
        let (y, weights) = attend(&qkv, shape).unwrap();
        with_values(&y, |y| assert_near(y, &all(&want))).unwrap();
        let dy_tensor = own(dy.clone(), &[rows, width]).unwrap();
        let dqkv = attend_backward(&qkv, &weights, &dy_tensor, shape).unwrap();
        with_values(&dqkv, |dx| assert_near(dx, &gradient(&want, &dy, &vx))).unwrap();
    }
}

#[test]
fn unit_rows_and_their_gradient_equal_plain_operations() {
    let (n, width) = (4, 13);
    let (x, dy) = (wave(n * width, 0.37, 0.1), wave(n * width, 0.71, 0.5));
    let vx = exact(&x, &[n, width]);
    let length = vx.sqr().unwrap().sum_keepdim(1).unwrap().sqrt().unwrap();
    let want = vx.broadcast_div(&length).unwrap();
    let var = Var::from_tensor(&own(x, &[n, width]).unwrap()).unwrap();
    let y = unit_rows(&var).unwrap();
    with_values(&y, |y| assert_near(y, &all(&want))).unwrap();
    let weighted = y.mul(&own(dy.clone(), &[n, width]).unwrap()).unwrap();
    let store = weighted.sum_all().unwrap().backward().unwrap();
    with_values(store.get(&var).unwrap(), |dx| assert_near(dx, &gradient(&want, &dy, &vx)))
        .unwrap();
}
