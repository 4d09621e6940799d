//! Colours and sizes that the training families draw their products from.

use crate::surfaces::draw::{Rgb, blend, hsv};
use crate::surfaces::kinds::Palette;
use crate::surfaces::rng::Rng;

fn grey(level: f32) -> Rgb {
    [level; 3]
}

pub(super) fn cloth(rng: &mut Rng) -> Palette {
    let hue = rng.unit();
    let base = hsv(hue, rng.range(0.15, 0.5), rng.range(0.45, 0.72));
    let second = hsv(hue + rng.range(-0.08, 0.08), rng.range(0.1, 0.5), rng.range(0.4, 0.72));
    Palette { base, second, ground: grey(0.12), scale: [5.0, 8.5] }
}

pub(super) fn metal(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.05, 0.65), rng.range(0.0, 0.12), rng.range(0.5, 0.7));
    Palette { base, second: grey(0.8), ground: grey(0.2), scale: [0.8, 1.4] }
}

pub(super) fn timber(rng: &mut Rng) -> Palette {
    let hue = rng.range(0.06, 0.1);
    let value = rng.range(0.5, 0.74);
    let base = hsv(hue, rng.range(0.35, 0.55), value);
    let second = hsv(hue - 0.015, rng.range(0.45, 0.65), value * rng.range(0.6, 0.8));
    Palette { base, second, ground: blend(second, grey(0.0), 0.5), scale: [7.0, 14.0] }
}

pub(super) fn stone(rng: &mut Rng) -> Palette {
    let hue = rng.unit();
    Palette {
        base: hsv(hue, rng.range(0.02, 0.2), rng.range(0.5, 0.66)),
        second: hsv(hue + rng.range(-0.1, 0.1), rng.range(0.05, 0.3), rng.range(0.35, 0.5)),
        ground: grey(rng.range(0.15, 0.28)),
        scale: [2.6, 4.5],
    }
}

pub(super) fn hide(rng: &mut Rng) -> Palette {
    let hue = rng.range(0.0, 0.12);
    let base = hsv(hue, rng.range(0.3, 0.65), rng.range(0.32, 0.6));
    Palette { base, second: base, ground: blend(base, grey(0.0), 0.55), scale: [4.0, 7.0] }
}

pub(super) fn rubber(rng: &mut Rng) -> Palette {
    let base = hsv(rng.unit(), rng.range(0.0, 0.3), rng.range(0.25, 0.45));
    Palette { base, second: base, ground: blend(base, grey(0.0), 0.5), scale: [5.0, 9.0] }
}

pub(super) fn plaster(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.0, 0.7), rng.range(0.02, 0.15), rng.range(0.55, 0.72));
    Palette { base, second: base, ground: grey(0.4), scale: [5.0, 10.0] }
}

pub(super) fn wire(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.05, 0.6), rng.range(0.0, 0.15), rng.range(0.5, 0.7));
    let ground = hsv(rng.unit(), 0.1, rng.range(0.08, 0.2));
    Palette { base, second: base, ground, scale: [9.0, 15.0] }
}

pub(super) fn plate(rng: &mut Rng) -> Palette {
    let palette = wire(rng);
    Palette { scale: [12.0, 19.0], ..palette }
}

pub(super) fn print(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.08, 0.18), rng.range(0.0, 0.12), rng.range(0.65, 0.75));
    let second = hsv(rng.unit(), rng.range(0.4, 0.8), rng.range(0.3, 0.55));
    Palette { base, second, ground: base, scale: [10.0, 17.0] }
}

pub(super) fn tiles(rng: &mut Rng) -> Palette {
    let hue = rng.unit();
    Palette {
        base: hsv(hue, rng.range(0.1, 0.45), rng.range(0.5, 0.7)),
        second: hsv(hue + rng.range(-0.1, 0.1), rng.range(0.1, 0.45), rng.range(0.45, 0.7)),
        ground: grey(rng.range(0.2, 0.4)),
        scale: [17.0, 27.0],
    }
}

/// Dull dark iron, brown or blue at most.
pub(super) fn iron(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.05, 0.65), rng.range(0.0, 0.12), rng.range(0.24, 0.55));
    Palette { base, second: base, ground: grey(0.1), scale: [2.2, 6.0] }
}

