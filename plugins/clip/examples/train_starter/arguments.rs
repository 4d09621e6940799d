//! The command line.

use std::path::PathBuf;

use crate::error::{Result, TrainError};

pub const USAGE: &str = "\
usage: train_starter [OPTIONS] DATA.. OUT

  DATA..         folders made by `loupe dataset make DATA --set training --products 20 --captions`
  OUT            folder for `checkpoint.safetensors`, `starter.json` and `starter.safetensors`
  --steps N      steps in all, which the learning rate is spread over [2000]
  --seed S       another seed starts from other weights and draws other crops [0]
  --threads T    threads; the result does not depend on their number [1]
  --batch B      triples (reference, undamaged, damaged) in a step [16]
  --grids G,H    sides of crops in tokens, one is drawn for each step; one that is named twice is
                 drawn twice as often, and a step has about as many tokens as with 8 x 8 [8,8,12,16]
  --save-every N steps between two checkpoints [250]
  --resume       go on from the checkpoint in OUT, to the same end as without a stop";

#[derive(Clone, Debug, PartialEq)]
pub struct Arguments {
    pub data: Vec<PathBuf>,
    pub out: PathBuf,
    pub n_steps: usize,
    pub seed: u64,
    pub n_threads: usize,
    pub n_triples: usize,
    pub grids: Vec<usize>,
    pub save_every: usize,
    pub resume: bool,
}

impl Arguments {
    /// Errors: `Usage`.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut parsed = Self {
            data: Vec::new(),
            out: PathBuf::new(),
            n_steps: 2_000,
            seed: 0,
            n_threads: 1,
            n_triples: 16,
            grids: vec![8, 8, 12, 16],
            save_every: 250,
            resume: false,
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            if argument == "--resume" {
                parsed.resume = true;
                continue;
            }
            if !argument.starts_with("--") {
                parsed.data.push(PathBuf::from(argument));
                continue;
            }
            let value = arguments.next().unwrap_or_default();
            let number: Option<u64> = value.parse().ok();
            let usage = |what: &str| TrainError::Usage {
                message: format!("`{argument}` wants {what}, but is `{value}`"),
            };
            let count = number.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
            let count = || count.ok_or_else(|| usage("a whole number above 0"));
            match argument.as_str() {
                "--steps" => parsed.n_steps = count()?,
                "--threads" => parsed.n_threads = count()?,
                "--batch" => parsed.n_triples = count()?,
                "--grids" => {
                    let sides = value.split(',').map(str::parse);
                    let sides: Option<Vec<usize>> =
                        sides.map(|side| side.ok().filter(|n| (1..=16).contains(n))).collect();
                    parsed.grids = sides.ok_or_else(|| usage("sides from 1 to 16, as `8,12`"))?;
                }
                "--save-every" => parsed.save_every = count()?,
                "--seed" => parsed.seed = number.ok_or_else(|| usage("a whole number"))?,
                _ => return Err(TrainError::Usage { message: format!("`{argument}` is unknown") }),
            }
        }
        parsed.out = parsed.data.pop().unwrap_or_default();
        if parsed.data.is_empty() {
            return Err(TrainError::Usage { message: "`DATA` and `OUT` are wanted".to_owned() });
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_and_folders_are_told_apart() {
        let parsed = parse("a --steps 7 b --seed 3 out --resume --batch 2 --grids 8,12").unwrap();
        assert_eq!(parsed.data, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!((parsed.n_steps, parsed.seed, parsed.n_triples), (7, 3, 2));
        assert_eq!(parsed.grids, [8, 12]);
        assert!(parsed.resume && parsed.out.ends_with("out"));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, want) in [
            ("", "`DATA` and `OUT`"),
            ("a", "`DATA` and `OUT`"),
            ("a b --step 3", "`--step` is unknown"),
            ("a b --steps 0", "`--steps` wants a whole number above 0, but is `0`"),
            ("a b --grids 8,17", "`--grids` wants sides from 1 to 16, as `8,12`, but is `8,17`"),
            ("a b --seed", "`--seed` wants a whole number, but is ``"),
        ] {
            let message = parse(line).unwrap_err().to_string();
            assert!(message.contains(want) && message.contains("usage"), "{message}");
        }
    }
}
