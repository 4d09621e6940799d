//! `loupe prompts generate`: the only command beside `weights fetch` that uses the network.

use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Value as Json, json};

use super::Asked;
use crate::cli::text::{columns, count, printable};
use crate::cli::{Common, Exit, Format, Outcome, print, print_json, setup};
use crate::pipeline::model::{Component, Pipeline};
use crate::plugin::Loader;
use crate::plugin::info::Kind;
use crate::prompts::{
    self, Counts, Done, Endpoint, Filler, Job, Key, Outcome as Became, Patience, Tool, Watch,
};

const URL_VARIABLE: &str = "LOUPE_LLM_URL";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loupe prompts generate p.toml --dry-run
  LOUPE_LLM_KEY=... loupe prompts generate p.toml --base-url https://api.openai.com/v1
  loupe prompts generate p.toml --class bottle --base-url http://localhost:11434/v1

The pipeline says what is asked: a stage `llm`, or a source of `hybrid`, names a cache, a model, a
template and a count. Each answer is in its cache before the next question is sent; run the command
again, and it asks for what is still missing. Exit code 4: some sentences could not be had.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    asked: Asked,
    /// Ask this model in the place of the pipeline's
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Address of an OpenAI-compatible endpoint, up to /v1 [default: LOUPE_LLM_URL]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Environment variable that holds the key; without a key none is sent
    #[arg(long, value_name = "NAME", default_value = "LOUPE_LLM_KEY")]
    key_variable: String,
    /// Print what would be asked, and ask nothing
    #[arg(long)]
    dry_run: bool,
    /// Longest that a request may take
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    timeout: Duration,
    /// Tries after a first that failed, where another may succeed
    #[arg(long, value_name = "N", default_value_t = 4)]
    retries: u32,
    /// Pause before the second try, doubled before each further one; an endpoint may say its own
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    wait: Duration,
    /// Prices of a million prompt tokens and of a million completion tokens, such as 0.15,0.6; the
    /// cost is counted up
    #[arg(long, value_name = "IN,OUT", value_parser = prices)]
    prices: Option<Prices>,
}

#[derive(Clone, Copy, Debug)]
struct Prices([f64; 2]);

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.001..=86400.0).contains(number));
    let wrong = || format!("wants seconds from 0.001 to 86400, got `{text}`");
    number.map(Duration::from_secs_f64).ok_or_else(wrong)
}

fn prices(text: &str) -> Result<Prices, String> {
    let number = |text: &str| {
        let number = text.trim().parse::<f64>().ok();
        number.filter(|number| number.is_finite() && *number >= 0.0)
    };
    let found = text.split_once(',').and_then(|(a, b)| Some(Prices([number(a)?, number(b)?])));
    found.ok_or_else(|| format!("wants two prices such as 0.15,0.6, got `{text}`"))
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let loader = setup::loader(common);
    let (pipeline, classes) = arguments.asked.read(&loader, true)?;
    let jobs = prompts::jobs(&loader, &pipeline, &classes, arguments.model.as_deref())?;
    if jobs.is_empty() {
        eprintln!("note: {}", nothing(&pipeline, &loader));
    }
    if arguments.dry_run {
        return plan(common, &loader, &jobs);
    }
    if jobs.is_empty() {
        return if common.format == Format::Json {
            print_json(&json!({"jobs": []}))
        } else {
            Ok(())
        };
    }
    let endpoint = endpoint(arguments)?;
    let filler = Filler {
        loader: &loader,
        endpoint: &endpoint,
        patience: Patience { retries: arguments.retries, wait: arguments.wait },
        prices: arguments.prices.map(|prices| prices.0),
        watch: &Said,
    };
    let tally = work(common, &filler, &jobs)?;
    tally.finish(common)?;
    if let Some(model) = &arguments.model {
        eprintln!(
            "note: the run wants `model = \"{}\"` in its stage to replay these",
            printable(model)
        );
    }
    if tally.n_failed + tally.n_left > 0 { Err(Exit::SomeFailed) } else { Ok(()) }
}

/// Why a pipeline asks for nothing.
fn nothing(pipeline: &Pipeline, loader: &Loader) -> &'static str {
    let has_tool = |component: &Component| match component {
        Component::Plugin { kind: Kind::Prompts, name } => Tool::of(loader, name).is_some(),
        _ => false,
    };
    match pipeline.stages.iter().any(|stage| has_tool(&stage.component)) {
        true => {
            "its prompt caches are written by hand; give a source, or an `llm` stage, a `model` to ask one"
        }
        false => "no stage of this pipeline reads a prompt cache; `llm` and `hybrid` do",
    }
}

fn endpoint(arguments: &Arguments) -> Result<Endpoint, Exit> {
    let given = arguments.base_url.clone().or_else(|| std::env::var(URL_VARIABLE).ok());
    let Some(base) = given.filter(|base| !base.trim().is_empty()) else {
        return Err(Exit::Failed(anyhow!(
            "no endpoint is named: give `--base-url URL` or set {URL_VARIABLE}; `--dry-run` shows \
             what would be asked"
        )));
    };
    let variable = &arguments.key_variable;
    let key = Key::of_variable(variable).map_err(prompts::PromptsError::from)?;
    let endpoint = Endpoint::new(&base, key, arguments.timeout, variable)
        .map_err(prompts::PromptsError::from)?;
    if endpoint.bares_key() {
        eprintln!("warning: the key is sent to `{}` in the clear; use https", endpoint.base());
    }
    Ok(endpoint)
}

