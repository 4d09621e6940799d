//! Tokens of every variant and tap, and the image embedding behind the last.

use loupe_engine::pipeline::model::Label;
use loupe_engine::plugin::Steps;

use super::*;

/// Walks an image from tap to tap as a run does: what the fusion puts into `read` at each, and the encoder's
/// image embedding behind the last.
pub fn stepped(
    model: &Model,
    fusion: &Instance,
    image: &Tensor,
    read: &[&str],
) -> (Vec<Vec<Tensor>>, Tensor) {
    let encoder = &model.encoder;
    let images = [(port(encoder, "image"), Value::Tensor(image.clone()))];
    let embedding = output(encoder, "image_embedding").unwrap();
    let steps = Steps { taps: &TAPS, train: false, wanted: &[embedding] };
    let (mut session, mut stream) = encoder.taps_open(steps, &images).unwrap();
    let read: Vec<u32> = read.iter().map(|name| output(fusion, name).unwrap()).collect();
    let flows = output(fusion, "stream");
    let wanted: Vec<u32> = read.iter().copied().chain(flows).collect();
    let mut found = Vec::new();
    for (idx, tap) in TAPS.into_iter().enumerate() {
        if idx > 0 {
            stream = session.resume(stream).unwrap();
        }
        let label = Label { size: Some(SIZE as u32), tap: Some(tap) };
        let inputs = [
            (port(fusion, "image"), Value::Tensor(image.clone())),
            (port(fusion, "stream"), Value::Tensors(vec![(label, stream.clone())])),
        ];
        let mut made = fusion.run(&inputs, &wanted).unwrap();
        let mut take = |port: u32| made.take(port).unwrap().tensors()[0].1.clone();
        found.push(read.iter().map(|port| take(*port)).collect());
        if let Some(flows) = flows {
            stream = take(flows);
        }
    }
    let mut ended = session.finish(stream, &[embedding]).unwrap();
    let embedding = ended.take(embedding).unwrap().tensors()[0].1.clone();
    (found, embedding)
}

fn output(instance: &Instance, name: &str) -> Option<u32> {
    let mut ports = instance.info().ports.iter();
    ports.find(|port| port.output && port.name == name).map(|port| port.index)
}

/// Holds numbers against recorded ones; these, moved a little, must not pass.
fn assert_recorded(model: &Model, name: &str, got: &[f32]) {
    let want = model.recorded.numbers(name);
    let found = error(got, want);
    assert!(found <= TOKENS, "{name}: {found:.2e}");
    let mut moved = want.to_vec();
    moved[7] += 1e-3;
    assert!(error(got, &moved) > TOKENS, "{name}: the test sees nothing");
}

/// All tokens that were recorded of a variant, CLS first, and its image embedding.
fn assert_variant(model: &Model, fusion: &str, adapters: &str, record: &str) {
    let image = model.recorded.image("test_images", 4);
    let fusion = model.fusion(fusion, adapters);
    let read = ["seg_prefix", "seg_tokens", "det_prefix", "det_tokens"];
    let (found, embedding) = stepped(model, &fusion, &image, &read);
    let mut compared = 1;
    for (tap, found) in found.iter().enumerate() {
        for (head, found) in ["seg", "det"].into_iter().zip(found.chunks(2)) {
            let name = format!("{record}.{head}.{tap}");
            if model.recorded.tensors.contains_key(&name) {
                let tokens = [found[0].data(), found[1].data()].concat();
                assert_recorded(model, &name, &tokens);
                compared += 1;
            }
        }
    }
    let pooled = match output(&fusion, "image_embedding") {
        None => embedding,
        Some(out) => projected(model, &fusion, out, &image, embedding),
    };
    assert_recorded(model, &format!("{record}.pooled"), pooled.data());
    let of_variant = |name: &&String| name.starts_with(&format!("{record}."));
    let recorded = model.recorded.tensors.keys().filter(of_variant);
    // The stem stands before the first tap: the clip plugin's tests have it.
    assert_eq!(compared, recorded.filter(|name| !name.ends_with(".stem")).count(), "{record}");
}

/// The image embedding behind the projector.
fn projected(
    model: &Model,
    fusion: &Instance,
    out: u32,
    image: &Tensor,
    embedding: Tensor,
) -> Tensor {
    let encoder = &model.encoder;
    let images = [(port(encoder, "image"), Value::Tensor(image.clone()))];
    let steps = Steps { taps: &TAPS[..1], train: false, wanted: &[] };
    let (_, stream) = encoder.taps_open(steps, &images).unwrap();
    let label = Label { size: Some(SIZE as u32), tap: Some(TAPS[0]) };
    let inputs = [
        (port(fusion, "image"), Value::Tensor(image.clone())),
        (port(fusion, "stream"), Value::Tensors(vec![(label, stream)])),
        (port(fusion, "image_embedding"), Value::Tensor(embedding)),
    ];
    fusion.run(&inputs, &[out]).unwrap().take(out).unwrap().tensors()[0].1.clone()
}

#[test]
fn tokens_of_every_variant() {
    let model = Model::new();
    assert_variant(&model, "madff", "init.", "fwd");
    assert_variant(&model, "mvfa", "init.", "fwd_mvfa");
    assert_variant(&model, "projector", "proj.", "fwd_projector");
    assert_variant(&Model::with("quick-gelu"), "madff", "init.", "fwd_quickgelu");
}
