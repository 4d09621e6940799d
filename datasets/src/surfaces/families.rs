//! The table of surface families, and what a product draws for itself once.

use super::draw::{Rgb, blend, hsv};
use super::rng::Rng;
use super::{cells, textures};

/// A kind of surface; a product is one member of it.
pub struct Family {
    pub name: &'static str,
    /// The surface in words.
    pub about: &'static str,
    /// Set apart for testing: nothing may be trained on it.
    pub held_out: bool,
    /// Whether it is made of single cells of which one may be missing.
    pub has_cells: bool,
    pub(crate) palette: fn(&mut Rng) -> Palette,
    pub(crate) shade: fn(&Look, [f32; 2], Missing) -> Texel,
}

/// A cell that is not where it should be.
pub(crate) type Missing<'a> = &'a [[i32; 2]];

/// One point of a surface.
pub(crate) struct Texel {
    pub(crate) albedo: Rgb,
    pub(crate) height: f32,
    pub(crate) cell: Option<[i32; 2]>,
}

/// Colours and the ranges of size of a family: what its members differ in.
pub(crate) struct Palette {
    base: Rgb,
    second: Rgb,
    ground: Rgb,
    scale: [f32; 2],
}

/// What all images of one product share.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) seed: u64,
    pub(crate) base: Rgb,
    pub(crate) second: Rgb,
    pub(crate) ground: Rgb,
    /// Length of the pattern's unit, of a picture side of 128.
    pub(crate) scale: f32,
    /// Turn of the pattern, in turns.
    pub(crate) angle: f32,
    pub(crate) contrast: f32,
    pub(crate) relief: f32,
    /// A free choice of 0 to 1, which each family uses as it likes.
    pub(crate) form: f32,
}

impl Look {
    pub(crate) fn draw(family: &Family, rng: &mut Rng) -> Self {
        let palette = (family.palette)(rng);
        Self {
            seed: rng.next_u64(),
            base: palette.base,
            second: palette.second,
            ground: palette.ground,
            scale: rng.range(palette.scale[0], palette.scale[1]),
            angle: rng.below(4) as f32 * 0.25 + rng.range(-0.02, 0.02),
            contrast: rng.range(0.75, 1.25),
            relief: rng.range(0.8, 1.2),
            form: rng.unit(),
        }
    }
}

/// All families, in a fixed order: a data set's seeds do not depend on it.
pub static FAMILIES: &[Family] = &[
    Family {
        name: "woven",
        about: "plain woven cloth",
        held_out: false,
        has_cells: false,
        palette: cloth,
        shade: textures::woven,
    },
    Family {
        name: "brushed_metal",
        about: "brushed metal sheet",
        held_out: false,
        has_cells: false,
        palette: metal,
        shade: textures::brushed_metal,
    },
    Family {
        name: "wood_grain",
        about: "planed wood",
        held_out: false,
        has_cells: false,
        palette: timber,
        shade: textures::wood_grain,
    },
    Family {
        name: "granite",
        about: "polished speckled stone",
        held_out: false,
        has_cells: false,
        palette: stone,
        shade: textures::granite,
    },
    Family {
        name: "leather",
        about: "grained leather",
        held_out: false,
        has_cells: false,
        palette: hide,
        shade: textures::leather,
    },
    Family {
        name: "ribbed_rubber",
        about: "ribbed rubber mat",
        held_out: false,
        has_cells: false,
        palette: rubber,
        shade: textures::ribbed_rubber,
    },
    Family {
        name: "plaster",
        about: "rough plaster",
        held_out: false,
        has_cells: false,
        palette: plaster,
        shade: textures::plaster,
    },
    Family {
        name: "carpet",
        about: "tufted carpet",
        held_out: true,
        has_cells: false,
        palette: cloth,
        shade: textures::carpet,
    },
    Family {
        name: "wire_mesh",
        about: "wire mesh over a dark ground",
        held_out: false,
        has_cells: true,
        palette: wire,
        shade: cells::wire_mesh,
    },
    Family {
        name: "perforated_plate",
        about: "sheet metal with round holes",
        held_out: false,
        has_cells: true,
        palette: plate,
        shade: cells::perforated_plate,
    },
    Family {
        name: "printed_dots",
        about: "paper with printed dots",
        held_out: false,
        has_cells: true,
        palette: print,
        shade: cells::printed_dots,
    },
    Family {
        name: "square_tiles",
        about: "glazed square tiles",
        held_out: false,
        has_cells: true,
        palette: tiles,
        shade: cells::square_tiles,
    },
    Family {
        name: "hex_tiles",
        about: "hexagonal tiles",
        held_out: true,
        has_cells: true,
        palette: tiles,
        shade: cells::hex_tiles,
    },
    Family {
        name: "brick",
        about: "brick wall",
        held_out: true,
        has_cells: true,
        palette: bricks,
        shade: cells::brick,
    },
];

