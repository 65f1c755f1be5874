//! One fault at a time in a config that is right: the message names the line, the key and a remedy.

use super::{CLASSES, House, ORBIT, SHIPPED};

/// A replacement in the text, and the key that must be blamed for it. `@` marks the line to be named, where that is
/// not the line of the replacement.
struct Fault {
    from: &'static str,
    to: &'static str,
    key: &'static str,
    line_of: Option<&'static str>,
}

const fn here(from: &'static str, to: &'static str, key: &'static str) -> Fault {
    Fault { from, to, key, line_of: None }
}

const fn at(line_of: &'static str, from: &'static str, to: &'static str, key: &'static str) -> Fault {
    Fault { from, to, key, line_of: Some(line_of) }
}

const ORBIT_FAULTS: &[Fault] = &[
    // Typos, in every section.
    here("[run]", "[rum]", "rum"),
    here("seed = 23", "sede = 23", "run.sede"),
    here("dirs = [", "dir = [", "plugins.dir"),
    here("batch_size = 2", "batchsize = 2", "data.batchsize"),
    here("num_views = 8", "num_view = 8", "data.source.num_view"),
    here("extra_inputs", "extra_input", "model.extra_input"),
    here("kind = \"identity\"", "kind = \"identity\"\nscale = 2", "model.first_stage.scale"),
    here("channel_mult = [1, 2, 2]", "chanel_mult = [1, 2, 2]", "model.network.chanel_mult"),
    here(
        "{ kind = \"v-edm-cnoise\" }",
        "{ kind = \"v-edm-cnoise\", sigma_data = 1.0 }",
        "model.denoiser.scaling.sigma_data",
    ),
    here("sigma_per = \"clip\"", "sigma_pre = \"clip\"", "loss.sigma_pre"),
    here("weight_decay = 0.01", "weightdecay = 0.01", "optimizer.weightdecay"),
    here("decay = 0.995", "decay = 0.995\nwarmup = true", "ema.warmup"),
    here("clip_grad_norm = 1.0", "gradient_clip_val = 1.0", "train.gradient_clip_val"),
    here("num_steps = 20", "num_step = 20", "sampling.num_step"),
    here("preview_scenes = 2", "preview_scene = 2", "logging.preview_scene"),
    here("kind = \"video-unet\"", "knid = \"video-unet\"", "model.network.knid"),
    here("plugin = \"scalar\"", "pluging = \"scalar\"", "model.embedders.1.pluging"),
    // Wrong types.
    here("dir = \"../runs/demo\"", "dir = 3", "run.dir"),
    here("seed = 23", "seed = 23.5", "run.seed"),
    here("dirs = [\"../target/plugins\"]", "dirs = \"../target/plugins\"", "plugins.dirs"),
    here("workers = 1", "workers = \"1\"", "data.workers"),
    here("elevation_deg = [-5.0, 35.0]", "elevation_deg = [-5.0]", "data.source.elevation_deg"),
    here("[\"Survey\", \"Walk\", \"Run\"]", "[\"Survey\", 2, \"Run\"]", "data.source.animations.1"),
    here("use_spatial_context = true", "use_spatial_context = \"yes\"", "model.network.use_spatial_context"),
    here("video_kernel_size = [3, 1, 1]", "video_kernel_size = \"3\"", "model.network.video_kernel_size"),
    here("add_sequence_dim = true\nis_trainable = true", "is_trainable = 1", "model.embedders.3.is_trainable"),
    here(
        "sigma_sampling = { plugin = \"edm\", p_mean = 0.0, p_std = 1.4 }",
        "sigma_sampling = \"edm\"",
        "loss.sigma_sampling",
    ),
    here("weighting = { plugin = \"v\" }", "weighting = { plugin = 3 }", "loss.weighting.plugin"),
    // Out of range.
    here("batch_size = 2", "batch_size = 0", "data.batch_size"),
    here("size = 32 ", "size = 4 ", "data.source.size"),
    here("elevation_deg = [-5.0, 35.0]", "elevation_deg = [-5.0, 91.0]", "data.source.elevation_deg.1"),
    here("elevation_deg = [-5.0, 35.0]", "elevation_deg = [5.0, -5.0]", "data.source.elevation_deg"),
    here("ucg_rate = 0.1", "ucg_rate = 1.1", "model.embedders.0.ucg_rate"),
    here("learning_rate = 1e-3", "learning_rate = 0", "optimizer.learning_rate"),
    here("weight_decay = 0.01", "betas = [0.9, 1.5]", "optimizer.betas.1"),
    here("kind = \"adamw\"", "kind = \"adam\"\nbetas = [1.0, 0.9]", "optimizer.betas.0"),
    here("kind = \"adamw\"", "kind = \"sgd\"\nmomentum = -0.1", "optimizer.momentum"),
    here("weight_decay = 0.01", "weight_decay = 0.01\nmoments = \"fp8\"", "optimizer.moments"),
    here("kind = \"adamw\"", "kind = \"sgd\"\nmoments = \"int8\"", "optimizer.moments"),
    here("weight_decay = 0.01", "groups = [{ parameters = [], weight_decay = 0.0 }]", "optimizer.groups.0.parameters"),
    here("weight_decay = 0.01", "groups = [{ parameters = [\"*\"] }]", "optimizer.groups.0"),
    here(
        "weight_decay = 0.01",
        "groups = [{ parameters = [\"*\", \"\"], learning_rate_factor = 0.5 }]",
        "optimizer.groups.0.parameters.1",
    ),
    here(
        "weight_decay = 0.01",
        "groups = [{ parameters = [\"*\"], learning_rate_factor = -1.0 }]",
        "optimizer.groups.0.learning_rate_factor",
    ),
    here("extra_inputs", "lora = { rank = 0 }\nextra_inputs", "model.lora.rank"),
    here("extra_inputs", "lora = { rank = 4, alpha = 0.0 }\nextra_inputs", "model.lora.alpha"),
    here("extra_inputs", "lora = { rank = 4, dropout = 1.0 }\nextra_inputs", "model.lora.dropout"),
    here("extra_inputs", "lora = { rank = 4, targets = [] }\nextra_inputs", "model.lora.targets"),
    here("extra_inputs", "lora = { rank = 4, targets = [\"\"] }\nextra_inputs", "model.lora.targets.0"),
    here("extra_inputs", "lora = { rank = 4, weights = \"none.safetensors\" }\nextra_inputs", "model.lora.weights"),
    here("decay = 0.995", "decay = 1.0", "ema.decay"),
    here("[train]\nsteps = 600", "[train]\nsteps = -600", "train.steps"),
    here("model_channels = 32", "model_channels = 33", "model.network.model_channels"),
    // Names that are not among those allowed.
    here("device = \"auto\"", "device = \"cuda1\"", "run.device"),
    here("precision = \"f32\"", "precision = \"fp16\"", "run.precision"),
    here("on_bad_sample = \"fail\"", "on_bad_sample = \"ignore\"", "data.on_bad_sample"),
    here("kind = \"mesh-orbit\"", "kind = \"mesh\"", "data.source.kind"),
    here("kind = \"video-unet\"", "kind = \"videounet\"", "model.network.kind"),
    here("\"learned_with_images\"", "\"learnt\"", "model.network.merge_strategy"),
    here("kind = \"continuous\"", "kind = \"continous\"", "model.denoiser.kind"),
    here("kind = \"v-edm-cnoise\"", "kind = \"v-edm\"", "model.denoiser.scaling.kind"),
    here("distance = \"l2\"", "distance = \"mse\"", "loss.distance"),
    here("kind = \"adamw\"", "kind = \"adamax\"", "optimizer.kind"),
    here("\"num_video_frames\"", "\"num_frames\"", "model.extra_inputs.0"),
    // Settings of another kind.
    here("kind = \"adamw\"", "kind = \"sgd\"\nbetas = [0.9, 0.99]", "optimizer.betas"),
    here("kind = \"adamw\"", "kind = \"adam\"\nmomentum = 0.9", "optimizer.momentum"),
    // What is missing.
    at("[run]", "dir = \"../runs/demo\"", "", "run.dir"),
    at("[data.source]", "kind = \"mesh-orbit\"", "", "data.source.kind"),
    at("[data.source]", "num_views = 8", "", "data.source.num_views"),
    at("[model.network]", "context_dim = 64", "", "model.network.context_dim"),
    at("[model.denoiser]", "scaling = { kind = \"v-edm-cnoise\" }", "", "model.denoiser.scaling"),
    at("[[model.embedders]]", "plugin = \"frames-concat\"", "", "model.embedders.0.plugin"),
    at("[[model.embedders]]", "input_key = \"cond_image\"", "", "model.embedders.0.input_key"),
    at("[loss]", "weighting = { plugin = \"v\" }", "", "loss.weighting"),
    at("[optimizer]", "kind = \"adamw\"", "", "optimizer.kind"),
    here("sampler = { plugin = \"euler-edm\" }", "sampler = { s_churn = 1.0 }", "sampling.sampler.plugin"),
    // What must be there, and what must fit.
    here("fox/Fox.gltf", "fox/Wolf.gltf", "data.source.path"),
    here("clip_grad_norm = 1.0", "init_from = \"none.safetensors\"", "train.init_from"),
    here("dir = \"../runs/demo\"", "dir = \"orbit.toml\"", "run.dir"),
    here("size = 32 ", "size = 34 ", "data.source.size"),
    here("kind = \"adamw\"", "kind = \"sgd\"\nnesterov = true", "optimizer.nesterov"),
    here("kind = \"adamw\"", "kind = \"sgd\"\nmomentum = 0.9\nnesterov = true\ndampening = 0.1", "optimizer.dampening"),
    here("n_copies = 8", "n_copies = 14", "model.embedders.0.n_copies"),
    here("out_channels = 3", "out_channels = 4", "model.network.out_channels"),
    here("adm_in_channels = 192", "", "model.network.adm_in_channels"),
    here("input_key = \"cond_image\"", "input_key = \"a\"\ninput_keys = [\"b\"]", "model.embedders.0.input_keys"),
    here(
        "input_key = \"cond_image\"",
        "input_key = \"cond_image\"\nweights = \"none.st\"",
        "model.embedders.0.weights",
    ),
    here(
        "input_key = \"cond_image\"",
        "input_key = \"cond_image\"\nweights_at = \"model.\"",
        "model.embedders.0.weights_at",
    ),
    here("seed = 23", "seed = 1_000_000_000_000_000_000", "run.seed"),
    at("[loss]", "distance = \"l2\"", "distance = \"lpips\"", "loss.lpips"),
    here("distance = \"l2\"", "distance = \"l2\"\nlpips = { weights = \"orbit.toml\" }", "loss.lpips"),
];

