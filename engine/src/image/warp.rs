//! The fixed augmentation of MVFA and ClipMPCAD, `mvfa-11`: each reference as it is, turned four ways,
//! moved four ways and mirrored two ways. Source: arXiv:2403.12570 and its program, which calls PyTorch's
//! `affine_grid` and `grid_sample` (bilinear, reflection about the pixels' edges, corners not aligned).

use std::f32::consts::PI;

/// How many pictures each becomes.
pub const N_WARPS: usize = 11;

/// Where the pixels of one warped picture come from.
enum Warp {
    Same,
    /// Output coordinates in -1..1 to input coordinates.
    Affine([[f32; 3]; 2]),
    MirroredColumns,
    MirroredRows,
}

/// Picture `index` of the eleven. Shapes: `planes [c,h,w]` -> `[c,h,w]`; f32. Values stay within those of
/// the picture, so that normalising before or after is the same.
pub fn warped(planes: &[f32], [channels, height, width]: [usize; 3], index: usize) -> Vec<f32> {
    let plane = (height * width).max(1);
    let of_plane = |plane: &[f32]| -> Vec<f32> {
        match warp(index) {
            Warp::Same => plane.to_vec(),
            Warp::Affine(matrix) => sampled(plane, [height, width], matrix),
            Warp::MirroredColumns => {
                plane.chunks(width.max(1)).flat_map(|row| row.iter().rev()).copied().collect()
            }
            Warp::MirroredRows => plane.chunks(width.max(1)).rev().flatten().copied().collect(),
        }
    };
    planes.chunks_exact(plane).take(channels).flat_map(of_plane).collect()
}

fn warp(index: usize) -> Warp {
    let turn = |angle: f32| {
        let (sin, cos) = angle.sin_cos();
        Warp::Affine([[cos, -sin, 0.0], [sin, cos, 0.0]])
    };
    let shift = |x: f32, y: f32| Warp::Affine([[1.0, 0.0, x], [0.0, 1.0, y]]);
    match index {
        1 => turn(-PI / 8.0),
        2 => turn(-PI / 16.0),
        3 => turn(PI / 16.0),
        4 => turn(PI / 8.0),
        5 => shift(0.1, 0.1),
        6 => shift(-0.1, 0.1),
        7 => shift(-0.1, -0.1),
        8 => shift(0.1, -0.1),
        9 => Warp::MirroredColumns,
        10 => Warp::MirroredRows,
        _ => Warp::Same,
    }
}

fn sampled(plane: &[f32], [height, width]: [usize; 2], matrix: [[f32; 3]; 2]) -> Vec<f32> {
    let centre = |i: usize, n: usize| (2 * i + 1) as f32 / n as f32 - 1.0;
    let mut out = Vec::with_capacity(plane.len());
    for i in 0..height {
        for j in 0..width {
            let at = [centre(j, width), centre(i, height), 1.0];
            let [x, y] = matrix.map(|row| row[0] * at[0] + row[1] * at[1] + row[2] * at[2]);
            let x = reflected(((x + 1.0) * width as f32 - 1.0) / 2.0, width);
            let y = reflected(((y + 1.0) * height as f32 - 1.0) / 2.0, height);
            out.push(bilinear(plane, [height, width], y, x));
        }
    }
    out
}

/// Folds a coordinate at -0.5 and n - 0.5 until it lies within the picture.
fn reflected(at: f32, n: usize) -> f32 {
    let n = n as f32;
    let from_edge = (at + 0.5).abs();
    let folds = (from_edge / n).floor();
    let rest = from_edge - folds * n;
    let at = if folds % 2.0 == 0.0 { rest - 0.5 } else { n - 0.5 - rest };
    at.clamp(0.0, n - 1.0)
}

fn bilinear(plane: &[f32], [height, width]: [usize; 2], y: f32, x: f32) -> f32 {
    let (top, left) = (y.floor(), x.floor());
    let (down, right) = (y - top, x - left);
    let pixel = |i: usize, j: usize| match i < height && j < width {
        true => plane.get(i * width + j).copied().unwrap_or_default(),
        false => 0.0,
    };
    let (i, j) = (top as usize, left as usize);
    pixel(i, j) * (1.0 - down) * (1.0 - right)
        + pixel(i, j + 1) * (1.0 - down) * right
        + pixel(i + 1, j) * down * (1.0 - right)
        + pixel(i + 1, j + 1) * down * right
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Vec<f32> {
        let pixel = |i: usize| ((i / 6 * 5 + i % 6) * 7 % 11) as f32 / 10.0;
        (0..36).map(pixel).collect()
    }

    /// Recorded from PyTorch's `affine_grid` and `grid_sample`: `tests/golden/clipmpcad`.
    #[test]
    fn turned_and_moved_pictures_equal_pytorch() {
        let recorded: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/golden/clipmpcad/ops.json")).unwrap();
        let names = ["rot_-pi/8", "rot_+pi/16", "translate_0.1_0.1", "translate_-0.1_0.1"];
        for (index, name) in [1, 3, 5, 6].into_iter().zip(names) {
            let want: Vec<f32> = recorded["warp"][name]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|row| row.as_array().unwrap())
                .map(|value| value.as_f64().unwrap() as f32)
                .collect();
            let got = warped(&picture(), [1, 6, 6], index);
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() < 1e-5, "{name}: {got} is not {want}");
            }
            assert_eq!(got.len(), want.len());
        }
    }

    #[test]
    fn mirrors_turn_rows_and_columns_around() {
        let planes: Vec<f32> = (0..12).map(|i| i as f32).collect();
        assert_eq!(warped(&planes, [2, 2, 3], 0), planes);
        assert_eq!(warped(&planes, [2, 2, 3], 9)[..6], [2.0, 1.0, 0.0, 5.0, 4.0, 3.0]);
        assert_eq!(warped(&planes, [2, 2, 3], 10)[6..], [9.0, 10.0, 11.0, 6.0, 7.0, 8.0]);
    }
}
