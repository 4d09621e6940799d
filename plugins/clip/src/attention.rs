//! Attention with a bound on the score matrix: rows are taken in chunks, so that an image of 3,137
//! tokens and 14 heads needs 64 MB at a time and not 551 MB.

use candle_core::Tensor;

use crate::error::Result;
use crate::ops;

/// Bytes that one chunk of scores may take (a chunk holds one row of every head at least).
const MAX_SCORE_BYTES: usize = 64 << 20;

/// Queries, keys and values of all heads, each `[b*h, n, d]` and contiguous.
pub struct Heads {
    pub q: Tensor,
    pub k: Tensor,
    pub v: Tensor,
    /// Images or sentences.
    pub batch: usize,
}

impl Heads {
    /// Splits the fused projection. Shapes: `qkv [b*n, 3c]` with columns q, k, v.
    pub fn split(qkv: &Tensor, batch: usize, n_heads: usize) -> Result<Self> {
        let (n_rows, width) = qkv.dims2()?;
        let (n, head_width) = (n_rows / batch, width / 3 / n_heads);
        let parts = qkv
            .reshape((batch, n, 3, n_heads, head_width))?
            .permute((2, 0, 3, 1, 4))?
            .contiguous()?
            .reshape((3, batch * n_heads, n, head_width))?;
        Ok(Self { q: parts.get(0)?, k: parts.get(1)?, v: parts.get(2)?, batch })
    }

    /// Undoes the split for one tensor. Shapes: `x [b*h, n, d]` -> `[b*n, h*d]`.
    pub fn merge(&self, x: &Tensor) -> Result<Tensor> {
        let (groups, n, head_width) = x.dims3()?;
        let n_heads = groups / self.batch;
        Ok(x.reshape((self.batch, n_heads, n, head_width))?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((self.batch * n, n_heads * head_width))?)
    }

    /// `softmax(q k^T / sqrt d) v`, heads merged: `[b*n, h*d]`. With `causal`, a token sees itself
    /// and what stands before it.
    pub fn attend(&self, causal: bool) -> Result<Tensor> {
        let scale = 1.0 / (self.q.dim(2)? as f32).sqrt();
        let q = ops::scaled(&self.q, scale)?;
        self.merge(&weigh(&q, &self.k, &self.v, causal)?)
    }

    /// The cotangent of the fused projection from that of what `attend` of one image without `causal`
    /// gave. Shapes: `cotangent [n, h*d]` -> `[n, 3*h*d]`. The weights are computed again, in the same
    /// chunks of rows; each chunk's scores are held twice.
    pub fn pull_back(&self, cotangent: &Tensor) -> Result<Tensor> {
        let (n_heads, n, head_width) = self.q.dims3()?;
        let given = cotangent.reshape((n, n_heads, head_width))?.transpose(0, 1)?.contiguous()?;
        let scale = 1.0 / (head_width as f32).sqrt();
        let q = ops::scaled(&self.q, scale)?;
        let (keys, values) = (self.k.t()?, self.v.t()?);
        let n_chunk = rows_per_chunk(n_heads, n);
        let (mut of_q, mut sums) = (Vec::with_capacity(n.div_ceil(n_chunk)), None);
        for first in (0..n).step_by(n_chunk) {
            let chunk = |x: &Tensor| x.narrow(1, first, n_chunk.min(n - first));
            let (rows, given) = (chunk(&q)?, chunk(&given)?);
            let weights = rows.matmul(&keys)?;
            ops::softmax_in_place(&weights, false, first)?;
            let of_scores = given.matmul(&values)?;
            ops::softmax_pull_back(&of_scores, &weights)?;
            of_q.push(of_scores.matmul(&self.k)?);
            let of_k = of_scores.t()?.matmul(&rows)?;
            let of_v = weights.t()?.matmul(&given)?;
            sums = Some(match sums {
                Some((k, v)) => (ops::add(of_k, &k)?, ops::add(of_v, &v)?),
                None => (of_k, of_v),
            });
        }
        let Some((of_k, of_v)) = sums else { return Ok(cotangent.repeat((1, 3))?) };
        let of_q = ops::scaled(&Tensor::cat(&of_q, 1)?, scale)?;
        Ok(Tensor::stack(&[of_q, of_k, of_v], 0)?
            .permute((2, 0, 1, 3))?
            .contiguous()?
            .reshape((n, 3 * n_heads * head_width))?)
    }

    /// GEM's self-self attention, heads merged: the values weighed by how alike the tokens' values,
    /// keys and queries are among themselves, and the three results averaged. Shape: `[n, h*d]`.
    ///
    /// `inverse_temperature` multiplies the cosine of two tokens. Every iteration replaces the
    /// vectors by their own weighted means before the weights are taken. Source: GEM,
    /// arXiv:2312.00878, with the order of operations of the package gem-torch 1.0.1.
    pub fn attend_alike(&self, inverse_temperature: f32, n_iterations: usize) -> Result<Tensor> {
        let tau = inverse_temperature;
        let mut sum: Option<Tensor> = None;
        for vectors in [&self.v, &self.k, &self.q] {
            let mut unit = ops::unit_rows(vectors)?;
            for _ in 0..n_iterations {
                let mixed = weigh(&ops::scaled(&unit, tau)?, &unit, &unit, false)?;
                unit = ops::unit_rows(&mixed)?;
            }
            let weighed = weigh(&ops::scaled(&unit, tau)?, &unit, &self.v, false)?;
            sum = Some(match sum {
                Some(sum) => ops::add(weighed, &sum)?,
                None => weighed,
            });
        }
        let sum = sum.map_or_else(|| self.v.zeros_like(), Ok)?;
        self.merge(&ops::scaled(&sum, 1.0 / 3.0)?)
    }
}

