//! Whose names a file uses, and where each tensor of a model stands in it.

use std::fmt;

use crate::config::ModelConfig;

/// The dialects in which CLIP weights are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// open_clip and OpenAI: fused `in_proj`, projections multiplied from the right.
    OpenClip,
    /// Hugging Face transformers: split projections, weights as in linear layers.
    HuggingFace,
}

/// Where a model's tensor comes from.
pub enum Source {
    Same(String),
    /// A matrix stored the other way round.
    Transposed(String),
    /// Query, key and value rows, to be put one below the other.
    Stacked([String; 3]),
}

impl Dialect {
    /// The dialect of a list of tensor names, if any is known.
    pub fn of<'a>(names: impl Iterator<Item = &'a String> + Clone) -> Option<Self> {
        let any = |prefix: &str| names.clone().any(|name| name.starts_with(prefix));
        if any("visual.") || any("transformer.resblocks.") {
            Some(Self::OpenClip)
        } else if any("vision_model.") || any("text_model.") {
            Some(Self::HuggingFace)
        } else {
            None
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::OpenClip => "open_clip",
            Self::HuggingFace => "Hugging Face",
        }
    }

    /// Where the tensor that open_clip calls `name` stands in a file of this dialect.
    pub fn source(self, name: &str) -> Source {
        match self {
            Self::OpenClip => Source::Same(name.to_string()),
            Self::HuggingFace => hugging_face(name),
        }
    }
}

impl Source {
    /// How many tensors of the file it takes.
    pub fn len(&self) -> usize {
        match self {
            Self::Same(_) | Self::Transposed(_) => 1,
            Self::Stacked(names) => names.len(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(name) | Self::Transposed(name) => f.write_str(name),
            Self::Stacked(names) => f.write_str(&names.join(" + ")),
        }
    }
}

/// Every tensor of a model under open_clip's name, with its shape.
pub fn expected(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let (vision, text) = (&config.vision, &config.text);
    let (c, p, g) = (vision.width, vision.patch_size, vision.native_grid());
    let mut list: Vec<(String, Vec<usize>)> = Vec::new();
    let mut add = |name: &str, shape: &[usize]| list.push((name.to_string(), shape.to_vec()));
    add("visual.class_embedding", &[c]);
    add("visual.conv1.weight", &[c, 3, p, p]);
    add("visual.positional_embedding", &[1 + g * g, c]);
    add("visual.proj", &[c, config.embed_dim]);
    for norm in ["visual.ln_pre", "visual.ln_post"] {
        add(&format!("{norm}.weight"), &[c]);
        add(&format!("{norm}.bias"), &[c]);
    }
    let t = text.width;
    add("token_embedding.weight", &[text.vocab_size, t]);
    add("positional_embedding", &[text.context_length, t]);
    add("ln_final.weight", &[t]);
    add("ln_final.bias", &[t]);
    add("text_projection", &[t, config.embed_dim]);
    list.extend(block_tensors("visual.", c, vision.mlp_width, vision.n_blocks));
    list.extend(block_tensors("", t, text.mlp_width, text.n_blocks));
    list
}

fn block_tensors(
    tower: &str,
    width: usize,
    mlp_width: usize,
    n_blocks: usize,
) -> Vec<(String, Vec<usize>)> {
    let parts: [(&str, Vec<usize>); 12] = [
        ("ln_1.weight", vec![width]),
        ("ln_1.bias", vec![width]),
        ("attn.in_proj_weight", vec![3 * width, width]),
        ("attn.in_proj_bias", vec![3 * width]),
        ("attn.out_proj.weight", vec![width, width]),
        ("attn.out_proj.bias", vec![width]),
        ("ln_2.weight", vec![width]),
        ("ln_2.bias", vec![width]),
        ("mlp.c_fc.weight", vec![mlp_width, width]),
        ("mlp.c_fc.bias", vec![mlp_width]),
        ("mlp.c_proj.weight", vec![width, mlp_width]),
        ("mlp.c_proj.bias", vec![width]),
    ];
    let named = |index: usize| {
        let block = format!("{tower}transformer.resblocks.{index}");
        parts.iter().map(move |(part, shape)| (format!("{block}.{part}"), shape.clone()))
    };
    (0..n_blocks).flat_map(named).collect()
}

fn hugging_face(name: &str) -> Source {
    let same = |name: &str| Source::Same(name.to_string());
    match name {
        "visual.class_embedding" => same("vision_model.embeddings.class_embedding"),
        "visual.conv1.weight" => same("vision_model.embeddings.patch_embedding.weight"),
        "visual.positional_embedding" => same("vision_model.embeddings.position_embedding.weight"),
        "visual.proj" => Source::Transposed("visual_projection.weight".to_string()),
        "text_projection" => Source::Transposed("text_projection.weight".to_string()),
        "token_embedding.weight" => same("text_model.embeddings.token_embedding.weight"),
        "positional_embedding" => same("text_model.embeddings.position_embedding.weight"),
        _ => hugging_face_layer(name),
    }
}

/// Normalisations and blocks. The misspelt `pre_layrnorm` is the library's own.
fn hugging_face_layer(name: &str) -> Source {
    for (ours, theirs) in [
        ("visual.ln_pre.", "vision_model.pre_layrnorm."),
        ("visual.ln_post.", "vision_model.post_layernorm."),
        ("ln_final.", "text_model.final_layer_norm."),
    ] {
        if let Some(rest) = name.strip_prefix(ours) {
            return Source::Same(format!("{theirs}{rest}"));
        }
    }
    let (model, rest) = match name.strip_prefix("visual.") {
        Some(rest) => ("vision_model", rest),
        None => ("text_model", name),
    };
    let block = rest.strip_prefix("transformer.resblocks.").and_then(|rest| rest.split_once('.'));
    let Some((index, part)) = block else {
        return Source::Same(name.to_string());
    };
    let layer = format!("{model}.encoder.layers.{index}");
    if let Some(kind) = part.strip_prefix("attn.in_proj_") {
        return Source::Stacked(
            ["q", "k", "v"].map(|p| format!("{layer}.self_attn.{p}_proj.{kind}")),
        );
    }
    let part = part
        .replace("attn.out_proj.", "self_attn.out_proj.")
        .replace("ln_1.", "layer_norm1.")
        .replace("ln_2.", "layer_norm2.")
        .replace("mlp.c_fc.", "mlp.fc1.")
        .replace("mlp.c_proj.", "mlp.fc2.");
    Source::Same(format!("{layer}.{part}"))
}
