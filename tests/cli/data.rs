//! Data packed by one run and trained on by another.

use crate::run::{SMALL, anneal, metrics, path, train};

/// `anneal data VERB` on the small demo with eight scenes, with these arguments.
fn data(verb: &str, args: &[&str]) -> crate::run::Ran {
    let demo = path("configs/demo.toml");
    let mut all = vec!["data", verb, demo.as_str(), "--set", "data.source.scenes_per_epoch=8"];
    for set in SMALL {
        all.extend(["--set", set]);
    }
    all.extend(args);
    anneal(&all)
}

#[test]
fn packed_scenes_train_to_the_same_losses_as_the_source_itself() {
    let dir = tempfile::tempdir().unwrap();
    let shards = dir.path().join("shards");
    let shards_arg = shards.to_string_lossy().into_owned();
    let packed = data("pack", &["--out", &shards_arg, "--shard-size", "3", "--quiet"]).succeeds();
    assert!(packed.out.starts_with("8 samples in 3 shards\n"), "{packed:?}");
    assert!(packed.out.contains("shard-{000000..000002}.tar"), "{packed:?}");

    let pattern = shards.join("shard-{000000..000002}.tar");
    let source = format!("data.source={{kind=\"webdataset\",shards=[{pattern:?}]}}");
    let common = ["data.shuffle=false", "train.steps=3", "run.seed=23"];
    let (direct, from_tar) = (dir.path().join("direct"), dir.path().join("from-tar"));
    train(&direct, &[&common[..], &["data.source.scenes_per_epoch=8"]].concat(), &[]).succeeds();
    train(&from_tar, &[&[source.as_str()], &common[..]].concat(), &[]).succeeds();
    let losses =
        |dir: &std::path::Path| metrics(dir).iter().filter_map(|line| line["loss"].as_f64()).collect::<Vec<f64>>();
    assert_eq!(losses(&direct).len(), 3);
    assert_eq!(losses(&direct), losses(&from_tar));

    let again = data("pack", &["--out", &shards_arg, "--quiet"]);
    again.fails(2, &["is not empty; name a new folder"]);
}

#[test]
fn a_shard_that_is_cut_off_is_named_before_training() {
    let dir = tempfile::tempdir().unwrap();
    let shard = dir.path().join("a.tar");
    std::fs::write(&shard, vec![1; 700]).unwrap();
    let source = format!("data.source={{kind=\"webdataset\",shards=[{shard:?}]}}");
    train(&dir.path().join("run"), &[&source], &[]).fails(5, &["a.tar: no readable tar file"]);
}
