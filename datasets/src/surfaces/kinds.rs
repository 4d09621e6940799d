//! What families and defects are made of: the types that training and held-out kinds share.

use super::draw::{Rgb, SIDE, Surface};
use super::framing::Frame;
use super::rng::Rng;

/// A kind of surface; a product is one member of it.
pub struct Family {
    pub name: &'static str,
    /// The surface in words.
    pub about: &'static str,
    /// Set apart for testing: nothing may be trained on it.
    pub held_out: bool,
    /// Whether it is made of single cells of which one may be missing.
    pub has_cells: bool,
    /// What captions call it.
    pub names: &'static [&'static str],
    /// How often a product of it has a frame (vignette, border, edge), of 1 for the usual share.
    pub(crate) framed: f32,
    pub(crate) palette: fn(&mut Rng) -> Palette,
    pub(crate) shade: Shade,
}

pub(crate) type Shade = fn(&Look, [f32; 2], Missing) -> Texel;

impl Family {
    /// A training family without cells and with the usual share of frames.
    pub(crate) const fn new(
        name: &'static str,
        about: &'static str,
        names: &'static [&'static str],
        palette: fn(&mut Rng) -> Palette,
        shade: Shade,
    ) -> Self {
        let (held_out, has_cells, framed) = (false, false, 1.0);
        Self { name, about, held_out, has_cells, names, framed, palette, shade }
    }

    pub(crate) const fn held_out(self) -> Self {
        Self { held_out: true, ..self }
    }

    pub(crate) const fn with_cells(self) -> Self {
        Self { has_cells: true, ..self }
    }

    pub(crate) const fn framed(self, share: f32) -> Self {
        Self { framed: share, ..self }
    }
}

/// A cell that is not where it should be.
pub(crate) type Missing<'a> = &'a [[i32; 2]];

/// One point of a surface.
pub(crate) struct Texel {
    pub(crate) albedo: Rgb,
    pub(crate) height: f32,
    pub(crate) cell: Option<[i32; 2]>,
}

impl Texel {
    pub(crate) fn plain(albedo: Rgb, height: f32) -> Self {
        Self { albedo, height, cell: None }
    }

    pub(crate) fn of_cell(albedo: Rgb, height: f32, cell: [i32; 2]) -> Self {
        Self { albedo, height, cell: Some(cell) }
    }
}

/// Colours and the range of size of a family: what its members differ in.
pub(crate) struct Palette {
    pub(crate) base: Rgb,
    pub(crate) second: Rgb,
    pub(crate) ground: Rgb,
    pub(crate) scale: [f32; 2],
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
        let turn = if rng.chance(0.2) { rng.unit() * 0.25 } else { rng.range(-0.02, 0.02) };
        Self {
            seed: rng.next_u64(),
            base: palette.base,
            second: palette.second,
            ground: palette.ground,
            scale: rng.range(palette.scale[0], palette.scale[1]),
            angle: rng.below(4) as f32 * 0.25 + turn,
            contrast: rng.range(0.6, 1.25),
            relief: rng.range(0.7, 1.2),
            form: rng.unit(),
        }
    }
}

/// A kind of defect.
pub struct Defect {
    pub name: &'static str,
    /// The damage in words.
    pub about: &'static str,
    /// Set apart for testing: nothing may be trained on it.
    pub held_out: bool,
    /// Whether only families with cells can have it.
    pub needs_cells: bool,
    /// Words for a surface that has it: `scratched`.
    pub adjectives: &'static [&'static str],
    /// Words for the damage itself, with their article: `a scratch`.
    pub nouns: &'static [&'static str],
    pub(crate) damage: Damage,
}

pub(crate) type Damage = fn(&mut Rng, &Piece, Force, &mut Surface);

impl Defect {
    pub(crate) const fn new(
        name: &'static str,
        about: &'static str,
        adjectives: &'static [&'static str],
        nouns: &'static [&'static str],
        damage: Damage,
    ) -> Self {
        let (held_out, needs_cells) = (false, false);
        Self { name, about, held_out, needs_cells, adjectives, nouns, damage }
    }

    pub(crate) const fn held_out(self) -> Self {
        Self { held_out: true, ..self }
    }

    pub(crate) const fn of_cells(self) -> Self {
        Self { needs_cells: true, ..self }
    }
}

/// How hard and how large a defect is, 1 being its plain form.
#[derive(Clone, Copy)]
pub(crate) struct Force {
    pub(crate) strength: f32,
    pub(crate) size: f32,
}

/// The part of a product that one image shows.
pub(crate) struct Piece<'a> {
    pub(crate) family: &'static Family,
    pub(crate) look: &'a Look,
    pub(crate) axis: [f32; 2],
    pub(crate) offset: [f32; 2],
    pub(crate) frame: Frame,
}

impl Piece<'_> {
    /// The surface at a place of the picture, `0..SIDE` both ways.
    pub(crate) fn texel(&self, p: [f32; 2], missing: Missing) -> Texel {
        let (x, y) = (p[0] - SIDE / 2.0, p[1] - SIDE / 2.0);
        let turned = [
            x * self.axis[0] + y * self.axis[1] + self.offset[0],
            y * self.axis[0] - x * self.axis[1] + self.offset[1],
        ];
        (self.family.shade)(self.look, turned, missing)
    }

    pub(crate) fn surface(&self, size: usize) -> Surface {
        Surface::make(size, |p| {
            let texel = self.texel(p, &[]);
            (texel.albedo, texel.height)
        })
    }
}
