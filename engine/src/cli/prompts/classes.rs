//! The classes of a pipeline by name alone: no image is opened.

use anyhow::anyhow;
use loupe_datasets::Layout;

use crate::cli::Exit;
use crate::data;
use crate::pipeline::model::{Data, Pipeline};
use crate::prompts::Names;
use crate::run::{ClassImages, load_hooks, renamed};

/// The classes named in `wanted`, or all: those of the data set, or of its publication where the
/// data is not here, as the pipeline's `on_class` calls them. A name that neither knows stands for
/// itself.
/// Errors: no class is known; the hook fails.
pub(super) fn classes(pipeline: &Pipeline, wanted: &[String]) -> Result<Vec<Names>, Exit> {
    let known = match &pipeline.data {
        Some(data) => of_data(data),
        None => Err("it has no [data]".to_owned()),
    };
    let chosen = match (wanted, known) {
        ([], Ok(known)) => known,
        ([], Err(why)) => {
            let what = "the pipeline's classes are not known";
            return Err(Exit::Failed(anyhow!("{what}: {why}; name them with `--class NAME`")));
        }
        (_, known) => {
            let known = known.unwrap_or_default();
            let is = |names: &Names, one: &str| names.class == one || names.display == one;
            let find = |one: &String| known.iter().find(|names| is(names, one)).cloned();
            let itself = |one: &String| Names {
                class: one.clone(),
                display: one.replace('_', " "),
                synonyms: Vec::new(),
            };
            wanted.iter().map(|one| find(one).unwrap_or_else(|| itself(one))).collect()
        }
    };
    let Some(hooks) = &pipeline.hooks else { return Ok(chosen) };
    let hooks = load_hooks(hooks, pipeline)?;
    let called = |names: Names| {
        let Names { class: name, display, synonyms } = names;
        let blank = ClassImages { name, display, synonyms, ..ClassImages::default() };
        let class = renamed(&hooks, blank)?;
        let ClassImages { name, display, synonyms, .. } = class;
        Ok(Names { class: name, display, synonyms })
    };
    chosen.into_iter().map(called).collect()
}

fn of_data(data: &Data) -> Result<Vec<Names>, String> {
    let opened = match data::open(data) {
        Ok(dataset) => dataset.classes.into_iter(),
        Err(error) => {
            let layout = Layout::find(&data.dataset).map_err(|error| error.to_string())?;
            let is_wanted = |class: &String| match &data.classes {
                Some(classes) => classes.contains(class),
                None => true,
            };
            let published = layout.published().into_iter().filter(|class| is_wanted(&class.0));
            let names: Vec<Names> = published
                .map(|(class, display, synonyms)| Names { class, display, synonyms })
                .collect();
            return if names.is_empty() { Err(error.to_string()) } else { Ok(names) };
        }
    };
    let names = opened.map(|class| Names {
        class: class.name,
        display: class.display,
        synonyms: class.synonyms,
    });
    Ok(names.collect())
}
