//! The descriptor behind a plugin's one symbol, and the `export!` macro that makes it.

use std::ffi::{CString, c_char};
use std::marker::PhantomData;
use std::ptr;
use std::sync::OnceLock;

use crate::abi::{
    self, LoupeBackward, LoupeComponent, LoupeFit, LoupePlugin, LoupePort, LoupeTaps, LoupeTool,
    LoupeTrain, LoupeVerbs,
};
use crate::error::{Error, Result};
use crate::glue::kinds::Kind;
use crate::glue::{component, fit, guard, taps, tool, train};
use crate::port::{Port, Verb};
use crate::schema::Schema;
use crate::traits::{Backward, Fit, Taps, Tool, Train};

/// Makes a plugin of components: `export!(fusion "mean" = Mean, scorer "nearest" = Nearest);`, once
/// per crate. The kinds are `encoder`, `prompts`, `scorer` and `fusion`; `Fit`, `Taps`, `Backward`,
/// `Train` and `Tool` are found by themselves. A type is exported under one name.
#[macro_export]
macro_rules! export {
    ($($kind:ident $name:literal = $type:ty),+ $(,)?) => {
        const _: () = {
            $(
                impl $crate::export::Exported for $type {
                    const NAME: &'static str = $name;
                    const FIT: Option<&'static $crate::abi::LoupeFit> = {
                        #[allow(unused_imports)]
                        use $crate::export::NoFit as _;
                        <$crate::export::Probe<$type>>::FIT
                    };
                    const TAPS: Option<&'static $crate::abi::LoupeTaps> = {
                        #[allow(unused_imports)]
                        use $crate::export::NoTaps as _;
                        <$crate::export::Probe<$type>>::TAPS
                    };
                    const BACKWARD: Option<&'static $crate::abi::LoupeBackward> = {
                        #[allow(unused_imports)]
                        use $crate::export::NoBackward as _;
                        <$crate::export::Probe<$type>>::BACKWARD
                    };
                    const TRAIN: Option<&'static $crate::abi::LoupeTrain> = {
                        #[allow(unused_imports)]
                        use $crate::export::NoTrain as _;
                        <$crate::export::Probe<$type>>::TRAIN
                    };
                    const TOOL: Option<&'static $crate::abi::LoupeTool> = {
                        #[allow(unused_imports)]
                        use $crate::export::NoTool as _;
                        <$crate::export::Probe<$type>>::TOOL
                    };
                }
            )+

            #[unsafe(no_mangle)]
            pub extern "C" fn loupe_plugin() -> *const $crate::abi::LoupePlugin {
                static PLUGIN: $crate::export::Plugin = $crate::export::Plugin::new();
                let flags = match cfg!(panic = "abort") {
                    true => $crate::abi::LOUPE_ABORTS_ON_PANIC,
                    false => 0,
                };
                PLUGIN.describe(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), flags, &[
                    $($crate::export::describe::<$crate::__loupe_kind!($kind), $type>),+
                ])
            }
        };
    };
}

/// The marker of a kind by the word that stands before the name in `export!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __loupe_kind {
    (encoder) => {
        $crate::export::EncoderKind
    };
    (prompts) => {
        $crate::export::PromptsKind
    };
    (scorer) => {
        $crate::export::ScorerKind
    };
    (fusion) => {
        $crate::export::FusionKind
    };
    ($other:ident) => {
        compile_error!("a component is an `encoder`, `prompts`, a `scorer` or a `fusion`")
    };
}

pub use crate::glue::kinds::{EncoderKind, FusionKind, PromptsKind, ScorerKind};

/// A type that `export!` names, with what it can do besides.
pub trait Exported: Sized + Send + Sync + 'static {
    const NAME: &'static str;
    const FIT: Option<&'static LoupeFit>;
    const TAPS: Option<&'static LoupeTaps>;
    const BACKWARD: Option<&'static LoupeBackward>;
    const TRAIN: Option<&'static LoupeTrain>;
    const TOOL: Option<&'static LoupeTool>;
}

/// Finds out whether a type implements a trait: where it does, the constants below hide those of
/// `NoFit` and its like.
pub struct Probe<T>(PhantomData<T>);

impl<T: Fit> Probe<T> {
    pub const FIT: Option<&'static LoupeFit> = Some(fit::Table::<T>::TABLE);
}

impl<T: Taps> Probe<T> {
    pub const TAPS: Option<&'static LoupeTaps> = Some(taps::Table::<T>::TABLE);
}

impl<T: Backward> Probe<T> {
    pub const BACKWARD: Option<&'static LoupeBackward> = Some(taps::Table::<T>::BACKWARD);
}

impl<T: Train> Probe<T> {
    pub const TRAIN: Option<&'static LoupeTrain> = Some(train::Table::<T>::TABLE);
}

impl<T: Tool> Probe<T> {
    pub const TOOL: Option<&'static LoupeTool> = Some(tool::Table::<T>::TABLE);
}

pub trait NoFit {
    const FIT: Option<&'static LoupeFit> = None;
}

impl<T> NoFit for Probe<T> {}

pub trait NoTaps {
    const TAPS: Option<&'static LoupeTaps> = None;
}

