//! Fréchet distances in a config: their defaults, and what keeps them from being taken.

use super::{House, loads};
use crate::config::{ClipsOver, EncoderInput};

#[test]
fn an_encoder_alone_is_enough() {
    let house = House::new();
    house.write("configs/i3d.pt", "");
    let i3d = house.root().join("configs/i3d.pt");
    let encoder = format!("validation.frechet.encoder={}", i3d.display());
    let config = house.load("configs/orbit.toml", &[&encoder]).unwrap().config;
    let validation = config.validation.unwrap();
    assert_eq!((validation.every_steps, validation.scenes), (1000, 4));
    let frechet = validation.frechet.unwrap();
    assert_eq!((frechet.input, frechet.size, frechet.range), (EncoderInput::Clip, None, [-1.0, 1.0]));
    assert!(frechet.encoder == i3d && frechet.flags.is_empty() && frechet.over.is_empty());
    let all = "validation.frechet={input=\"frame\",flags=[false,true],size=[224,224],range=[0,255],over=[\"views\"]}";
    let frechet =
        house.load("configs/orbit.toml", &[all, &encoder]).unwrap().config.validation.unwrap().frechet.unwrap();
    assert_eq!((frechet.input, frechet.size, frechet.range), (EncoderInput::Frame, Some([224, 224]), [0.0, 255.0]));
    assert_eq!((frechet.flags, frechet.over), (vec![false, true], vec![ClipsOver::Views]));
    assert!(loads(&house, "configs/orbit.toml").config.validation.is_none());
}

#[test]
fn what_keeps_them_from_being_taken_is_told() {
    let house = House::new();
    house.write("configs/i3d.pt", "");
    let encoder = format!("validation.frechet.encoder={}", house.root().join("configs/i3d.pt").display());
    let blamed = |sets: &[&str]| {
        let problems = house.load("configs/orbit.toml", &[&[encoder.as_str()], sets].concat()).unwrap_err();
        problems.0.into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    assert_eq!(blamed(&["validation.sample=false"]), ["validation.frechet"]);
    assert_eq!(blamed(&["validation.frechet.range=[1.0,1.0]"]), ["validation.frechet.range"]);
    assert_eq!(blamed(&["validation.frechet.encoder=absent.pt"]), ["validation.frechet.encoder"]);
    assert_eq!(blamed(&["validation.frechet.over=[\"diagonal\"]"]), ["validation.frechet.over.0"]);
    assert_eq!(blamed(&["validation.frechet.size=[0,224]"]), ["validation.frechet.size.0"]);
}
