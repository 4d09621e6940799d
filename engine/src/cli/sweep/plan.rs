//! `loupe sweep --plan`: the cells, which of them are done, and what the others lack.

use super::super::study::{Study, said};
use super::super::text::{columns, count};
use super::super::{Exit, Format, Outcome, print, print_json, setup};
use super::{Command, references};
use crate::data;
use crate::pipeline::model::Pipeline;
use crate::sweep::{CellPlan, Setup, Store};

impl Command<'_> {
    /// The cells, and what is known of them.
    pub(super) fn show(&self, setups: &[Setup], store: &Store) -> Outcome {
        let mut rows = Vec::new();
        let mut n_mistaken = 0;
        for setup in setups.iter().filter(|setup| !self.wanted(setup, None).is_empty()) {
            let checked =
                setup::checked_but_for_weights(&setup.pipeline, &setup.sets, &self.loader);
            let pipeline = checked.as_ref().ok().map(|(pipeline, _)| pipeline);
            let study = match &checked {
                Ok((pipeline, absent)) => Some(self.looked_at(setup, pipeline, absent)),
                Err(exit) => {
                    if !matches!(exit, Exit::Check { .. }) {
                        eprintln!("error: {}: {}", setup.title(), said(exit));
                    }
                    None
                }
            };
            let mut can_run = true;
            for cell in self.wanted(setup, pipeline) {
                let state = match &study {
                    None => "has mistakes",
                    Some(None) => "cannot run",
                    Some(Some(study)) => self.state(study, &cell, store)?,
                };
                can_run &= !matches!(state, "has mistakes" | "cannot run");
                rows.push(vec![cell.name, setup.title(), state.to_owned()]);
            }
            n_mistaken += usize::from(!can_run);
        }
        match self.common.format {
            Format::Table => print(&columns(&["cell", "variant", "state"], &rows, &[]))?,
            Format::Json => print_json(&rows)?,
        }
        eprintln!("{}", count(rows.len(), "cell"));
        match n_mistaken {
            0 => Ok(()),
            n => Err(Exit::Check { mistakes: format!("{} cannot run", count(n, "variant")) }),
        }
    }

    /// The study of a setup, if it can run. All that it lacks is said: weights, and data.
    fn looked_at<'p>(
        &'p self,
        setup: &Setup,
        pipeline: &'p Pipeline,
        absent: &[String],
    ) -> Option<Study<'p>> {
        let say = |what: &str| eprintln!("error: {}: {what}", setup.title());
        if absent.is_empty() {
            return self.open(setup, pipeline).map_err(|exit| say(&said(&exit))).ok();
        }
        absent.iter().for_each(|line| say(line));
        if let Some(Err(error)) = pipeline.data.as_ref().map(data::open) {
            say(&error.to_string());
        }
        None
    }

    /// What is known of a cell. References that are not there are said.
    fn state(
        &self,
        study: &Study<'_>,
        cell: &CellPlan,
        store: &Store,
    ) -> Result<&'static str, Exit> {
        let references = references(study, cell);
        if let Err(error) = data::has_references(&study.dataset, &references) {
            eprintln!("error: {}: {error}", cell.name);
            return Ok("cannot run");
        }
        let identity = self.identity(study, &references)?;
        Ok(match store.get(&cell.name, &identity) {
            Some(record) if record.is_done() => "done",
            Some(_) => "failed before",
            None => "to do",
        })
    }
}