pub(super) fn glaze(rng: &mut Rng) -> Palette {
    let (hue, pale) = (rng.unit(), rng.chance(0.6));
    let base = if pale {
        hsv(hue, rng.range(0.0, 0.12), rng.range(0.6, 0.78))
    } else {
        hsv(hue, rng.range(0.2, 0.7), rng.range(0.3, 0.6))
    };
    let second = hsv(rng.unit(), 0.2, rng.range(0.15, 0.4));
    Palette { base, second, ground: grey(0.2), scale: [14.0, 26.0] }
}

pub(super) fn magnet(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.05, 0.65), rng.range(0.0, 0.07), rng.range(0.22, 0.6));
    Palette { base, second: base, ground: grey(0.1), scale: [4.0, 8.0] }
}

pub(super) fn pane(rng: &mut Rng) -> Palette {
    let hue = rng.unit();
    let value = rng.range(0.25, 0.72);
    let base = hsv(hue, rng.range(0.0, 0.15), value);
    let second = hsv(hue + rng.range(-0.05, 0.05), rng.range(0.0, 0.2), value * 0.85);
    Palette { base, second, ground: grey(0.1), scale: [8.0, 16.0] }
}

pub(super) fn paint(rng: &mut Rng) -> Palette {
    let base = hsv(rng.unit(), rng.range(0.0, 0.8), rng.range(0.25, 0.7));
    Palette { base, second: base, ground: grey(0.3), scale: [1.8, 5.0] }
}

pub(super) fn resin(rng: &mut Rng) -> Palette {
    let base = hsv(rng.unit(), rng.range(0.0, 0.5), rng.range(0.14, 0.7));
    Palette { base, second: base, ground: grey(0.1), scale: [1.6, 3.6] }
}

pub(super) fn foil(rng: &mut Rng) -> Palette {
    let base = hsv(rng.unit(), rng.range(0.0, 0.35), rng.range(0.35, 0.75));
    Palette { base, second: base, ground: grey(0.2), scale: [9.0, 22.0] }
}

pub(super) fn pulp(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.06, 0.2), rng.range(0.0, 0.15), rng.range(0.6, 0.78));
    let second = hsv(rng.unit(), rng.range(0.2, 0.6), rng.range(0.3, 0.55));
    Palette { base, second, ground: grey(0.3), scale: [4.0, 9.0] }
}

pub(super) fn kraft(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.07, 0.1), rng.range(0.25, 0.5), rng.range(0.45, 0.66));
    Palette { base, second: base, ground: grey(0.3), scale: [4.0, 9.0] }
}

pub(super) fn twill(rng: &mut Rng) -> Palette {
    let hue = if rng.chance(0.6) { rng.range(0.57, 0.68) } else { rng.unit() };
    let base = hsv(hue, rng.range(0.2, 0.6), rng.range(0.25, 0.55));
    let second = hsv(hue, rng.range(0.05, 0.25), rng.range(0.5, 0.7));
    Palette { base, second, ground: grey(0.12), scale: [2.6, 4.6] }
}

pub(super) fn wool(rng: &mut Rng) -> Palette {
    let hue = rng.unit();
    let base = hsv(hue, rng.range(0.05, 0.6), rng.range(0.3, 0.65));
    let second = hsv(hue + rng.range(-0.1, 0.1), rng.range(0.05, 0.5), rng.range(0.35, 0.65));
    Palette { base, second, ground: grey(0.12), scale: [5.0, 10.0] }
}

pub(super) fn sponge(rng: &mut Rng) -> Palette {
    let base = hsv(rng.unit(), rng.range(0.05, 0.5), rng.range(0.4, 0.72));
    Palette { base, second: base, ground: blend(base, grey(0.0), 0.7), scale: [5.0, 10.0] }
}

pub(super) fn hemp(rng: &mut Rng) -> Palette {
    let hue = if rng.chance(0.6) { rng.range(0.07, 0.13) } else { rng.unit() };
    let base = hsv(hue, rng.range(0.1, 0.5), rng.range(0.5, 0.75));
    let second = hsv(hue, rng.range(0.1, 0.5), rng.range(0.4, 0.7));
    Palette { base, second, ground: grey(0.08), scale: [9.0, 16.0] }
}

