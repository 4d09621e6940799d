//! What `#[derive(Schema)]` makes of a config.

use std::collections::BTreeMap;

use expect_test::expect;
use loupe_plugin::prelude::*;

/// How near is near,
/// told in two lines.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[allow(dead_code)]
struct Near {
    /// Which distance.
    #[serde(default)]
    distance: Distance,
    #[schema(min = 1, max = 9)]
    k_nearest: usize,
    #[serde(default = "tenth")]
    #[schema(above = 0.0)]
    share: f32,
    #[schema(file, names = ["random"])]
    weights: String,
    #[schema(file, min_items = 1)]
    lists: Vec<String>,
    scale: OneOrMany,
    mean: Option<[f32; 3]>,
    more: BTreeMap<String, Inner>,
    #[serde(rename = "loud", default)]
    quiet: bool,
}

#[derive(Default, Deserialize, Schema)]
#[serde(rename_all = "kebab-case")]
#[allow(dead_code)]
enum Distance {
    #[default]
    HalfCosine,
    L2,
}

#[derive(Deserialize, Schema)]
#[serde(untagged)]
#[allow(dead_code)]
enum OneOrMany {
    One(f32),
    Many(Vec<f32>),
}

#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields, default)]
struct Inner {
    depth: i32,
}

impl Default for Inner {
    fn default() -> Self {
        Inner { depth: 4 }
    }
}

fn tenth() -> f32 {
    0.1
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn every_key_of_the_subset() {
    let schema = serde_json::to_string_pretty(&Near::schema()).unwrap();
    expect![[r#"
        {
          "additionalProperties": false,
          "description": "How near is near, told in two lines.",
          "properties": {
            "distance": {
              "default": "half-cosine",
              "description": "Which distance.",
              "enum": [
                "half-cosine",
                "l2"
              ],
              "type": "string"
            },
            "k-nearest": {
              "maximum": 9,
              "minimum": 1,
              "type": "integer"
            },
            "lists": {
              "items": {
                "format": "loupe-file",
                "type": "string"
              },
              "minItems": 1,
              "type": "array"
            },
            "loud": {
              "default": false,
              "type": "boolean"
            },
            "mean": {
              "items": {
                "type": "number"
              },
              "maxItems": 3,
              "minItems": 3,
              "type": "array"
            },
            "more": {
              "additionalProperties": {
                "additionalProperties": false,
                "properties": {
                  "depth": {
                    "default": 4,
                    "type": "integer"
                  }
                },
                "required": [],
                "type": "object"
              },
              "type": "object"
            },
            "scale": {
              "anyOf": [
                {
                  "type": "number"
                },
                {
                  "items": {
                    "type": "number"
                  },
                  "type": "array"
                }
              ]
            },
            "share": {
              "default": 0.1,
              "exclusiveMinimum": 0.0,
              "type": "number"
            },
            "weights": {
              "format": "loupe-file",
              "type": "string",
              "x-names": [
                "random"
              ]
            }
          },
          "required": [
            "k-nearest",
            "weights",
            "lists",
            "scale",
            "more"
          ],
          "type": "object"
        }"#]]
    .assert_eq(&schema);
}

#[test]
fn a_value_is_written_as_it_is_read() {
    assert_eq!(Inner::default().to_json(), serde_json::json!({"depth": 4}));
    assert_eq!(OneOrMany::Many(vec![0.1, 2.0]).to_json(), serde_json::json!([0.1, 2.0]));
    assert_eq!(Distance::HalfCosine.to_json(), "half-cosine");
}
