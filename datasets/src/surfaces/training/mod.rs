//! What models may be trained on: the tables of training families and of training defects.
//!
//! Nothing here knows of `held_out`, and `held_out` uses nothing from here: both stand on noise and
//! drawing alone, so what a model learnt here tells it nothing of how a held-out surface is made.

mod cells;
mod defects;
mod edges;
mod fibres;
mod grids;
mod lines;
mod minerals;
mod palettes;
mod regions;
mod smooth;
mod spots;
mod textures;

pub(super) use defects::DEFECTS;

use crate::surfaces::kinds::Family;

/// All training families, in a fixed order: a data set's seeds do not depend on it.
pub(super) static FAMILIES: &[Family] = &[
    Family::new(
        "woven",
        "plain woven cloth",
        &["woven fabric", "cloth", "textile weave", "linen"],
        palettes::cloth,
        textures::woven,
    ),
    Family::new(
        "brushed_metal",
        "brushed metal sheet",
        &["brushed metal", "metal sheet", "brushed steel", "aluminium plate"],
        palettes::metal,
        textures::brushed_metal,
    ),
    Family::new(
        "wood_grain",
        "planed wood",
        &["wood", "wooden board", "timber plank", "wood grain"],
        palettes::timber,
        textures::wood_grain,
    ),
    Family::new(
        "granite",
        "polished speckled stone",
        &["granite", "polished stone", "speckled stone slab", "stone surface"],
        palettes::stone,
        textures::granite,
    ),
    Family::new(
        "leather",
        "grained leather",
        &["leather", "leather hide", "grained leather", "leather surface"],
        palettes::hide,
        textures::leather,
    ),
    Family::new(
        "ribbed_rubber",
        "ribbed rubber mat",
        &["rubber mat", "ribbed rubber", "rubber sheet", "rubber"],
        palettes::rubber,
        textures::ribbed_rubber,
    ),
    Family::new(
        "plaster",
        "rough plaster",
        &["plaster", "plaster wall", "rendered wall", "rough wall"],
        palettes::plaster,
        textures::plaster,
    ),
    Family::new(
        "cast_metal",
        "sand-cast metal",
        &["cast iron", "metal casting", "casting", "cast metal part"],
        palettes::iron,
        smooth::cast_metal,
    )
    .framed(1.3),
    Family::new(
        "enamel",
        "smooth glaze or enamel",
        &["enamel", "glazed ceramic", "porcelain", "ceramic plate"],
        palettes::glaze,
        smooth::enamel,
    ),
    Family::new(
        "ferrite",
        "ground ferrite magnet",
        &["magnet", "ferrite", "magnetic part", "ground metal", "metal block"],
        palettes::magnet,
        smooth::ferrite,
    )
    .framed(2.2),
    Family::new(
        "glass",
        "glass pane",
        &["glass", "glass pane", "window glass", "screen"],
        palettes::pane,
        smooth::glass,
    ),
    Family::new(
        "painted_metal",
        "painted metal panel",
        &["painted metal", "painted panel", "lacquered sheet", "car paint"],
        palettes::paint,
        smooth::painted_metal,
    ),
    Family::new(
        "plastic",
        "moulded plastic",
        &["plastic", "plastic part", "moulded plastic", "plastic housing"],
        palettes::resin,
        smooth::plastic,
    ),
    Family::new(
        "film",
        "plastic film",
        &["film", "plastic film", "foil", "plastic sheet"],
        palettes::foil,
        smooth::film,
    ),
    Family::new(
        "rolled_steel",
        "rolled steel strip",
        &["steel", "steel strip", "rolled steel", "steel plate"],
        palettes::magnet,
        smooth::rolled_steel,
    )
    .framed(1.8),
    Family::new(
        "paper",
        "sheet of paper",
        &["paper", "paper sheet", "sheet of paper", "page"],
        palettes::pulp,
        fibres::paper,
    ),
    Family::new(
        "cardboard",
        "corrugated cardboard",
        &["cardboard", "corrugated board", "carton", "box"],
        palettes::kraft,
        fibres::cardboard,
    ),
    Family::new(
        "denim",
        "twill cloth",
        &["denim", "twill fabric", "jeans cloth", "fabric"],
        palettes::twill,
        fibres::denim,
    ),
    Family::new(
        "felt",
        "pressed felt",
        &["felt", "wool felt", "felt cloth", "fleece"],
        palettes::wool,
        fibres::felt,
    ),
    Family::new(
        "foam",
        "open foam",
        &["foam", "sponge", "foam rubber", "porous foam"],
        palettes::sponge,
        fibres::foam,
    ),
    Family::new(
        "rope",
        "cables side by side",
        &["rope", "cable", "twisted cord", "wire rope"],
        palettes::hemp,
        fibres::rope,
    ),
    Family::new(
        "bark",
        "bark of a tree",
        &["bark", "tree bark", "rough bark"],
        palettes::tree,
        fibres::bark,
    ),
    Family::new(
        "concrete",
        "cast concrete",
        &["concrete", "concrete wall", "cement", "concrete floor"],
        palettes::cement,
        minerals::concrete,
    ),
    Family::new(
        "marble",
        "polished marble",
        &["marble", "marble slab", "veined stone", "marble tile"],
        palettes::veined,
        minerals::marble,
    ),
    Family::new(
        "gravel",
        "loose pebbles",
        &["gravel", "pebbles", "stones", "loose gravel"],
        palettes::pebbles,
        minerals::gravel,
    ),
    Family::new(
        "slate",
        "split slate",
        &["slate", "slate plate", "split stone", "rock"],
        palettes::shale,
        minerals::slate,
    ),
    Family::new(
        "sandpaper",
        "abrasive sheet",
        &["sandpaper", "abrasive paper", "grinding disc", "emery cloth"],
        palettes::abrasive,
        minerals::sandpaper,
    ),
    Family::new(
        "wire_mesh",
        "wire mesh over a dark ground",
        &["wire mesh", "metal grid", "mesh", "grid", "screen mesh"],
        palettes::wire,
        cells::wire_mesh,
    )
    .with_cells(),
    Family::new(
        "perforated_plate",
        "sheet metal with round holes",
        &["perforated plate", "perforated metal", "plate with round openings", "sieve"],
        palettes::plate,
        cells::perforated_plate,
    )
    .with_cells(),
    Family::new(
        "printed_dots",
        "paper with printed dots",
        &["printed paper", "dotted print", "print", "printed pattern"],
        palettes::print,
        cells::printed_dots,
    )
    .with_cells(),
    Family::new(
        "square_tiles",
        "glazed square tiles",
        &["tile", "tiles", "ceramic tiles", "tiled floor"],
        palettes::tiles,
        cells::square_tiles,
    )
    .with_cells(),
    Family::new(
        "circuit_board",
        "printed circuit board",
        &["circuit board", "printed circuit", "pcb", "electronic board"],
        palettes::board,
        grids::circuit_board,
    )
    .with_cells(),
    Family::new(
        "capsules",
        "capsules in rows",
        &["capsules", "pills", "pill pack", "tablets"],
        palettes::medicine,
        grids::capsules,
    )
    .with_cells(),
    Family::new(
        "wafer",
        "dies on a wafer",
        &["wafer", "silicon wafer", "chips", "semiconductor dies"],
        palettes::silicon,
        grids::wafer,
    )
    .with_cells(),
    Family::new(
        "checker_plate",
        "tread plate with raised lozenges",
        &["checker plate", "tread plate", "diamond plate", "metal floor plate"],
        palettes::tread,
        grids::checker_plate,
    )
    .with_cells(),
    Family::new(
        "knurl",
        "knurled grip",
        &["knurled metal", "knurled grip", "handle", "textured plastic"],
        palettes::grip,
        grids::knurl,
    ),
];