fn grey(level: f32) -> Rgb {
    [level; 3]
}

fn cloth(rng: &mut Rng) -> Palette {
    let hue = rng.unit();
    let base = hsv(hue, rng.range(0.15, 0.5), rng.range(0.45, 0.72));
    let second = hsv(hue + rng.range(-0.08, 0.08), rng.range(0.1, 0.5), rng.range(0.4, 0.72));
    Palette { base, second, ground: grey(0.12), scale: [5.0, 8.5] }
}

fn metal(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.05, 0.65), rng.range(0.0, 0.12), rng.range(0.5, 0.7));
    Palette { base, second: grey(0.8), ground: grey(0.2), scale: [0.8, 1.4] }
}

fn timber(rng: &mut Rng) -> Palette {
    let hue = rng.range(0.06, 0.1);
    let value = rng.range(0.5, 0.74);
    let base = hsv(hue, rng.range(0.35, 0.55), value);
    let second = hsv(hue - 0.015, rng.range(0.45, 0.65), value * rng.range(0.6, 0.8));
    Palette { base, second, ground: blend(second, grey(0.0), 0.5), scale: [7.0, 14.0] }
}

fn stone(rng: &mut Rng) -> Palette {
    let hue = rng.unit();
    Palette {
        base: hsv(hue, rng.range(0.02, 0.2), rng.range(0.5, 0.66)),
        second: hsv(hue + rng.range(-0.1, 0.1), rng.range(0.05, 0.3), rng.range(0.35, 0.5)),
        ground: grey(rng.range(0.15, 0.28)),
        scale: [2.6, 4.5],
    }
}

fn hide(rng: &mut Rng) -> Palette {
    let hue = rng.range(0.0, 0.12);
    let base = hsv(hue, rng.range(0.3, 0.65), rng.range(0.32, 0.6));
    Palette { base, second: base, ground: blend(base, grey(0.0), 0.55), scale: [4.0, 7.0] }
}

fn rubber(rng: &mut Rng) -> Palette {
    let base = hsv(rng.unit(), rng.range(0.0, 0.3), rng.range(0.25, 0.45));
    Palette { base, second: base, ground: blend(base, grey(0.0), 0.5), scale: [5.0, 9.0] }
}

fn plaster(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.0, 0.7), rng.range(0.02, 0.15), rng.range(0.55, 0.72));
    Palette { base, second: base, ground: grey(0.4), scale: [5.0, 10.0] }
}

fn wire(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.05, 0.6), rng.range(0.0, 0.15), rng.range(0.5, 0.7));
    let ground = hsv(rng.unit(), 0.1, rng.range(0.08, 0.2));
    Palette { base, second: base, ground, scale: [9.0, 15.0] }
}

fn plate(rng: &mut Rng) -> Palette {
    let palette = wire(rng);
    Palette { scale: [12.0, 19.0], ..palette }
}

fn print(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.08, 0.18), rng.range(0.0, 0.12), rng.range(0.65, 0.75));
    let second = hsv(rng.unit(), rng.range(0.4, 0.8), rng.range(0.3, 0.55));
    Palette { base, second, ground: base, scale: [10.0, 17.0] }
}

fn tiles(rng: &mut Rng) -> Palette {
    let hue = rng.unit();
    Palette {
        base: hsv(hue, rng.range(0.1, 0.45), rng.range(0.5, 0.7)),
        second: hsv(hue + rng.range(-0.1, 0.1), rng.range(0.1, 0.45), rng.range(0.45, 0.7)),
        ground: grey(rng.range(0.2, 0.4)),
        scale: [17.0, 27.0],
    }
}

fn bricks(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.0, 0.06), rng.range(0.4, 0.6), rng.range(0.45, 0.62));
    let second = hsv(rng.range(0.0, 0.07), rng.range(0.35, 0.6), rng.range(0.35, 0.55));
    Palette { base, second, ground: grey(rng.range(0.45, 0.62)), scale: [13.0, 18.0] }
}
