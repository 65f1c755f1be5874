//! Sizes that do not divide, and widths that do not go with each other.

use toml_edit::Value;

use super::mutations::{Kind, Mutation, Shipped};
use super::sites::Site;

/// See [`Kind::Shape`].
pub fn shapes_that_do_not_fit(shipped: &Shipped<'_>) -> Vec<Mutation> {
    shipped.sites.iter().flat_map(|site| of_setting(shipped, site)).collect()
}

fn of_setting(shipped: &Shipped<'_>, site: &Site) -> Vec<Mutation> {
    let change = |new: &str| shipped.value(Kind::Shape, site, new);
    let number = site.value.as_integer();
    let items: Vec<i64> =
        site.value.as_array().map_or(Vec::new(), |items| items.iter().filter_map(Value::as_integer).collect());
    let (in_network, in_stage) = (site.is_in("model.network"), site.is_in("model.first_stage"));
    let in_embedder = site.is_in("model.embedders");
    match (site.bare(), number, &items[..]) {
        // Every shipped model halves its pictures once at least, and all sizes are even.
        ("size", Some(size), _) if site.name.is_some() => {
            vec![change(&(size + 1).to_string()).or(elements("data.source.size"))]
        }
        ("size", _, [h, w]) => {
            let or = || elements(&site.key);
            vec![change(&format!("[{h}, {}]", w + 1)).or(or()), change(&format!("[{}, {w}]", h + 1)).or(or())]
        }
        // No multiple of 7 is among the channels, which are powers of two times 1 or 5.
        ("num_head_channels", Some(_), _) => vec![change("7")],
        // Norms have 32 groups.
        ("model_channels" | "ch", Some(channels), _) => {
            let table = site.key.rsplit_once('.').map_or("", |(table, _)| table);
            vec![
                change(&(channels + 1).to_string()),
                change(&(channels + 16).to_string()).or([format!("{table}.adm_in_channels")]),
            ]
        }
        ("width", Some(width), _) if in_embedder => {
            vec![change(&(width + 1).to_string()).or([format!("{}.head_width", parent(site))])]
        }
        ("head_width", Some(_), _) if in_embedder => vec![change("7").or([parent(site)])],
        // What is told the network has to be what the data, the first stage and the embedders give.
        ("in_channels" | "out_channels" | "adm_in_channels" | "context_dim" | "motion_context_dim", Some(width), _)
            if in_network =>
        {
            let others = ["in_channels", "out_channels"].map(|key| format!("model.network.{key}"));
            vec![change(&(width + 1).to_string()).or(others.clone()), change(&(width * 2).to_string()).or(others)]
        }
        ("dim" | "sigma_dim" | "embed_dim" | "z_channels" | "octaves", Some(width), _) if in_embedder => {
            let told = ["adm_in_channels", "context_dim", "in_channels", "motion_context_dim"];
            let told = told.map(|key| format!("model.network.{key}"));
            // The file has the widths that were.
            vec![change(&(width + 1).to_string()).or(told).or([format!("{}.weights", embedder(site))])]
        }
        ("embed_dim" | "z_channels", Some(width), _) if in_stage => {
            let told = ["in_channels", "out_channels"].map(|key| format!("model.network.{key}"));
            vec![change(&(width + 1).to_string()).or(told).or(["model.first_stage.weights".to_owned()])]
        }
        ("in_channels" | "out_ch", Some(channels), _) if in_stage || site.is_in("autoencoder.network") => {
            let (stage, _) = site.key.rsplit_once('.').unwrap_or_default();
            let whole = if in_stage { "model.first_stage" } else { "autoencoder.network" };
            vec![change(&(channels + 1).to_string()).or([
                stage.to_owned(),
                whole.to_owned(),
                format!("{whole}.weights"),
            ])]
        }
        // As many as the frames of a scene, in all embedders that count them.
        ("n_copies" | "n_cond_frames", Some(count), _) => vec![change(&(count + 1).to_string())],
        ("num_frames" | "num_views" | "num_times", Some(count), _) if site.is_in("data.source") => {
            let counts =
                (0..8).flat_map(|i| ["n_copies", "n_cond_frames"].map(|key| format!("model.embedders.{i}.{key}")));
            let angles = "data.source.azimuths_deg".to_owned();
            let told = embedders_count(shipped) || site.bare() == "num_views" && shipped.text.contains("azimuths_deg");
            let wrong = told.then(|| change(&(count + 1).to_string()).or(counts.chain([angles])));
            wrong.into_iter().collect()
        }
        ("azimuths_deg", ..) => vec![change("[60.0, 120.0]")],
        // 64 is no multiple of 3.
        ("pool", Some(_), _) => vec![change("3")],
        // An even kernel changes the number of frames.
        ("video_kernel_size" | "time_kernel_size", _, [3, 1, 1]) => vec![change("[2, 1, 1]")],
        ("n_classes", Some(classes), _) if shipped.text.contains("kind = \"emoji\"") => {
            vec![change(&(classes + 1).to_string()), change(&(classes - 1).to_string())]
        }
        // Each list has a value for each cycle.
        ("f_start" | "f_max" | "f_min", ..) => vec![change("[1.0, 1.0]"), change("[]")],
        ("n_layers", Some(_), _) => vec![change("12")],
        ("channel_mult" | "ch_mult", _, [_, ..]) => vec![change("[]"), change("[0, 1]").or(elements(&site.key))],
        _ => Vec::new(),
    }
}

/// The entries of a pair, one of which may be blamed.
fn elements(key: &str) -> [String; 2] {
    [0, 1].map(|i| format!("{key}.{i}"))
}

fn parent(site: &Site) -> String {
    site.key.rsplit_once('.').map_or(String::new(), |(table, _)| table.to_owned())
}

/// The embedder that the setting is of.
fn embedder(site: &Site) -> String {
    site.key.split('.').take(3).collect::<Vec<_>>().join(".")
}

/// Whether an embedder of the file itself, and so of the model, is told a number of frames.
fn embedders_count(shipped: &Shipped<'_>) -> bool {
    shipped
        .sites
        .iter()
        .any(|site| site.is_in("model.embedders") && matches!(site.bare(), "n_copies" | "n_cond_frames"))
}