pub(super) fn tree(rng: &mut Rng) -> Palette {
    let hue = rng.range(0.05, 0.12);
    let base = hsv(hue, rng.range(0.1, 0.4), rng.range(0.4, 0.62));
    let second = hsv(hue + rng.range(-0.03, 0.06), rng.range(0.1, 0.4), rng.range(0.32, 0.55));
    Palette { base, second, ground: blend(base, grey(0.0), 0.7), scale: [8.0, 15.0] }
}

pub(super) fn cement(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.05, 0.6), rng.range(0.0, 0.12), rng.range(0.4, 0.68));
    Palette { base, second: base, ground: grey(0.3), scale: [5.0, 12.0] }
}

pub(super) fn veined(rng: &mut Rng) -> Palette {
    let hue = rng.unit();
    let dark = rng.chance(0.3);
    let level = if dark { rng.range(0.15, 0.35) } else { rng.range(0.6, 0.75) };
    let vein = if dark { rng.range(0.55, 0.75) } else { rng.range(0.25, 0.45) };
    Palette {
        base: hsv(hue, rng.range(0.0, 0.2), level),
        second: hsv(hue + 0.05, rng.range(0.0, 0.2), level * 0.85),
        ground: hsv(hue, rng.range(0.0, 0.2), vein),
        scale: [22.0, 45.0],
    }
}

pub(super) fn pebbles(rng: &mut Rng) -> Palette {
    let hue = rng.unit();
    Palette {
        base: hsv(hue, rng.range(0.02, 0.2), rng.range(0.5, 0.7)),
        second: hsv(hue + rng.range(-0.2, 0.2), rng.range(0.05, 0.3), rng.range(0.35, 0.55)),
        ground: grey(rng.range(0.08, 0.18)),
        scale: [6.5, 13.0],
    }
}

pub(super) fn shale(rng: &mut Rng) -> Palette {
    let hue = rng.range(0.4, 0.8);
    let base = hsv(hue, rng.range(0.02, 0.18), rng.range(0.28, 0.5));
    let second = hsv(hue + rng.range(-0.1, 0.1), rng.range(0.02, 0.2), rng.range(0.25, 0.5));
    Palette { base, second, ground: grey(0.1), scale: [9.0, 18.0] }
}

pub(super) fn abrasive(rng: &mut Rng) -> Palette {
    let base = hsv(rng.unit(), rng.range(0.05, 0.5), rng.range(0.25, 0.6));
    Palette { base, second: base, ground: grey(0.1), scale: [1.7, 3.0] }
}

pub(super) fn board(rng: &mut Rng) -> Palette {
    let hue = if rng.chance(0.6) { rng.range(0.3, 0.42) } else { rng.unit() };
    Palette {
        base: hsv(hue, rng.range(0.3, 0.7), rng.range(0.22, 0.45)),
        second: hsv(rng.range(0.08, 0.14), rng.range(0.1, 0.5), rng.range(0.6, 0.75)),
        ground: grey(rng.range(0.04, 0.12)),
        scale: [9.0, 15.0],
    }
}

pub(super) fn medicine(rng: &mut Rng) -> Palette {
    Palette {
        base: hsv(rng.unit(), rng.range(0.2, 0.7), rng.range(0.4, 0.7)),
        second: hsv(rng.unit(), rng.range(0.0, 0.6), rng.range(0.45, 0.75)),
        ground: hsv(rng.unit(), rng.range(0.0, 0.08), rng.range(0.35, 0.6)),
        scale: [13.0, 20.0],
    }
}

pub(super) fn silicon(rng: &mut Rng) -> Palette {
    let hue = rng.unit();
    Palette {
        base: hsv(hue, rng.range(0.05, 0.4), rng.range(0.35, 0.6)),
        second: hsv(hue + rng.range(-0.15, 0.15), rng.range(0.05, 0.4), rng.range(0.3, 0.6)),
        ground: grey(rng.range(0.12, 0.3)),
        scale: [12.0, 22.0],
    }
}

pub(super) fn tread(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.05, 0.65), rng.range(0.0, 0.15), rng.range(0.35, 0.62));
    Palette { base, second: base, ground: grey(0.1), scale: [11.0, 18.0] }
}

pub(super) fn grip(rng: &mut Rng) -> Palette {
    let base = hsv(rng.unit(), rng.range(0.0, 0.3), rng.range(0.25, 0.62));
    Palette { base, second: base, ground: blend(base, grey(0.0), 0.6), scale: [5.0, 10.0] }
}