/// What would be asked, and what is there already.
fn plan(common: &Common, loader: &Loader, jobs: &[Job]) -> Outcome {
    let mut rows = Vec::new();
    let mut entries = Vec::new();
    let mut n_requests = 0;
    for job in jobs {
        let tool = Tool::of(loader, &job.component).ok_or(prompts::PromptsError::NoTool)?;
        let there = prompts::is_found(&tool, job, &prompts::read_cache(&job.cache)?)?;
        n_requests += if there { 0 } else { job.requests.len() };
        let state = if there { "there" } else { "missing" };
        rows.push(vec![
            job.class.clone(),
            job.stage.clone(),
            printable(&job.model),
            job.wish()["template"].as_str().unwrap_or_default().to_owned(),
            job.wish()["count"].to_string(),
            state.to_owned(),
            job.cache.display().to_string(),
        ]);
        let bodies: Vec<&str> = job.requests.iter().map(|one| one.body.as_str()).collect();
        entries.push(json!({
            "class": job.class, "stage": job.stage, "cache": job.cache, "job": job.wish(),
            "state": state, "requests": bodies,
        }));
    }
    if common.format == Format::Json {
        return print_json(&json!({"jobs": entries, "n_requests": n_requests}));
    }
    if !rows.is_empty() {
        let head = ["class", "stage", "model", "template", "count", "state", "cache"];
        print(&columns(&head, &rows, &[4]))?;
    }
    eprintln!("would send {}; `--format json` prints them", count(n_requests, "request"));
    Ok(())
}

/// Goes through the jobs, saying what becomes of each.
fn work(common: &Common, filler: &Filler<'_>, jobs: &[Job]) -> Result<Tally, Exit> {
    let mut tally = Tally::default();
    let mut is_over = false;
    for job in jobs {
        if is_over {
            tally.left(job);
            continue;
        }
        let done = filler.fill(job);
        if let Became::Failed { is_final: true, .. } = &done.outcome {
            is_over = true;
        }
        tally.add(common, job, &done)?;
    }
    Ok(tally)
}

/// What became of all jobs.
#[derive(Default)]
struct Tally {
    n_filled: usize,
    n_there: usize,
    n_failed: usize,
    n_left: usize,
    counts: Counts,
    entries: Vec<Json>,
}

impl Tally {
    fn add(&mut self, common: &Common, job: &Job, done: &Done) -> Outcome {
        self.counts.add(&done.counts);
        let class = printable(&job.class);
        let mut entry = json!({
            "class": job.class, "stage": job.stage, "cache": job.cache, "model": job.model,
            "counts": counts_json(&done.counts),
        });
        match &done.outcome {
            Became::There => {
                self.n_there += 1;
                entry["state"] = "there".into();
            }
            Became::Filled { n_normal, n_anomalous, dropped } => {
                self.n_filled += 1;
                entry["state"] = "filled".into();
                entry["kept"] = json!({"normal": n_normal, "anomalous": n_anomalous});
                entry["dropped"] = dropped.clone().into();
                if common.format == Format::Table {
                    let (n_dropped, took) = (dropped.len(), took(&done.counts));
                    print(&format!(
                        "{class}: {n_normal} normal, {n_anomalous} anomalous, {n_dropped} dropped \
                         ({took})\n"
                    ))?;
                }
                for one in dropped.iter().filter(|_| common.verbose) {
                    let text = |key: &str| printable(one[key].as_str().unwrap_or_default());
                    eprintln!("{class}: dropped `{}`, which {}", text("text"), text("why"));
                }
            }
            Became::Failed { why, .. } => {
                self.n_failed += 1;
                entry["state"] = "failed".into();
                entry["why"] = why.clone().into();
                eprintln!("error: {class}: {}", printable(why));
            }
        }
        self.entries.push(entry);
        Ok(())
    }

    /// A job that was not tried after one that showed that no other can succeed.
    fn left(&mut self, job: &Job) {
        self.n_left += 1;
        self.entries.push(json!({
            "class": job.class, "stage": job.stage, "cache": job.cache, "model": job.model,
            "state": "not-asked",
        }));
    }

    fn finish(&self, common: &Common) -> Outcome {
        if common.format == Format::Json {
            let counts = counts_json(&self.counts);
            print_json(&json!({"jobs": self.entries, "counts": counts}))?;
        }
        let mut parts = vec![format!("{} filled", self.n_filled)];
        for (n, what) in
            [(self.n_there, "there before"), (self.n_failed, "failed"), (self.n_left, "not asked")]
        {
            if n > 0 {
                parts.push(format!("{n} {what}"));
            }
        }
        eprintln!("{}; {}", parts.join(", "), took(&self.counts));
        Ok(())
    }
}

fn counts_json(counts: &Counts) -> Json {
    json!({
        "requests": counts.n_requests, "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens, "cost": counts.cost,
    })
}

fn took(counts: &Counts) -> String {
    let Counts { n_requests, prompt_tokens, completion_tokens, cost } = counts;
    let cost = cost.map_or(String::new(), |cost| format!(", cost {cost:.6}"));
    let requests = count(usize::try_from(*n_requests).unwrap_or(usize::MAX), "request");
    format!("{requests}, {prompt_tokens} + {completion_tokens} tokens{cost}")
}

/// Says on stderr what is tried again.
struct Said;

impl Watch for Said {
    fn again(&self, job: &Job, why: &str, pause: Duration) {
        let (class, why) = (printable(&job.class), printable(why));
        eprintln!("note: {class}: {why}; again in {:.1} s", pause.as_secs_f64());
    }
}
