//! A training that goes on: epochs, what chooses the one that is kept, and when it is enough.

use super::checkpoint::{Checkpoint, Position};
use super::{
    All, Epoch, Learned, TextPair, TrainError, TrainOptions, Watch, gradients, losses, order, step,
};
use crate::pipeline::model::{Keep, Patience, Train};
use crate::plugin::PluginError;
use crate::run::{Engine, RunError, Trainee};

/// Parameters beyond this are what a training that diverges leaves, and no component's mistake.
const FAR: f32 = 1e6;

pub(super) struct Course<'t> {
    pub(super) engine: &'t Engine<'t>,
    pub(super) train: &'t Train,
    pub(super) side: Checkpoint,
    pub(super) learned: Learned,
    pub(super) at: Position,
    pub(super) options: TrainOptions,
}

impl Course<'_> {
    /// Takes an earlier training up, unless it is to be forgotten; one that ended leaves nothing to do. Gives
    /// the epoch and the step where it stood. Errors: as the checkpoint.
    pub(super) fn begin(
        &mut self,
        n_samples: usize,
        watch: &mut dyn Watch,
    ) -> Result<Option<(usize, usize)>, TrainError> {
        let Course { train, side, learned, at, .. } = self;
        let goes_on = !self.options.fresh && side.load(learned, at, train.epochs)?;
        if !goes_on && !self.options.fresh {
            let done = side.done(n_samples).filter(|done| done.epochs.len() <= train.epochs);
            *at = done.unwrap_or_default();
        }
        if goes_on || self.is_over() {
            return Ok(Some((self.at.epochs.len() + 1, self.at.step)));
        }
        self.at = Position::default();
        let replaced = self.side.replaced(self.train).filter(|_| !self.options.fresh);
        replaced.iter().for_each(|said| watch.warn(said));
        self.side.forget()?;
        Ok(None)
    }

    /// Whether there is nothing left to learn.
    pub(super) fn is_over(&self) -> bool {
        let Train { epochs, patience, .. } = self.train;
        let done = &self.at.epochs;
        done.len() >= *epochs || patience.is_some_and(|patience| is_stuck(done, patience))
    }

    /// The rest of an epoch, and what is written at its end.
    pub(super) fn epoch(
        &mut self,
        trainee: &mut Trainee<'_, '_>,
        all: &All,
        texts: &[TextPair],
        watch: &mut dyn Watch,
    ) -> Result<(), TrainError> {
        let samples = &all.learned;
        let order = order(samples.len(), self.engine.pipeline.run.seed, self.at.epochs.len());
        while let Some((sample, text)) = order.get(self.at.step).and_then(|idx| samples.get(*idx)) {
            self.stop_if_cancelled()?;
            let Course { train, side, learned, at, options, .. } = self;
            let start = trainee.start(&sample.image)?;
            let (target, walk) = (sample.target(trainee.size()), &trainee.walk);
            let stepped = gradients(walk, start, &learned.state, train, &texts[*text], &target)
                .and_then(|(losses, found)| {
                    if losses.iter().any(|part| !part.1.is_finite()) {
                        return Err(TrainError::NotFinite { what: "the loss".to_owned() });
                    }
                    step(walk, learned, train, &losses, &found)?;
                    Ok(losses)
                });
            let losses = stepped.map_err(|error| diverged(error, learned, at, train))?;
            at.add(&losses);
            watch.step(at.epochs.len() * samples.len() + at.step, at.last());
            if options.save_every > 0 && at.step.is_multiple_of(options.save_every) {
                side.save(learned, at)?;
            }
        }
        let held_out = self.held_out(trainee, all, texts)?;
        let done = self.at.end_epoch(held_out);
        let candidate = self.side.write(&self.learned, &self.at, self.train)?;
        let on_test_set = watch.epoch(self.at.epochs.len(), &done, &candidate)?;
        let figure = match self.train.keep {
            Keep::Last => None,
            Keep::BestHeldOut => done.held_out.map(|loss| -loss),
            Keep::BestTest => on_test_set,
        };
        if self.at.is_better(figure) {
            self.side.keep(&candidate)?;
        }
        // Where a training stood is of no use when it is over.
        if self.is_over() { Ok(()) } else { self.side.save(&self.learned, &self.at) }
    }

    /// The mean loss of what is not learned from, each picture as it is.
    fn held_out(
        &self,
        trainee: &mut Trainee<'_, '_>,
        all: &All,
        texts: &[TextPair],
    ) -> Result<Option<f64>, TrainError> {
        let mut sum = 0.0;
        for (sample, text) in &all.held_out {
            self.stop_if_cancelled()?;
            let start = trainee.start(&sample.image)?;
            let pass = trainee
                .walk
                .forward(start, &self.learned.state)
                .map_err(|error| diverged(error.into(), &self.learned, &self.at, self.train))?;
            let target = sample.target(trainee.size());
            let (parts, _) = losses(&pass.tokens, self.train, &texts[*text], &target)?;
            sum += parts.iter().map(|part| part.1).sum::<f64>();
        }
        let n = all.held_out.len();
        Ok((n > 0).then(|| sum / n as f64))
    }

    fn stop_if_cancelled(&self) -> Result<(), TrainError> {
        let Err(error) = self.engine.stop_if_cancelled() else { return Ok(()) };
        self.side.save(&self.learned, &self.at)?;
        Err(error.into())
    }
}

