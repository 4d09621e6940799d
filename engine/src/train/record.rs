//! What a training leaves for those who come later, beside the numbers: facts in the header of the state's
//! file, and `CLASS.losses.csv`, a line an epoch.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::Epoch;
use crate::files::{WriteError, write_whole};

/// Longest header of a safetensors file, in bytes; the format's own limit.
const MOST_HEADER: u64 = 100_000_000;
/// The column of what is not learned from.
pub const HELD_OUT: &str = "held-out";

/// Where the losses of a state's training stand.
pub fn curve_file(state: &Path) -> PathBuf {
    state.with_extension("losses.csv")
}

/// Writes the losses beside a state. Errors: those of the file.
pub fn write_curve(state: &Path, epochs: &[Epoch]) -> Result<(), WriteError> {
    write_whole(&curve_file(state), curve(epochs).as_bytes())
}

/// `epoch,loss[,held-out],PART..`: means over the samples, counted from epoch 1.
fn curve(epochs: &[Epoch]) -> String {
    let first = epochs.first();
    let parts: Vec<&str> =
        first.into_iter().flat_map(|epoch| &epoch.parts).map(|part| part.0.as_str()).collect();
    let held_out = first.is_some_and(|epoch| epoch.held_out.is_some());
    let names = held_out.then_some(HELD_OUT).into_iter().chain(parts.iter().copied());
    let mut text =
        format!("epoch,loss{}\n", names.map(|name| format!(",{name}")).collect::<String>());
    for (idx, epoch) in epochs.iter().enumerate() {
        text += &format!("{},{}", idx + 1, epoch.loss);
        let of = |name: &&str| epoch.parts.iter().find(|part| part.0 == **name).map(|part| part.1);
        let held_out = held_out.then_some(epoch.held_out).into_iter();
        for value in held_out.chain(parts.iter().map(of)) {
            text += &value.map_or_else(|| ",".to_owned(), |value| format!(",{value}"));
        }
        text.push('\n');
    }
    text
}

/// The columns of a state's losses behind the first, and their lines. A line that is no such numbers ends
/// them; what cannot be read has none.
pub fn read_curve(state: &Path) -> (Vec<String>, Vec<Vec<f64>>) {
    table(&fs::read_to_string(curve_file(state)).unwrap_or_default())
}

fn table(text: &str) -> (Vec<String>, Vec<Vec<f64>>) {
    let mut lines = text.lines();
    let names: Vec<String> =
        lines.next().unwrap_or_default().split(',').skip(1).map(str::to_owned).collect();
    let numbers = |line: &str| {
        let values: Option<Vec<f64>> =
            line.split(',').skip(1).map(|field| field.parse().ok()).collect();
        values.filter(|values| values.len() == names.len() && !values.is_empty())
    };
    let epochs = lines.map_while(numbers).collect();
    (names, epochs)
}

/// The same as `train_class` gave them, of `n_samples` each.
pub fn read_epochs(state: &Path, n_samples: usize) -> Vec<Epoch> {
    let (names, lines) = read_curve(state);
    let epoch = |line: &Vec<f64>| {
        let mut epoch = Epoch { n_samples, ..Epoch::default() };
        for (name, value) in names.iter().zip(line) {
            match name.as_str() {
                "loss" => epoch.loss = *value,
                HELD_OUT => epoch.held_out = Some(*value),
                part => epoch.parts.push((part.to_owned(), *value)),
            }
        }
        epoch
    };
    lines.iter().map(epoch).collect()
}

/// Metadata of a safetensors file, whose arrays are not read.
pub fn facts_of(path: &Path) -> Option<Map<String, Json>> {
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = Some(u64::from_le_bytes(length)).filter(|length| *length <= MOST_HEADER)?;
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).ok()?;
    let header: Json = serde_json::from_slice(&header).ok()?;
    header.get("__metadata__")?.as_object().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_read_up_to_what_is_no_line_of_it() {
        let (names, epochs) =
            table("epoch,loss,seg dice\n1,2.5,0.5\n2,NaN,0.25\n3,1\n4,1.0,0.125\n");
        assert_eq!(names, ["loss", "seg dice"]);
        assert_eq!((epochs.len(), &epochs[0]), (2, &vec![2.5, 0.5]));
        assert!(epochs[1][0].is_nan());
        assert_eq!(table(""), (Vec::new(), Vec::new()));
    }

    #[test]
    fn epochs_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("a.safetensors");
        let epoch = |loss: f64, held_out: Option<f64>| Epoch {
            n_samples: 3,
            loss,
            held_out,
            parts: vec![("seg dice".to_owned(), loss / 3.0)],
        };
        for epochs in [
            vec![epoch(0.1 + 0.2, None), epoch(1e-9, None)],
            vec![epoch(2.0 / 3.0, Some(1.0 / 7.0)), epoch(0.5, Some(3.0))],
            Vec::new(),
        ] {
            write_curve(&state, &epochs).unwrap();
            assert_eq!(read_epochs(&state, 3), epochs);
        }
        write_curve(&state, &[epoch(0.75, Some(1.5))]).unwrap();
        let text = fs::read_to_string(folder.path().join("a.losses.csv")).unwrap();
        assert_eq!(text, "epoch,loss,held-out,seg dice\n1,0.75,1.5,0.25\n");
    }

    #[test]
    fn facts_stand_in_a_header_and_lies_about_it_have_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let facts = |bytes: Vec<u8>| {
            fs::write(&path, bytes).unwrap();
            facts_of(&path)
        };
        let header = br#"{"__metadata__":{"epochs":"7"}}"#;
        let file = [&(header.len() as u64).to_le_bytes()[..], header, b"arrays"].concat();
        assert_eq!(facts(file).unwrap()["epochs"], "7");
        assert_eq!(facts(vec![1, 2]), None);
        assert_eq!(facts([u64::MAX.to_le_bytes().to_vec(), header.to_vec()].concat()), None);
        assert_eq!(facts([9_u64.to_le_bytes().to_vec(), b"[]".to_vec()].concat()), None);
    }
}
