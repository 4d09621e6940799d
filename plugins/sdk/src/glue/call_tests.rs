//! Tensors of every layout as f32.

use super::*;
use crate::abi::{DLDataType, DLDevice};

fn view<T>(values: &[T], code: u8, shape: &mut [i64], strides: Option<&mut [i64]>) -> DLTensor {
    DLTensor {
        data: values.as_ptr().cast_mut().cast(),
        device: DLDevice { device_type: abi::DL_CPU, device_id: 0 },
        ndim: shape.len() as i32,
        dtype: DLDataType { code, bits: 8 * size_of::<T>() as u8, lanes: 1 },
        shape: shape.as_mut_ptr(),
        strides: strides.map_or(std::ptr::null_mut(), <[i64]>::as_mut_ptr),
        byte_offset: 0,
    }
}

fn read(dl: &DLTensor) -> Result<Tensor> {
    // SAFETY: every test below describes memory that it holds.
    unsafe { read_tensor(dl, "x") }
}

#[test]
fn aligned_row_major_f32_is_read_in_place() {
    let values = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let (mut shape, mut strides) = ([2, 3], [3, 1]);
    let dl = view(&values, abi::DL_FLOAT, &mut shape, Some(&mut strides));
    let tensor = read(&dl).unwrap();
    assert_eq!(tensor.f32s().unwrap().as_ptr(), values.as_ptr());
    assert_eq!(tensor.dims(), [2, 3]);
    let copy = tensor.clone();
    assert_ne!(copy.f32s().unwrap().as_ptr(), values.as_ptr());
    assert_eq!(copy.f32s().unwrap(), values);
}

#[test]
fn strides_are_followed() {
    let values = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let cases: [(&mut [i64], &mut [i64], &[f32]); 3] = [
        (&mut [3, 2], &mut [1, 3], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]),
        (&mut [2, 2], &mut [0, 1], &[1.0, 2.0, 1.0, 2.0]),
        (&mut [1, 3], &mut [77, 2], &[1.0, 3.0, 5.0]),
    ];
    for (shape, strides, want) in cases {
        let tensor = read(&view(&values, abi::DL_FLOAT, shape, Some(strides))).unwrap();
        assert_eq!(tensor.f32s().unwrap(), want);
    }
}

#[test]
fn a_misaligned_pointer_and_an_offset_are_followed() {
    let mut bytes = vec![0_u8; 3];
    bytes.extend([1.5_f32, -2.5].iter().flat_map(|value| value.to_ne_bytes()));
    let mut shape = [2];
    let mut dl = view(&[0.0_f32], abi::DL_FLOAT, &mut shape, None);
    (dl.data, dl.byte_offset) = (bytes.as_mut_ptr().cast(), 3);
    assert_eq!(read(&dl).unwrap().f32s().unwrap(), [1.5, -2.5]);
}

#[test]
fn other_elements_become_f32() {
    let mut shape = [5];
    // 1, -2, the least subnormal, infinity, 65504
    let halves = [0x3c00_u16, 0xc000, 0x0001, 0x7c00, 0x7bff];
    let want = [1.0, -2.0, 5.960_464_5e-8, f32::INFINITY, 65504.0];
    let dl = view(&halves, abi::DL_FLOAT, &mut shape, None);
    assert_eq!(read(&dl).unwrap().f32s().unwrap(), want);
    let brains = [0x3f80_u16, 0xc000, 0x3fc0, 0x7f80, 0x0000];
    let dl = view(&brains, abi::DL_BFLOAT, &mut shape, None);
    assert_eq!(read(&dl).unwrap().f32s().unwrap(), [1.0, -2.0, 1.5, f32::INFINITY, 0.0]);
    let dl = view(&[0.1_f64, 1.0, 2.0, 3.0, 4.0], abi::DL_FLOAT, &mut shape, None);
    assert_eq!(read(&dl).unwrap().f32s().unwrap(), [0.1, 1.0, 2.0, 3.0, 4.0]);
    let dl = view(&[0_u8, 1, 2, 3, 255], abi::DL_UINT, &mut shape, None);
    assert_eq!(read(&dl).unwrap().f32s().unwrap(), [0.0, 1.0, 2.0, 3.0, 255.0]);
    let dl = view(&[-1_i64, 1, 2, 3, 4], abi::DL_INT, &mut shape, None);
    assert_eq!(read(&dl).unwrap().f32s().unwrap(), [-1.0, 1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn cuda_is_refused_by_name_when_it_is_read() {
    let mut shape = [2, 2];
    let mut dl = view(&[0.0_f32], abi::DL_FLOAT, &mut shape, None);
    dl.device = DLDevice { device_type: abi::DL_CUDA, device_id: 1 };
    let tensor = read(&dl).unwrap();
    assert_eq!(tensor.dims(), [2, 2]);
    let message = tensor.f32s().unwrap_err().to_string();
    assert!(message.starts_with("tensor on CUDA device 1 offered"), "{message}");
}

type Spoil = fn(&mut DLTensor);

#[test]
fn lying_headers_are_refused() {
    let values = [0.0_f32; 4];
    let cases: [(Spoil, &mut [i64], &str); 6] = [
        (|dl| dl.ndim = -1, &mut [4], "claims -1 dimensions"),
        (|dl| dl.ndim = 1_000_000, &mut [4], "claims 1000000 dimensions"),
        (|dl| dl.shape = std::ptr::null_mut(), &mut [4], "bad pointer"),
        (|dl| dl.data = std::ptr::null_mut(), &mut [4], "without data"),
        (|dl| dl.dtype.lanes = 4, &mut [4], "4 lanes; wants f32"),
        (|_| {}, &mut [1 << 40, 1 << 40], "larger than any memory"),
    ];
    for (spoil, shape, want) in cases {
        let mut dl = view(&values, abi::DL_FLOAT, shape, None);
        spoil(&mut dl);
        let message = read(&dl).unwrap_err().to_string();
        assert!(message.contains(want), "{message}");
    }
    let mut shape = [-4];
    let dl = view(&values, abi::DL_FLOAT, &mut shape, None);
    assert_eq!(read(&dl).unwrap_err().to_string(), "input `x` has a negative dimension");
}

#[test]
fn no_elements_need_no_data() {
    let mut shape = [0, 3];
    let mut dl = view::<f32>(&[], abi::DL_FLOAT, &mut shape, None);
    dl.data = std::ptr::null_mut();
    assert_eq!(read(&dl).unwrap().f32s().unwrap(), [0.0_f32; 0]);
}

#[test]
fn a_managed_output_reads_back_as_it_was() {
    let tensor = Tensor::new([2, 1], [1.0, 2.0]).unwrap();
    let managed = crate::glue::sink::manage(tensor).unwrap();
    // SAFETY: just made, read, then deleted once.
    unsafe {
        assert_eq!(read(&(*managed).dl_tensor).unwrap().f32s().unwrap(), [1.0, 2.0]);
        (*managed).deleter.unwrap()(managed);
    }
}
