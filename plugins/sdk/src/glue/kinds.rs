//! What the four traits have in common, so that one set of shims serves them all.

use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::host::Host;
use crate::inputs::Inputs;
use crate::outputs::{Outputs, Wanted};
use crate::port::Port;
use crate::schema::Schema;
use crate::tensor::Tensor;
use crate::traits::{Encoder, Fusion, PromptGenerator, Purity, Scorer};
use crate::values::{Facts, Sentence};

/// How a type `T` is a component of this kind.
pub trait Kind<T: Send + Sync + 'static>: 'static {
    type Config: DeserializeOwned + Schema;
    const ID: &'static str;
    const REVISION: u32;
    const ABOUT: &'static str;
    const PURITY: Purity;

    fn make(config: Self::Config, host: &Host) -> Result<T>;
    fn check(config: &Self::Config, host: &Host) -> Result<Facts>;
    fn ports() -> Vec<Port>;
    fn run(component: &T, inputs: &Inputs, wanted: &Wanted) -> Result<Outputs>;

    fn encode_text(_component: &T, _sentences: &[Sentence]) -> Result<Tensor> {
        Err(crate::error::Error::unsupported("text"))
    }
}

pub struct EncoderKind;
pub struct PromptsKind;
pub struct ScorerKind;
pub struct FusionKind;

/// The part of `Kind` that reads the same for each trait.
macro_rules! common {
    ($id:literal, $trait:ident) => {
        type Config = T::Config;
        const ID: &'static str = $id;
        const REVISION: u32 = <T as $trait>::REVISION;
        const ABOUT: &'static str = <T as $trait>::ABOUT;
        const PURITY: Purity = <T as $trait>::PURITY;

        fn make(config: Self::Config, host: &Host) -> Result<T> {
            <T as $trait>::new(config, host)
        }

        fn check(config: &Self::Config, host: &Host) -> Result<Facts> {
            <T as $trait>::check(config, host)
        }

        fn ports() -> Vec<Port> {
            <T as $trait>::ports()
        }
    };
}

impl<T: Encoder> Kind<T> for EncoderKind {
    common!("loupe.encoder/1", Encoder);

    fn run(component: &T, inputs: &Inputs, wanted: &Wanted) -> Result<Outputs> {
        component.encode_images(inputs.tensor("image")?, wanted)
    }

    fn encode_text(component: &T, sentences: &[Sentence]) -> Result<Tensor> {
        component.encode_text(sentences)
    }
}

impl<T: PromptGenerator> Kind<T> for PromptsKind {
    common!("loupe.prompts/1", PromptGenerator);

    fn run(component: &T, inputs: &Inputs, _wanted: &Wanted) -> Result<Outputs> {
        let names = inputs.sentences("class")?;
        let names: Vec<&str> = names.iter().map(|name| name.text.as_str()).collect();
        let Some((class_name, synonyms)) = names.split_first() else {
            return Err(crate::error::Error::empty("class"));
        };
        Ok(Outputs::new().put_text("text", component.generate(class_name, synonyms)?))
    }
}

impl<T: Scorer> Kind<T> for ScorerKind {
    common!("loupe.scorer/1", Scorer);

    fn run(component: &T, inputs: &Inputs, wanted: &Wanted) -> Result<Outputs> {
        component.score(inputs, wanted)
    }
}

impl<T: Fusion> Kind<T> for FusionKind {
    common!("loupe.fusion/1", Fusion);

    fn run(component: &T, inputs: &Inputs, wanted: &Wanted) -> Result<Outputs> {
        component.fuse_ports(inputs, wanted)
    }
}
