//! Stepping from tap to tap is the plain pass cut into pieces.

mod common;

use candle_core::Tensor;
use common::{gelu, image, values};
use loupe_clip::model::Request;
use loupe_clip::{Clip, Encoded, Gem, Outputs, Wanted};

const EVERYTHING: Wanted = Wanted {
    image_embedding: true,
    patch_tokens: true,
    patch_embeddings: true,
    gem_image_embedding: true,
    gem_patch_tokens: true,
    gem_patch_embeddings: true,
};

/// Blocks 2 to 7 of 7.
const GEM: Option<Gem> = Some(Gem { n_blocks: 6, n_iterations: 1, temperature: None });

/// On candle, and packed for every set of instructions.
fn each(check: impl Fn(&Clip)) {
    gelu().0.iter().for_each(check);
}

fn request(taps: &[usize]) -> Request {
    Request { taps: taps.to_vec(), wanted: EVERYTHING, gem: Gem::default() }
}

fn two_images() -> Tensor {
    let first = image(64, 48);
    Tensor::cat(&[&first, &(&first * -0.5).unwrap()], 0).unwrap()
}

fn plain(clip: &Clip, images: &Tensor) -> Encoded {
    clip.encode(images, request(&[1, 3, 7])).unwrap()
}

fn assert_equal(a: &Outputs, b: &Outputs) {
    let pairs = [
        (&a.image_embedding, &b.image_embedding),
        (&a.patch_tokens, &b.patch_tokens),
        (&a.patch_embeddings, &b.patch_embeddings),
    ];
    for (a, b) in pairs {
        assert_eq!(values(a.as_ref().unwrap()), values(b.as_ref().unwrap()));
    }
}

#[test]
fn a_stepped_pass_that_rewrites_nothing_is_bit_equal_to_the_plain_pass() {
    each(|clip| {
        let images = two_images();
        let whole = plain(clip, &images);
        let (mut session, mut stream) = clip.open(&images, vec![1, 3, 7], GEM, false).unwrap();
        assert_eq!((session.tap(), session.grid()), (1, (4, 3)));
        assert_eq!(values(&stream), values(&whole.taps[0]));
        for tap in &whole.taps[1..] {
            stream = clip.resume(&mut session, &stream).unwrap();
            assert_eq!(values(&stream), values(tap));
        }
        assert!(clip.resume(&mut session, &stream).is_err());
        let (plain_clip, plain_gem) = clip.finish(session, &stream, EVERYTHING).unwrap();
        assert_equal(&plain_clip, &whole.clip);
        assert_equal(&plain_gem, &whole.gem);
        let none = clip.encode(&images, request(&[])).unwrap();
        assert_equal(&none.clip, &whole.clip);
        assert_equal(&none.gem, &whole.gem);
    });
}

#[test]
fn a_pass_can_start_from_a_kept_stream() {
    each(|clip| {
        let images = two_images();
        let whole = plain(clip, &images);
        let mut session = clip.open_at(1, (4, 3), &whole.taps[0], vec![3, 7], GEM, false).unwrap();
        let at_3 = clip.resume(&mut session, &whole.taps[0]).unwrap();
        assert_eq!(values(&at_3), values(&whole.taps[1]));
        let (from_kept, gem) = clip.finish(session, &at_3, EVERYTHING).unwrap();
        assert_equal(&from_kept, &whole.clip);
        assert_equal(&gem, &whole.gem);
        // GEM began behind block 1, so its stream is not to be had from tap 3.
        let behind = clip.open_at(3, (4, 3), &at_3, vec![7], GEM, false).unwrap();
        let refused = clip.finish(behind, &at_3, EVERYTHING).err().unwrap().to_string();
        assert!(refused.contains("open it at an earlier tap"), "{refused}");
        let behind = clip.open_at(3, (4, 3), &at_3, vec![], None, false).unwrap();
        let wanted = Wanted { image_embedding: true, ..Wanted::default() };
        let (outputs, _) = clip.finish(behind, &at_3, wanted).unwrap();
        assert_eq!(
            values(&outputs.image_embedding.unwrap()),
            values(whole.clip.image_embedding.as_ref().unwrap())
        );
        assert!(clip.open_at(3, (3, 3), &at_3, vec![7], None, false).is_err());
        assert!(clip.open_at(3, (4, 3), &at_3, vec![3], None, false).is_err());
    });
}

#[test]
fn a_rewritten_stream_changes_what_follows_and_nothing_before() {
    each(|clip| {
        let images = two_images();
        let whole = plain(clip, &images);
        let (mut session, stream) = clip.open(&images, vec![1, 3], None, false).unwrap();
        let rewritten = (stream * 0.5).unwrap();
        let next = clip.resume(&mut session, &rewritten).unwrap();
        assert_ne!(values(&next), values(&whole.taps[1]));
        assert!(clip.resume(&mut session, &next.narrow(0, 0, 1).unwrap()).is_err());
    });
}

#[test]
fn an_image_yields_the_same_bits_alone_and_in_a_batch() {
    each(|clip| {
        let images = two_images();
        let together = plain(clip, &images);
        let alone = plain(clip, &images.narrow(0, 1, 1).unwrap());
        let second = |t: Option<Tensor>| values(&t.unwrap().narrow(0, 1, 1).unwrap());
        assert_eq!(
            second(together.clip.patch_embeddings),
            values(&alone.clip.patch_embeddings.unwrap())
        );
        assert_eq!(second(together.gem.patch_tokens), values(&alone.gem.patch_tokens.unwrap()));
        let wanted = Wanted { image_embedding: true, ..Wanted::default() };
        let less = clip.encode(&images, Request { wanted, ..Request::default() }).unwrap();
        assert!(less.gem.image_embedding.is_none() && less.clip.patch_tokens.is_none());
        let all = together.clip.image_embedding.unwrap();
        assert_eq!(values(&less.clip.image_embedding.unwrap()), values(&all));
    });
}

#[test]
fn taps_that_do_not_exist_or_do_not_ascend_are_refused() {
    each(|clip| {
        for taps in [&[0][..], &[8], &[3, 3], &[3, 1]] {
            assert!(clip.open(&image(48, 48), taps.to_vec(), None, false).is_err(), "{taps:?}");
        }
        assert!(clip.open(&image(15, 48), vec![], None, false).is_err());
        let empty = image(48, 48).narrow(0, 0, 0).unwrap();
        assert_eq!(clip.open(&empty, vec![1], None, false).unwrap().1.dims(), [0, 10, 32]);
    });
}