/// An error that is of steps too large, and not of the component that met their outcome.
fn diverged(error: TrainError, learned: &Learned, at: &Position, train: &Train) -> TrainError {
    // Before the first step nothing has been learned.
    if at.step == 0 && at.epochs.is_empty() {
        return error;
    }
    let largest = learned.largest();
    let why = match &error {
        TrainError::NotFinite { what } => format!("{what} is not finite"),
        TrainError::Run(RunError::Plugin(
            PluginError::Input { .. } | PluginError::Output { .. } | PluginError::Failed { .. },
        )) if largest > FAR => format!("what it learns has reached {largest:e}"),
        _ => return error,
    };
    let (epoch, step) = (at.epochs.len() + 1, at.step + 1);
    TrainError::Diverged { epoch, step, why, lr: train.optimizer.lr }
}

/// Whether the watched loss has not fallen for so many epochs. A loss that is no number does not fall.
fn is_stuck(epochs: &[Epoch], patience: Patience) -> bool {
    let (mut lowest, mut n_waited) = (f64::INFINITY, 0);
    for epoch in epochs {
        let loss = epoch.held_out.unwrap_or(epoch.loss);
        n_waited += 1;
        if loss < lowest - patience.min_delta {
            (lowest, n_waited) = (loss, 0);
        }
    }
    n_waited >= patience.epochs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After which of these losses a training with this patience ends.
    fn ends_after(losses: &[f64], epochs: usize, min_delta: f64) -> Option<usize> {
        let epoch = |loss: &f64| Epoch { held_out: Some(*loss), loss: 9.0, ..Epoch::default() };
        let epochs_done: Vec<Epoch> = losses.iter().map(epoch).collect();
        let patience = Patience { epochs, min_delta };
        (0..=losses.len()).find(|n| is_stuck(&epochs_done[..*n], patience))
    }

    #[test]
    fn patience_ends_a_training_whose_watched_loss_does_not_fall() {
        let losses = [5.0, 4.0, 4.5, 3.9, 4.0, 4.1, 3.8];
        assert_eq!(ends_after(&losses, 1, 0.0), Some(3));
        assert_eq!(ends_after(&losses, 2, 0.0), Some(6));
        assert_eq!(ends_after(&losses, 3, 0.0), None);
        // 3.9 is not lower than 4.0 by more than a half.
        assert_eq!(ends_after(&losses, 3, 0.5), Some(5));
        assert_eq!(ends_after(&[3.0, 3.0], 1, 0.0), Some(2));
        assert_eq!(ends_after(&[f64::NAN, f64::NAN, 1.0], 2, 0.0), Some(2));
        assert_eq!(ends_after(&[], 1, 0.0), None);
    }

    #[test]
    fn without_held_out_references_the_own_loss_is_watched() {
        let epoch = |loss: f64| Epoch { loss, ..Epoch::default() };
        let patience = Patience { epochs: 1, min_delta: 0.0 };
        assert!(!is_stuck(&[epoch(2.0), epoch(1.0)], patience));
        assert!(is_stuck(&[epoch(2.0), epoch(2.0)], patience));
    }
}
