use crate::fused::bytes_of_mut;

/// The memory of numbers, to read a file into it.
pub fn bytes_of(numbers: &mut [f32]) -> &mut [u8] {
    bytes_of_mut(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_as_bytes_is_read_as_numbers() {
        let mut numbers = [0.0; 2];
        bytes_of(&mut numbers)[4..].copy_from_slice(&1.5_f32.to_ne_bytes());
        assert_eq!(numbers, [0.0, 1.5]);
        assert!(bytes_of(&mut []).is_empty());
    }
}