impl<T> NoTaps for Probe<T> {}

pub trait NoBackward {
    const BACKWARD: Option<&'static LoupeBackward> = None;
}

impl<T> NoBackward for Probe<T> {}

pub trait NoTrain {
    const TRAIN: Option<&'static LoupeTrain> = None;
}

impl<T> NoTrain for Probe<T> {}

pub trait NoTool {
    const TOOL: Option<&'static LoupeTool> = None;
}

impl<T> NoTool for Probe<T> {}

/// Makes the descriptor of one component. It is never freed: the host keeps it as long as the
/// process.
pub type Describe = fn() -> Result<*const LoupeComponent>;

/// The plugin's descriptor, made at the first call.
pub struct Plugin {
    made: OnceLock<Pointer>,
}

struct Pointer(*const LoupePlugin);

// SAFETY: it points to a descriptor that nobody writes once it is made.
unsafe impl Send for Pointer {}
// SAFETY: as above.
unsafe impl Sync for Pointer {}

impl Plugin {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Plugin { made: OnceLock::new() }
    }

    /// The descriptor; null, with a line on stderr, if a component cannot be described: no host is
    /// there to be told.
    pub fn describe(
        &self,
        name: &str,
        version: &str,
        flags: u32,
        components: &[Describe],
    ) -> *const LoupePlugin {
        let make = || {
            let made = guard::catch(|| plugin(name, version, flags, components));
            Pointer(made.unwrap_or_else(|error| {
                eprintln!("plugin {name} {version} cannot describe itself: {error}");
                ptr::null()
            }))
        };
        self.made.get_or_init(make).0
    }
}

fn plugin(
    name: &str,
    version: &str,
    flags: u32,
    components: &[Describe],
) -> Result<*const LoupePlugin> {
    let components = components.iter().map(|describe| describe()).collect::<Result<Vec<_>>>()?;
    Ok(leak(LoupePlugin {
        abi: abi::LOUPE_ABI,
        size: size_of::<LoupePlugin>() as u32,
        flags,
        n_components: components.len() as u32,
        name: c_text(name)?,
        version: c_text(version)?,
        components: components.leak().as_ptr(),
        get_extension: None,
    }))
}

/// The descriptor of `T` as a component of kind `K`.
pub fn describe<K: Kind<T>, T: Exported>() -> Result<*const LoupeComponent> {
    let ports = K::ports();
    let schema = K::Config::schema();
    let about = match K::ABOUT {
        "" => schema.get("description").and_then(|about| about.as_str()).unwrap_or_default(),
        about => about,
    };
    let takes_text = ports.iter().any(|port| port.verb == Verb::EncodeText);
    let verbs = leak(LoupeVerbs {
        size: size_of::<LoupeVerbs>() as u32,
        reserved: 0,
        run: Some(component::run::<K, T>),
        encode_text: if takes_text { Some(component::encode_text::<K, T>) } else { None },
    });
    let raw_ports = ports.iter().map(raw_port).collect::<Result<Vec<_>>>()?;
    Ok(leak(LoupeComponent {
        size: size_of::<LoupeComponent>() as u32,
        revision: K::REVISION,
        flags: flags::<K, T>(),
        devices: abi::LOUPE_CPU,
        kind: c_text(K::ID)?,
        name: c_text(T::NAME)?,
        about: c_text(about)?,
        config_schema: c_text(&schema.to_string())?,
        n_ports: raw_ports.len() as u32,
        reserved: 0,
        ports: raw_ports.leak().as_ptr(),
        verbs,
        create: Some(component::create::<K, T>),
        destroy: Some(component::destroy::<T>),
        check: Some(component::check::<K, T>),
        get_extension: Some(component::get_extension::<T>),
    }))
}

fn flags<K: Kind<T>, T: Exported>() -> u32 {
    let flag = |set: bool, bit: u32| if set { bit } else { 0 };
    flag(K::PURITY.deterministic, abi::LOUPE_DETERMINISTIC)
        | flag(K::PURITY.batch_invariant, abi::LOUPE_BATCH_INVARIANT)
        | flag(K::PURITY.thread_safe, abi::LOUPE_THREAD_SAFE)
}

fn raw_port(port: &Port) -> Result<*const LoupePort> {
    let shape = port.shape.as_deref().map_or(Ok(ptr::null()), c_text)?;
    Ok(leak(LoupePort {
        size: size_of::<LoupePort>() as u32,
        verb: port.verb as u32,
        direction: if port.output { abi::LOUPE_OUT } else { abi::LOUPE_IN },
        kind: port.kind,
        dtype: port.dtypes,
        scope: port.scope as u32,
        flags: port.flags,
        reserved: 0,
        name: c_text(&port.name)?,
        shape,
        about: c_text(&port.about)?,
    }))
}

fn c_text(text: &str) -> Result<*const c_char> {
    let text = CString::new(text)
        .map_err(|_| Error::failed(format!("`{}` has a NUL in it", text.escape_debug())))?;
    Ok(text.into_raw().cast_const())
}

fn leak<T>(value: T) -> *const T {
    Box::into_raw(Box::new(value)).cast_const()
}
