//! The panic hook of a plugin: its own panics become messages, all others reach the hook before it.

use std::sync::atomic::{AtomicU32, Ordering};

use loupe_plugin::prelude::*;
use loupe_plugin::testing;

static HEARD: AtomicU32 = AtomicU32::new(0);

struct Panics;

impl Fusion for Panics {
    type Config = NoConfig;

    fn new(_config: NoConfig, _host: &Host) -> Result<Self> {
        Ok(Panics)
    }

    fn fuse(&self, parts: &[Tensor]) -> Result<Tensor> {
        std::panic::panic_any(PanicsWhenDropped(parts.len()));
    }
}

/// The worst payload there is.
struct PanicsWhenDropped(#[allow(dead_code)] usize);

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

export!(fusion "panics" = Panics);

#[test]
fn the_hook_that_was_there_hears_all_but_the_plugins_panics() {
    let listen: fn() = || {
        std::panic::set_hook(Box::new(|_| {
            HEARD.fetch_add(1, Ordering::Relaxed);
        }));
    };
    listen();
    let message = testing::fusion::<Panics>("").run().err().unwrap();
    assert!(message.starts_with("panicked: without a message (at plugins/"), "{message}");
    assert_eq!(HEARD.load(Ordering::Relaxed), 0);

    std::panic::catch_unwind(|| panic!("outside")).unwrap_err();
    assert_eq!(HEARD.load(Ordering::Relaxed), 1);

    // Whoever replaces the hook takes the place away, never the message.
    listen();
    let message = testing::fusion::<Panics>("").run().err().unwrap();
    assert_eq!(message, "panicked: without a message");
}
