//! Procedural surfaces with defects: materials to try a pipeline on before any data set is at hand,
//! and to train the starter model on.
//!
//! A *family* is a kind of surface; a *product* is one member of it with its own colours, sizes and
//! framing; an image of a product shows another piece of it in another light. A *defect* damages
//! the surface under the light, and its mask holds what visibly changed against the undamaged twin.
//! Families and defects marked `held_out` are for testing alone and share no code with the others
//! but noise and drawing. Everything follows from seeds, with arithmetic that is the same on every
//! machine.

mod camera;
pub mod captions;
mod dataset;
mod draw;
mod framing;
mod held_out;
mod kinds;
mod noise;
mod paint;
mod plan;
mod rng;
mod training;

pub use dataset::{Options, Set, Summary, make_dataset};
pub use kinds::{Defect, Family};
pub use paint::{Painted, paint};

use crate::error::did_you_mean;
use camera::{Camera, Light};
use draw::{SIDE, hsv_of};
use framing::Framing;
use kinds::{Force, Look, Piece};
use noise::direction;
use rng::Rng;
use std::path::PathBuf;

/// Smallest and largest side of a picture, in pixels.
pub const SIZES: std::ops::RangeInclusive<u32> = 32..=4096;

/// Fewest and most products of each family in a data set.
pub const N_PRODUCTS: std::ops::RangeInclusive<usize> = 1..=1_000;

/// Most pictures in a data set: a slip in a count must not fill a disk.
pub const MAX_PICTURES: usize = 200_000;

/// A pixel has changed if a channel differs by at least this many of 255 levels.
pub const NOTICEABLE: u8 = 7;

/// A defect is drawn again, harder, unless it shows on one pixel in this many.
const MIN_AREA: usize = 500;

/// A defect is drawn again, harder, if more than one pixel in this many of its mask is a closed
/// gap.
const MAX_CLOSED: usize = 8;

/// A defect is drawn again, smaller, if it covers more than this share of the picture.
const MAX_AREA: f32 = 0.7;

/// How often a defect is drawn before it is given up; the second half leaves gaps in masks open.
const N_ATTEMPTS: u8 = 16;

/// What can go wrong while surfaces are made.
#[derive(Debug, thiserror::Error)]
pub enum SurfaceError {
    #[error("no {what} is called `{name}`{hint}; known: {known}")]
    Unknown { what: &'static str, name: String, hint: String, known: String },
    #[error("`{family}` has no cells, so `{defect}` cannot happen to it; it suits: {suits}")]
    NoCells { family: &'static str, defect: &'static str, suits: String },
    #[error("size {size} is not possible; give {} to {} pixels", SIZES.start(), SIZES.end())]
    Size { size: u32 },
    #[error("light {light} is not possible; give 0 (steady) to 1 (gain 0.7 to 1.3, gradient 40 %)")]
    Light { light: f32 },
    #[error("seed {seed} draws no visible `{defect}` on `{family}`; take another seed")]
    Invisible { family: &'static str, defect: &'static str, seed: u64 },
    #[error("`{}` exists and is not empty; give a new folder or remove it first", path.display())]
    TargetNotEmpty { path: PathBuf },
    #[error("{n} products of a surface are not possible; give {} to {}", N_PRODUCTS.start(), N_PRODUCTS.end())]
    Products { n: usize },
    #[error("`{name}` is {what} that set `{set}` does not have; it has {known}")]
    NotInSet { what: &'static str, name: &'static str, set: &'static str, known: String },
    #[error("that would be {n} pictures, and {MAX_PICTURES} is the most; ask for fewer")]
    TooMany { n: usize },
    #[error("nothing to make: all counts of images are 0")]
    Nothing,
    #[error(
        "none of {} is possible on {}, which have no cells; `loupe dataset ls` tells what suits them",
        defects.join(", "), families.join(", ")
    )]
    Unsuited { defects: Vec<&'static str>, families: Vec<&'static str> },
    #[error("cannot write `{}`: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot encode `{}`: {message}", path.display())]
    Encode { path: PathBuf, message: String },
}

/// A square picture: `size * size` RGB pixels, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub size: u32,
    pub rgb: Vec<u8>,
}