/// `softmax(q k^T) v` in chunks of rows. Shapes: `q`, `k`, `v [g,n,d]` -> `[g,n,d]`.
fn weigh(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Result<Tensor> {
    let (groups, n, _) = q.dims3()?;
    let keys = k.t()?;
    let n_chunk = rows_per_chunk(groups, n);
    let mut chunks = Vec::with_capacity(n.div_ceil(n_chunk));
    for first in (0..n).step_by(n_chunk) {
        let rows = q.narrow(1, first, n_chunk.min(n - first))?;
        let scores = rows.matmul(&keys)?;
        ops::softmax_in_place(&scores, causal, first)?;
        chunks.push(scores.matmul(v)?);
    }
    match chunks.as_slice() {
        [whole] => Ok(whole.clone()),
        _ => Ok(Tensor::cat(&chunks, 1)?),
    }
}

fn rows_per_chunk(groups: usize, n: usize) -> usize {
    let row_bytes = groups.max(1) * n.max(1) * size_of::<f32>();
    (MAX_SCORE_BYTES / row_bytes).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{LayerNorm, Linear, from_vec, mean_row_length, to_vec};
    use crate::threads::Threads;

    fn wave(shape: &[usize], gain: f64, a: f64, b: f64) -> Tensor {
        let n: usize = shape.iter().product();
        let values = (0..n).map(|i| (gain * (a * i as f64 + b).sin()) as f32).collect();
        from_vec(values, shape).unwrap()
    }

    fn fixture() -> (Tensor, Heads, Linear) {
        let y = wave(&[5, 8], 1.0, 0.37, 0.1);
        let project = Linear {
            weight: wave(&[24, 8], 0.5, 0.11, 0.2).t().unwrap(),
            bias: to_vec(&wave(&[24], 0.1, 0.5, 0.0)).unwrap(),
        };
        let out = Linear {
            weight: wave(&[8, 8], 0.5, 0.23, 0.3).t().unwrap(),
            bias: to_vec(&wave(&[8], 0.1, 0.7, 0.0)).unwrap(),
        };
        let heads = Heads::split(&project.apply(&y).unwrap(), 1, 2).unwrap();
        (y, heads, out)
    }

    fn assert_near(got: &[f32], want: &[f64]) {
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(want) {
            assert!((f64::from(*got) - want).abs() < 2e-6, "{got} is not {want}");
        }
    }

    /// Recorded in f64 from gem-torch 1.0.1 with one iteration.
    #[test]
    fn self_self_attention_equals_gem() {
        let (y, heads, out) = fixture();
        let tau = mean_row_length(&y).unwrap() * 0.5;
        assert!((f64::from(tau) - 1.012_725_369_144_230_4).abs() < 1e-6);
        let got = to_vec(&out.apply(&heads.attend_alike(tau, 1).unwrap()).unwrap()).unwrap();
        assert_near(
            &got[..8],
            &[
                0.369682813,
                -0.692011143,
                0.131229818,
                0.825367872,
                -0.392305604,
                -0.547628071,
                0.611286277,
                0.042782818,
            ],
        );
        assert_near(
            &got[32..],
            &[
                0.369685025,
                -0.692011228,
                0.131227651,
                0.825369110,
                -0.392304096,
                -0.547630111,
                0.611285854,
                0.042785083,
            ],
        );
        assert_near(&[got.iter().sum::<f32>()], &[0.29961228874370316]);
    }

    #[test]
    fn attention_equals_the_original() {
        let (_, heads, out) = fixture();
        let got = to_vec(&out.apply(&heads.attend(false).unwrap()).unwrap()).unwrap();
        assert_near(
            &got[..8],
            &[
                0.486890463,
                -0.877954603,
                0.112930654,
                1.021045166,
                -0.478092623,
                -0.697672868,
                0.776886288,
                0.104740374,
            ],
        );
        assert_near(&[got.iter().sum::<f32>()], &[0.2534124516297802]);
    }

    #[test]
    fn a_causal_token_does_not_see_what_follows() {
        let (_, heads, _) = fixture();
        let whole = to_vec(&heads.attend(true).unwrap()).unwrap();
        let prefix = |x: &Tensor| x.narrow(1, 0, 3).unwrap().contiguous().unwrap();
        let (q, k, v) = (prefix(&heads.q), prefix(&heads.k), prefix(&heads.v));
        let short = to_vec(&Heads { q, k, v, batch: 1 }.attend(true).unwrap()).unwrap();
        assert_eq!(whole[..24], short[..]);
    }

    #[test]
    fn the_chunks_stay_within_their_bound() {
        for (groups, n) in [(14, 3_137), (16, 226), (1, 5)] {
            let rows = rows_per_chunk(groups, n);
            assert!(rows * groups * n * 4 <= MAX_SCORE_BYTES && rows >= 1);
        }
    }

    #[test]
    fn an_outlier_channel_does_not_spoil_the_normalisation() {
        let threads = Threads::Library;
        let norm = LayerNorm { weight: vec![1.0; 4], bias: vec![0.0; 4], threads };
        let x = from_vec(vec![10_000.0, 10_001.0, 10_002.0, 10_003.0], &[1, 4]).unwrap();
        let got = to_vec(&norm.apply(&x).unwrap()).unwrap();
        assert_near(&got, &[-1.341635, -0.447212, 0.447212, 1.341635]);
    }
}
