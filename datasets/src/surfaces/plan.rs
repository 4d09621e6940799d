//! Which pictures a data set has, before the first is drawn.

use std::path::Path;

use super::rng::Rng;
use super::{
    Defect, Family, MAX_PICTURES, N_PRODUCTS, Options, Set, Summary, SurfaceError, defects,
    families,
};

/// One picture to make.
pub(super) struct Job {
    pub(super) family: &'static Family,
    pub(super) class: String,
    pub(super) product_seed: u64,
    /// Folder and number: `test/good` and 3.
    pub(super) folder: String,
    pub(super) number: usize,
    pub(super) defect: Option<&'static Defect>,
}

/// The pictures of a data set in `out`, class by class, and what is known of it before they are made.
///
/// Errors: `Unknown`, `NotInSet`, `Products`, `TooMany`, `Nothing`, `Unsuited`.
pub(super) fn plan(out: &Path, options: &Options) -> Result<(Vec<Job>, Summary), SurfaceError> {
    let n_products = options.n_products;
    if !N_PRODUCTS.contains(&n_products) {
        return Err(SurfaceError::Products { n: n_products });
    }
    let (families, defects) = choice(options)?;
    let of_family = |family: &'static Family| (family, suitable(family, &defects));
    let families: Vec<_> = families.into_iter().map(of_family).collect();
    match n_pictures(options, families.iter().map(|(_, suitable)| suitable.len())) {
        0 => return Err(SurfaceError::Nothing),
        n if n > MAX_PICTURES => return Err(SurfaceError::TooMany { n }),
        _ => {}
    }
    let n_suited: usize = families.iter().map(|(_, suitable)| suitable.len()).sum();
    if n_suited == 0 && options.n_test_per_defect > 0 {
        return Err(SurfaceError::Unsuited {
            defects: defects.iter().map(|defect| defect.name).collect(),
            families: families.iter().map(|(family, _)| family.name).collect(),
        });
    }
    let (mut jobs, mut classes, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    let width = n_products.saturating_sub(1).to_string().len().max(2);
    for (family, suitable) in families {
        let asked = defects.iter().filter(|_| !options.defects.is_empty());
        let cannot = asked.filter(|defect| !can(family, defect));
        left_out.extend(cannot.map(|defect| (family.name.to_owned(), defect.name.to_owned())));
        for number in 0..n_products {
            let class = match n_products {
                1 => family.name.to_owned(),
                _ => format!("{}_{number:0width$}", family.name),
            };
            let product_seed = product_seed(options.seed, number);
            let mut add = |folder: &str, n: usize, defect: Option<&'static Defect>| {
                jobs.extend((0..n).map(|number| {
                    let (class, folder) = (class.clone(), folder.to_owned());
                    Job { family, class, product_seed, folder, number, defect }
                }));
            };
            add("train/good", options.n_train, None);
            add("test/good", options.n_test_good, None);
            let mut drawn = suitable.clone();
            let mut rng = Rng::new(product_seed).fork(family.name).fork("defects");
            for _ in options.n_defects.unwrap_or(drawn.len())..drawn.len() {
                drawn.remove(rng.below(drawn.len()));
            }
            for defect in drawn {
                add(&format!("test/{}", defect.name), options.n_test_per_defect, Some(defect));
            }
            classes.push(class);
        }
    }
    let root = out.to_owned();
    Ok((jobs, Summary { root, classes, n_images: 0, n_masks: 0, left_out }))
}

/// The families and defects that are asked for, or all of the set.
fn choice(options: &Options) -> Result<(Vec<&'static Family>, Vec<&'static Defect>), SurfaceError> {
    let set = options.set;
    let of_set: Vec<&Family> = families().filter(|family| set.has_family(family)).collect();
    let known = Known { set, what: "a surface", of_set, name: |family: &Family| family.name };
    let families = known.chosen(&options.families, super::family)?;
    let of_set: Vec<&Defect> = defects().filter(|defect| set.has_defect(defect)).collect();
    let known = Known { set, what: "a defect", of_set, name: |defect: &Defect| defect.name };
    let defects = known.chosen(&options.defects, super::defect)?;
    Ok((families, defects))
}

/// What there is to choose from.
struct Known<T: 'static> {
    set: Set,
    /// What an entry is, with its article.
    what: &'static str,
    of_set: Vec<&'static T>,
    name: fn(&T) -> &'static str,
}

impl<T: 'static> Known<T> {
    /// The entries of some names, each once; no names mean all. Errors: `Unknown`, `NotInSet`.
    fn chosen(
        self,
        names: &[String],
        find: impl Fn(&str) -> Result<&'static T, SurfaceError>,
    ) -> Result<Vec<&'static T>, SurfaceError> {
        let mut found: Vec<&T> = Vec::new();
        for name in names {
            let entry = find(name)?;
            if !self.of_set.iter().any(|known| std::ptr::eq(*known, entry)) {
                let known = self.of_set.iter().map(|known| (self.name)(known)).collect::<Vec<_>>();
                return Err(SurfaceError::NotInSet {
                    what: self.what,
                    name: (self.name)(entry),
                    set: self.set.name(),
                    known: known.join(", "),
                });
            }
            if !found.iter().any(|known| std::ptr::eq(*known, entry)) {
                found.push(entry);
            }
        }
        Ok(if names.is_empty() { self.of_set } else { found })
    }
}

fn can(family: &Family, defect: &Defect) -> bool {
    family.has_cells || !defect.needs_cells
}

fn suitable(family: &Family, defects: &[&'static Defect]) -> Vec<&'static Defect> {
    defects.iter().copied().filter(|defect| can(family, defect)).collect()
}

/// How many pictures that is, for the number of defects that suit each family.
fn n_pictures(options: &Options, n_suitable: impl Iterator<Item = usize>) -> usize {
    let of_family = |n_suitable: usize| {
        let n_defects = options.n_defects.unwrap_or(n_suitable).min(n_suitable);
        options
            .n_test_per_defect
            .saturating_mul(n_defects)
            .saturating_add(options.n_train)
            .saturating_add(options.n_test_good)
            .saturating_mul(options.n_products)
    };
    n_suitable.map(of_family).fold(0, usize::saturating_add)
}

/// The first product of a seed has that seed, so that asking for more leaves it as it was.
fn product_seed(seed: u64, number: usize) -> u64 {
    match number {
        0 => seed,
        _ => Rng::new(seed).fork(&format!("product {number}")).next_u64(),
    }
}
