//! Keys and wiring, which need no plugin: what changes a key, and how lists are given to a component.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::keys::{item_key, label_text, stage_key};
use super::reads::{Reads, select, selects};
use super::wiring::{Call, Feed, Form, Wiring, wire};
use crate::cache::{Dtype, KeyBuilder};
use crate::pipeline::model::*;
use crate::plugin::info::{Catalog, ComponentInfo, Facts, Kind, Port, Scope, ValueKind, Verb};

/// A catalog with one scorer: `rows` to fit, `query` to score.
struct One(ComponentInfo);

impl Catalog for One {
    fn component(&self, _kind: Kind, name: &str) -> Option<&ComponentInfo> {
        (name == self.0.name).then_some(&self.0)
    }
    fn names(&self, _kind: Kind) -> Vec<&str> {
        vec![&self.0.name]
    }
    fn facts(&self, _kind: Kind, _name: &str, _config: &Value) -> Result<Facts, String> {
        Ok(Facts::default())
    }
    fn rejected(&self) -> Vec<(PathBuf, String)> {
        Vec::new()
    }
}

fn port(index: u32, name: &str, verb: Verb, output: bool, many: bool) -> Port {
    Port {
        index,
        name: name.to_owned(),
        about: String::new(),
        verb,
        output,
        kinds: vec![ValueKind::Tensor],
        dtypes: vec!["f32"],
        scope: Scope::Image,
        optional: false,
        many,
        shape: Some("... d".to_owned()),
    }
}

fn catalog(revision: u32, binary: u8) -> One {
    One(ComponentInfo {
        kind: Kind::Scorer,
        name: "near".to_owned(),
        about: String::new(),
        revision,
        deterministic: true,
        batch_invariant: true,
        thread_safe: true,
        devices: vec!["cpu"],
        schema: json!({}),
        ports: vec![
            port(0, "rows", Verb::Fit, false, true),
            port(1, "query", Verb::Run, false, false),
            port(2, "patch_scores", Verb::Run, true, false),
        ],
        fits: true,
        taps: false,
        goes_back: false,
        trains: false,
        encodes_text: false,
        plugin: "test".to_owned(),
        plugin_version: "1".to_owned(),
        path: PathBuf::new(),
        binary: [binary; 32],
    })
}

const SIZES: [Label; 2] =
    [Label { size: Some(240), tap: None }, Label { size: Some(448), tap: None }];

fn stage(name: &str, component: Component, inputs: Vec<Input>, mapped: Vec<Label>) -> Stage {
    let listed = matches!(component, Component::Prepare(_)) || !mapped.is_empty();
    Stage {
        name: name.to_owned(),
        component,
        config: serde_json::Map::new(),
        files: Vec::new(),
        inputs,
        fit_on: Some(FitOn::References),
        augment: None,
        trained: false,
        state: None,
        embed_with: None,
        taps: None,
        mapped,
        outputs: vec![StageOutput {
            name: "out".to_owned(),
            port_index: 2,
            kind: if listed { ValueKind::Tensors } else { ValueKind::Tensor },
            scope: Scope::Image,
            labels: if listed { SIZES.to_vec() } else { Vec::new() },
            shape: None,
        }],
        facts: Facts::default(),
    }
}

