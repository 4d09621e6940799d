//! States: written, read back, and refused when they are not what they say.

use loupe_plugin::prelude::*;

fn bank() -> State {
    let writer = StateWriter::new("bank", 3).meta("k", 5).meta("names", vec!["a", "b"]);
    let writer = writer.f32s("rows", [2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
    writer.f32s("norms", [2], &[0.5, 0.25]).unwrap().finish().unwrap()
}

#[test]
fn arrays_and_facts_come_back() {
    let state = bank();
    let reader = StateReader::new(&state, "bank", 3).unwrap();
    assert_eq!(reader.names().collect::<Vec<_>>(), ["norms", "rows"]);
    let rows = reader.tensor("rows").unwrap();
    assert_eq!((rows.dims(), rows.f32s().unwrap()), (&[2, 2][..], &[1.0, 2.0, 3.0, 4.0][..]));
    assert_eq!(reader.meta::<usize>("k").unwrap(), 5);
    assert_eq!(reader.meta::<Vec<String>>("names").unwrap(), ["a", "b"]);
}

#[test]
fn the_bytes_are_a_safetensors_file() {
    let state = bank();
    let (len, rest) = state.bytes().split_first_chunk::<8>().unwrap();
    let len = u64::from_le_bytes(*len) as usize;
    assert_eq!(len % 8, 0);
    let header = std::str::from_utf8(&rest[..len]).unwrap().trim_end();
    let want = concat!(
        r#"{"__metadata__":{"k":"5","names":"[\"a\",\"b\"]"},"#,
        r#""norms":{"data_offsets":[0,8],"dtype":"F32","shape":[2]},"#,
        r#""rows":{"data_offsets":[8,24],"dtype":"F32","shape":[2,2]}}"#,
    );
    assert_eq!(header, want);
    assert_eq!(rest.len(), len + 24);
}

#[test]
fn what_is_not_the_state_is_refused_in_words() {
    let state = bank();
    let message = StateReader::new(&state, "bank", 4).unwrap_err().to_string();
    let want = "`state` wants schema `bank` of revision 4, \
                but got `bank` of revision 3; fit it again";
    assert_eq!(message, want);
    let message = StateReader::new(&state, "bank", 3).unwrap().tensor("row").unwrap_err();
    let want = "the state of `bank` has no array `row`; fit it again";
    assert_eq!(message.to_string(), want);
    for len in 0..state.bytes().len() {
        let cut = State::new("bank", 3, state.bytes()[..len].to_vec());
        let read = StateReader::new(&cut, "bank", 3).and_then(|reader| reader.tensor("rows"));
        assert!(read.is_err(), "{len} bytes were enough");
    }
    let message = StateWriter::new("bank", 3).f32s("rows", [3], &[1.0]).unwrap_err().to_string();
    assert_eq!(message, "`rows` wants values for shape [3], but got 1");
}
