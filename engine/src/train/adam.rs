//! Parameters in a state's bytes, and Adam over them. Source: arXiv:1412.6980, in the form of PyTorch's
//! `torch.optim.Adam` without weight decay: a parameter that got no gradient is left as it is, its own
//! count of steps too.

use std::ops::Range;
use std::sync::Arc;

use safetensors::{Dtype, SafeTensors};

use super::TrainError;
use crate::pipeline::model::Adam;
use crate::plugin::State;

/// What a component learns, with the optimiser's memory.
#[derive(Clone, Debug)]
pub struct Learned {
    pub state: State,
    pub tensors: Vec<Learning>,
}

/// One parameter tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Learning {
    pub name: String,
    pub shape: Vec<usize>,
    /// Its place in the state's bytes.
    bytes: Range<usize>,
    /// Running means of gradients and of their squares.
    pub moments: [Vec<f32>; 2],
    pub n_steps: u64,
}

impl Learned {
    /// Errors: `Parameters` for a state that is no safetensors file of f32.
    pub fn new(state: State) -> Result<Learned, TrainError> {
        let mut tensors = Vec::new();
        let file = parsed(&state.bytes)?;
        let start = state.bytes.as_ptr() as usize;
        for (name, view) in file.iter() {
            let begin = view.data().as_ptr() as usize - start;
            let n: usize = view.shape().iter().product();
            if view.dtype() != Dtype::F32 {
                let why = format!("`{name}` is of type {:?}, not F32", view.dtype());
                return Err(TrainError::Parameters { why });
            }
            tensors.push(Learning {
                name: name.to_owned(),
                shape: view.shape().to_vec(),
                bytes: begin..begin + view.data().len(),
                moments: [vec![0.0; n], vec![0.0; n]],
                n_steps: 0,
            });
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Learned { state, tensors })
    }

    /// The numbers of a tensor, as little-endian f32.
    pub fn bytes_of(&self, learning: &Learning) -> &[u8] {
        &self.state.bytes[learning.bytes.clone()]
    }

    /// Puts other numbers in the place of a tensor's. Errors: `Parameters` for another number of them.
    pub fn replace(&mut self, name: &str, numbers: &[u8]) -> Result<(), TrainError> {
        let Some(learning) = self.tensors.iter().find(|learning| learning.name == name) else {
            return Err(TrainError::Parameters { why: format!("there is no `{name}`") });
        };
        let place = learning.bytes.clone();
        if place.len() != numbers.len() {
            let why = format!("`{name}` has {} bytes, not {}", place.len(), numbers.len());
            return Err(TrainError::Parameters { why });
        }
        Arc::make_mut(&mut self.state.bytes)[place].copy_from_slice(numbers);
        Ok(())
    }

    /// The largest of all numbers, by magnitude; infinite where one is no number.
    pub fn largest(&self) -> f32 {
        let numbers =
            self.tensors.iter().flat_map(|tensor| self.bytes_of(tensor).as_chunks::<4>().0);
        let magnitudes = numbers.map(|bytes| f32::from_le_bytes(*bytes).abs());
        magnitudes.fold(0.0, |most, x| if x.is_nan() { f32::INFINITY } else { most.max(x) })
    }

