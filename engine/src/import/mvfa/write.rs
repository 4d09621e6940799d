//! Writes the pipeline that a command line of ClipMPCAD or MVFA-AD means.

use std::fmt::Write as _;

use super::super::options::quoted;
use super::{Asked, NAMES_FILE, SETS, System};

/// Which images teach: drawn, or those of a line of the few-shot file.
fn references(asked: &Asked) -> String {
    let Asked { shots, seed, iterate, .. } = asked;
    if asked.script.is_zero() {
        return "{ shots = 0 }".to_owned();
    }
    if asked.is_industrial() || *iterate < 0 {
        return format!(
            "{{ shots = {shots}, anomalous = \"shots\", seed = {seed}, select = \"seeded\" }}"
        );
    }
    format!(
        "{{ shots = {shots}, anomalous = \"shots\", seed = {iterate}, select = \"manifest\", \
         manifest = \"${{LOUPE_DATA}}/fewshot_seed/{{class}}/{{shots}}-shot.txt\" }}"
    )
}

/// The text of the pipeline.
pub(super) fn written(asked: &Asked) -> String {
    let (layout, masks) = asked.set;
    let industrial = asked.is_industrial();
    let head = if masks { "seg" } else { "det" };
    let Asked { size, seed, .. } = asked;
    let fusion = match asked.system {
        System::ClipMpcad => "madff",
        System::Mvfa => "mvfa",
    };
    let references = references(asked);
    let normalize = if industrial { "clip" } else { "none" };
    let hooks =
        if asked.has_names() { format!("hooks = \"{NAMES_FILE}\"\n") } else { String::new() };
    let mut out = format!(
        "loupe = 1\n{hooks}[data]\ndataset    = {layout}\nroot       = {root}\nreferences = {references}\n[stages]\n\
         image   = {{ prepare = \"square\", sizes = [{size}], filter = \"pillow-bicubic\", normalize = \"{normalize}\" }}\n\
         clip    = {{ encoder = \"clip\", image = \"image\", model = \"ViT-L-14-336\", weights = \"openai\", activation = \"gelu\" }}\n\
         adapted = {{ fusion = \"{fusion}\", taps = \"clip\", at = {taps:?}, image = \"image\", heads = [\"seg\", \"det\"], state = {state} }}\n\
         words   = {{ prompts = \"ensemble\", sets = [\"clip-35\"], subject = \"class\", embed_with = \"clip\" }}\n",
        layout = quoted(layout),
        root = quoted(&asked.root),
        taps = asked.taps,
        state = quoted(&asked.state),
    );
    out += &voting(asked, head, masks);
    out += "[train]\nstage     = \"adapted\"\ntext      = \"words\"\n";
    if !asked.script.is_zero() {
        out += "augment   = \"mvfa-11\"\n";
    }
    let (masks, keep) = if industrial { ("smooth", "last") } else { ("nearest", "best-test") };
    let _ = write!(
        out,
        "masks     = \"{masks}\"\n\
         loss      = {{ det = \"bce-on-probability\", seg = [\"focal\", \"dice\"] }}\n\
         optimizer = {{ name = \"adam\", lr = {lr}, betas = [0.5, 0.999] }}\n\
         epochs    = {epochs}\nkeep      = \"{keep}\"\n",
        lr = asked.lr,
        epochs = asked.epochs,
    );
    if asked.script.is_zero() {
        let others = SETS.iter().filter(|set| set.1 != layout);
        let root = quoted(&asked.root);
        let line = |set: &(&str, &str, bool)| {
            format!("    {{ dataset = \"{}\", root = {root} }},\n", set.1)
        };
        let _ = write!(out, "auxiliary = [\n{}]\n", others.map(line).collect::<String>());
    }
    if industrial {
        out += "[compat]\ntest_learned = true\n";
    }
    let _ = write!(out, "[protocol]\nuse = [\"native\"]\n[run]\nseed = {seed}\n");
    out
}

/// What makes of tokens a map and a verdict.
fn voting(asked: &Asked, head: &str, masks: bool) -> String {
    let size = asked.size;
    let told = |name: &str, head: &str, emit: &str| {
        format!(
            "{name:7} = {{ scorer = \"language\", query = \"adapted.{head}_tokens\", text = \"words\", model = \"average\", \
             renormalize = true, scale = 100.0{emit} }}\n"
        )
    };
    let map = |name: &str, of: &str, then: &str| {
        format!(
            "{name:7} = {{ map = \"bilinear-align-corners\", of = \"{of}\", size = {size}{then} }}\n"
        )
    };
    let margin = ", emit = \"margin\"";
    let sigmoid = ", then = \"sigmoid\"";
    let zero =
        map("zero_at", "told", sigmoid) + "zero    = { fusion = \"sum\", parts = \"zero_at\" }\n";
    if asked.script.is_zero() {
        return [
            told("told", "seg", margin),
            zero,
            told("telling", "det", ""),
            "per_tap = { pool = \"mean\", of = \"telling\" }\n\
             verdict = { fusion = \"sum\", parts = \"per_tap\" }\n\
             [output]\nanomaly_map   = \"zero\"\nanomaly_score = \"verdict\"\n"
                .to_owned(),
        ]
        .concat();
    }
    let bank = format!(
        "differs = {{ scorer = \"nearest\", query = \"adapted.{head}_tokens\", rows = [\"adapted.{head}_tokens\", \
         \"adapted.{head}_prefix\"], fit_on = \"references\", augment = \"mvfa-11\", distance = \"cosine\" }}\n\
         {}few     = {{ fusion = \"sum\", parts = \"few_at\" }}\n",
        map("few_at", "differs", "")
    );
    let both = |few: &str| {
        format!(
            "zero01  = {{ fusion = \"min-max\", parts = \"zero\", fit_on = \"test-set\" }}\n\
             few01   = {{ fusion = \"min-max\", parts = \"{few}\", fit_on = \"test-set\" }}\n\
             both    = {{ fusion = \"weighted\", parts = [\"zero01\", \"few01\"], weights = [0.5, 0.5] }}\n"
        )
    };
    let parts = match masks {
        true => [
            told("told", head, margin),
            zero,
            bank,
            both("few"),
            "verdict = { pool = \"max\", of = \"both\" }\n\
             [output]\nanomaly_map   = \"both\"\nanomaly_score = \"verdict\"\n"
                .to_owned(),
        ],
        false => [
            told("told", head, ""),
            "per_tap = { pool = \"mean\", of = \"told\" }\n\
             zero    = { fusion = \"sum\", parts = \"per_tap\" }\n"
                .to_owned(),
            bank,
            "mean    = { pool = \"mean\", of = \"few\" }\n".to_owned() + both("mean").as_str(),
            "[output]\nanomaly_map   = \"few\"\nanomaly_score = \"both\"\n".to_owned(),
        ],
    };
    parts.concat()
}