/// An anomalous picture, the same picture without the defect, and where they differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defective {
    pub image: Picture,
    pub clean: Picture,
    /// `size * size` bytes, 255 where the defect shows and 0 elsewhere. Outside it `image` equals
    /// `clean`; inside, at least 7 pixels of 8 differ by [`NOTICEABLE`], the rest being small gaps.
    pub mask: Vec<u8>,
}

/// One member of a family.
pub struct Product {
    family: &'static Family,
    look: Look,
    framing: Framing,
    rng: Rng,
}

/// All families: those that may be trained on, then those held out.
pub fn families() -> impl Iterator<Item = &'static Family> + Clone {
    training::FAMILIES.iter().chain(held_out::FAMILIES)
}

/// All kinds of defect: those that may be trained on, then those held out.
pub fn defects() -> impl Iterator<Item = &'static Defect> + Clone {
    training::DEFECTS.iter().chain(held_out::DEFECTS)
}

/// The family of a name. Errors: `Unknown`, with the names there are.
fn family(name: &str) -> Result<&'static Family, SurfaceError> {
    let known = families().map(|family| family.name);
    families()
        .find(|known| known.name == name)
        .ok_or_else(|| unknown("surface family", name, known))
}

/// The defect of a name. Errors: `Unknown`, with the names there are.
fn defect(name: &str) -> Result<&'static Defect, SurfaceError> {
    let known = defects().map(|defect| defect.name);
    defects().find(|known| known.name == name).ok_or_else(|| unknown("defect", name, known))
}

impl Product {
    /// The member of `family` that `seed` draws. Errors: `Unknown`.
    pub fn new(family: &str, seed: u64) -> Result<Self, SurfaceError> {
        let family = self::family(family)?;
        let rng = Rng::new(seed).fork(family.name);
        let look = Look::draw(family, &mut rng.fork("look"));
        let framing = Framing::draw(&mut rng.fork("framing"), family.framed);
        Ok(Self { family, look, framing, rng })
    }

    /// The family it is a member of.
    pub fn family(&self) -> &'static Family {
        self.family
    }

    /// Words for its colour as pictures show it: hue, and dark or light where that stands out.
    pub fn colours(&self) -> Vec<&'static str> {
        let (hue, saturation, value) = hsv_of(self.look.base);
        let saturation = if self.framing.is_grey() { 0.0 } else { saturation };
        captions::colours(hue, saturation, value)
    }

    /// A picture of an undamaged piece; `image_seed` chooses the piece and the light, `light` (0 to
    /// 1) how much the light varies from picture to picture. Errors: `Size`, `Light`.
    pub fn good(&self, image_seed: u64, size: u32, light: f32) -> Result<Picture, SurfaceError> {
        let (piece, lamp) = self.stage(image_seed, size, light)?;
        let camera = Camera::new(lamp, &piece.frame, size as usize);
        Ok(Picture { size, rgb: camera.expose(&piece.surface(size as usize)) })
    }

    /// A picture with a defect, its undamaged twin, and the mask.
    ///
    /// Errors: `Size`, `Light`, `Unknown`, `NoCells`, and `Invisible` if no attempt shows (which
    /// harder strokes make unlikely).
    pub fn defective(
        &self,
        image_seed: u64,
        defect: &str,
        size: u32,
        light: f32,
    ) -> Result<Defective, SurfaceError> {
        let defect = self::defect(defect)?;
        if defect.needs_cells && !self.family.has_cells {
            let suits = families().filter(|f| f.has_cells).map(|f| f.name).collect::<Vec<_>>();
            let (family, defect) = (self.family.name, defect.name);
            return Err(SurfaceError::NoCells { family, defect, suits: suits.join(", ") });
        }
        let (piece, lamp) = self.stage(image_seed, size, light)?;
        let camera = Camera::new(lamp, &piece.frame, size as usize);
        let surface = piece.surface(size as usize);
        let clean = camera.expose(&surface);
        let rng = self.rng.fork(&format!("{} {image_seed}", defect.name));
        let mut force = self.force(&mut rng.fork("force"));
        for attempt in 0..N_ATTEMPTS {
            let mut damaged = surface.clone();
            let mut rng = rng.fork(&attempt.to_string());
            (defect.damage)(&mut rng, &piece, force, &mut damaged);
            let mut image = camera.expose(&damaged);
            let close = attempt < N_ATTEMPTS / 2;
            let (mask, n_closed) = changed(size as usize, &clean, &image, close);
            let n_masked = mask.iter().filter(|level| **level > 0).count();
            let visible = n_masked * MIN_AREA >= mask.len();
            let solid = n_closed * MAX_CLOSED <= n_masked;
            let large = n_masked as f32 > MAX_AREA * mask.len() as f32;
            if !visible || !solid || large {
                force.strength *= 1.12;
                force.size *= if large { 0.8 } else { 1.08 };
                continue;
            }
            for ((level, new), old) in mask.iter().zip(image.chunks_mut(3)).zip(clean.chunks(3)) {
                if *level == 0 {
                    new.copy_from_slice(old);
                }
            }
            let (image, clean) = (Picture { size, rgb: image }, Picture { size, rgb: clean });
            return Ok(Defective { image, clean, mask });
        }
        let (family, defect) = (self.family.name, defect.name);
        Err(SurfaceError::Invisible { family, defect, seed: image_seed })
    }

    /// How hard and how large a defect is. Training sees all from tiny and faint to gross; held-out
    /// families keep near the plain form.
    fn force(&self, rng: &mut Rng) -> Force {
        if self.family.held_out {
            return Force { strength: rng.range(0.9, 1.3), size: rng.range(0.85, 1.3) };
        }
        let size = match rng.unit() {
            choice if choice < 0.15 => rng.range(0.45, 0.7),
            choice if choice < 0.75 => rng.range(0.7, 1.3),
            _ => rng.range(1.3, 2.2),
        };
        Force { strength: rng.range(0.65, 1.6), size }
    }

    fn stage(
        &self,
        image_seed: u64,
        size: u32,
        light: f32,
    ) -> Result<(Piece<'_>, Light), SurfaceError> {
        if !SIZES.contains(&size) {
            return Err(SurfaceError::Size { size });
        }
        if !(0.0..=1.0).contains(&light) {
            return Err(SurfaceError::Light { light });
        }
        let rng = self.rng.fork(&format!("image {image_seed}"));
        let mut place = rng.fork("place");
        let piece = Piece {
            family: self.family,
            look: &self.look,
            axis: direction(self.look.angle + place.range(-0.006, 0.006)),
            offset: [place.range(-4000.0, 4000.0), place.range(-4000.0, 4000.0)],
            frame: self.framing.place(&mut rng.fork("frame")),
        };
        Ok((piece, Light::draw(&mut rng.fork("light"), light)))
    }
}