/// `image` at two sizes, and `near` on it, its two ports wired with these selectors.
fn pipeline(query: Select, mapped: Vec<Label>) -> Pipeline {
    let prepare = Prepare {
        geometry: "square".to_owned(),
        sizes: vec![240, 448],
        filter: "pillow-bicubic".to_owned(),
        normalize: Normalize { mean: [0.0; 3], std: [1.0; 3] },
    };
    let value = |select: Select| ValueRef { stage: 0, output: "out".to_owned(), select };
    let input = |port: &str, port_index, verb, select| Input {
        port: port.to_owned(),
        port_index,
        verb,
        values: vec![value(select)],
    };
    let near = Component::Plugin { kind: Kind::Scorer, name: "near".to_owned() };
    let inputs =
        vec![input("rows", 0, Verb::Fit, query.clone()), input("query", 1, Verb::Run, query)];
    Pipeline {
        files: Vec::new(),
        fill: String::new(),
        data: None,
        stages: vec![
            stage("image", Component::Prepare(prepare), Vec::new(), Vec::new()),
            stage("differs", near, inputs, mapped),
        ],
        train: None,
        compat: Compat::default(),
        output: Output::default(),
        protocols: Vec::new(),
        hooks: None,
        run: Run {
            seed: 0,
            device: "auto".to_owned(),
            threads: 1,
            memory: 0,
            cache_features: "f32".to_owned(),
            cache_stages: "f32".to_owned(),
        },
        tests: Vec::new(),
        setting: Setting::Inductive,
        resolved: Value::Null,
        origins: Vec::new(),
        warnings: Vec::new(),
    }
}

fn feed(port: u32, label: Label) -> Feed {
    Feed { port, stage: 0, output: "out".to_owned(), form: Form::Tensor(label) }
}

#[test]
fn a_list_is_mapped_with_one_fit_and_one_call_per_label() {
    let wired = wire(&pipeline(Select::default(), SIZES.to_vec()), &catalog(1, 0)).unwrap();
    let calls = |port| SIZES.map(|label| Call { label, feeds: vec![feed(port, label)] }).to_vec();
    assert_eq!(wired[1], Wiring { fits: calls(0), runs: calls(1) });
    assert_eq!(wired[1].fit_of(SIZES[1]).map(|fit| fit.label), Some(SIZES[1]));
}

#[test]
fn a_selected_tensor_is_given_alone() {
    let one = Select { sizes: Some(vec![448]), taps: None, single: true };
    let wired = wire(&pipeline(one, Vec::new()), &catalog(1, 0)).unwrap();
    assert_eq!(wired[1].runs, [Call { label: Label::default(), feeds: vec![feed(1, SIZES[1])] }]);
    assert_eq!(wired[1].fit_of(Label::default()), wired[1].fits.first());
}

#[test]
fn only_what_is_read_is_wanted() {
    let one = Select { sizes: Some(vec![448]), taps: None, single: true };
    let reads = Reads::of(&pipeline(one, Vec::new()));
    assert_eq!(reads.at(0, SIZES[1]), ["out"]);
    assert!(reads.at(0, SIZES[0]).is_empty());
}

#[test]
fn selectors_keep_the_order_they_name() {
    let reference = |sizes: Vec<u32>| ValueRef {
        stage: 0,
        output: "out".to_owned(),
        select: Select { sizes: Some(sizes), taps: None, single: false },
    };
    assert_eq!(select(&reference(vec![448, 240]), &SIZES), [SIZES[1], SIZES[0]]);
    let tap = Select { sizes: None, taps: Some(vec![6]), single: true };
    assert!(selects(&tap, Label { size: Some(240), tap: Some(6) }));
    assert!(!selects(&tap, SIZES[0]));
}

#[test]
fn a_key_knows_what_is_built_into_a_component() {
    let key = |facts: Value| {
        let mut pipeline = pipeline(Select::default(), SIZES.to_vec());
        pipeline.stages[1].facts.all = facts;
        stage_key(&pipeline.stages[1], &catalog(1, 0), None, Some(Dtype::F32), 0).unwrap()
    };
    let embedded = |digest: &str| key(json!({"embedded": {"starter": digest}, "dims": {"c": 8}}));
    assert_eq!(embedded("1f"), embedded("1f"));
    assert_ne!(embedded("1f"), embedded("2e"), "other weights under the same name");
    assert_ne!(embedded("1f"), key(json!({"dims": {"c": 8}})));
    assert_eq!(key(json!({"dims": {"c": 8}})), key(Value::Null), "sizes follow from the config");
}

