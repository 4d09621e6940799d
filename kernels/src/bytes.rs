/// The memory of numbers, to read a file into it.
pub fn bytes_of(numbers: &mut [f32]) -> &mut [u8] {
    let n_bytes = size_of_val(numbers);
    // SAFETY: the bytes are those of the slice, which is borrowed as long; every pattern of bytes is an f32.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), n_bytes) }
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