/// 255 where two pictures differ visibly: changed pixels in company (a quarter of the pixels around
/// them changed too), and with `close` the gaps where most around have changed. Also the number of
/// such gaps.
fn changed(size: usize, before: &[u8], after: &[u8], close: bool) -> (Vec<u8>, usize) {
    let differs = |(a, b): (&[u8], &[u8])| {
        u32::from(a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) >= NOTICEABLE))
    };
    let own: Vec<u32> = before.chunks(3).zip(after.chunks(3)).map(differs).collect();
    let radius = (size / SIDE as usize).max(1);
    // Sums over all pixels above and to the left, one row and column larger than the picture.
    let mut sums = vec![0_u32; (size + 1) * (size + 1)];
    for y in 0..size {
        let mut row = 0;
        for x in 0..size {
            row += own[y * size + x];
            sums[(y + 1) * (size + 1) + x + 1] = sums[y * (size + 1) + x + 1] + row;
        }
    }
    let mut mask = vec![0; size * size];
    let mut n_closed = 0;
    for y in 0..size {
        let (top, bottom) = (y.saturating_sub(radius), (y + radius + 1).min(size));
        for x in 0..size {
            let (left, right) = (x.saturating_sub(radius), (x + radius + 1).min(size));
            let at = |y: usize, x: usize| sums[y * (size + 1) + x];
            let n_changed = at(bottom, right) + at(top, left) - at(top, right) - at(bottom, left);
            let n_around = ((bottom - top) * (right - left)) as u32;
            let shows = own[y * size + x] == 1 && n_changed * 4 > n_around;
            if shows || (close && n_changed * 2 > n_around) {
                mask[y * size + x] = 255;
                n_closed += usize::from(own[y * size + x] == 0);
            }
        }
    }
    (mask, n_closed)
}

fn unknown<'a>(
    what: &'static str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> SurfaceError {
    SurfaceError::Unknown {
        what,
        name: name.to_owned(),
        hint: did_you_mean(name, known.clone()),
        known: known.collect::<Vec<_>>().join(", "),
    }
}
