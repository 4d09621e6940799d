//! Public CLIP weights by name: where they are, what they are called, and how to tell the right
//! file from another. The names, addresses and digests are those that open_clip and OpenAI publish;
//! none of the files was downloaded here.

/// One public weights file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// open_clip's name of the architecture.
    pub model: &'static str,
    /// open_clip's tag, with `-` for `_`.
    pub tag: &'static str,
    /// SHA-256: all 64 digits, or the first 8 where the publisher gives no more, or none.
    pub sha256: &'static str,
    pub licence: &'static str,
    /// Rough size in MiB, 0 where it is not known.
    pub about_mib: u32,
    source: Source,
    /// What a user must know beside the name.
    pub note: &'static str,
}

/// Who publishes a file, and the part of its address that is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The digest is a part of the address.
    OpenAi(&'static str),
    OpenClip(&'static str),
    Meta(&'static str),
    HuggingFace(&'static str),
}

const QUICK: &str =
    "trained with QuickGELU: set activation = \"quick-gelu\" or take the -quickgelu model";
const HALF: &str =
    "trained with mean and deviation 0.5: set normalize = [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]";
const NON_COMMERCIAL: &str = "not for commercial use";

const B16_OPENAI: &str = "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f";
const B32_OPENAI: &str = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af";
const L14_OPENAI: &str = "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836";
const L14_336_OPENAI: &str = "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02";

/// All of them, sorted by model and tag.
pub static KNOWN: [Known; 23] = [
    hub("ViT-B-16", "laion2b-s34b-b88k", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K", ""),
    release("ViT-B-16", "laion400m-e31", "vit_b_16-laion400m_e31-00efa78f.pt", "00efa78f", ""),
    release("ViT-B-16", "laion400m-e32", "vit_b_16-laion400m_e32-55e67d44.pt", "55e67d44", ""),
    openai("ViT-B-16", "ViT-B-16.pt", B16_OPENAI, 335),
    release(
        "ViT-B-16-plus-240",
        "laion400m-e31",
        "vit_b_16_plus_240-laion400m_e31-8fb26589.pt",
        "8fb26589",
        "",
    ),
    release(
        "ViT-B-16-plus-240",
        "laion400m-e32",
        "vit_b_16_plus_240-laion400m_e32-699c4b84.pt",
        "699c4b84",
        "",
    ),
    meta("ViT-B-16-quickgelu", "metaclip-400m", "b16_400m.pt"),
    meta("ViT-B-16-quickgelu", "metaclip-fullcc", "b16_fullcc2.5b.pt"),
    release("ViT-B-32", "laion2b-e16", "vit_b_32-laion2b_e16-af8dbd0c.pth", "af8dbd0c", ""),
    hub("ViT-B-32", "laion2b-s34b-b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", ""),
    release(
        "ViT-B-32",
        "laion400m-e31",
        "vit_b_32-quickgelu-laion400m_e31-d867053b.pt",
        "d867053b",
        QUICK,
    ),
    release(
        "ViT-B-32",
        "laion400m-e32",
        "vit_b_32-quickgelu-laion400m_e32-46683a32.pt",
        "46683a32",
        QUICK,
    ),
    openai("ViT-B-32", "ViT-B-32.pt", B32_OPENAI, 338),
    release(
        "ViT-B-32-quickgelu",
        "laion400m-e31",
        "vit_b_32-quickgelu-laion400m_e31-d867053b.pt",
        "d867053b",
        "",
    ),
    release(
        "ViT-B-32-quickgelu",
        "laion400m-e32",
        "vit_b_32-quickgelu-laion400m_e32-46683a32.pt",
        "46683a32",
        "",
    ),
    meta("ViT-B-32-quickgelu", "metaclip-400m", "b32_400m.pt"),
    meta("ViT-B-32-quickgelu", "metaclip-fullcc", "b32_fullcc2.5b.pt"),
    hub("ViT-L-14", "laion2b-s32b-b82k", "laion/CLIP-ViT-L-14-laion2B-s32B-b82K", HALF),
    release("ViT-L-14", "laion400m-e31", "vit_l_14-laion400m_e31-69988bb6.pt", "69988bb6", ""),
    release("ViT-L-14", "laion400m-e32", "vit_l_14-laion400m_e32-3d133497.pt", "3d133497", ""),
    openai("ViT-L-14", "ViT-L-14.pt", L14_OPENAI, 890),
    openai("ViT-L-14-336", "ViT-L-14-336px.pt", L14_336_OPENAI, 891),
    meta("ViT-L-14-quickgelu", "metaclip-fullcc", "l14_fullcc2.5b.pt"),
];

const fn openai(
    model: &'static str,
    file: &'static str,
    sha256: &'static str,
    about_mib: u32,
) -> Known {
    let (source, licence) = (Source::OpenAi(file), "MIT");
    Known { model, tag: "openai", sha256, licence, about_mib, source, note: "" }
}

const fn release(
    model: &'static str,
    tag: &'static str,
    file: &'static str,
    sha256: &'static str,
    note: &'static str,
) -> Known {
    let source = Source::OpenClip(file);
    Known { model, tag, sha256, licence: "MIT", about_mib: 0, source, note }
}

const fn hub(
    model: &'static str,
    tag: &'static str,
    repository: &'static str,
    note: &'static str,
) -> Known {
    let source = Source::HuggingFace(repository);
    Known { model, tag, sha256: "", licence: "MIT", about_mib: 0, source, note }
}

const fn meta(model: &'static str, tag: &'static str, file: &'static str) -> Known {
    let (source, licence) = (Source::Meta(file), "CC-BY-NC-4.0");
    Known { model, tag, sha256: "", licence, about_mib: 0, source, note: NON_COMMERCIAL }
}

impl Known {
    /// `ViT-L-14-336/openai`: what a pipeline's `model` and `weights` say together.
    pub fn name(&self) -> String {
        format!("{}/{}", self.model, self.tag)
    }

    /// Whether a file with this SHA-256 can be the one: true where nothing is known of it.
    pub fn accepts(&self, sha256: &str) -> bool {
        sha256.starts_with(self.sha256)
    }

    /// Whether its whole digest is known.
    pub fn is_certain(&self) -> bool {
        self.sha256.len() == 64
    }

    pub fn url(&self) -> String {
        match self.source {
            Source::OpenAi(file) => {
                format!("https://openaipublic.azureedge.net/clip/models/{}/{file}", self.sha256)
            }
            Source::OpenClip(file) => format!(
                "https://github.com/mlfoundations/open_clip/releases/download/v0.2-weights/{file}"
            ),
            Source::Meta(file) => format!("https://dl.fbaipublicfiles.com/MMPT/metaclip/{file}"),
            Source::HuggingFace(repository) => {
                format!(
                    "https://huggingface.co/{repository}/resolve/main/open_clip_pytorch_model.bin"
                )
            }
        }
    }
}

/// Looks a name up. `_` and `-` are one, as in [`super::canonical`].
pub fn find(name: &str) -> Option<&'static Known> {
    let name = super::canonical(name);
    KNOWN.iter().find(|known| known.name() == name)
}