const CLASSES_FAULTS: &[Fault] = &[
    here("name = \"faces\"", "nam = \"faces\"", "data.source.classes.1.nam"),
    here("words = [\"face\"]", "words = []", "data.source.classes.1.words"),
    here("words = [\"face\"]", "words = \"face\"", "data.source.classes.1.words"),
    here("name = \"faces\"", "name = \"animals\"", "data.source.classes.1.name"),
    here("size = 32 ", "size = 80 ", "data.source.size"),
    here("kind = \"unet\"", "kind = \"unett\"", "model.network.kind"),
    here("n_classes = 5", "n_classes = 4", "model.embedders.0.n_classes"),
    here("sigma_data = 0.5 }\n\n[[model", "sigma_data = 0 }\n\n[[model", "model.denoiser.scaling.sigma_data"),
    here("attention_resolutions = [4]", "attention_resolutions = [8]", "model.network.attention_resolutions"),
    here("num_head_channels = 32", "num_head_channels = 0", "model.network.num_head_channels"),
];

#[test]
fn each_fault_is_named_with_its_line_its_key_and_a_remedy() {
    let mut wrong = Vec::new();
    for (name, text, faults) in [("orbit.toml", ORBIT, ORBIT_FAULTS), ("classes.toml", CLASSES, CLASSES_FAULTS)] {
        let house = House::new();
        for fault in faults {
            if let Err(complaint) = check(&house, name, text, fault) {
                wrong.push(format!("{} -> {}: {complaint}", fault.from, fault.to));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn check(house: &House, name: &str, text: &str, fault: &Fault) -> Result<(), String> {
    let start = text.find(fault.from).ok_or("is not in the text")?;
    let faulty = text.replacen(fault.from, fault.to, 1);
    house.write(&format!("configs/{name}"), &faulty);
    let problems = match house.load(&format!("configs/{name}"), &[]) {
        Ok(_) => return Err("is accepted".to_owned()),
        Err(problems) => problems.0,
    };
    let blamed = problems.iter().find(|problem| problem.key == fault.key);
    let Some(problem) = blamed else {
        return Err(format!("blames {problems:#?}"));
    };
    let key_name = fault.key.rsplit('.').next().unwrap_or_default();
    let line_of = |offset: usize| faulty[..offset].matches('\n').count() + 1;
    let want = match fault.line_of {
        Some(table) => line_of(faulty.find(table).ok_or("has no such table")?),
        // A replacement of several lines: the one with the key.
        None if fault.to.contains('\n') && fault.to.contains(key_name) => {
            line_of(start + fault.to.rfind(key_name).unwrap_or(0))
        }
        None if fault.to.is_empty() => problem.line,
        None => line_of(start),
    };
    if problem.line != want {
        return Err(format!("names line {} instead of {want}", problem.line));
    }
    match &problem.help {
        Some(help) if help.len() > 5 => Ok(()),
        help => Err(format!("has the remedy {help:?}")),
    }
}

#[test]
fn a_typo_in_any_key_of_a_shipped_config_is_named_with_its_line() {
    let house = House::new();
    for (name, text) in SHIPPED {
        let mut table = "";
        let mut keys = 0;
        for (idx, line) in text.lines().enumerate() {
            table = line.strip_prefix('[').map_or(table, |header| header.trim_start_matches('['));
            let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains([' ', '{', '"'])) else {
                continue;
            };
            // These tables take the keys of plugins, which are not loaded here.
            if table.starts_with("model.embedders") {
                continue;
            }
            keys += 1;
            let lines = text.lines().enumerate();
            let faulty: Vec<String> =
                lines.map(|(at, line)| if at == idx { format!("x{line}") } else { line.to_owned() }).collect();
            house.write("configs/faulty.toml", &faulty.join("\n"));
            let problems = house.load("configs/faulty.toml", &[]).expect_err(line).0;
            let named =
                problems.iter().any(|problem| problem.line == idx + 1 && problem.key.ends_with(&format!("x{key}")));
            assert!(named, "{name}: {line}: {problems:#?}");
        }
        assert!(keys > 20, "{name} has only {keys} keys");
    }
}

#[test]
fn of_very_many_faults_the_first_are_told() {
    let house = House::new();
    let keys: String = (0..20_000).map(|i| format!("key_{i} = {i}\n")).collect();
    for text in [format!("[run]\n{keys}"), "= 1\n".repeat(20_000)] {
        house.write("configs/many.toml", &text);
        let problems = house.load("configs/many.toml", &[]).unwrap_err();
        assert!((100..300).contains(&problems.0.len()), "{}", problems.0.len());
        assert!(problems.to_string().contains("more faults follow from here on"));
    }
}
