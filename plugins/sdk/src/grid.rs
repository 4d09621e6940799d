//! The grid that an image's patches stand on.

/// Rows and columns of whole square patches of an image `[height, width]`, if there is a size of patch
/// that gives so many. There is one grid at most: with larger patches neither side ever gains any.
pub fn patch_grid(n_patches: usize, [height, width]: [usize; 2]) -> Option<[usize; 2]> {
    (1..=height.min(width))
        .map(|patch| [height / patch, width / patch])
        .find(|[rows, cols]| rows.checked_mul(*cols) == Some(n_patches))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_follows_from_the_number_of_patches() {
        let cases = [
            (256, [128, 128], Some([16, 16])),
            (225, [240, 240], Some([15, 15])),
            (196, [224, 224], Some([14, 14])),
            (15, [40, 26], Some([5, 3])),
            (15, [26, 40], Some([3, 5])),
            (4, [1, 4], Some([1, 4])),
            (255, [128, 128], None),
            (0, [128, 128], None),
            (1, [0, 128], None),
        ];
        for (n_patches, image, want) in cases {
            assert_eq!(patch_grid(n_patches, image), want, "{n_patches} of {image:?}");
        }
    }
}
