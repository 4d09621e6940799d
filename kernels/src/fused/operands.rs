//! A head's vectors as operands of its products, and what comes out as vectors again.

use super::tile::{Block, LANES, Tile};

/// Vectors of one head, `[n, width]` row-major; `width` is a multiple of `LANES` and
/// `KU`.
#[derive(Clone, Copy)]
pub(super) struct Vectors<'a, E> {
    pub(super) values: &'a [E],
    pub(super) n: usize,
    pub(super) width: usize,
}

impl<'a, E> Vectors<'a, E> {
    pub(super) fn row(&self, row: usize) -> &'a [E] {
        &self.values[row * self.width..(row + 1) * self.width]
    }
}

/// Keys as left operand: rows are tokens, k runs over channels. Rows of no token repeat the last one.
#[inline(always)]
pub(super) fn put_keys<T: Tile>(to: &mut [T::Elem], keys: Vectors<T::Elem>) {
    let Vectors { n, width, .. } = keys;
    if T::KU == 1 {
        for (panel, to) in to.chunks_exact_mut(T::MR * width).enumerate() {
            for row in 0..T::MR {
                let values = keys.row((panel * T::MR + row).min(n - 1));
                for (to, value) in to.chunks_exact_mut(T::MR).zip(values) {
                    to[row] = *value;
                }
            }
        }
        return;
    }
    for token in 0..n.next_multiple_of(T::MR) {
        let row = keys.row(token.min(n - 1));
        for (k, run) in (0..width).step_by(T::KU).zip(row.chunks_exact(T::KU)) {
            let at = T::a_at(token, k, width);
            to[at..at + T::KU].copy_from_slice(run);
        }
    }
}

/// Values as left operand: rows are channels, k runs over tokens. Places of no token are zeros.
#[inline(always)]
pub(super) fn put_values<T: Tile>(to: &mut [T::Elem], values: Vectors<T::Elem>) {
    let Vectors { n, width, .. } = values;
    let k_len = n.next_multiple_of(T::MR);
    if T::KU == 1 {
        return put_channels::<T>(to, values, k_len);
    }
    let zeros = [T::elem(0.0); LANES];
    let lanes = |token: usize, channel: usize| match token < n {
        true => values.row(token)[channel..].first_chunk().unwrap_or(&zeros),
        false => &zeros,
    };
    for first in (0..k_len).step_by(LANES * T::WORD) {
        for channel in (0..width).step_by(LANES) {
            let mut block = [[0; LANES]; LANES];
            for (i, words) in block.iter_mut().enumerate() {
                let token = first + i * T::WORD;
                let [one, other] = [token, token + T::WORD - 1].map(|at| lanes(at, channel));
                for (lane, word) in words.iter_mut().enumerate() {
                    *word = T::word([one[lane], other[lane]]);
                }
            }
            put_block_of_values::<T>(to, block, [channel, first], k_len);
        }
    }
}

/// Words of tokens along rows, of channels along columns.
#[inline(always)]
fn put_block_of_values<T: Tile>(
    to: &mut [T::Elem],
    mut block: Block,
    [channel, first]: [usize; 2],
    k_len: usize,
) {
    let to = to.as_mut_ptr().cast::<u32>();
    T::turn(&mut block);
    for (i, words) in block.iter().enumerate() {
        let at = T::a_at(channel + i, first, k_len) / T::WORD;
        // SAFETY: values of a channel stand together within `KU`, which is `LANES` words.
        unsafe { to.add(at).cast::<[u32; LANES]>().write_unaligned(*words) };
    }
}

/// As `put_values` where a panel's channels stand together for each token.
#[inline(always)]
fn put_channels<T: Tile>(to: &mut [T::Elem], values: Vectors<T::Elem>, k_len: usize) {
    for (panel, to) in to.chunks_exact_mut(T::MR * k_len).enumerate() {
        let first = panel * T::MR;
        let n_channels = T::MR.min(values.width.saturating_sub(first));
        for (token, to) in to.chunks_exact_mut(T::MR).enumerate() {
            to.fill(T::elem(0.0));
            if token < values.n {
                let row = &values.row(token)[first..first + n_channels];
                to[..n_channels].copy_from_slice(row);
            }
        }
    }
}

/// Queries as right operand: columns are tokens, k runs over channels. Columns behind the last query
/// repeat it, and nobody reads what they give.
#[inline(always)]
pub(super) fn put_queries<T: Tile>(to: &mut [T::Elem], queries: Vectors<T::Elem>, first: usize) {
    let width = queries.width;
    let to = to.as_mut_ptr().cast::<u32>();
    for column in (0..T::NR).step_by(LANES) {
        for k in (0..width).step_by(LANES * T::WORD) {
            let mut block = [[0; LANES]; LANES];
            for (i, words) in block.iter_mut().enumerate() {
                let row = queries.row((first + column + i).min(queries.n - 1));
                // SAFETY: `width` is whole panels, which are whole words of `LANES`.
                *words = unsafe { row[k..].as_ptr().cast::<[u32; LANES]>().read_unaligned() };
            }
            T::turn(&mut block);
            for (i, words) in block.iter().enumerate() {
                let at = T::b_at(column, k + i * T::WORD, width) / T::WORD;
                // SAFETY: columns of a panel stand side by side, and these are places of it.
                unsafe { to.add(at).cast::<[u32; LANES]>().write_unaligned(*words) };
            }
        }
    }
}

/// Sums of channels by queries, scaled, become results query by query.
#[inline(always)]
pub(super) fn turn_sums<T: Tile>(sums: &[f32], scales: &[f32], width: usize, to: &mut [f32]) {
    for channel in (0..width).step_by(LANES) {
        for column in (0..T::NR).step_by(LANES) {
            let mut block = [[0; LANES]; LANES];
            for (i, words) in block.iter_mut().enumerate() {
                let line = &sums[(channel + i) * T::NR + column..][..LANES];
                for (lane, word) in words.iter_mut().enumerate() {
                    *word = (line[lane] * scales[column + lane]).to_bits();
                }
            }
            T::turn(&mut block);
            for (i, words) in block.iter().enumerate() {
                let line = &mut to[(column + i) * width + channel..][..LANES];
                for (to, word) in line.iter_mut().zip(words) {
                    *to = f32::from_bits(*word);
                }
            }
        }
    }
}