    /// One step along `gradients`, for the tensors that `learns` lets. f32.
    /// Errors: `Parameters` for gradients that belong to no parameter, or are not finite.
    pub fn step(
        &mut self,
        gradients: &[State],
        adam: &Adam,
        learns: &dyn Fn(&str) -> bool,
    ) -> Result<(), TrainError> {
        let bytes = Arc::make_mut(&mut self.state.bytes);
        for state in gradients {
            for (name, view) in parsed(&state.bytes)?.iter().filter(|(name, _)| learns(name)) {
                let mut tensors = self.tensors.iter_mut();
                let learning = tensors.find(|learning| learning.name == name);
                let fits =
                    |l: &&mut Learning| l.shape == view.shape() && view.dtype() == Dtype::F32;
                let Some(learning) = learning.filter(fits) else {
                    let why = format!("a gradient `{name}` of shape {:?} fits none", view.shape());
                    return Err(TrainError::Parameters { why });
                };
                learning.n_steps += 1;
                let numbers = &mut bytes[learning.bytes.clone()];
                if !descend(numbers, view.data(), &mut learning.moments, learning.n_steps, adam) {
                    return Err(TrainError::NotFinite {
                        what: format!("the gradient of `{name}`"),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Whether all gradients were finite.
fn descend(
    numbers: &mut [u8],
    gradient: &[u8],
    moments: &mut [Vec<f32>; 2],
    n_steps: u64,
    adam: &Adam,
) -> bool {
    let Adam { lr, betas: [beta_1, beta_2], eps } = *adam;
    let t = n_steps as f64;
    let rate = (lr / (1.0 - beta_1.powf(t))) as f32;
    let per_root = (1.0 / (1.0 - beta_2.powf(t)).sqrt()) as f32;
    let [kept_1, kept_2, eps] = [beta_1 as f32, beta_2 as f32, eps as f32];
    let [new_1, new_2] = [(1.0 - beta_1) as f32, (1.0 - beta_2) as f32];
    let [mean, square] = moments;
    let (numbers, _) = numbers.as_chunks_mut::<4>();
    let (gradient, _) = gradient.as_chunks::<4>();
    let mut finite = true;
    for (((number, gradient), mean), square) in
        numbers.iter_mut().zip(gradient).zip(mean).zip(square)
    {
        let gradient = f32::from_le_bytes(*gradient);
        finite &= gradient.is_finite();
        *mean = kept_1 * *mean + new_1 * gradient;
        *square = kept_2 * *square + new_2 * gradient * gradient;
        let step = rate * *mean / (square.sqrt() * per_root + eps);
        *number = (f32::from_le_bytes(*number) - step).to_le_bytes();
    }
    finite
}

fn parsed(bytes: &[u8]) -> Result<SafeTensors<'_>, TrainError> {
    SafeTensors::deserialize(bytes)
        .map_err(|error| TrainError::Parameters { why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_plugin::prelude::StateWriter;

    fn state(values: &[f32]) -> State {
        let made = StateWriter::new("test", 1).f32s("a", [values.len()], values).unwrap();
        let made = made.finish().unwrap();
        State { schema: made.schema.clone(), revision: 1, bytes: Arc::new(made.bytes().to_vec()) }
    }

    fn numbers(learned: &Learned) -> Vec<f32> {
        let bytes = learned.bytes_of(&learned.tensors[0]);
        bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    fn assert_near(learned: &Learned, want: [f32; 3]) {
        for (got, want) in numbers(learned).iter().zip(want) {
            assert!((got - want).abs() < 5e-7, "{got} is not {want}");
        }
    }

    /// Recorded from `torch.optim.Adam([a], lr=0.1, betas=(0.5, 0.999))` with gradients (1, -2, 0), then
    /// (0.5, 1, 0).
    #[test]
    fn two_steps_equal_pytorch() {
        let adam = Adam { lr: 0.1, betas: [0.5, 0.999], eps: 1e-8 };
        let mut learned = Learned::new(state(&[1.0, 1.0, 1.0])).unwrap();
        learned.step(&[state(&[1.0, -2.0, 0.0])], &adam, &|_| true).unwrap();
        assert_near(&learned, [0.9, 1.1, 1.0]);
        learned.step(&[state(&[0.5, 1.0, 0.0])], &adam, &|_| true).unwrap();
        assert_near(&learned, [0.81566, 1.1, 1.0]);
        learned.step(&[state(&[9.0, 9.0, 9.0])], &adam, &|name| name != "a").unwrap();
        assert_eq!((numbers(&learned)[2], learned.tensors[0].n_steps), (1.0, 2));
    }

    #[test]
    fn gradients_that_fit_nothing_are_refused() {
        let adam = Adam { lr: 0.1, betas: [0.5, 0.999], eps: 1e-8 };
        let mut learned = Learned::new(state(&[1.0])).unwrap();
        let said = |result: Result<(), TrainError>| result.unwrap_err().to_string();
        let wrong = said(learned.step(&[state(&[1.0, 2.0])], &adam, &|_| true));
        assert!(wrong.contains("`a` of shape [2] fits none"), "{wrong}");
        let wrong = said(learned.step(&[state(&[f32::NAN])], &adam, &|_| true));
        assert!(wrong.contains("`a`") && wrong.contains("not finite"), "{wrong}");
        let empty = State { schema: String::new(), revision: 0, bytes: Arc::new(vec![1, 2, 3]) };
        assert!(Learned::new(empty).is_err());
    }
}