#[test]
fn a_key_holds_the_precision_that_auto_became() {
    let key = |asked: &str, told: &str| {
        let mut pipeline = pipeline(Select::default(), SIZES.to_vec());
        let stage = &mut pipeline.stages[1];
        stage.config.insert("precision".to_owned(), json!(asked));
        stage.facts.all = json!({ "precision": told });
        stage_key(stage, &catalog(1, 0), None, Some(Dtype::F32), 0).unwrap()
    };
    assert_eq!(key("auto", "bf16"), key("bf16", "bf16"));
    assert_eq!(key("auto", "f32"), key("f32", "f32"));
    assert_ne!(key("auto", "bf16"), key("auto", "f32"));
}

#[test]
fn a_key_knows_revision_and_config_and_under_revision_0_the_build() {
    let pipeline = pipeline(Select::default(), SIZES.to_vec());
    let key = |revision, binary| {
        stage_key(&pipeline.stages[1], &catalog(revision, binary), None, Some(Dtype::F32), 0)
            .unwrap()
    };
    assert_eq!(key(1, 0), key(1, 9), "a rebuild of a revision keeps its values");
    assert_ne!(key(1, 0), key(2, 0), "a new revision makes new values");
    assert_ne!(key(0, 0), key(0, 9), "a component under development has a key per build");
    let mut other = pipeline.clone();
    other.stages[1].config.insert("k".to_owned(), json!(2));
    assert_ne!(
        key(1, 0),
        stage_key(&other.stages[1], &catalog(1, 0), None, Some(Dtype::F32), 0).unwrap()
    );
    assert_ne!(
        key(1, 0),
        stage_key(&pipeline.stages[1], &catalog(1, 0), Some([0; 32]), Some(Dtype::F32), 0).unwrap()
    );
}

#[test]
fn a_key_knows_the_stored_type_and_the_seed_of_what_draws_numbers() {
    let pipeline = pipeline(Select::default(), SIZES.to_vec());
    let key = |catalog: &One, stored, seed| {
        stage_key(&pipeline.stages[1], catalog, None, Some(stored), seed).unwrap()
    };
    let pure = catalog(1, 0);
    assert_ne!(key(&pure, Dtype::F32, 0), key(&pure, Dtype::F16, 0));
    assert_eq!(key(&pure, Dtype::F32, 0), key(&pure, Dtype::F32, 1));
    let mut draws = catalog(1, 0);
    draws.0.deterministic = false;
    assert_ne!(key(&draws, Dtype::F32, 0), key(&draws, Dtype::F32, 1));
}

#[test]
fn a_size_more_leaves_the_keys_of_the_others() {
    let mut pipeline = pipeline(Select::default(), SIZES.to_vec());
    let key = |pipeline: &Pipeline| {
        stage_key(&pipeline.stages[0], &catalog(1, 0), None, None, 0).unwrap()
    };
    let before = key(&pipeline);
    let Component::Prepare(prepare) = &mut pipeline.stages[0].component else { panic!() };
    prepare.sizes.push(896);
    assert_eq!(key(&pipeline), before);
    let Component::Prepare(prepare) = &mut pipeline.stages[0].component else { panic!() };
    prepare.filter = "pillow-box".to_owned();
    assert_ne!(key(&pipeline), before);
}

#[test]
fn a_file_joins_a_key_by_content_not_by_path() {
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut stage = pipeline(Select::default(), Vec::new()).stages.remove(1);
        stage.files = vec!["weights".to_owned()];
        stage.config.insert("weights".to_owned(), json!(path));
        stage_key(&stage, &catalog(1, 0), None, Some(Dtype::F32), 0).unwrap()
    };
    assert_eq!(key("a", "same"), key("b", "same"));
    assert_ne!(key("a", "same"), key("b", "other"));
}

#[test]
fn tensors_of_one_call_have_their_own_keys() {
    let call = KeyBuilder::new("call").finish();
    let keys = [
        item_key(&call, "a", SIZES[0]),
        item_key(&call, "a", SIZES[1]),
        item_key(&call, "b", SIZES[0]),
    ];
    assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2]);
    assert_eq!(label_text(Label { size: Some(240), tap: Some(6) }), "240.6");
}
