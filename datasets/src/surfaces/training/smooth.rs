//! Smooth and nearly uniform surfaces: castings, glazes, ground magnets, glass, paint, plastic.

use crate::surfaces::draw::{blend, tone};
use crate::surfaces::kinds::{Look, Missing, Texel};
use crate::surfaces::noise::{fractal, lerp, scattered, smoothstep, value};

/// The skin that sand leaves on cast iron: dull lumps and pits.
pub(crate) fn cast_metal(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let skin = fractal(look.seed, p[0] / s, p[1] / s, 3);
    let sand = value(look.seed ^ 1, p[0] * 0.8, p[1] * 0.8);
    let cloud = fractal(look.seed ^ 2, p[0] * 0.02, p[1] * 0.02, 2);
    let light = 1.0 + (0.1 * skin + 0.07 * sand) * look.contrast + 0.08 * cloud;
    Texel::plain(tone(look.base, light), (0.5 * skin + 0.25 * sand) * look.relief)
}

/// Glaze: a clean colour, with fine speckles or a net of crazing on some.
pub(crate) fn enamel(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let cloud = fractal(look.seed, p[0] * 0.015, p[1] * 0.015, 2);
    let orange = value(look.seed ^ 1, p[0] * 0.16, p[1] * 0.16);
    let mut colour = tone(look.base, 1.0 + 0.035 * cloud * look.contrast + 0.008 * orange);
    if look.form < 0.25 {
        let s = look.scale;
        let warp = 0.3 * value(look.seed ^ 2, p[0] / s * 1.5, p[1] / s * 1.5);
        let (first, second, _) = scattered(look.seed ^ 3, p[0] / s + warp, p[1] / s - warp);
        let net = smoothstep(0.05, 0.0, second - first);
        colour = blend(colour, look.ground, 0.22 * net);
    } else if look.form > 0.7 {
        let (first, _, owner) = scattered(look.seed ^ 4, p[0] * 0.3, p[1] * 0.3);
        let speckle = smoothstep(0.1 + 0.14 * owner, 0.04, first);
        colour = blend(colour, look.second, 0.5 * speckle);
    }
    Texel::plain(colour, 0.06 * orange * look.relief)
}

/// A ground magnet: grey, streaked along the grinding, with dull patches and broad sheens.
pub(crate) fn ferrite(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let fine = value(look.seed, p[0] * 0.75, p[1] * 0.014);
    let finest = value(look.seed ^ 1, p[0] * 1.4, p[1] * 0.05);
    let broad = value(look.seed ^ 2, p[0] * 0.045, p[1] * 0.007);
    let sheen = smoothstep(-0.2, 0.9, fractal(look.seed ^ 3, p[0] * 0.016, p[1] * 0.009, 2));
    let patch = smoothstep(0.25, 0.6, fractal(look.seed ^ 4, p[0] * 0.03, p[1] * 0.03, 3));
    let streak = (0.1 * fine + 0.08 * finest) * (0.5 + 1.6 * sheen * look.form) * look.contrast;
    let flake = smoothstep(0.72, 0.9, value(look.seed ^ 5, p[0] * 1.1, p[1] * 0.3)) * sheen;
    let light = 0.92 + streak + 0.12 * broad + 0.3 * sheen * look.form - 0.1 * patch + 0.18 * flake;
    Texel::plain(tone(look.base, light), 0.06 * fine + 0.04 * finest)
}

/// A pane with nothing on it but slow reflections.
pub(crate) fn glass(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let cloud = fractal(look.seed, p[0] * 0.008, p[1] * 0.012, 2);
    let ramp = value(look.seed ^ 1, p[0] * 0.004 + p[1] * 0.006, p[1] * 0.004);
    let colour = blend(look.base, look.second, 0.5 + 0.5 * ramp * look.form);
    Texel::plain(tone(colour, 1.0 + 0.03 * cloud * look.contrast), 0.0)
}

/// Sprayed paint with orange peel, metallic flakes in some.
pub(crate) fn painted_metal(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let peel = value(look.seed, p[0] / s, p[1] / s);
    let cloud = fractal(look.seed ^ 1, p[0] * 0.012, p[1] * 0.012, 2);
    let flake = value(look.seed ^ 2, p[0] * 1.3, p[1] * 1.3);
    let metallic = smoothstep(0.5, 0.9, look.form) * 0.09 * flake;
    let light = 1.0 + 0.03 * cloud + metallic * look.contrast + 0.012 * peel;
    Texel::plain(tone(look.base, light), 0.14 * peel * look.relief)
}

/// Moulded plastic with a fine eroded grain.
pub(crate) fn plastic(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let grain = smoothstep(-0.35, 0.35, value(look.seed, p[0] / s, p[1] / s)) - 0.5;
    let fine = value(look.seed ^ 1, p[0] * 0.9, p[1] * 0.9);
    let flow = fractal(look.seed ^ 2, p[0] * 0.01, p[1] * 0.03, 2);
    let light = 1.0 + 0.025 * flow + (0.05 * grain + 0.02 * fine) * look.contrast;
    let height = (lerp(0.1, 0.45, look.form) * grain + 0.05 * fine) * look.relief;
    Texel::plain(tone(look.base, light), height)
}

/// Thin film with faint wrinkles.
pub(crate) fn film(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let bend = value(look.seed, p[0] / s * 0.5, p[1] / s * 0.2);
    let wrinkle = value(look.seed ^ 1, p[0] / s + bend, p[1] / s * 0.22);
    let shallow = fractal(look.seed ^ 2, p[0] * 0.03, p[1] * 0.02, 2);
    let light = 1.0 + 0.04 * shallow + 0.02 * wrinkle;
    Texel::plain(tone(look.base, light), (0.35 * wrinkle + 0.6 * shallow) * look.relief)
}

/// Sheet steel as rolled: faint bands along the rolling, tiny bright and dark dashes.
pub(crate) fn rolled_steel(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let band = value(look.seed, p[0] * 0.006, p[1] * 0.09);
    let dash = value(look.seed ^ 1, p[0] * 0.16, p[1] * 0.9);
    let tick = smoothstep(0.45, 0.8, dash) - smoothstep(0.5, 0.85, -dash);
    let cloud = fractal(look.seed ^ 2, p[0] * 0.02, p[1] * 0.02, 3);
    let light = 1.0 + 0.05 * band + 0.06 * tick * look.contrast + 0.07 * cloud * look.form;
    Texel::plain(tone(look.base, light), 0.04 * dash)
}
